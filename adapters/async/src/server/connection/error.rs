//! Why a connection refuses what the application wants.

use wwr::server::{Misuse, RequestError};
use wwr::session::EditFailure;
use wwr::wire::{InvalidName, UnreadableSignal};

use crate::inbox::Refused;

/// Why a signal was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignalError {
    /// The connection has ended.
    #[error("the connection has ended")]
    Disconnected,
    /// Too many bytes already wait for the client: it reads too slowly, or its handler has not
    /// awaited anything since, so that nothing could be written.
    /// [`Connection::ready`](crate::server::Connection::ready) waits for room. What else may happen then
    /// is up to [`Limits::slow_readers`](crate::server::Limits::slow_readers).
    #[error("too many bytes wait for this client already (limits.max_signal_backlog)")]
    Backlogged,
    /// Too many bytes already wait for the client, and it is disconnected for that
    /// ([`SlowReader::Disconnect`](crate::server::SlowReader::Disconnect)).
    #[error("the client reads too slowly and is disconnected (limits.slow_readers)")]
    TooSlow,
    /// The client would not read such a signal.
    #[error(transparent)]
    Unreadable(#[from] UnreadableSignal),
    /// The name cannot be sent.
    #[error("invalid name: {0}")]
    InvalidName(#[from] InvalidName),
    /// JSON cannot express the value; the log says why.
    #[error("the value cannot be written")]
    Unwritable,
}

impl From<Refused> for SignalError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Closed => Self::Disconnected,
            Refused::Full => Self::Backlogged,
            Refused::Overflowed => Self::TooSlow,
        }
    }
}

/// Why a session was not created, changed or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The connection has ended.
    #[error("the connection has ended")]
    Disconnected,
    /// The state of the connection does not allow it.
    #[error(transparent)]
    Misuse(Misuse),
    /// The key generator failed; the log says why.
    #[error("no session key could be made")]
    NoKey,
    /// The session store failed; the log says why.
    #[error("the session store failed")]
    Store,
    /// The store does not have the session that was to be changed: it could not be stored when it was
    /// created, it has expired, or it was removed by others than this server.
    #[error("the session is not in the store")]
    NotStored,
    /// The session was closed before it was changed.
    #[error("the session was closed meanwhile")]
    Ended,
}

impl From<EditFailure> for SessionError {
    fn from(failure: EditFailure) -> Self {
        match failure {
            EditFailure::NotStored => Self::NotStored,
            EditFailure::Ended => Self::Ended,
            _ => Self::Store,
        }
    }
}

impl From<SessionError> for RequestError {
    /// Lets handlers use `?`. Clients learn that sessions are disabled; any other error is only an
    /// internal error for them.
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Misuse(misuse) => misuse.into(),
            SessionError::Disconnected
            | SessionError::NoKey
            | SessionError::Store
            | SessionError::NotStored
            | SessionError::Ended => Self::Internal,
        }
    }
}

impl From<SignalError> for RequestError {
    /// Lets handlers use `?`. It is only an internal error for clients.
    fn from(_: SignalError) -> Self {
        Self::Internal
    }
}
