//! Errors, by cause: the call was wrong, the request failed, or the client could not connect.

use alloc::boxed::Box;
use core::fmt;

use super::protocol::Protocol;
use crate::close::CloseFrame;
use crate::preflight::Version;
use crate::session::InvalidSession;
use crate::wire::{ErrorReply, SpecialReply, UnreadableSignal};

/// The call cannot be carried out. Nothing was sent or kept; the state of the client is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    /// Requests need a connection that is ready or being opened. Signals need one that is ready.
    #[error("not connected")]
    NotConnected,
    /// A request with neither name nor payload, which no server reads.
    #[error("a request needs a name or a payload")]
    EmptyRequest,
    /// The peer does not read such a signal, or no peer does.
    #[error(transparent)]
    UnreadableSignal(#[from] UnreadableSignal),
    /// The message is longer than the server's advertised message buffer (protocol §4.6).
    /// For signals, this is a case of [`UnreadableSignal`](Self::UnreadableSignal).
    #[error(
        "the message has {length} bytes, the server reads at most {buffer}; in 2.0 raise its message \
             buffer, or set the client to 1.4 if the server speaks that, too; in wwr.1 raise the longest \
             message that it reads"
    )]
    TooLarge {
        /// The length of the message in bytes, with the name and what precedes it.
        length: usize,
        /// The most that the server reads, in bytes: its message buffer, or what it has stated
        /// (protocol §10.2).
        buffer: usize,
    },
    /// The client holds a session or is restoring one. Close it first.
    #[error("a session is already held or being restored")]
    SessionHeld,
    /// The connection is ready, so the session of an earlier run cannot be resumed any more before everything
    /// else. Restore it instead.
    #[error("the connection is ready; restore the session instead of resuming it")]
    Connected,
    /// The maximum number of requests have no outcome yet.
    #[error("the maximum number of requests are waiting for a reply")]
    TooManyRequests,
    /// There is no connection, and the queued requests already have the maximum number of bytes.
    #[error("too many bytes are waiting for a connection")]
    QueueFull,
}

impl Misuse {
    /// Returns a short name for programs and logs, such as `queue-full`. It does not change with versions of
    /// this crate.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NotConnected => "not-connected",
            Self::EmptyRequest => "empty-request",
            Self::UnreadableSignal(_) => "unreadable-signal",
            Self::TooLarge { .. } => "too-large",
            Self::SessionHeld => "session-held",
            Self::Connected => "connected",
            Self::TooManyRequests => "too-many-requests",
            Self::QueueFull => "queue-full",
        }
    }
}

/// Why a request has no reply, and whether it is safe to make it again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The application on the server answered with an error of its own.
    #[error("the server answered with error {:?}: {:?}", .0.code(), .0.message())]
    Failed(ErrorReply),
    /// The server failed; it gives no details.
    #[error("internal error of the server; it may have acted on the request")]
    Internal,
    /// The server is shutting down.
    #[error("the server is shutting down and did not handle the request; repeat it later")]
    ServerShutdown,
    /// The server cannot keep the outcome of this [idempotent](super::Client::request_idempotent) request at the
    /// moment.
    #[error(
        "the server cannot keep the outcome now and did not handle the request; repeat it later"
    )]
    NotExecuted,
    /// There is no session of that key.
    #[error("there is no such session; repeating does not help")]
    SessionNotFound,
    /// The session has all the connections it may have.
    #[error("the session has as many connections as it may have; repeat the request later")]
    MaxSessionConnections,
    /// The server has no sessions.
    #[error("the server has no sessions; repeating does not help")]
    SessionsDisabled,
    /// The server could not read the request, or refuses it in its present state.
    #[error("the server refuses the request as a breach of protocol; repeating does not help")]
    Protocol,
    /// The server restored the session, but its reply does not describe a valid one. The client
    /// does not hold it.
    #[error("the server's reply is not a valid session: {0}")]
    InvalidSession(InvalidSession),
    /// The deadline passed.
    #[error("{}", if *.sent {
        "no reply came in time; the server may have acted on the request"
    } else {
        "no connection came in time; the request was never sent, repeating is safe"
    })]
    TimedOut {
        /// Whether the request was sent.
        sent: bool,
    },
    /// The application cancelled it.
    #[error("cancelled; if it was sent, the server may have acted on the request")]
    Cancelled,
    /// There was no connection to send it on.
    #[error("the request was never sent, repeating is safe")]
    NotSent,
    /// The request waited for a connection, and is longer than the server's message buffer, as
    /// advertised on that connection (protocol §4.6).
    #[error(
        "the message has {length} bytes, this server reads at most {buffer}; the request was never \
             sent"
    )]
    TooLarge {
        /// The length of the message in bytes, with the name and what precedes it.
        length: usize,
        /// The most that the server reads, in bytes: its message buffer, or what it has stated
        /// (protocol §10.2).
        buffer: usize,
    },
    /// It was sent, then the connection ended.
    #[error("the connection was lost; the server may have acted on the request")]
    ConnectionLost,
}

