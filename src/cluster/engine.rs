//! What the nodes ask the engine, and what it answers.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::num::{NonZeroU64, NonZeroUsize};
use core::time::Duration;

use bytes::Bytes;

use super::history::{HistoryAnswer, HistoryRequest};
use super::outcomes::{OutcomeAnswer, OutcomeRequest};
use crate::session::{Position, Session, SessionInfo, SessionKey};
use crate::time::UnixTime;

/// A run of a node. Greater than all epochs that the engine gave before, and never given twice, even if the
/// engine has lost its data meanwhile and its clock did not go back: see [`Request::Enter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub NonZeroU64);

/// How often the record of a session was changed: 1 once it is created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// Identifies the data of an engine. Another one means that changes may be lost which the engine had
/// acknowledged: it was restarted, or a replica took over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataId(pub u64);

/// Which nodes were alive at one moment. May be out of date, and is never wrong about the dead: an epoch
/// does not come back to life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// The last epoch that was given before that moment, 0 if there was none.
    pub through: u64,
    /// The epochs that were alive, in order.
    pub alive: Vec<Epoch>,
}

impl Membership {
    /// Returns whether it is known that an epoch is dead. `false` for one that was given later.
    pub fn is_dead(&self, epoch: Epoch) -> bool {
        epoch.0.get() <= self.through && self.alive.binary_search(&epoch).is_err()
    }
}

/// A node that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its run.
    pub epoch: Epoch,
    /// Its name, for people.
    pub name: String,
}

/// The lease of a node, as it was given or renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The run of the node.
    pub epoch: Epoch,
    /// Which data the engine has.
    pub data: DataId,
    /// The last epoch that was given to any node.
    pub through: u64,
    /// The nodes that are alive, this one too, in the order of their epochs.
    pub nodes: Vec<Node>,
}

impl Lease {
    /// Returns which epochs are alive.
    pub fn membership(&self) -> Membership {
        let alive = self.nodes.iter().map(|node| node.epoch).collect();
        Membership { through: self.through, alive }
    }
}

/// How long an engine remembers that a session is closed, that a node is fenced, and the last request of a node
/// about a session: longer than any request may be under way. A node that has not asked anything about a session
/// for so long has no places of it any more.
pub const REMEMBERED: Duration = Duration::from_secs(60);

/// What a node asks. The engine carries out each request at once: nothing happens in between.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Begin a run of a node, with a lease. The epoch is the greatest of: the last epoch plus one, and the
    /// milliseconds that the engine's clock shows since 1970. Answered by [`Answer::Lease`].
    Enter {
        /// The name of the node, for people.
        name: String,
        /// How long the node is alive from now on, by the clock of the engine.
        lease: Duration,
    },
    /// Renew the lease. Nodes whose lease has run out are dead from then on, also this one. Answered by
    /// [`Answer::Lease`] or [`Answer::Dead`].
    Renew {
        /// The run of the node.
        epoch: Epoch,
        /// How long the node is alive from now on, by the clock of the engine.
        lease: Duration,
    },
    /// The node ends. It is dead from then on. Answered by [`Answer::Done`].
    Retire {
        /// The run of the node.
        epoch: Epoch,
    },
    /// Something about one session. Answered by [`Answer::Session`].
    Session(Box<SessionRequest>),
    /// Something about the history of one session. Answered by [`Answer::History`].
    History(Box<HistoryRequest>),
    /// Something about the idempotent requests of a client. Answered by [`Answer::Outcome`].
    Outcome(Box<OutcomeRequest>),
    /// Pass a message on to the other nodes that it concerns, each at most once. Answered by
    /// [`Answer::Sent`].
    Send {
        /// The node that sends it. It does not get it.
        from: Epoch,
        /// Whom it concerns.
        to: Audience,
        /// The message.
        message: Bytes,
    },
    /// Send this node what concerns a group, from now on. Answered by [`Answer::Done`].
    Follow {
        /// The run of the node.
        epoch: Epoch,
        /// The name of the group.
        group: String,
    },
    /// The opposite of [`Follow`](Self::Follow). Answered by [`Answer::Done`].
    Unfollow {
        /// The run of the node.
        epoch: Epoch,
        /// The name of the group.
        group: String,
    },
}

