//! What a hub wants done, and the answers it gets.

use alloc::boxed::Box;
use core::time::Duration;

use super::config::IdleConnections;
use crate::cluster::ClusterAction;
use crate::session::{ConnectionId, Outcome, Session, SessionKey, StoreFailed, Update};
use crate::time::Instant;

/// What the host has to do for a [`Hub`](super::Hub), in the order of the list.
#[derive(Clone, Debug, PartialEq)]
pub enum HubAction {
    /// Hand this to [`Connection::handle_session`](crate::server::Connection::handle_session) of
    /// the connection, after everything that was delivered to it before.
    Deliver {
        /// The connection. If it has ended, drop this.
        to: ConnectionId,
        /// The news.
        outcome: Outcome,
    },
    /// Call [`Connection::shut_down`](crate::server::Connection::shut_down) with these arguments.
    /// The deadline also counts for a connection that has ended, but whose handlers still run.
    ShutDown {
        /// The connection.
        to: ConnectionId,
        /// When to stop waiting for its handlers.
        deadline: Instant,
        /// Whether it closes as soon as it is idle.
        idle: IdleConnections,
    },
    /// Call [`Connection::close`](crate::server::Connection::close).
    Close {
        /// The connection.
        to: ConnectionId,
    },
    /// Call [`Connection::move_away`](crate::server::Connection::move_away): its session is lost on this node,
    /// and lives on. Only of [clustered](super::Hub::clustered) hubs.
    MoveAway {
        /// The connection.
        to: ConnectionId,
    },
    /// Do this for the node. Only of [clustered](super::Hub::clustered) hubs.
    Cluster(Box<ClusterAction>),
    /// Drop the connection with all its handlers, whatever it is doing, then call
    /// [`Hub::left`](super::Hub::left).
    Abort {
        /// The connection.
        to: ConnectionId,
    },
    /// Let the session store do this, then call [`Hub::answered`](super::Hub::answered).
    Store(Job),
    /// The store did not answer in time. The hub treats that as a failure. Give up the job, and log
    /// it. A later answer is ignored.
    StoreTimedOut {
        /// The job.
        job: JobId,
    },
    /// No sessions expire in this round, because the store failed to renew a session in use. For
    /// the log. The next round is scheduled.
    ExpirySkipped,
    /// An operation that [`Hub::close_session`](super::Hub::close_session) started has ended.
    /// Appended exactly once for each [`WaiterId`].
    Done {
        /// The caller that waits.
        waiter: WaiterId,
        /// How many connections were told that the session is closed.
        told: usize,
        /// Whether the session is destroyed, also under the new key that it was just given. What the store
        /// may keep under the key of an edit that has failed does not count: that key was never told to
        /// any client.
        result: Result<(), StoreFailed>,
    },
    /// The shutdown has ended: stop listening, drop what is left. Appended exactly once. A host
    /// that keeps the hub after that still hears how the open jobs of the store end, and what their
    /// callers wait for.
    Stopped,
}

/// Something for the session store to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// For the answer.
    pub id: JobId,
    /// What to do.
    pub work: Work,
}

/// What the session store has to do. Each kind has its own [`StoreAnswer`].
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Find the session of this key and note the time of the look-up.
    LookUp(SessionKey),
    /// Store this new session.
    Create(Box<Session>),
    /// Replace the info of a session, if it exists.
    Update(Box<Update>),
    /// Remove the session of this key.
    Destroy(SessionKey),
    /// Remove the sessions that were not looked up for `unused_for`.
    Expire {
        /// The least time between the last look-up and `at`.
        unused_for: Duration,
        /// The start of the round, the time for which the age is computed. Sessions in use were
        /// looked up after it.
        at: Instant,
    },
}

/// What the session store answered.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreAnswer {
    /// To [`Work::LookUp`]: the session, if it exists.
    LookedUp(Result<Option<Box<Session>>, StoreFailed>),
    /// To [`Work::Create`].
    Created(Result<(), StoreFailed>),
    /// To [`Work::Update`]: whether the session exists.
    Updated(Result<bool, StoreFailed>),
    /// To [`Work::Destroy`].
    Destroyed(Result<(), StoreFailed>),
    /// To [`Work::Expire`].
    Expired(Result<(), StoreFailed>),
}

impl StoreAnswer {
    pub(super) const fn has_failed(&self) -> bool {
        match self {
            Self::LookedUp(found) => found.is_err(),
            Self::Updated(found) => found.is_err(),
            Self::Created(done) | Self::Destroyed(done) | Self::Expired(done) => done.is_err(),
        }
    }
}

/// Identifies a job of the session store. A hub never uses one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub(super) u64);

/// Identifies a call of [`Hub::close_session`](super::Hub::close_session). A hub never uses one
/// twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(pub(super) u64);

/// Why a connection is not admitted. Answer its handshake with 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The maximum number of connections is reached.
    #[error("all {max} connections are taken (max_connections)")]
    Full {
        /// [`HubConfig::max_connections`](super::HubConfig::max_connections).
        max: usize,
    },
    /// The server shuts down.
    #[error("the server shuts down")]
    ShuttingDown,
}
