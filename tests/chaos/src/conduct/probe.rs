//! Finds out when everything works again.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use wwr_tokio::SessionKey;
use wwr_tokio::client::{Client, Config};

use crate::history::{Client as Number, Op};

/// The numbers of what it creates.
const PROBE: Number = Number::MAX >> 1;

/// Waits until a session that is created on each node can be restored on each other one, and is closed again. Says what
/// does not work if that takes too long.
pub(super) async fn until_it_works(ports: &[u16], bound: Duration) -> Result<(), String> {
    let started = Instant::now();
    for (number, port) in ports.iter().enumerate() {
        loop {
            let others = ports.iter().filter(|other| *other != port);
            let Err(why) = works(*port, others.copied()).await else { break };
            if started.elapsed() > bound {
                return Err(format!("node {number} does not work: {why}"));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

async fn client(port: u16) -> Result<Client, String> {
    let mut config = Config::default();
    config.machine.request_timeout = Duration::from_secs(2);
    let builder = Client::builder(&format!("ws://127.0.0.1:{port}/"));
    let connected = builder.map_err(|error| error.to_string())?.config(config).connect().await;
    connected.map_err(|error| error.to_string())
}

async fn works(port: u16, others: impl Iterator<Item = u16>) -> Result<(), String> {
    let on_one = client(port).await?;
    let op = Op::new(PROBE, 0);
    let key = on_one.request("login", op.0.to_string()).await;
    let key = key.map_err(|error| format!("a log-in there: {error}"))?;
    let key = key.text().map_err(|error| error.to_string())?.to_string();
    for other in others {
        let on_other = client(other).await?;
        let key = SessionKey::new(key.clone()).map_err(|error| error.to_string())?;
        let restored = on_other.restore_session(key).await;
        restored.map_err(|error| format!("its session on another node: {error}"))?;
        on_other.close_session().await.map_err(|error| format!("giving it up: {error}"))?;
    }
    on_one.close_session().await.map_err(|error| format!("a log-out there: {error}"))
}
