//! Connections that are open and do nothing.

use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::args::Args;
use super::crowd::{each, open, server, until_counts};
use super::socket::{Frame, Socket};
use super::stage::{Outcome, Watch};

/// For how long nothing happens.
const REST: Duration = Duration::from_secs(2);

/// The processor time that doing nothing may cost, as a part of the time.
const MOST_BUSY: f64 = 0.05;

/// A shutdown in which all clients answer the close frame waits for no deadline.
const MAX_SHUTDOWN: Duration = Duration::from_secs(20);

pub(crate) fn run(args: &Args) -> io::Result<Outcome> {
    let mut outcome = Outcome::new("idle");
    let (server, count) = (server(args)?, args.connections);
    let mut asking = Socket::open(server.address(), 0)?;

    let (mut sockets, stage) = open(&server, count, "connect")?;
    outcome.fact("bytes per idle connection", (stage.growth() / f64::from(count)).round());
    outcome.stages.push(stage);
    let echo = |socket: &mut Socket| socket.request("echo", "hello").map(drop);
    outcome.stages.push(each(&server, &mut sockets, "a request on each", echo)?);

    let watch = Watch::start(&server, "idle")?;
    sleep(REST);
    let stage = watch.finish(count)?;
    let busy = stage.cpu.as_secs_f64() / stage.elapsed.as_secs_f64();
    outcome.expect(busy <= MOST_BUSY, format!("{busy:.2} of a processor for doing nothing"));
    outcome.stages.push(stage);

    let watch = Watch::start(&server, "disconnect")?;
    drop(sockets);
    let left = until_counts(&mut asking, (1, 0))?;
    outcome.stages.push(watch.finish_settled(count)?);
    outcome.expect(left == "1 0", format!("connections and sessions left: {left}"));

    let (mut sockets, stage) = open(&server, count, "connect again")?;
    outcome.stages.push(stage);
    let watch = Watch::start(&server, "shut down")?;
    let start = Instant::now();
    asking.request("stop", "x")?;
    let mut closed = 0;
    for mut socket in sockets.drain(..) {
        if matches!(socket.frame(), Ok(Frame::Close)) && socket.agree_to_close().is_ok() {
            closed += 1;
        }
    }
    let stage = watch.finish(count)?;
    outcome.expect(closed == count, format!("{closed} of {count} closed by the shutdown"));
    outcome.expect(start.elapsed() < MAX_SHUTDOWN, "the shutdown took too long");
    outcome.stages.push(stage);
    Ok(outcome)
}
