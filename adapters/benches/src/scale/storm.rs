//! Clients that come and go without end.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use super::args::Args;
use super::crowd::{server, until_counts};
use super::socket::{Socket, TIMEOUT, dial};
use super::stage::{Outcome, Stage, Watch};
use crate::support::process::Process;
use crate::support::sockets;

/// How often clients come and go before memory is measured: what a server keeps, it has by then.
const WARM_UP: u32 = 20_000;

/// Into how many parts the storm is divided, to see whether memory grows from one to the next.
const PARTS: u32 = 10;

/// One cycle in this many may fail; none does as long as the system has room for another socket.
const RARE: u32 = 100_000;

/// Where clients come from that only ask for the version.
const ASKING: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);

/// What a client does, one after the other.
type Visit = fn(SocketAddr, u32) -> io::Result<()>;

const VISITS: [Visit; 5] = [
    // Opens a WebSocket and is gone.
    |to, number| Socket::open(to, number).map(drop),
    // Closes.
    |to, number| {
        let mut socket = Socket::open(to, number)?;
        socket.request("echo", "hello")?;
        socket.close()
    },
    // Creates a session, and closes it.
    |to, number| {
        let mut socket = Socket::open(to, number)?;
        socket.request("login", "ada")?;
        socket.request("logout", "x")?;
        Ok(())
    },
    // Asks for the version and comes no more. At an address of its own: the server would wait for the
    // first message of others at the same address, to detect their versions.
    |to, _| {
        let mut stream = sockets::dial(ASKING, to, TIMEOUT)?;
        write!(stream, "WEBWIRE / HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n")?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    },
    // Is gone before it has said what it wants.
    |to, number| dial(to, number)?.write_all(b"GET / HT"),
];

pub(crate) fn run(args: &Args) -> io::Result<Outcome> {
    let mut outcome = Outcome::new("storm");
    let server = server(args)?;
    let failed = AtomicU32::new(0);
    let stage = |name, cycles| {
        let watch = Watch::start(&server, name)?;
        rage(&server, watch, cycles, args.threads, &failed)
    };
    let cycles = args.cycles;
    let warm_up = stage("warm-up", WARM_UP.min(cycles / 2))?;
    until_counts(&mut Socket::open(server.address(), 0)?, (1, 0))?;
    let before = server.settled_memory()?;
    outcome.stages.push(Stage { after: before, ..warm_up });

    let mut memory = Vec::new();
    let (mut elapsed, mut cpu) = (Duration::ZERO, Duration::ZERO);
    for part in 1..=PARTS {
        let name = "come and go";
        let one = stage(name, cycles / PARTS)?;
        elapsed += one.elapsed;
        cpu += one.cpu;
        memory.push(one.after / 1024);
        eprintln!("  storm: {} of {cycles}, {} KiB", part * (cycles / PARTS), one.after / 1024);
    }
    let left = until_counts(&mut Socket::open(server.address(), 0)?, (1, 0))?;
    let (after, peak) = (server.settled_memory()?, server.memory("VmHWM")?);
    let count = u64::from(cycles / PARTS * PARTS);
    outcome.stages.push(Stage { name: "come and go", count, elapsed, cpu, before, after, peak });

    let grown = after.saturating_sub(before) / 1024;
    let failed = failed.into_inner();
    outcome.fact("grown by KiB", grown);
    outcome.fact("KiB after each tenth", memory);
    outcome.fact("failed", failed);
    outcome.expect(left == "1 0", format!("connections and sessions left: {left}"));
    let bound = u64::from(args.growth);
    outcome.expect(grown <= bound, format!("memory has grown by {grown} KiB, more than {bound}"));
    let most = cycles / RARE;
    outcome.expect(failed <= most, format!("{failed} of {cycles} cycles failed, more than {most}"));
    Ok(outcome)
}

/// Has clients come and go, from several threads.
fn rage(
    server: &Process,
    mut watch: Watch<'_>,
    cycles: u32,
    threads: u32,
    failed: &AtomicU32,
) -> io::Result<Stage> {
    let (next, shown) = (AtomicU32::new(0), AtomicBool::new(false));
    let to = server.address();
    let client = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= cycles {
                return;
            }
            let visits = VISITS.iter().cycle().skip(number as usize % VISITS.len());
            for visit in visits.take(1) {
                if let Err(error) = visit(to, number) {
                    failed.fetch_add(1, Ordering::Relaxed);
                    if !shown.swap(true, Ordering::Relaxed) {
                        eprintln!("  storm: the first failure: {error}");
                    }
                }
            }
        }
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..threads).map(|_| scope.spawn(client)).collect();
        while clients.iter().any(|client| !client.is_finished()) {
            watch.progress(next.load(Ordering::Relaxed), cycles);
            thread::sleep(Duration::from_millis(2));
        }
    });
    watch.finish(cycles)
}
