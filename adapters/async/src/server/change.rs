//! How the session of a connection changed.

use wwr::Session;
use wwr::server::ClosedBy;

/// How the session of a connection changed, with the session as it was and as it is. For
/// [`Handler::session_changed`](super::Handler::session_changed).
///
/// On one connection, each [`Created`](Self::Created) and [`Restored`](Self::Restored) is followed by
/// one [`Closed`](Self::Closed) or [`Lost`](Self::Lost), before the next.
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
    /// The connection has none any more, and stays open. Other connections may still hold it.
    Closed {
        /// The session as it was.
        session: Session,
        /// On whose behalf.
        by: ClosedBy,
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
            Self::Closed { session, .. } | Self::Lost { session } => Some(session),
        }
    }

    /// Returns the session that the connection has after the change.
    pub const fn after(&self) -> Option<&Session> {
        match self {
            Self::Created { session } | Self::Restored { session } => Some(session),
            Self::Closed { .. } | Self::Lost { .. } => None,
        }
    }
}
