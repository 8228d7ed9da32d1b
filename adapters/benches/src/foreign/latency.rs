//! Requests one after another.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wwr_smol::client::{Client, Config, Protocol};

use super::runtime::Runtime;
use crate::support::host::Failure;

const PAYLOAD: &str = "thirty-two bytes of a small text";

/// Lets a client on an executor make requests, each when the reply to the one before has come. Returns
/// how long each took.
pub(crate) fn measure(
    runtime: Runtime,
    server: SocketAddr,
    requests: u32,
) -> Result<Vec<Duration>, Failure> {
    runtime.run(move |spawner| async move {
        let mut config = Config::default();
        config.machine.protocol = Protocol::V2_0;
        let builder = Client::builder(&format!("ws://{server}/"))?.config(config);
        let client = builder.executor(spawner).connect().await?;
        let mut times = Vec::with_capacity(requests as usize);
        for _ in 0..requests {
            let start = Instant::now();
            let reply = client.request("echo", PAYLOAD).await?;
            times.push(start.elapsed());
            if reply.as_bytes() != PAYLOAD.as_bytes() {
                return Err("the server sent another reply".into());
            }
        }
        client.close().await;
        Ok(times)
    })
}
