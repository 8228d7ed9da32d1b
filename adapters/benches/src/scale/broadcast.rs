//! One signal to all connections.

use std::io;
use std::time::{Duration, Instant};

use super::args::Args;
use super::crowd::{open, server};
use super::socket::Socket;
use super::stage::{Outcome, Watch};

pub(crate) fn run(args: &Args) -> io::Result<Outcome> {
    let mut outcome = Outcome::new("broadcast");
    let (server, count, rounds) = (server(args)?, args.connections, args.rounds);
    let mut asking = Socket::open(server.address(), 0)?;
    let (mut sockets, stage) = open(&server, count, "connect")?;
    outcome.stages.push(stage);

    let mut watch = Watch::start(&server, "signals to all")?;
    let (mut slowest, mut missed) = (Duration::ZERO, 0);
    for round in 0..rounds {
        let (payload, start) = (format!("round {round}"), Instant::now());
        // The requesting connection gets it as well.
        let told = asking.request("broadcast", &payload)?;
        outcome.expect(told == (count + 1).to_string(), format!("{told} of {} told", count + 1));
        for socket in &mut sockets {
            missed += u32::from(socket.news(&payload).is_err());
        }
        slowest = slowest.max(start.elapsed());
        watch.progress(round, rounds);
    }
    outcome.stages.push(watch.finish_settled(count * rounds)?);
    outcome.fact("slowest round, ms", slowest.as_millis() as u64);
    outcome.expect(missed == 0, format!("{missed} signals were not received"));
    Ok(outcome)
}
