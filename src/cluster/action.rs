//! What a node wants done, and what it tells.

use alloc::boxed::Box;
use core::time::Duration;

use bytes::Bytes;

use super::engine::{Audience, Epoch, Request};
use crate::session::ConnectionId;
use crate::wire::PreparedSignal;

/// What the host of a node has to do, in the order of the list.
#[derive(Clone, Debug, PartialEq)]
pub enum ClusterAction {
    /// Ask the engine this, then call [`Hub::engine_answered`](crate::server::Hub::engine_answered). Send
    /// requests in the order of these actions, without waiting for the answers of earlier ones.
    Engine(EngineJob),
    /// The engine did not answer in time. The hub treats that as a failure. Give the job up, and log it. A
    /// later answer is ignored.
    EngineTimedOut {
        /// The job.
        job: EngineJobId,
    },
    /// The node takes part from now on. Listen to the news for this epoch, and no more to those for earlier
    /// ones. When the host listens, and each time that it does so again, it passes on
    /// [`News::Interrupted`](super::News::Interrupted).
    Entered {
        /// The run of the node.
        epoch: Epoch,
    },
    /// The node takes no part any more, until it enters again. Nobody waits for the answers to its questions any more,
    /// but to [`Send`](Request::Send): give them up.
    Lost {
        /// Why.
        cause: LostBy,
        /// How many connections are closed because of that.
        connections: usize,
    },
    /// Another node has sent this: pass it on to the connections here that it concerns.
    Message {
        /// Whom it concerns.
        to: Audience,
        /// The message.
        message: Bytes,
    },
    /// Send this signal, which is one to its session, to a connection that does not read it from the history. In the
    /// order of the actions, and behind the news that the connection holds its session.
    Signal {
        /// The connection. If it has ended, drop this.
        to: ConnectionId,
        /// The signal.
        signal: PreparedSignal,
    },
    /// What became of a message that [`Hub::send`](crate::server::Hub::send) was to pass on, or of a signal that
    /// [`Hub::signal_session`](crate::server::Hub::signal_session) was to append to a history. Appended exactly once for
    /// each.
    Sent {
        /// The message.
        id: MessageId,
        /// What became of it.
        outcome: SendOutcome,
    },
}

/// A question to the engine.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineJob {
    /// For the answer.
    pub id: EngineJobId,
    /// What to ask.
    pub request: Box<Request>,
}

/// Identifies a question to the engine. A hub never uses one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EngineJobId(pub(super) u64);

/// Identifies a message to other nodes. A hub never uses one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub(super) u64);

/// What became of a message to other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendOutcome {
    /// The engine has passed it on, or appended it to the history of its session.
    Sent {
        /// To so many nodes.
        nodes: u32,
    },
    /// It was not sent: the engine is away or cannot pass it on, or the node has retired.
    Unavailable,
    /// It was not sent: the engine was away for longer than a message may wait.
    Expired {
        /// How long it has waited.
        waited: Duration,
    },
    /// It was not sent: too many bytes wait.
    Full,
    /// The engine did not answer. It may have been passed on, and is not sent again.
    Unknown,
}

/// Why a node takes no part any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LostBy {
    /// The engine has not renewed the lease for four fifths of it.
    Silence,
    /// The lease has run out, or the engine has lost it.
    LeaseEnded,
    /// Another node has acted upon the end of the lease.
    Fenced,
    /// The node was to [retire](crate::server::Hub::retire).
    Retired,
}

/// How a node stands to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClusterState {
    /// It takes no part: sessions are neither created nor restored.
    Outside,
    /// It takes part, and the engine answers.
    Member {
        /// The run of the node.
        epoch: Epoch,
        /// Whether it first confirms the sessions that it has, since the engine may have lost some.
        confirms: bool,
    },
    /// The engine has failed. Sessions stay until the lease ends; nothing is asked of it but to renew that.
    Away {
        /// The run of the node.
        epoch: Epoch,
    },
    /// It takes no part, and never will.
    Retired,
}

/// What a node has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterCounters {
    /// Questions to the engine.
    pub requests: u64,
    /// Those that failed, without those that were not answered in time.
    pub failed: u64,
    /// Those that were not answered in time.
    pub timed_out: u64,
    /// How often the node has entered.
    pub entered: u64,
    /// How often it has lost its part.
    pub lost: u64,
    /// How often the engine was found to be away.
    pub away: u64,
    /// Commands of connections that failed at once, because the engine was away.
    pub refused: u64,
    /// Connections that were closed because their sessions were lost here, for now.
    pub dropped: u64,
    /// How often the places of a session were confirmed or given up.
    pub confirms: u64,
    /// News of changes that this node had not heard of.
    pub hints: u64,
    /// How often news may have been lost.
    pub interruptions: u64,
    /// How often the data of the engine were others than before.
    pub data_changes: u64,
    /// How often histories were read.
    pub history_reads: u64,
    /// Messages that were passed on to the engine, and it has answered.
    pub messages_sent: u64,
    /// Messages that were not sent.
    pub messages_refused: u64,
    /// Messages of which it is not known whether they were sent.
    pub messages_lost: u64,
    /// Messages of other nodes.
    pub messages_received: u64,
}
