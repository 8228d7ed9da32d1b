//! Finds out when everything works again.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::time::sleep;
use wwr_tokio::SessionKey;
use wwr_tokio::client::{Client, Config};

use crate::history::{Client as Number, Op};

/// The numbers of what it creates.
const PROBE: Number = Number::MAX >> 1;

/// Waits until a session that is created on each node can be restored on each other one, and is closed again. Returns what
/// did not work last, or says that if it takes too long.
pub(super) async fn until_it_works(
    ports: &[u16],
    bound: Duration,
) -> Result<Option<String>, String> {
    let (started, mut last) = (Instant::now(), None);
    for (number, port) in ports.iter().enumerate() {
        loop {
            let others = ports.iter().filter(|other| *other != port);
            let Err(why) = works(*port, others.copied()).await else { break };
            let why = format!("{:?}: node {number} does not work: {why}", started.elapsed());
            if started.elapsed() > bound {
                return Err(why);
            }
            last = Some(why);
            sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(last)
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
    // Sessions have names of their own.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let op = Op::new(PROBE, NEXT.fetch_add(1, Ordering::Relaxed));
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