impl RequestError {
    /// Returns a short name for programs and logs, such as `connection-lost`. It does not change with versions
    /// of this crate. [`Failed`](Self::Failed) has the code of the application besides.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Failed(_) => "failed",
            Self::Internal => "internal-error",
            Self::ServerShutdown => "shutdown",
            Self::NotExecuted => "not-executed",
            Self::SessionNotFound => "session-not-found",
            Self::MaxSessionConnections => "max-session-connections",
            Self::SessionsDisabled => "sessions-disabled",
            Self::Protocol => "protocol-error",
            Self::InvalidSession(_) => "invalid-session",
            Self::TimedOut { .. } => "timed-out",
            Self::Cancelled => "cancelled",
            Self::TooLarge { .. } => "too-large",
            Self::NotSent => "not-sent",
            Self::ConnectionLost => "connection-lost",
        }
    }

    /// Returns whether the server has not handled the request, so that repeating it cannot do anything
    /// twice. Says nothing about whether that would help.
    ///
    /// ```
    /// use wwr::client::RequestError;
    ///
    /// assert!(RequestError::NotSent.is_repeatable());
    /// assert!(!RequestError::ConnectionLost.is_repeatable());
    /// ```
    pub const fn is_repeatable(&self) -> bool {
        match self {
            Self::ServerShutdown
            | Self::NotExecuted
            | Self::SessionNotFound
            | Self::MaxSessionConnections
            | Self::SessionsDisabled
            | Self::Protocol
            | Self::TimedOut { sent: false }
            | Self::TooLarge { .. }
            | Self::NotSent => true,
            Self::Failed(_)
            | Self::Internal
            | Self::InvalidSession(_)
            | Self::TimedOut { sent: true }
            | Self::Cancelled
            | Self::ConnectionLost => false,
        }
    }
}

impl From<SpecialReply> for RequestError {
    fn from(reply: SpecialReply) -> Self {
        match reply {
            SpecialReply::Shutdown => Self::ServerShutdown,
            SpecialReply::InternalError => Self::Internal,
            SpecialReply::SessionNotFound => Self::SessionNotFound,
            SpecialReply::MaxSessionConnections => Self::MaxSessionConnections,
            SpecialReply::SessionsDisabled => Self::SessionsDisabled,
            SpecialReply::ProtocolError => Self::Protocol,
            SpecialReply::OutcomeUnknown => Self::ConnectionLost,
            SpecialReply::NotExecuted => Self::NotExecuted,
        }
    }
}

