//! One session shared by many connections.

use std::io;

use super::args::Args;
use super::crowd::{each, open, server, until_counts};
use super::socket::{Frame, SESSION_CLOSED, Socket};
use super::stage::{Outcome, Watch};

/// How many of the connections share the session: one in this many .
const PART: u32 = 10;

pub(crate) fn run(args: &Args) -> io::Result<Outcome> {
    let mut outcome = Outcome::new("session");
    let (server, count) = (server(args)?, args.connections / PART);
    let mut asking = Socket::open(server.address(), 0)?;
    let (mut sockets, stage) = open(&server, count, "connect")?;
    outcome.stages.push(stage);
    let Some(first) = sockets.first_mut() else { return Ok(outcome) };
    let key = first.request("login", "ada")?;

    let rest = sockets.get_mut(1..).unwrap_or_default();
    outcome.stages.push(each(&server, rest, "join", |socket| socket.restore(&key))?);
    outcome.expect(asking.request("count", "x")? == format!("{} 1", count + 1), "not all joined");

    let watch = Watch::start(&server, "tell all of the session")?;
    let told = asking.request("group", &key)?;
    sockets.iter_mut().try_for_each(|socket| socket.news(&key))?;
    outcome.stages.push(watch.finish(count)?);
    outcome.expect(told == count.to_string(), format!("{told} of {count} told"));

    // Half of them leave, in another order than they came.
    let watch = Watch::start(&server, "leave")?;
    let mut number = 0;
    sockets.retain(|_| {
        number += 1;
        number % 2 == 0
    });
    let stay = count / 2;
    let left = until_counts(&mut asking, (stay + 1, 1))?;
    outcome.stages.push(watch.finish(count - stay)?);
    outcome.expect(left == format!("{} 1", stay + 1), format!("after half has left: {left}"));

    let watch = Watch::start(&server, "close the session for all")?;
    let told = asking.request("disband", &key)?;
    let mut closed = 0;
    for mut socket in sockets {
        if matches!(socket.frame()?, Frame::Message(message) if message == [SESSION_CLOSED])
            && socket.frame()? == Frame::Close
        {
            closed += 1;
            socket.agree_to_close()?;
        }
    }
    let left = until_counts(&mut asking, (1, 0))?;
    outcome.stages.push(watch.finish_settled(stay)?);
    outcome.expect(told == stay.to_string(), format!("{told} of {stay} told of the end"));
    outcome.expect(closed == stay, format!("{closed} of {stay} closed"));
    outcome.expect(left == "1 0", format!("connections and sessions left: {left}"));
    Ok(outcome)
}
