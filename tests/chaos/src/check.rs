//! Says what of a history is untrue.

mod holders;
mod order;
mod resumed;
mod seen;
mod sessions;
mod signals;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use crate::history::{Entry, Time};
use seen::Seen;

/// What was promised.
#[derive(Clone, Copy, Debug)]
pub struct Promises {
    /// How many connections may have one session at a time.
    pub limit: usize,
    /// The lease of the nodes.
    pub lease: Duration,
    /// After which time all connections have heard of an update or a closing, if they stayed and nothing was broken. It
    /// has to leave room for a busy machine.
    pub told_within: Duration,
}

/// A promise of `docs/cluster.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    /// Never more connections than the limit have one session at the same time.
    Limit,
    /// A session that was closed stays closed.
    Closed,
    /// Connections of a session that was closed are told, in bounded time.
    ToldOfClosing,
    /// A session that nobody has closed is there.
    Kept,
    /// An update that was acknowledged is not undone, and is what comes back with the session.
    Updated,
    /// All connections see the changes of a session in one order, and none twice.
    OneOrder,
    /// Connections that stay hear of an update in bounded time.
    ToldOfUpdate,
    /// A signal is heard once at most on one connection, and one to a session once at most by a client
    /// that resumes signals.
    Once,
    /// A signal is heard only by clients whom it concerns.
    Concern,
    /// Signals of one sender to one receiver come in their order.
    SenderOrder,
    /// A signal that was not passed on is not heard on other nodes.
    NotSent,
    /// A signal that was passed on is heard, if nothing is broken.
    Sent,
    /// A client that resumes signals hears all of them, or of a gap.
    Resumed,
    /// After all was mended, everything works again in bounded time.
    Recovery,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Limit => "more connections than the limit",
            Self::Closed => "a closed session lives on",
            Self::ToldOfClosing => "a connection was not told of a closing",
            Self::Kept => "a session is gone that nobody has closed",
            Self::Updated => "an acknowledged update is undone",
            Self::OneOrder => "changes come in different orders, or twice",
            Self::ToldOfUpdate => "a connection was not told of an update",
            Self::Once => "a signal is heard twice",
            Self::Concern => "a signal is heard by somebody whom it does not concern",
            Self::SenderOrder => "signals of one sender come out of order",
            Self::NotSent => "a signal is heard that was not sent",
            Self::Sent => "a signal is lost though nothing was broken",
            Self::Resumed => "a signal is lost without a gap",
            Self::Recovery => "not everything works again",
        })
    }
}

/// Something that is untrue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The promise that was broken.
    pub promise: Promise,
    /// When that was seen.
    pub at: Time,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.what)
    }
}

/// Returns what of a history is untrue. Its entries have to be in the order of their times, and those of one process in
/// the order in which it wrote them.
///
/// ```
/// use std::time::Duration;
/// use wwr_chaos::check::{Promise, Promises, check};
/// use wwr_chaos::history::{Ask, Entry, Event, Op, Outcome, Time};
///
/// let (signal, at) = (Op::new(1, 1), |at, event| Entry { at: Time(at), event });
/// let history = [
///     at(0, Event::Dials(1, 0)),
///     at(1, Event::Asks(signal, Ask::ToAll)),
///     at(2, Event::Heard(1, signal)),
///     at(3, Event::Heard(1, signal)),
///     at(4, Event::Ends(signal, Outcome::Sent(2))),
/// ];
/// let (lease, told_within) = (Duration::from_secs(2), Duration::from_secs(5));
/// let untrue = check(&Promises { limit: 3, lease, told_within }, &history);
/// assert_eq!(untrue[0].promise, Promise::Once);
/// ```
pub fn check(promises: &Promises, history: &[Entry]) -> Vec<Violation> {
    let seen = Seen::of(history);
    let mut found = Vec::new();
    for (at, what) in &seen.stuck {
        found.push(Violation { promise: Promise::Recovery, at: *at, what: what.clone() });
    }
    let checks: [fn(&Promises, &Seen, &mut Vec<Violation>); 4] =
        [holders::check, sessions::check, signals::check, resumed::check];
    for check in checks {
        check(promises, &seen, &mut found);
    }
    found.sort_by_key(|violation| violation.at);
    found
}
