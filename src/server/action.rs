//! What a server connection wants done.

use alloc::boxed::Box;

use bytes::Bytes;

use super::in_flight::{RequestId, SignalId};
use super::questions::{Answered, QuestionId};
use super::recovery::RecoveryCommand;
use super::session::{CreationId, EditId};
use crate::close::CloseFrame;
use crate::dialect::Dialect;
use crate::session::{self, EditFailure, Session};
use crate::wire::Content;

/// What the host has to do for a [`Connection`](super::Connection), in the order of the list.
///
/// The tag takes a whole word, so that a move copies whole words.
#[derive(Clone, Debug, PartialEq)]
#[repr(u64)]
pub enum Action {
    /// Send these bytes as one binary WebSocket message. The host may delay sending until it has
    /// nothing more to handle, so that many messages go out in one write.
    Send(Bytes),
    /// Run the application's handler, then call [`reply`](super::Connection::reply) once.
    Request(Request),
    /// Run the application's handler, then call
    /// [`signal_handled`](super::Connection::signal_handled) once.
    Signal(Signal),
    /// Hand this to [`Hub::handle`](super::Hub::handle).
    Session(session::Command),
    /// Hand this to [`Hub::recover`](super::Hub::recover).
    Recover(Box<RecoveryCommand>),
    /// Send a WebSocket ping: nothing was heard from the peer for a long time.
    Ping,
    /// The peer has turned out to speak this dialect. For hosts that show it, and for hosts that
    /// check signals before the connection does.
    Learned(Dialect),
    /// The client has stated the longest message that it reads, in bytes (protocol §10.2):
    /// [`Connection::peer_reads`](super::Connection::peer_reads) from now on.
    PeerReads(u32),
    /// A reply was longer than the peer reads. The peer gets an internal error instead. For the
    /// log.
    ReplyTooLarge {
        /// The length of its message in bytes.
        length: usize,
        /// The most that the peer reads, in bytes: the advertised message buffer, or what it has stated.
        buffer: usize,
    },
    /// The outcome of a question that was [asked](super::Connection::ask). There is exactly one for
    /// each.
    Answered {
        /// The question.
        id: QuestionId,
        /// How it ended. Boxed, so that the actions of every message stay small.
        outcome: Box<Answered>,
    },
    /// The state of the connection's session changed. For callers that wait for it.
    SessionEvent(SessionEvent),
    /// No handler runs on the connection any more, and no new one can begin: tell the
    /// [hub](super::Hub::drained). Appended only after
    /// [`Connection::shut_down`](super::Connection::shut_down), once.
    Drained,
    /// Flush what was sent, send a WebSocket close frame with [`CloseReason::frame`], close the
    /// socket. This is the last action of a connection. Handlers that still run are abandoned.
    Close(CloseReason),
}

/// A request of the client.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// For the reply.
    pub id: RequestId,
    /// Name and payload.
    pub content: Content,
}

/// A signal of the client.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// For reporting that it was handled.
    pub id: SignalId,
    /// Name and payload.
    pub content: Content,
}

/// How the session of a connection changed.
#[derive(Clone, Debug, PartialEq)]
pub enum SessionEvent {
    /// The session asked for with [`create_session`](super::Connection::create_session) exists, the
    /// client was told, and the store has answered. Repeats what that call has returned, and has the session
    /// as it is now.
    Created(CreationId, Box<Session>),
    /// The session was not created: its key is in use, or the store refused it. Repeats what
    /// [`create_session`](super::Connection::create_session) has returned.
    CreateFailed(CreationId),
    /// The client continues this session.
    Restored(Box<Session>),
    /// The connection has no session any more.
    Closed {
        /// The session as it was.
        session: Box<Session>,
        /// On whose behalf.
        by: ClosedBy,
        /// What becomes of the session.
        fate: Fate,
    },
    /// The store could not destroy the session; the connection still has it.
    CloseFailed,
    /// The info of the session was changed, by this connection or another one.
    Updated(Box<Edited>),
    /// The session has got another key, and maybe other info, by this connection or another one.
    Rotated(Box<Edited>),
    /// The session was not changed. Repeats what [`edit_session`](super::Connection::edit_session) has
    /// returned.
    EditFailed(EditId, EditFailure),
}

