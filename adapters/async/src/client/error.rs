//! Why a client did not start, a connection failed, or a request has no reply.

use std::borrow::Cow;
use std::sync::Arc;

use wwr::FormatError;
use wwr::client::{ConnectError as Kind, Misuse, RequestError};
use wwr::wire::InvalidName;

use super::config::InvalidConfig;
use super::url::InvalidUrl;

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request was made, and ended without a reply. The error says whether repeating it is
    /// safe.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The state of the client does not allow the call; nothing was sent.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// The name cannot be sent. Nothing was sent.
    #[error("invalid name: {0}")]
    InvalidName(#[from] InvalidName),
    /// A value cannot be written as a payload. Nothing was sent.
    #[error(transparent)]
    Unwritable(FormatError),
    /// The server has handled the request, but its reply is not of the expected type.
    #[error("the reply is not what was expected: {0}")]
    Unreadable(FormatError),
    /// The task of the client has ended, because its executor has.
    #[error("the client has ended")]
    Ended,
}

impl Error {
    /// Returns the code of the application on the server, if it answered with an error of its own, with
    /// U+FFFD for bytes that are not UTF-8.
    ///
    /// ```
    /// # use wwr_async::client::Error;
    /// fn explain(error: &Error) -> String {
    ///     match error.code().as_deref() {
    ///         Some("NAME_TAKEN") => "Choose another name.".to_owned(),
    ///         _ => error.to_string(),
    ///     }
    /// }
    /// ```
    pub fn code(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Request(RequestError::Failed(reply)) => Some(reply.code()),
            _ => None,
        }
    }
}

/// Why a connection failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The attempt failed.
    #[error("{kind}{}", cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default())]
    Failed {
        /// What failed.
        kind: Kind,
        /// What the system or the server said, as text for people.
        cause: Option<Arc<str>>,
    },
    /// The client was closed, or its executor has ended, before the attempt did.
    #[error("the client was closed before it was connected")]
    Closed,
}

impl ConnectError {
    /// Returns what failed. `None` if the attempt was stopped before it failed.
    pub const fn kind(&self) -> Option<&Kind> {
        match self {
            Self::Failed { kind, .. } => Some(kind),
            Self::Closed => None,
        }
    }
}

/// Why a client did not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The URL is invalid.
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// The settings are wrong.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// The first attempt to connect failed.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The thread that blocking clients share did not start. With what the system said, as text for
    /// people. Not of an async client.
    #[error("cannot start the thread of blocking clients: {0}")]
    Thread(Arc<str>),
}
