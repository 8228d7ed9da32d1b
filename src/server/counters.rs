//! What connections and their hub count, for operators.

use core::time::Duration;

use crate::session::Change;

/// What happened on a connection since its host last took the counters, see
/// [`Connection::take_counters`](super::Connection::take_counters). They wrap: take them before 2^32
/// of anything have happened.
///
/// Each request that was passed to the application counts in `requests`, and at its end in exactly one of
/// `replied`, `failed`, `internal` and `lost`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Requests that were passed to the application.
    pub requests: u32,
    /// Requests that were answered with a reply.
    pub replied: u32,
    /// Requests that were answered with an error of the application.
    pub failed: u32,
    /// Requests that were answered with an internal error, also because the client cannot read the reply.
    pub internal: u32,
    /// Requests whose handlers still ran when the connection was closed. They have no answer.
    pub lost: u32,
    /// Requests and messages about sessions that were answered with the shutdown reply, because the
    /// connection was closing. The application does not know of them.
    pub refused: u32,
    /// Messages without effect: unreadable, of an unknown kind, or of a kind that only servers send
    /// (protocol §5.2).
    pub ignored: u32,
    /// Signals that were passed to the application.
    pub signals: u32,
    /// Signals that were sent to the client.
    pub signals_sent: u32,
}

impl Counters {
    /// Nothing has happened.
    pub(super) const NONE: Self = Self {
        requests: 0,
        replied: 0,
        failed: 0,
        internal: 0,
        lost: 0,
        refused: 0,
        ignored: 0,
        signals: 0,
        signals_sent: 0,
    };
}

/// Counts one more, for each message in one instruction: the number begins again after 2^32 of them.
#[inline]
pub(super) const fn count(counter: &mut u32) {
    *counter = counter.wrapping_add(1);
}

/// What a [`Hub`](super::Hub) has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HubCounters {
    /// Connections whose WebSocket was opened.
    pub opened: u64,
    /// What happened to sessions.
    pub sessions: SessionCounters,
    /// What the session store had to do.
    pub store: StoreCounters,
}

/// What happened to the sessions of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionCounters {
    /// Sessions that were created.
    pub created: u64,
    /// Sessions that were not created: the store failed, or the key was in use.
    pub not_created: u64,
    /// Connections that were given a session which they had asked to restore.
    pub restored: u64,
    /// Connections that asked to restore a session that does not exist. Many of them may mean that keys
    /// are guessed.
    pub not_found: u64,
    /// Connections that asked to restore a session with too many connections.
    pub limit_reached: u64,
    /// Connections that asked to restore a session while the store failed.
    pub lookup_failed: u64,
    /// Connections whose session was closed, by their client or by the application.
    pub closed: u64,
    /// Connections that asked to close their session while the store failed. They keep it.
    pub not_closed: u64,
    /// Changes of only the info of a session, as far as the connection that asked for them was still there.
    pub updated: u64,
    /// Changes of the key of a session, maybe with its info, as far as the connection that asked for them was
    /// still there.
    pub rotated: u64,
    /// Changes of the info or the key of a session that failed, because of the store or because the session
    /// has ended before their turn. Those that wait when their own connection closes the session or ends do
    /// not count.
    pub not_edited: u64,
    /// Sessions whose last connection ended without closing them. They can be restored until they
    /// expire.
    pub lost: u64,
}

impl SessionCounters {
    /// Counts news for a connection.
    pub(super) const fn count(&mut self, change: &Change) {
        let counter = match change {
            Change::Restored(_) => &mut self.restored,
            Change::NotFound => &mut self.not_found,
            Change::LimitReached => &mut self.limit_reached,
            Change::LookupFailed => &mut self.lookup_failed,
            Change::Created => &mut self.created,
            Change::CreateFailed => &mut self.not_created,
            Change::Closed
            | Change::Detached
            | Change::ClosedByKey { .. }
            | Change::ClosedByOther { .. } => &mut self.closed,
            Change::CloseFailed => &mut self.not_closed,
            Change::Updated { own: true, .. } => &mut self.updated,
            Change::Rotated { own: true, .. } => &mut self.rotated,
            Change::EditFailed(_) => &mut self.not_edited,
            // It was counted when it was created, or counts for the connection that asked for it.
            Change::Stored
            | Change::Updated { own: false, .. }
            | Change::Rotated { own: false, .. } => return,
        };
        *counter += 1;
    }
}

/// What the session store had to do, by operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreCounters {
    /// Looking a session up. Also done for sessions in use, so that they do not expire.
    pub look_up: JobCounters,
    /// Storing a new session.
    pub create: JobCounters,
    /// Changing the info of a session.
    pub update: JobCounters,
    /// Removing a session.
    pub destroy: JobCounters,
    /// Removing expired sessions.
    pub expire: JobCounters,
}

/// How the jobs of one operation ended. Those that the store has not answered yet are not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobCounters {
    /// Jobs that were done.
    pub done: u64,
    /// Jobs that failed.
    pub failed: u64,
    /// Jobs without an answer in time. Each counts as a failure for what had asked for it.
    pub timed_out: u64,
    /// How long all of these took together.
    pub total: Duration,
    /// How long the longest took.
    pub longest: Duration,
}

/// How a job ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum JobEnd {
    Done,
    Failed,
    TimedOut,
}

impl JobCounters {
    pub(super) fn count(&mut self, end: JobEnd, took: Duration) {
        match end {
            JobEnd::Done => self.done += 1,
            JobEnd::Failed => self.failed += 1,
            JobEnd::TimedOut => self.timed_out += 1,
        }
        self.total = self.total.saturating_add(took);
        self.longest = self.longest.max(took);
    }

    /// Returns how many jobs have ended.
    pub const fn ended(&self) -> u64 {
        self.done + self.failed + self.timed_out
    }
}
