//! What a client wants done and told.

use bytes::Bytes;

use super::error::{ConnectError, RequestError};
use super::requests::RequestId;
use crate::close::CloseFrame;
use crate::session::{InvalidSession, Session};
use crate::time::Instant;
use crate::wire::{Content, DecodeError, Kind, Payload};

/// Something for the host to do, in the order of the list.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send the request for metadata ([`preflight`](crate::preflight)), then call
    /// [`handle_probed`](super::Client::handle_probed).
    Probe,
    /// Open the WebSocket, then call [`handle_opened`](super::Client::handle_opened), or
    /// [`handle_refused`](super::Client::handle_refused) if the server's answer was another HTTP
    /// status, or [`handle_disconnect`](super::Client::handle_disconnect) if that failed otherwise.
    Dial,
    /// Send this as one binary message.
    Send(Bytes),
    /// Send a WebSocket ping; its payload does not matter. When a pong arrives, call
    /// [`handle_pong`](super::Client::handle_pong).
    Ping,
    /// Drop the probe, the dial or the socket, whichever there is, after writing what was sent. The
    /// host reports nothing of it any more.
    Hangup,
    /// The outcome of a request. There is exactly one for each [`RequestId`].
    Done {
        /// The request.
        id: RequestId,
        /// How it ended.
        outcome: Outcome,
    },
    /// Something for the application to know.
    Event(Event),
}

/// How a request ended: with a reply, or why without.
pub type Outcome = Result<Payload, RequestError>;

/// Something for the application to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The connection is ready. If a session was held, it was resumed or lost before.
    Connected,
    /// The connection, of which [`Connected`](Self::Connected) was told, is no more.
    Disconnected {
        /// Why.
        reason: DisconnectReason,
        /// When the client will connect again by itself, if it will.
        retry: Option<Instant>,
    },
    /// An attempt to connect failed.
    ConnectFailed {
        /// Why.
        error: ConnectError,
        /// When the client will try again by itself, if it will.
        retry: Option<Instant>,
    },
    /// The server sent a signal.
    Signal(Content),
    /// The server created this session, which replaces any that was held.
    SessionCreated(Session),
    /// This session was restored: on request, or by itself on a new connection. Also when the
    /// server's answer comes after it was no longer waited for.
    SessionRestored(Session),
    /// The session was closed, by either side.
    SessionClosed,
    /// The session that was held could not be resumed on a new connection, and is forgotten.
    SessionLost(SessionLoss),
    /// The server did something strange, without consequence but this. For the log.
    Anomaly(Anomaly),
}

/// Why a connection is no more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// The network failed, the server ended the connection without a close frame, or it broke the
    /// rules of WebSocket, for one with a close frame whose code none may have.
    Lost,
    /// The server closed it, with this close frame.
    ClosedByServer(CloseFrame),
    /// The application closed it.
    Closed,
    /// Nothing was heard of the server for too long: it, or the network, is gone without a word
    /// ([`Config::pings`](super::Config::pings)).
    Silent,
    /// It was taken for one of 1.x, then the server advertised 2.0 with another sub-protocol. An
    /// [`Event::ConnectFailed`] follows that tells which.
    Incompatible,
}

/// Why a session could not be resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionLoss {
    /// The server knows no session of that key any more.
    NotFound,
    /// The server has no sessions.
    Disabled,
    /// The server refused with an error, or does not read messages as long as the request for it.
    Refused,
    /// The server's reply describes no session.
    InvalidReply,
    /// Every attempt failed: no answer, an internal error, too many connections, or a shutdown. If
    /// an answer comes later, [`Event::SessionRestored`] tells of it.
    GaveUp,
}

/// What a server did that it should not do (protocol §6.2, §7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anomaly {
    /// It sent something that is no message: empty, of an unknown type, malformed.
    Unreadable(DecodeError),
    /// It sent a message that only clients send, or one out of place, such as a second accept-conf.
    Unexpected(Kind),
    /// It could not read a request and does not say which: the identifier is zero (Q14-02).
    UnattributedError,
    /// It announced or restored a session that is none. One that is held stays held if this was an
    /// advertised settings.
    InvalidSession(InvalidSession),
    /// It closed a session although none is held.
    NoSessionToClose,
}
