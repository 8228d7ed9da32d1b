//! What an idle connection costs in memory.

use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::case::Case;
use super::child::{Server, Side};
use super::client::Client;
use super::traffic::Traffic;

/// The message that every connection has exchanged before it is idle.
const SMALL: Case = one("small", 32);

/// A larger one, after which a connection may give its buffers back.
const LARGE: Case = one("large", 64 << 10);

/// The memory of a server is taken for settled if it has not changed for this long.
const SETTLED: Duration = Duration::from_millis(500);

const LONGEST: Duration = Duration::from_secs(10);

/// Resident bytes of a server per idle connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// After one small message each way.
    pub(crate) small: f64,
    /// After one of 64 KiB each way.
    pub(crate) large: f64,
}

const fn one(name: &'static str, payload: usize) -> Case {
    Case { name, connections: 1, depth: 1, payload, size: "" }
}

/// Measures one server with that many idle connections.
pub(crate) fn measure(side: Side, connections: u32) -> io::Result<Memory> {
    let server = Server::start(side)?;
    let small = Traffic::new(&SMALL, side).map_err(io::Error::other)?;
    let large = Traffic::new(&LARGE, side).map_err(io::Error::other)?;
    let mut buffer = vec![0; 64 * 1024];
    // The first connection pays for what exists once.
    let mut first = Client::connect(&server)?;
    exchange(&mut first, &small, &mut buffer)?;
    exchange(&mut first, &large, &mut buffer)?;
    let before = settled(&server)?;
    let mut clients = Vec::new();
    for _ in 0..connections {
        let mut client = Client::connect(&server)?;
        exchange(&mut client, &small, &mut buffer)?;
        clients.push(client);
    }
    let per_connection = |bytes: u64| (bytes as f64 - before as f64) / f64::from(connections);
    let after_small = per_connection(settled(&server)?);
    for client in &mut clients {
        exchange(client, &large, &mut buffer)?;
    }
    let after_large = per_connection(settled(&server)?);
    Ok(Memory { small: after_small, large: after_large })
}

/// One request and its reply.
fn exchange(client: &mut Client, traffic: &Traffic, buffer: &mut [u8]) -> io::Result<()> {
    client.ask(1, traffic);
    client.send(traffic)?;
    while client.in_flight() > 0 {
        client.receive(traffic, usize::MAX, buffer)?;
    }
    Ok(())
}

/// The resident memory once it does not change any more.
fn settled(server: &Server) -> io::Result<u64> {
    let start = Instant::now();
    let (mut resident, mut since) = (server.resident()?, start);
    while since.elapsed() < SETTLED && start.elapsed() < LONGEST {
        sleep(SETTLED / 10);
        let now = server.resident()?;
        if now != resident {
            (resident, since) = (now, Instant::now());
        }
    }
    Ok(resident)
}
