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
///
/// Others may change a session faster than the hook ends. What they change meanwhile is told as one
/// change, with the session as it was before the first and as it is after the last.
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
    /// ([`Connection::edit_session`](super::Connection::edit_session)).
    Updated {
        /// The session as it was.
        before: Session,
        /// The session as it is.
        session: Session,
    },
    /// It has a new key, by this connection or another one
    /// ([`SessionEdit::new_key`](super::SessionEdit::new_key)). Its information may be new as well.
    Rotated {
        /// The session as it was, with the old key.
        before: Session,
        /// The session as it is.
        session: Session,
    },
    /// The connection has none any more. It stays open, unless it has ended at the same time.
    Closed {
        /// The session as it was.
        session: Session,
        /// On whose behalf.
        by: ClosedBy,
        /// What becomes of the session. Of the connections that hold a session, one at most is told that it
        /// is [destroyed](Fate::Destroyed), unless it was closed [by its key](ClosedBy::Key): then all of
        /// them are. It is [unknown](Fate::Unknown) if the connection has ended before the store has answered.
        fate: Fate,
    },
    /// The connection has ended while it held the session, which a client can restore (protocol
    /// §5.9). The exception is a connection that has asked for a [new key](super::SessionEdit::new_key) and
    /// has ended at the same time: the session may be destroyed then, as nobody would have its key.
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

    /// Makes one change of two that follow each other, if both are of the info or the key. Returns the later
    /// one if they stay two.
    pub(super) fn merge(&mut self, later: Self) -> Option<Self> {
        use SessionChange::{Rotated, Updated};
        match (&mut *self, later) {
            (
                Updated { session: last, .. } | Rotated { session: last, .. },
                Updated { session, .. },
            )
            | (Rotated { session: last, .. }, Rotated { session, .. }) => *last = session,
            (Updated { before, .. }, Rotated { session, .. }) => {
                *self = Rotated { before: before.clone(), session };
            }
            (_, later) => return Some(later),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use wwr::{SessionInfo, SessionKey, UnixTime};

    use super::*;

    fn session(key: &str, number: u64) -> Session {
        let info = SessionInfo::new().public("number", number);
        Session::new(SessionKey::new(key).unwrap(), UnixTime::from_seconds(0), info)
    }

    fn updated(from: u64, to: u64) -> SessionChange {
        SessionChange::Updated { before: session("k", from), session: session("k", to) }
    }

    fn rotated(from: (&str, u64), to: (&str, u64)) -> SessionChange {
        SessionChange::Rotated { before: session(from.0, from.1), session: session(to.0, to.1) }
    }

    #[test]
    fn changes_of_the_info_and_the_key_become_one_from_the_first_to_the_last() {
        let mut change = updated(1, 2);
        assert_eq!(change.merge(updated(2, 3)), None);
        assert_eq!(change, updated(1, 3));
        assert_eq!(change.merge(rotated(("k", 3), ("n", 3))), None);
        assert_eq!(change, rotated(("k", 1), ("n", 3)));
        let later = SessionChange::Updated { before: session("n", 3), session: session("n", 4) };
        assert_eq!(change.merge(later), None);
        assert_eq!(change.merge(rotated(("n", 4), ("z", 4))), None);
        assert_eq!(change, rotated(("k", 1), ("z", 4)));
    }

    #[test]
    fn the_begin_and_the_end_of_a_session_stay_changes_of_their_own() {
        let ends = [
            SessionChange::Created { session: session("k", 1) },
            SessionChange::Restored { session: session("k", 1) },
            SessionChange::Closed {
                session: session("k", 1),
                by: ClosedBy::Key,
                fate: Fate::Destroyed,
            },
            SessionChange::Lost { session: session("k", 1) },
        ];
        for end in ends {
            let mut change = end.clone();
            assert_eq!(change.merge(updated(1, 2)), Some(updated(1, 2)));
            assert_eq!(change, end);
            let mut change = updated(0, 1);
            assert_eq!(change.merge(end.clone()), Some(end));
            assert_eq!(change, updated(0, 1));
        }
    }
}
