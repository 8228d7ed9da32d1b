//! What happens on a socket.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use wwr::server::gate::Refusal;
use wwr::server::{Answered, CloseReason, QuestionId, Request, SessionEvent};
use wwr::{CloseFrame, Content, Dialect};

use crate::websocket::Violation;

/// Identifies a socket of a server. A [`Host`](crate::Host) gives one out again only after 2^32 others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u64);

/// Something that happened on a socket.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A request came that the server does not decide alone: answer with
    /// [`ServerSocket::answer`](super::ServerSocket::answer), or [`HandshakeEnded`](Self::HandshakeEnded) comes.
    /// Only if [`asks_application`](super::ServerConfig::asks_application) is set.
    Handshake(Box<Handshake>),
    /// A [handshake](Self::Handshake) about which the application was asked has ended without an answer: the client
    /// has gone, the answer took longer than [`handshake_timeout`](super::Limits::handshake_timeout), another
    /// socket needed the place, or the server has stopped. What the application answers now is ignored.
    HandshakeEnded,
    /// A request was refused, or the socket on which it was to come. For the log.
    Refused(Refusal),
    /// A WebSocket is open.
    Connected,
    /// A request of the client: answer with [`ServerSocket::reply`](super::ServerSocket::reply).
    Request(Request),
    /// A signal of the client. The next message is not held up by it.
    Signal(Content),
    /// The session of the connection has changed.
    Session(SessionEvent),
    /// The outcome of a question to the client.
    Answered {
        /// The question.
        id: QuestionId,
        /// How it ended.
        outcome: Box<Answered>,
    },
    /// The client has turned out to speak this dialect. For the log.
    Learned(Dialect),
    /// A reply was longer than the client reads, which gets an internal error instead. For the log.
    ReplyTooLarge {
        /// The length of its message in bytes.
        length: usize,
        /// The most that the client reads, in bytes.
        buffer: usize,
    },
    /// The connection has ended for the application: the last event of a socket that was
    /// [`Connected`](Self::Connected).
    Disconnected(Ended),
}

/// A request about which the application is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Handshake {
    /// The method.
    pub method: String,
    /// The target: path and query, as they were sent.
    pub target: String,
    /// The headers, in the order in which they came.
    pub headers: Vec<(String, Vec<u8>)>,
    /// What follows if the application does not refuse: a WebSocket, or a refusal of the server.
    pub upgrade: Result<(), Refusal>,
}

/// Why a connection has ended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Ended {
    /// The server has closed it.
    ByServer(CloseReason),
    /// The client has closed it, with this close frame.
    ByClient(CloseFrame),
    /// The client broke the rules of WebSocket.
    Violated(Violation),
    /// The network failed, or the client ended the socket without a close frame.
    Lost,
    /// The client took nothing of what was sent to it for too long.
    Stalled,
    /// The server waited for nothing any more.
    Aborted,
}
