//! The commands, effects and news between connections, the registry and the host.

use alloc::boxed::Box;

use super::key::SessionKey;
use super::object::Session;

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
    /// with [`Change::Closed`] or [`Change::CloseFailed`].
    Close(SessionKey),
    /// The connection ends, or gives up a restoration. Destroys nothing, has no outcome.
    Leave(SessionKey),
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
    /// Delete a session from the store, then call [`Registry::destroyed`](super::Registry::destroyed).
    Destroy {
        /// For the answer.
        ticket: Ticket,
        /// The key of the session.
        key: SessionKey,
    },
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
    /// The connection no longer holds a session.
    Closed,
    /// The store could not destroy the session; the connection still holds it.
    CloseFailed,
    /// The application closed the session for all its connections.
    ClosedByKey {
        /// Whether to close the connection as well.
        disconnect: bool,
    },
}

/// The store failed. Details are for the host's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session store failed")]
pub struct StoreFailed;