/// Why an attempt to connect failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The preflight got no HTTP answer, and the server did not send an accept-conf of 2.0 either.
    #[error("the server gave no HTTP answer")]
    ProbeFailed,
    /// The preflight got no answer in time, and the server did not send an accept-conf of 2.0
    /// either.
    #[error("the server gave no HTTP answer in time")]
    ProbeTimedOut,
    /// The server is shutting down, not up yet, or too busy (status 429, 502, 503 or 504).
    #[error("the server is not available at the moment")]
    Unavailable,
    /// The server speaks another version. [Definite](Self::is_definite).
    #[error(
        "the server speaks protocol version \"{server}\", this client speaks {}",
        .client.advice()
    )]
    IncompatibleVersion {
        /// What the server's preflight answer names, or the version in its accept-conf.
        server: Version,
        /// What the client is set to.
        client: Protocol,
    },
    /// Server and client are made for different application protocols, or only one of them names
    /// its own. Both are text for logs: bytes other than printable ASCII are escaped, long names
    /// are cut after 64 bytes. [Definite](Self::is_definite).
    #[error(
        "the server's sub-protocol is {}, this client's is {}; set both sides to the same",
        Quoted(.server.as_deref()),
        Quoted(.client.as_deref())
    )]
    IncompatibleSubProtocol {
        /// The server's.
        server: Option<Box<str>>,
        /// The client's.
        client: Option<Box<str>>,
    },
    /// The server does not answer like a WebWire server. [Definite](Self::is_definite).
    #[error("there is no WebWire server at this address{}", .client.hint())]
    NotWebWire {
        /// What the client is set to. A client that is set to 1.4 or 1.5 cannot tell a server of
        /// 2.0 from a server of something else.
        client: Protocol,
    },
    /// The WebSocket is open, but the server sent no accept-conf in time, or closed it before.
    #[error(
        "the WebSocket is open, but no accept-conf came in time, with which servers of protocol \
             2.0 and wwr.1 begin; a server of 1.4 or 1.5 needs a client that is set to that or to \"auto\""
    )]
    NoAcceptConf,
    /// The server's first message is not an accept-conf of 2.0. [Definite](Self::is_definite).
    #[error(
        "the server's first message is not an accept-conf, with which servers of protocol 2.0 and wwr.1 \
             begin; a server of 1.4 or 1.5 needs a client that is set to that or to \"auto\""
    )]
    NotAcceptConf,
    /// The WebSocket could not be opened.
    #[error("the WebSocket could not be opened")]
    DialFailed,
    /// The WebSocket was not open in time.
    #[error("the WebSocket could not be opened in time")]
    DialTimedOut,
    /// A proxy on the way requires a login, or another one. [Definite](Self::is_definite): the same one again could
    /// only lock the account.
    #[error("a proxy on the way to the server requires another login")]
    ProxyRefused,
    /// The connection was lost before it was ready: the client was still finding out the version,
    /// or resuming its session.
    #[error("the connection was lost before it was ready")]
    LostBeforeReady,
    /// The server closed the connection before it was ready, with this close frame.
    #[error("the server closed the connection before it was ready: {0}")]
    ClosedBeforeReady(CloseFrame),
}

impl ConnectError {
    /// Returns a short name for programs and logs, such as `dial-failed`. It does not change with versions of
    /// this crate.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ProbeFailed => "probe-failed",
            Self::ProbeTimedOut | Self::DialTimedOut => "timed-out",
            Self::Unavailable => "unavailable",
            Self::IncompatibleVersion { .. } => "incompatible-version",
            Self::IncompatibleSubProtocol { .. } => "incompatible-sub-protocol",
            Self::NotWebWire { .. } => "not-webwire",
            Self::NoAcceptConf => "no-accept-conf",
            Self::NotAcceptConf => "not-accept-conf",
            Self::DialFailed => "dial-failed",
            Self::ProxyRefused => "proxy-refused",
            Self::LostBeforeReady => "connection-lost",
            Self::ClosedBeforeReady(_) => "closed-by-server",
        }
    }

    /// Returns whether every other attempt would fail likewise. Then the client does not try again
    /// without a new call of [`connect`](super::Client::connect).
    pub const fn is_definite(&self) -> bool {
        match self {
            Self::IncompatibleVersion { .. }
            | Self::IncompatibleSubProtocol { .. }
            | Self::NotWebWire { .. }
            | Self::NotAcceptConf
            | Self::ProxyRefused => true,
            Self::ProbeFailed
            | Self::ProbeTimedOut
            | Self::Unavailable
            | Self::NoAcceptConf
            | Self::DialFailed
            | Self::DialTimedOut
            | Self::LostBeforeReady
            | Self::ClosedBeforeReady(_) => false,
        }
    }
}

/// A name in quotation marks, or a text that says there is no name.
struct Quoted<'a>(Option<&'a str>);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => write!(f, "\"{name}\""),
            None => f.write_str("not set"),
        }
    }
}
