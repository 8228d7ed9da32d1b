//! The commands, effects and news between connections, the registry and the host.

use alloc::boxed::Box;

use super::info::SessionInfo;
use super::key::SessionKey;
use super::object::Session;
use crate::time::UnixTime;

/// A connection, as the registry knows it. The host numbers its connections and uses no number
/// twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct ConnectionId(pub u64);

/// Ties the answer of the store to the effect that asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(super) u64);

/// What a connection asks of the registry.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Continue the session of this key. Ends with [`Change::Restored`],
    /// [`NotFound`](Change::NotFound), [`LimitReached`](Change::LimitReached) or
    /// [`LookupFailed`](Change::LookupFailed).
    Restore(SessionKey),
    /// Store a new session. Ends with [`Change::Created`], then [`Change::Stored`], or only with
    /// [`Change::CreateFailed`].
    Create(Box<Session>),
    /// Close the session for this connection; destroys it if no other connection holds it. Ends
    /// with [`Change::Closed`], [`Change::Detached`] or [`Change::CloseFailed`].
    Close(SessionKey),
    /// Change the session that the connection holds. Ends with [`Change::Updated`] or [`Change::Rotated`]
    /// for every connection of the session (with [`OtherConnections::Close`] only for this one, and with
    /// [`Change::ClosedByOther`] for the others), or with [`Change::EditFailed`] for this one, unless the
    /// connection leaves or closes the session before.
    Edit(Box<EditCommand>),
    /// The connection ends, or gives up a restoration. Destroys nothing, has no outcome.
    Leave(SessionKey),
}

/// An edit of the session of this key.
#[derive(Clone, Debug, PartialEq)]
pub struct EditCommand {
    /// The key that the session has now.
    pub key: SessionKey,
    /// What to change.
    pub edit: Edit,
}

/// What to change of a session, in one step: all of it is changed, or nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// This replaces all of its info.
    Info(SessionInfo),
    /// It gets another key, and maybe other info.
    NewKey(NewKey),
}

/// A new key for a session.
#[derive(Clone, Debug, PartialEq)]
pub struct NewKey {
    /// The key: a fresh one.
    pub key: SessionKey,
    /// The time, which becomes that of the last look-up in the store: the session is in use.
    pub now: UnixTime,
    /// Replaces all of its info, unless `None`.
    pub info: Option<SessionInfo>,
    /// What becomes of the other connections of the session.
    pub others: OtherConnections,
}

/// What becomes of the other connections that hold a session when it gets a new key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OtherConnections {
    /// They keep the session, and are told the new key.
    Keep,
    /// The session is closed for them, as if each had closed it. They are not told the new key.
    Close,
}

/// New info for a session in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// The key of the session.
    pub key: SessionKey,
    /// Replaces all of its info.
    pub info: SessionInfo,
}

/// What the host does for the registry.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Ask the store for a session, then call [`Registry::looked_up`](super::Registry::looked_up).
    Lookup {
        /// For the answer.
        ticket: Ticket,
        /// The key of the session.
        key: SessionKey,
    },
    /// Pass a new session to the store, then call [`Registry::stored`](super::Registry::stored).
    Store {
        /// For the answer.
        ticket: Ticket,
        /// The session to store.
        session: Box<Session>,
    },
    /// Replace the info of a session in the store, then call
    /// [`Registry::updated`](super::Registry::updated).
    Update {
        /// For the answer.
        ticket: Ticket,
        /// The key of the session, and its info.
        update: Box<Update>,
    },
    /// Delete a session from the store, then call [`Registry::destroyed`](super::Registry::destroyed).
    Destroy {
        /// For the answer.
        ticket: Ticket,
        /// The key of the session.
        key: SessionKey,
    },
    /// The store has noted that a session is in use, or the session has ended: the outcome of
    /// [`Registry::renew`](super::Registry::renew). Otherwise the store has failed.
    Renewed(Result<(), StoreFailed>),
    /// Hand this to the connection's machine, after everything that was delivered to it before. If
    /// the connection has ended, drop it.
    Deliver {
        /// The connection.
        connection: ConnectionId,
        /// What happened.
        outcome: Outcome,
    },
}

/// News for a connection about the session of a key.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The key of the session. A connection that has nothing to do with it any more ignores the
    /// news.
    pub key: SessionKey,
    /// What happened.
    pub change: Change,
}

/// The outcome of a command, or what others did to the session of a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The connection now holds this session.
    Restored(Box<Session>),
    /// There is no such session.
    NotFound,
    /// The session has all the connections it may have.
    LimitReached,
    /// The store could not be asked.
    LookupFailed,
    /// The session exists and the connection holds it: announce it to the client.
    Created,
    /// The store has answered about the session that was [`Created`](Self::Created). The session
    /// stays, whatever the answer is.
    Stored,
    /// The session was not created: the key is in use, or the store refused it and sessions are
    /// durable.
    CreateFailed,
    /// The connection no longer holds the session, which is destroyed: no other connection held it.
    Closed,
    /// The connection no longer holds the session. Other connections do.
    Detached,
    /// The store could not destroy the session; the connection still holds it.
    CloseFailed,
    /// The session has this info now.
    Updated {
        /// All of its info.
        info: Box<SessionInfo>,
        /// Whether this is the outcome of the oldest edit of this connection that has none yet.
        own: bool,
    },
    /// The session has another key now, and maybe other info. The news has the old key.
    Rotated {
        /// The session under its new key, as it is stored.
        session: Box<Session>,
        /// Whether this is the outcome of the oldest edit of this connection that has none yet.
        own: bool,
    },
    /// The oldest edit of this connection that has no outcome yet has failed. The connection holds the
    /// session as before.
    EditFailed(EditFailure),
    /// The application closed the session for all its connections.
    ClosedByKey {
        /// Whether to close the connection as well.
        disconnect: bool,
    },
    /// The session got a new key for another connection, and was closed for all but that one
    /// ([`OtherConnections::Close`]), or it got one on another node: connections of this one cannot be told which.
    ClosedByOther {
        /// Whether the session is destroyed: that one has left or closed it meanwhile.
        destroyed: bool,
    },
}

/// Why the info or the key of a session was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum EditFailure {
    /// The store failed, or the new key is in use.
    #[error("the session store failed")]
    Store,
    /// The store does not have the session: it was never stored, has expired, or others have removed it.
    #[error("the session is not in the store")]
    NotStored,
    /// The session was closed meanwhile.
    #[error("the session was closed meanwhile")]
    Ended,
}

/// The store failed. Details are for the host's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session store failed")]
pub struct StoreFailed;
