//! How the session of a connection changed.

use wwr::Session;
use wwr::server::{ClosedBy, Fate};

/// How the session of a connection changed, with the session as it was and as it is. For
/// [`Handler::session_changed`](super::Handler::session_changed).
///
/// On one connection, each [`Created`](Self::Created) and [`Restored`](Self::Restored) is followed by
/// one [`Closed`](Self::Closed) or [`Lost`](Self::Lost), before the next. Between them come
/// [`Updated`](Self::Updated) and [`Rotated`](Self::Rotated), in the same order on all connections of the
/// session. What was after one change is before the next one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SessionChange {
    /// The application has created it, the client knows it, and the store has answered.
    Created {
        /// The session as it is.
        session: Session,
    },
    /// The client has restored it (protocol §5.6).
    Restored {
        /// The session as it is, with the time of the look-up before.
        session: Session,
    },
    /// Its information was replaced, by this connection or another one
    /// ([`Connection::update_session`](super::Connection::update_session)).
    Updated {
        /// The session as it was.
        before: Session,
        /// The session as it is.
        session: Session,
    },
    /// It has a new key, by this connection or another one
    /// ([`Connection::rotate_session_key`](super::Connection::rotate_session_key)).
    Rotated {
        /// The session as it was, with the old key.
        before: Session,
        /// The session as it is.
        session: Session,
    },
    /// The connection has none any more, and stays open.
    Closed {
        /// The session as it was.
        session: Session,
        /// On whose behalf.
        by: ClosedBy,
        /// What becomes of the session. Of the connections that hold a session, one at most is told that it
        /// is [destroyed](Fate::Destroyed), unless it was closed [by its key](ClosedBy::Key): then all of
        /// them are.
        fate: Fate,
    },
    /// The connection has ended while it held the session, which a client can restore (protocol
    /// §5.9).
    Lost {
        /// The session as it was.
        session: Session,
    },
}

impl SessionChange {
    /// Returns the session that the connection had before the change.
    pub const fn before(&self) -> Option<&Session> {
        match self {
            Self::Created { .. } | Self::Restored { .. } => None,
            Self::Updated { before, .. } | Self::Rotated { before, .. } => Some(before),
            Self::Closed { session, .. } | Self::Lost { session } => Some(session),
        }
    }

    /// Returns the session that the connection has after the change.
    pub const fn after(&self) -> Option<&Session> {
        match self {
            Self::Created { session }
            | Self::Restored { session }
            | Self::Updated { session, .. }
            | Self::Rotated { session, .. } => Some(session),
            Self::Closed { .. } | Self::Lost { .. } => None,
        }
    }
}
