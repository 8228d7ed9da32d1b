//! What clients, nodes and the conductor saw, and when.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::fault::Fault;

/// A time in nanoseconds, by the monotonic clock of the machine, which all of its processes share.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Time(pub u64);

impl Time {
    /// The time after this one by so much.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long this is after an earlier time.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A node: its place among the nodes.
pub type Node = u8;

/// A client: a number that no other client of any process has.
pub type Client = u32;

/// A connection of a server: unique in one run of one node.
pub type Connection = u64;

/// What a client does, numbered. Later ones of the same client have higher numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Op(pub u64);

impl Op {
    /// The operation of this client with this number.
    pub const fn new(client: Client, number: u32) -> Self {
        Self(((client as u64) << 32) | number as u64)
    }

    /// Whose it is.
    pub const fn client(self) -> Client {
        (self.0 >> 32) as Client
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.client(), self.0 & 0xffff_ffff)
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A session is named by the log-in that has created it. That is its first value as well: values are the updates that
/// wrote them.
pub type Session = Op;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Create the session of this name.
    Login,
    /// Restore a session.
    Restore(Session),
    /// Replace the value of the session.
    Update(Session),
    /// Give the session up on this connection.
    Logout(Session),
    /// Close a session for all.
    Close(Session),
    /// Join a group.
    Join(u32),
    /// Send a signal to a session.
    ToSession(Session),
    /// Send a signal to a group.
    ToGroup(u32),
    /// Send a signal to all.
    ToAll,
}

/// How that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The server has said that it is done.
    Done,
    /// The session was restored, with this value.
    Restored(Op),
    /// There is no such session.
    NotFound,
    /// The session has as many connections as it may have.
    Limit,
    /// The signal was passed on to so many nodes.
    Sent(u32),
    /// It was not passed on to other nodes.
    NotSent,
    /// It is not known whether it was passed on.
    Unclear,
    /// It failed, or nobody knows. It may have been done, or may be done later.
    Failed,
}

/// Something that was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// The conductor begins to break something.
    Fault(Fault),
    /// The conductor has mended that.
    Mended,
    /// Sessions could be created on each node and restored on each other one.
    Working,
    /// That, or what clients have in the end, did not come true within the bound.
    Stuck(String),

    /// A run of a node begins.
    Starts(Node),
    /// A node looks at which connections hold which session: what [`Held`](Self::Held) and
    /// [`Dropped`](Self::Dropped) before it said of this node was so at this time, and since the last look.
    Look(Node),
    /// A node finds that a connection holds a session. The time is that of the look.
    Held(Node, Connection, Session),
    /// A node finds that a connection does not hold it any more.
    Dropped(Node, Connection, Session),
    /// A node has lost its lease, or could not use the engine, or may have missed news, since the last look or still.
    Troubled(Node),
    /// A node was told that the session is destroyed.
    Destroyed(Node, Session),

    /// A client begins to connect to a node. It resumes the session that it has, before anything else.
    Dials(Client, Node),
    /// It is connected.
    Connected(Client),
    /// Its connection has ended.
    Disconnected(Client),
    /// It asks for something.
    Asks(Op, Ask),
    /// That has ended.
    Ends(Op, Outcome),
    /// It has a session with this value, newly: created or restored.
    Has(Client, Session, Op),
    /// The session that it has got this value.
    Updated(Client, Session, Op),
    /// It has no session any more: it was closed or lost.
    Left(Client),
    /// The session that it had was not found when it connected again.
    Lost(Client, Session),
    /// It has heard a signal.
    Heard(Client, Op),
    /// It was too slow to take what it was told.
    Missed(Client),
    /// It resumes signals to its session from now on, until the end.
    Resumes(Client),
    /// All signals that it has missed have come, so many.
    Resumed(Client, u64),
    /// Some that it has missed will not come.
    Gap(Client),
}

/// What was seen, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When. Of something that a process was told, when it took notice, which may be later.
    pub at: Time,
    /// What.
    pub event: Event,
}

impl Entry {
    /// Reads a line of a history.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn read(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line)
    }

    /// Returns it as a line.
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("entries can be written") + "\n"
    }
}