/// How the info or the key of a session has changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Edited {
    /// The session as it was.
    pub before: Session,
    /// The session as it is.
    pub after: Session,
    /// What [`edit_session`](super::Connection::edit_session) has returned, if this connection has asked for
    /// the change.
    pub edit: Option<EditId>,
    /// If the session is now longer than the client reads, which therefore was not told: the length of its
    /// JSON, and the most that the client reads, in bytes. For the log.
    pub too_long: Option<(usize, usize)>,
}

/// On whose behalf the session of a connection was closed. A session that a connection holds does not
/// expire, and what other clients ask for does not close it here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClosedBy {
    /// The client of this connection has asked for it (protocol §5.7).
    Client,
    /// The application has closed it for this connection (protocol §5.8).
    Application,
    /// The application has closed it by its key, for all connections (protocol §5.8).
    Key,
    /// The application has given it a new key on another connection, and closed it for all connections but
    /// that one ([`OtherConnections::Close`](session::OtherConnections), protocol §5.13).
    OtherConnection,
}

/// What becomes of a session that was closed on a connection (protocol §5.7, §5.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It is destroyed: no other connection held it, or it was closed by its key. If it was closed by its
    /// key, the store may not have answered yet, or fail. If it was closed by another connection, nobody
    /// knows the key that the store may fail to destroy.
    Destroyed,
    /// Other connections hold it.
    LivesOn,
    /// The connection has ended before it was known: the session is destroyed if no other connection holds
    /// it and the store does not fail.
    Unknown,
}

impl Fate {
    pub(super) const fn of(destroyed: bool) -> Self {
        if destroyed { Self::Destroyed } else { Self::LivesOn }
    }
}

/// Why the server closes a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The application asked for it.
    Requested,
    /// The application asked for it, with this code and reason.
    Application(Box<CloseFrame>),
    /// The server is shutting down.
    Shutdown,
    /// The session of the connection was closed and the connection with it.
    SessionClosed,
    /// The client sent too many messages without effect in a row.
    TooManyIgnored,
    /// The host kept feeding messages although [`wants_input`](super::Connection::wants_input)
    /// returned false.
    TooManyWaiting,
    /// Nothing was heard from the peer for the read timeout, or after a ping.
    Silent,
    /// The peer sent text. [Strict](super::Config::strict) servers only, like the next two.
    Text,
    /// The peer sent a message that cannot be read.
    Unreadable,
    /// The peer sent a message longer than the advertised message buffer.
    TooLarge,
}

impl CloseReason {
    /// Returns the status code of the close frame (RFC 6455 §7.4.1).
    pub const fn code(&self) -> u16 {
        match self {
            Self::Application(frame) => frame.code(),
            Self::Requested | Self::SessionClosed => 1000,
            Self::Shutdown => 1001,
            Self::Unreadable => 1002,
            Self::Text => 1003,
            Self::TooManyIgnored | Self::TooManyWaiting | Self::Silent => 1008,
            Self::TooLarge => 1009,
        }
    }

    /// Returns the reason text of the close frame.
    pub fn text(&self) -> &str {
        match self {
            Self::Application(frame) => frame.reason(),
            known => known.known_text(),
        }
    }

    /// Returns the close frame.
    pub fn frame(&self) -> CloseFrame {
        match self {
            Self::Application(frame) => (**frame).clone(),
            known => CloseFrame::known(known.code(), known.known_text()),
        }
    }

    const fn known_text(&self) -> &'static str {
        match self {
            Self::Application(_) => "",
            Self::Requested => "closed by the server",
            Self::Shutdown => "server shutting down",
            Self::SessionClosed => "session closed",
            Self::TooManyIgnored => "too many ignored messages",
            Self::TooManyWaiting => "too many waiting messages",
            Self::Silent => "nothing received for too long",
            Self::Text => "text messages are not accepted",
            Self::Unreadable => "unreadable message",
            Self::TooLarge => "message too large",
        }
    }
}
