//! What an idle connection costs in memory.

use std::io;

use super::args::Args;
use super::system::System;
use crate::support::case::Case;
use crate::support::connection::Connection;
use crate::support::traffic::Traffic;

/// What `--case` calls this.
pub(crate) const IDLE: &str = "idle";

/// The message that every connection has exchanged before it is idle.
const SMALL: Case = Case::new("small", 1, 1, 32);

/// A larger one, after which a connection may give its buffers back.
const LARGE: Case = Case::new("large", 1, 1, 64 << 10);

/// How many bytes a bare echo reads at a time here: few, as its buffer stays with the connection.
pub(crate) const READ_BUFFER: u32 = 4 * 1024;

/// Resident bytes of a server per idle connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// After one small message each way.
    pub(crate) small: f64,
    /// After one of 64 KiB each way.
    pub(crate) large: f64,
}

/// Measures one server.
pub(crate) fn measure(system: System, args: &Args) -> io::Result<Memory> {
    let (protocol, connections) = (system.protocol(), args.connections);
    let server = system.start(args, READ_BUFFER)?;
    let small = Traffic::new(&SMALL, protocol).map_err(io::Error::other)?;
    let large = Traffic::new(&LARGE, protocol).map_err(io::Error::other)?;
    let mut buffer = vec![0; 64 * 1024];
    // The first connection pays for what exists once.
    let mut first = Connection::connect(&server, protocol)?;
    exchange(&mut first, &small, &mut buffer)?;
    exchange(&mut first, &large, &mut buffer)?;
    let before = server.settled_memory()?;
    let mut clients = Vec::new();
    for _ in 0..connections {
        let mut client = Connection::connect(&server, protocol)?;
        exchange(&mut client, &small, &mut buffer)?;
        clients.push(client);
    }
    let per_connection = |bytes: u64| (bytes as f64 - before as f64) / f64::from(connections);
    let after_small = per_connection(server.settled_memory()?);
    for client in &mut clients {
        exchange(client, &large, &mut buffer)?;
    }
    let after_large = per_connection(server.settled_memory()?);
    Ok(Memory { small: after_small, large: after_large })
}

/// One request and its reply.
fn exchange(client: &mut Connection, traffic: &Traffic, buffer: &mut [u8]) -> io::Result<()> {
    client.ask(1, traffic);
    client.send(traffic)?;
    while client.in_flight() > 0 {
        client.receive(traffic, usize::MAX, buffer)?;
    }
    Ok(())
}