/// Whom a message concerns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Audience {
    /// The connections of a session: the message goes to the nodes that have places of it.
    Session(SessionKey),
    /// The members of a group: it goes to the nodes that [follow](Request::Follow) it.
    Group(String),
    /// All connections: it goes to all nodes.
    All,
}

/// Something about one session.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRequest {
    /// The key of the session.
    pub key: SessionKey,
    /// The run of the node that asks.
    pub epoch: Epoch,
    /// Greater than that of the requests which this run made before. A request of the same number is a
    /// repetition: it changes nothing any more, and has the same answer.
    pub number: u64,
    /// Which epochs this node knows to be dead.
    pub membership: Membership,
    /// If the nodes keep histories: the incarnation of that of this session, if one has to be made. Random, never the
    /// same twice. If the session is open, the answers [`Created`](SessionAnswer::Created),
    /// [`Found`](SessionAnswer::Found) and [`Same`](SessionAnswer::Same) then come in [`Answer::WithHistory`].
    pub history: Option<u64>,
    /// What to do.
    pub step: Step,
}

/// What to do with a session.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Store a new session. Answered by [`Created`](SessionAnswer::Created) or
    /// [`Exists`](SessionAnswer::Exists).
    Create {
        /// The session.
        session: Box<Session>,
        /// How many places this node has of it.
        places: u32,
    },
    /// Take a place. Answered by [`Found`](SessionAnswer::Found), [`NotFound`](SessionAnswer::NotFound) or
    /// [`LimitReached`](SessionAnswer::LimitReached).
    Join {
        /// How many places this node has afterwards, this one too.
        places: u32,
        /// How many places all nodes may have together, `None` for any number.
        limit: Option<NonZeroUsize>,
        /// The time, which becomes that of the last look-up.
        now: UnixTime,
    },
    /// Set how many places this node has, without asking for more than it had. Answered by
    /// [`Placed`](SessionAnswer::Placed).
    Place {
        /// How many places this node has afterwards.
        places: u32,
    },
    /// Give up the places of this node. If no other node has one, the session is closed. Answered by
    /// [`Closed`](SessionAnswer::Closed) or [`Detached`](SessionAnswer::Detached).
    Close,
    /// Close the session for all nodes. The others that have places get [`News::Closed`]. Answered by
    /// [`Closed`](SessionAnswer::Closed), also if there is no such session, or by
    /// [`Changed`](SessionAnswer::Changed).
    CloseForAll {
        /// Close it only if it has this revision: a session that is closed already has another one, so
        /// that who closes it this way knows that no other has. `None`: in any case.
        expected: Option<Revision>,
        /// What its connections are told.
        closing: Closing,
    },
    /// Replace the info of the session. The other nodes that have places get [`News::Changed`]. Answered by
    /// [`Edited`](SessionAnswer::Edited) or [`NotFound`](SessionAnswer::NotFound).
    Edit {
        /// All of its new info.
        info: SessionInfo,
    },
    /// Make sure that this node has its places, and see what it has missed. Answered by
    /// [`Same`](SessionAnswer::Same), [`Found`](SessionAnswer::Found), [`NotFound`](SessionAnswer::NotFound), or
    /// [`LimitReached`](SessionAnswer::LimitReached): then this node has none.
    Confirm {
        /// How many places this node has.
        places: u32,
        /// How many places all nodes may have together, `None` for any number.
        limit: Option<NonZeroUsize>,
        /// The last revision that this node knows.
        known: Revision,
    },
}

