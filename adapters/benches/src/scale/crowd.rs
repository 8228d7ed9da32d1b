//! Many connections of clients, and one that asks how the server is.

use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::args::Args;
use super::socket::{Socket, TIMEOUT};
use super::stage::{Stage, Watch};
use crate::support::process::Process;

/// How often the server is asked.
const PAUSE: Duration = Duration::from_millis(5);

/// A server in memory alone, on a port that the system chooses.
pub(crate) fn server(args: &Args) -> io::Result<Process> {
    Process::start(&["--serve", "0", "--runtime", args.runtime.name()])
}

/// Opens connections, one after the other.
pub(crate) fn open(
    server: &Process,
    count: u32,
    name: &'static str,
) -> io::Result<(Vec<Socket>, Stage)> {
    let mut watch = Watch::start(server, name)?;
    let mut sockets = Vec::new();
    for number in 0..count {
        sockets.push(Socket::open(server.address(), number)?);
        watch.progress(number, count);
    }
    Ok((sockets, watch.finish_settled(count)?))
}

/// Does something on each connection.
pub(crate) fn each(
    server: &Process,
    sockets: &mut [Socket],
    name: &'static str,
    mut work: impl FnMut(&mut Socket) -> io::Result<()>,
) -> io::Result<Stage> {
    let mut watch = Watch::start(server, name)?;
    let count = u32::try_from(sockets.len()).map_err(io::Error::other)?;
    for (number, socket) in (0..).zip(sockets) {
        work(socket)?;
        watch.progress(number, count);
    }
    watch.finish(count)
}

/// Waits until the server has this many connections and sessions; the last numbers seen.
pub(crate) fn until_counts(asking: &mut Socket, expected: (u32, u32)) -> io::Result<String> {
    let (start, expected) = (Instant::now(), format!("{} {}", expected.0, expected.1));
    loop {
        let counts = asking.request("count", "x")?;
        if counts == expected || start.elapsed() > TIMEOUT {
            return Ok(counts);
        }
        sleep(PAUSE);
    }
}
