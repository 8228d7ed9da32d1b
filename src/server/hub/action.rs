//! What a hub wants done, and what it is told.

use alloc::boxed::Box;
use core::time::Duration;

use super::config::IdleConnections;
use crate::session::{ConnectionId, Outcome, Session, SessionKey, StoreFailed};
use crate::time::Instant;

/// What the host does for a [`Hub`](super::Hub), in the order of the list.
#[derive(Clone, Debug, PartialEq)]
pub enum HubAction {
    /// Hand this to [`Connection::handle_session`](crate::server::Connection::handle_session) of the
    /// connection, after all that was to be delivered to it before.
    Deliver {
        /// The connection. If it has ended, drop this.
        to: ConnectionId,
        /// The news.
        outcome: Outcome,
    },
    /// Call [`Connection::shut_down`](crate::server::Connection::shut_down) with these arguments. A
    /// connection that has ended, but whose handlers still run, keeps the deadline too.
    ShutDown {
        /// The connection.
        to: ConnectionId,
        /// When its handlers are no longer waited for.
        deadline: Instant,
        /// Whether it closes as soon as it is idle.
        idle: IdleConnections,
    },
    /// Call [`Connection::close`](crate::server::Connection::close).
    Close {
        /// The connection.
        to: ConnectionId,
    },
    /// Drop the connection with all its handlers, whatever it is doing, then call
    /// [`Hub::left`](super::Hub::left).
    Abort {
        /// The connection.
        to: ConnectionId,
    },
    /// Have the session store do this, then call [`Hub::answered`](super::Hub::answered).
    Store(Job),
    /// The store did not answer in time: the hub takes that for a failure. Give the job up, and log
    /// it. An answer that comes later is ignored.
    StoreTimedOut {
        /// The job.
        job: JobId,
    },
    /// No sessions expire in this round, because the store failed to note that one of them is in use.
    /// For the log; the next round is on its way.
    ExpirySkipped,
    /// What [`Hub::close_session`](super::Hub::close_session) started has ended. There is exactly one
    /// for each [`WaiterId`].
    Done {
        /// The caller that waits.
        waiter: WaiterId,
        /// How many connections were told that the session is closed.
        told: usize,
        /// Whether the session is destroyed.
        result: Result<(), StoreFailed>,
    },
    /// The shutdown has ended: stop listening, drop what is left. There is exactly one. A host that
    /// keeps the hub after that is still told how jobs of the store end that had begun, and what
    /// their callers wait for.
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

/// What the session store is to do. Each kind has its own [`StoreAnswer`].
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Find the session of this key and note the time of the look-up.
    LookUp(SessionKey),
    /// Keep this new session.
    Create(Box<Session>),
    /// Remove the session of this key.
    Destroy(SessionKey),
    /// Remove the sessions that were not looked up for so long.
    Expire {
        /// How long before `at` the last look-up lies at least.
        unused_for: Duration,
        /// The start of the round, to which the age counts: sessions in use were looked up since.
        at: Instant,
    },
}

/// What the session store answered.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreAnswer {
    /// To [`Work::LookUp`]: the session, if there is one.
    LookedUp(Result<Option<Box<Session>>, StoreFailed>),
    /// To [`Work::Create`].
    Created(Result<(), StoreFailed>),
    /// To [`Work::Destroy`].
    Destroyed(Result<(), StoreFailed>),
    /// To [`Work::Expire`].
    Expired(Result<(), StoreFailed>),
}

/// Names a job of the session store. Never used twice by one hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub(super) u64);

/// Names a call of [`Hub::close_session`](super::Hub::close_session). Never used twice by one hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(pub(super) u64);

/// Why a connection is not admitted. Answer its handshake with 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// As many connections are open as may be.
    #[error("all {max} connections are taken (max_connections)")]
    Full {
        /// [`HubConfig::max_connections`](super::HubConfig::max_connections).
        max: usize,
    },
    /// The server shuts down.
    #[error("the server shuts down")]
    ShuttingDown,
}