/// Why a session is closed for all nodes, and so what its connections are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// The application closes it: [`Change::ClosedByKey`](crate::session::Change::ClosedByKey).
    ByKey {
        /// Whether its connections are closed as well.
        disconnect: bool,
    },
    /// It has another key now, which only connections of the node that asks get:
    /// [`Change::ClosedByOther`](crate::session::Change::ClosedByOther).
    ByOther,
}

/// What the engine answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To [`Request::Enter`] and [`Request::Renew`].
    Lease(Lease),
    /// To [`Request::Renew`]: the lease has run out, or the engine does not know the epoch.
    Dead,
    /// To [`Request::Session`].
    Session(SessionAnswer),
    /// To [`Request::Session`] with a [`history`](SessionRequest::history): also where that ends. For a connection that
    /// has come to hold the session, it begins there: no signal is lost in between. To a node that has places, lost news of a
    /// signal cost a lease at most.
    WithHistory {
        /// [`Created`](SessionAnswer::Created), [`Found`](SessionAnswer::Found) or [`Same`](SessionAnswer::Same).
        answer: SessionAnswer,
        /// The place behind the last signal, at the moment when the request was carried out.
        end: Position,
    },
    /// To [`Request::History`].
    History(HistoryAnswer),
    /// To [`Request::Outcome`].
    Outcome(OutcomeAnswer),
    /// To [`Request::Send`].
    Sent {
        /// How many nodes it was passed on to. For a session, those that have died are among them until their
        /// places are taken from them.
        nodes: u32,
    },
    /// It is done.
    Done,
    /// To [`Request::Send`], [`Request::Follow`] and [`Request::Unfollow`]: the engine works, and cannot carry out this
    /// request, for example because what it has of the group cannot be read. Nothing was changed.
    Failed,
}

/// What the engine answers about a session.
#[derive(Clone, Debug, PartialEq)]
pub enum SessionAnswer {
    /// The session is stored, with revision 1.
    Created,
    /// There is a session of this key, or was one until a moment ago. Nothing was changed.
    Exists,
    /// The node has its places.
    Found {
        /// The session, with the time of the look-up before.
        session: Box<Session>,
        /// Its revision.
        revision: Revision,
    },
    /// There is no such session, or it is closed. The node has no places.
    NotFound,
    /// All places are taken. [`Step::Join`]: the node has those that it had before.
    LimitReached,
    /// The node has its places.
    Placed,
    /// The session is closed.
    Closed,
    /// Other nodes have places of the session. It is as it was.
    Detached,
    /// The session has another revision than the expected one. It is as it was.
    Changed,
    /// The info is replaced.
    Edited {
        /// The new revision.
        revision: Revision,
    },
    /// The node has its places, and knows the last revision.
    Same,
    /// The epoch of this node is dead, and another node has acted upon that. Nothing was changed.
    Fenced,
    /// A request of a greater number was carried out before. Nothing was changed.
    Overtaken,
    /// The engine works, and cannot carry out this request: what it has of the session cannot be read, for example
    /// because it is of a newer release, or it has no room for what is to be stored. Nothing was changed.
    Failed,
}

/// What the engine tells a node, without being asked.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// A session of which this node has places was changed. May be late, or lost.
    Changed {
        /// The key of the session.
        key: SessionKey,
        /// Its revision then.
        revision: Revision,
    },
    /// A session of which this node has places was closed. May be late, or lost.
    Closed {
        /// The key of the session.
        key: SessionKey,
        /// What its connections are told.
        closing: Closing,
    },
    /// A signal was appended to the history of a session of which this node has places. May be late, or lost.
    Appended {
        /// The key of the session.
        key: SessionKey,
        /// The place behind the signal.
        end: Position,
    },
    /// A message of another node.
    Message {
        /// The run that has sent it. A node that has entered again may get what it has sent before.
        from: Epoch,
        /// Whom it concerns.
        to: Audience,
        /// The message.
        message: Bytes,
    },
    /// Some news may have been lost.
    Interrupted,
}

/// The engine did not answer, or by an error. It may have carried out the request, or may yet do so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine did not answer, or by an error")]
pub struct EngineFailed;
