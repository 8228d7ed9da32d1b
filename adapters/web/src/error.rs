//! Why a client did not start, a connection failed, or a request has no reply.

use std::borrow::Cow;

use wwr::client::{ConnectError as Kind, Misuse, RequestError};
use wwr::{FormatError, InvalidConfig, InvalidName};

/// Why there is no client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The URL cannot be read, has another scheme than `ws`, `wss`, `http` and `https`, or names a user.
    #[error("not the URL of a server: it has the scheme ws, wss, http or https, and names no user")]
    InvalidUrl,
    /// The page came by HTTPS, and the URL has no TLS. Browsers refuse that ("mixed content").
    #[error(
        "this page came by https, so the browser refuses connections without TLS: use a server with TLS \
         (wss://), or open the page by http"
    )]
    MixedContent,
    /// The settings are wrong.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
}

impl StartError {
    /// Returns a short name for programs and logs. It does not change with versions of this crate.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::InvalidUrl => "invalid-url",
            Self::MixedContent => "mixed-content",
            Self::Config(_) => "invalid-setting",
        }
    }
}

/// Why a connection failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The attempt failed. Browsers do not tell pages why a WebSocket could not be opened; the console of the
    /// browser shows it to people.
    #[error(transparent)]
    Failed(#[from] Kind),
    /// The client was closed before it was connected.
    #[error("the client was closed before it was connected")]
    Closed,
}

impl ConnectError {
    /// Returns a short name for programs and logs. It does not change with versions of this crate.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Failed(kind) => kind.name(),
            Self::Closed => "closed",
        }
    }
}

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request was made, and ended without a reply. The error says whether repeating it is safe.
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
    /// So much waits for the server to read it that nothing is added. Nothing was sent.
    #[error("too many bytes wait for the server to read them; try again later")]
    Backlogged,
}

impl Error {
    /// Returns a short name for programs and logs. It does not change with versions of this crate.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Request(error) => error.name(),
            Self::Misuse(misuse) => misuse.name(),
            Self::InvalidName(_) => "invalid-name",
            Self::Unwritable(_) => "unwritable",
            Self::Unreadable(_) => "unreadable",
            Self::Backlogged => "backlogged",
        }
    }

    /// Returns the code of the application on the server, if it answered with an error of its own, with
    /// U+FFFD for bytes that are not UTF-8.
    pub fn code(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Request(RequestError::Failed(reply)) => Some(reply.code()),
            _ => None,
        }
    }
}
