//! Actions and events of a client.

use bytes::Bytes;

use super::error::{ConnectError, RequestError};
use super::questions::{Question, QuestionId};
use super::requests::RequestId;
use crate::close::CloseFrame;
use crate::session::{InvalidSession, Position, Session};
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
    /// Send these bytes as one binary message.
    Send(Bytes),
    /// Send a WebSocket ping; its payload does not matter. When a pong arrives, call
    /// [`handle_pong`](super::Client::handle_pong).
    Ping,
    /// Drop the probe, the dial or the socket, whichever exists, after writing what was sent. The
    /// host reports nothing more about it.
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

/// How a request ended: with a reply, or with the reason why there is no reply.
pub type Outcome = Result<Payload, RequestError>;

/// Something for the application to know.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The connection is ready. A session that was held was resumed or lost before this.
    Connected,
    /// A connection that was reported as [`Connected`](Self::Connected) has ended.
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
    /// The server asks something (protocol §10.4): [answer](super::Client::answer) it. It may come
    /// before [`Connected`](Self::Connected), while the session is being resumed.
    Question(Question),
    /// The answer to this question is not wanted any more: the server has cancelled it, or the
    /// connection has ended.
    QuestionCancelled(QuestionId),
    /// The server created this session, which replaces any that was held.
    SessionCreated(Session),
    /// The server changed the info of the session that is held, its key, or both (protocol §5.13). From now
    /// on the client resumes it by its new key.
    SessionUpdated(Session),
    /// This session was restored: on request, or by the client itself on a new connection. Also
    /// reported when the server's answer comes after the client stopped waiting for it.
    SessionRestored(Session),
    /// The session was resumed, and everything to it has come that the client had missed
    /// ([`Config::resume_signals`](super::Config::resume_signals)).
    SignalsResumed {
        /// How many signals were missed, and have come since [`SessionRestored`](Self::SessionRestored).
        missed: u64,
    },
    /// Signals to the session are missing: the server has not kept them long enough, or the client reads too
    /// slowly. What is left comes next.
    SignalGap {
        /// Behind the last signal that was reported, if the client knew of the history.
        from: Option<Position>,
        /// Where the signals go on; if it is a place in the same history, as many are missing as lie between. `None`
        /// if the server keeps no history.
        to: Option<Position>,
    },
    /// The session was closed, by either side.
    SessionClosed,
    /// The session that was held could not be resumed on a new connection, and is forgotten.
    SessionLost(SessionLoss),
    /// The server did something that it should not do. This event is the only consequence. For the
    /// log.
    Anomaly(Anomaly),
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The network failed, the server ended the connection without a close frame, or the server
    /// broke the rules of WebSocket, for example with a close frame of an invalid code.
    Lost,
    /// The server closed it, with this close frame.
    ClosedByServer(CloseFrame),
    /// The application closed it.
    Closed,
    /// Nothing was heard from the server for too long: the server or the network has gone away
    /// without closing the connection ([`Config::pings`](super::Config::pings)).
    Silent,
    /// The server kept asking although as many questions were open as the client has stated (protocol
    /// §10.4).
    TooManyQuestions,
    /// The client took the server for 1.x, then the server advertised 2.0 with another
    /// sub-protocol. An [`Event::ConnectFailed`] with the details follows.
    Incompatible,
}

impl DisconnectReason {
    /// Returns a short name for programs and logs, such as `closed-by-server`. It does not change with versions
    /// of this crate.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Lost => "connection-lost",
            Self::ClosedByServer(_) => "closed-by-server",
            Self::Closed => "closed",
            Self::Silent => "silent",
            Self::TooManyQuestions => "too-many-questions",
            Self::Incompatible => "incompatible",
        }
    }
}

/// Why a session could not be resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionLoss {
    /// The server does not know the key of the session any more.
    NotFound,
    /// The server has no sessions.
    Disabled,
    /// The server refused with an error, or the request is longer than the server reads.
    Refused,
    /// The server's reply describes no session.
    InvalidReply,
    /// Every attempt failed: no answer, an internal error, too many connections, or a shutdown. If
    /// an answer comes later, [`Event::SessionRestored`] reports it.
    GaveUp,
}

impl SessionLoss {
    /// Returns a short name for programs and logs, such as `session-not-found`. It does not change with versions
    /// of this crate.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NotFound => "session-not-found",
            Self::Disabled => "sessions-disabled",
            Self::Refused => "refused",
            Self::InvalidReply => "invalid-session",
            Self::GaveUp => "gave-up",
        }
    }
}

/// What a server did that it should not do (protocol §6.2, §7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Anomaly {
    /// It sent something that is not a message: empty, of an unknown type, or malformed.
    Unreadable(DecodeError),
    /// It sent a message that only clients send, or a misplaced one, such as a second accept-conf.
    Unexpected(Kind),
    /// It could not read a request and does not say which one: the identifier is zero (Q14-02).
    UnattributedError,
    /// It sent an invalid session object, in a session-created message or as the answer to a
    /// restore-session. After an invalid session-created message, a session that is held stays
    /// held.
    InvalidSession(InvalidSession),
    /// It closed a session although the client holds none.
    NoSessionToClose,
    /// It asked although as many questions were open as the client has stated
    /// ([`Config::max_open_questions`](super::Config::max_open_questions)). The question was refused.
    TooManyQuestions,
}
