//! Messages as values.

use alloc::borrow::Cow;
use core::str::Utf8Error;

use bytes::{Buf, Bytes};

use super::accept_conf::AcceptConf;
use super::answer_refusal::AnswerRefusal;
use super::client_settings::ClientSettings;
use super::history::{HistoryMark, KeptOutcomes, Resume};
use super::identifier::Identifier;
use super::kind::Kind;
use super::name::{InvalidName, MAX_NAME_LENGTH};
use super::payload::{Encoding, Payload, text};

/// A received message. Names and payloads are slices of the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A signal, in either direction; no reply.
    Signal(Content),
    /// A request of the client; exactly one reply.
    Request {
        /// What the reply has to repeat.
        id: Identifier,
        /// Name and payload.
        content: Content,
    },
    /// The successful reply to a request.
    Reply {
        /// The identifier of the request.
        id: Identifier,
        /// The answer; may be empty.
        payload: Payload,
    },
    /// The request failed with a code and a message.
    ErrorReply {
        /// The identifier of the request.
        id: Identifier,
        /// Code and message.
        error: ErrorReply,
    },
    /// The request failed for a reason that has a type of its own.
    SpecialReply {
        /// The identifier of the request.
        id: Identifier,
        /// The reason.
        reply: SpecialReply,
    },
    /// The server created a session for this connection.
    SessionCreated {
        /// The session as JSON (protocol §3.1), not checked here.
        object: Bytes,
    },
    /// The session of this connection was closed.
    SessionClosed,
    /// Asks to close the session of this connection.
    CloseSession {
        /// What the reply has to repeat.
        id: Identifier,
    },
    /// Asks to continue a session.
    RestoreSession {
        /// What the reply has to repeat.
        id: Identifier,
        /// The key of the session: one or more bytes, of any value.
        key: Bytes,
    },
    /// Keeps the connection alive.
    Heartbeat,
    /// The server's settings.
    AcceptConf(AcceptConf),
    /// The client's settings.
    ClientSettings(ClientSettings),
    /// A question of the server; exactly one answer.
    Question {
        /// What the answer has to repeat.
        id: Identifier,
        /// Name and payload.
        content: Content,
    },
    /// The server does not wait for the answer any more.
    QuestionCancelled {
        /// The identifier of the question.
        id: Identifier,
    },
    /// The answer to a question.
    Answer {
        /// The identifier of the question.
        id: Identifier,
        /// The answer; may be empty.
        payload: Payload,
    },
    /// The question failed with a code and a message.
    AnswerError {
        /// The identifier of the question.
        id: Identifier,
        /// Code and message.
        error: ErrorReply,
    },
    /// The question failed for a reason that has a number.
    AnswerRefused {
        /// The identifier of the question.
        id: Identifier,
        /// The reason.
        refusal: AnswerRefusal,
    },
    /// A signal of the history of the client's session; no reply.
    HistorySignal {
        /// Its offset in the history, as an identifier is made from a counter.
        id: Identifier,
        /// Name and payload.
        content: Content,
    },
    /// Where the client is in the history of its session.
    HistoryMark(HistoryMark),
    /// Which outcomes of idempotent requests the server keeps.
    KeptOutcomes(KeptOutcomes),
    /// Asks to continue a session from a place in its history.
    ResumeSession {
        /// What the reply has to repeat.
        id: Identifier,
        /// The place and the key.
        resume: Resume,
    },
    /// A request of the client that may be repeated on another connection; exactly one reply.
    IdempotentRequest {
        /// What the reply has to repeat. A client uses it for this request alone.
        id: Identifier,
        /// Name and payload.
        content: Content,
    },
}

/// Replies that consist only of their type and identifier (protocol §1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum SpecialReply {
    /// The server is shutting down.
    Shutdown,
    /// The request failed, without details.
    InternalError,
    /// There is no session of that key.
    SessionNotFound,
    /// The session has all the connections it may have.
    MaxSessionConnections,
    /// The server has no sessions.
    SessionsDisabled,
    /// The request could not be parsed; 1.x and `wwr.1`.
    ProtocolError,
    /// Whether an idempotent request was executed, or how it ended, is not known; `wwr.1`.
    OutcomeUnknown,
    /// An idempotent request is not executed, because its outcome cannot be kept now; `wwr.1`.
    NotExecuted,
}

impl SpecialReply {
    /// Returns the message type of this reply.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Shutdown => Kind::ReplyShutdown,
            Self::InternalError => Kind::ReplyInternalError,
            Self::SessionNotFound => Kind::ReplySessionNotFound,
            Self::MaxSessionConnections => Kind::ReplyMaxSessionConnections,
            Self::SessionsDisabled => Kind::ReplySessionsDisabled,
            Self::ProtocolError => Kind::ReplyProtocolError,
            Self::OutcomeUnknown => Kind::ReplyOutcomeUnknown,
            Self::NotExecuted => Kind::ReplyNotExecuted,
        }
    }
}

impl Message {
    /// Returns the type of this message.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Signal(content) => Kind::signal(content.encoding),
            Self::Request { content, .. } => Kind::request(content.encoding),
            Self::Reply { payload, .. } => Kind::reply(payload.encoding()),
            Self::ErrorReply { .. } => Kind::ErrorReply,
            Self::SpecialReply { reply, .. } => reply.kind(),
            Self::SessionCreated { .. } => Kind::SessionCreated,
            Self::SessionClosed => Kind::SessionClosed,
            Self::CloseSession { .. } => Kind::CloseSession,
            Self::RestoreSession { .. } => Kind::RestoreSession,
            Self::Heartbeat => Kind::Heartbeat,
            Self::AcceptConf(_) => Kind::AcceptConf,
            Self::ClientSettings(_) => Kind::ClientSettings,
            Self::Question { content, .. } => Kind::question(content.encoding),
            Self::QuestionCancelled { .. } => Kind::QuestionCancelled,
            Self::Answer { payload, .. } => Kind::answer(payload.encoding()),
            Self::AnswerError { .. } => Kind::AnswerError,
            Self::AnswerRefused { .. } => Kind::AnswerRefused,
            Self::HistorySignal { content, .. } => Kind::history_signal(content.encoding),
            Self::HistoryMark(_) => Kind::HistoryMark,
            Self::KeptOutcomes(_) => Kind::KeptOutcomes,
            Self::ResumeSession { .. } => Kind::ResumeSession,
            Self::IdempotentRequest { content, .. } => Kind::idempotent_request(content.encoding),
        }
    }

    /// Returns the identifier, if messages of this type have one.
    pub const fn identifier(&self) -> Option<Identifier> {
        match self {
            Self::Request { id, .. }
            | Self::Reply { id, .. }
            | Self::ErrorReply { id, .. }
            | Self::SpecialReply { id, .. }
            | Self::CloseSession { id }
            | Self::RestoreSession { id, .. }
            | Self::Question { id, .. }
            | Self::QuestionCancelled { id }
            | Self::Answer { id, .. }
            | Self::AnswerError { id, .. }
            | Self::AnswerRefused { id, .. }
            | Self::HistorySignal { id, .. }
            | Self::ResumeSession { id, .. }
            | Self::IdempotentRequest { id, .. } => Some(*id),
            Self::Signal(_)
            | Self::SessionCreated { .. }
            | Self::SessionClosed
            | Self::Heartbeat
            | Self::AcceptConf(_)
            | Self::ClientSettings(_)
            | Self::HistoryMark(_)
            | Self::KeptOutcomes(_) => None,
        }
    }
}

/// Name and payload of a received request, signal or question: one slice of the frame.
///
/// The name may contain any bytes: peers are not limited to printable ASCII.
///
/// ```
/// use wwr::{Content, Payload};
///
/// let content = Content::new(b"greet", &Payload::utf8("Ada"))?;
/// let answer = match content.name() {
///     b"greet" => format!("hello {}", content.text()?),
///     _ => "what?".into(),
/// };
/// assert_eq!(answer, "hello Ada");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Content {
    /// The name, a padding byte if there is one, the payload.
    data: Bytes,
    name_length: u8,
    padded: bool,
    encoding: Encoding,
}

impl Content {
    /// Creates a content from a name and a payload, in a buffer of its own.
    ///
    /// # Errors
    ///
    /// [`InvalidName::TooLong`] if the name has more than 255 bytes. Any bytes are allowed.
    pub fn new(name: &[u8], payload: &Payload) -> Result<Self, InvalidName> {
        let too_long = InvalidName::TooLong { length: name.len() };
        let name_length = u8::try_from(name.len()).map_err(|_| too_long)?;
        let data = [name, payload.as_bytes()].concat().into();
        Ok(Self { data, name_length, padded: false, encoding: payload.encoding() })
    }

    /// Creates the content that starts at the first byte of `data`. Parsing has checked the
    /// lengths.
    pub(crate) const fn checked(
        data: Bytes,
        name_length: u8,
        padded: bool,
        encoding: Encoding,
    ) -> Self {
        Self { data, name_length, padded, encoding }
    }

    /// Returns how many bytes the name has.
    pub(crate) const fn name_length(&self) -> u8 {
        self.name_length
    }

    #[inline]
    fn payload_offset(&self) -> usize {
        usize::from(self.name_length) + usize::from(self.padded)
    }

    /// Returns the name: 0 to 255 bytes, of any value.
    #[inline]
    pub fn name(&self) -> &[u8] {
        self.data.get(..usize::from(self.name_length)).unwrap_or_default()
    }

    /// Returns the name as text, if it is UTF-8.
    pub fn name_str(&self) -> Option<&str> {
        core::str::from_utf8(self.name()).ok()
    }

    /// Returns the encoding of the payload.
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Returns the bytes of the payload.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.data.get(self.payload_offset()..).unwrap_or_default()
    }

    /// Returns the payload as text; see [`Payload::text`].
    ///
    /// # Errors
    ///
    /// If the bytes of a binary or UTF-8 payload are not valid UTF-8.
    pub fn text(&self) -> Result<Cow<'_, str>, Utf8Error> {
        text(self.encoding, self.payload())
    }

    /// Returns the payload, still a slice of the frame.
    #[inline]
    pub fn into_payload(mut self) -> Payload {
        self.data.advance(self.payload_offset().min(self.data.len()));
        Payload::checked(self.encoding, self.data)
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.encoding == other.encoding
            && self.name() == other.name()
            && self.payload() == other.payload()
    }
}

impl Eq for Content {}

/// Code and message of a received error reply. Neither is checked: the code may be any 1 to 255
/// bytes, the message any bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct ErrorReply {
    /// The code, then the message.
    data: Bytes,
    code_length: u8,
}

impl ErrorReply {
    /// Creates an error reply from a code and a message, in a buffer of its own.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] if the code has no bytes or more than 255.
    pub fn new(code: &[u8], message: &[u8]) -> Result<Self, InvalidName> {
        if code.is_empty() {
            return Err(InvalidName::EmptyCode);
        }
        let too_long = InvalidName::TooLong { length: code.len() };
        let code_length = u8::try_from(code.len()).map_err(|_| too_long)?;
        Ok(Self { data: [code, message].concat().into(), code_length })
    }

    pub(crate) const fn checked(data: Bytes, code_length: u8) -> Self {
        Self { data, code_length }
    }

    /// Returns the code as bytes.
    pub fn code_bytes(&self) -> &[u8] {
        self.data.get(..usize::from(self.code_length)).unwrap_or_default()
    }

    /// Returns the message as bytes.
    pub fn message_bytes(&self) -> &[u8] {
        self.data.get(usize::from(self.code_length)..).unwrap_or_default()
    }

    /// Returns the code as text, with U+FFFD for bytes that are not UTF-8.
    pub fn code(&self) -> Cow<'_, str> {
        alloc::string::String::from_utf8_lossy(self.code_bytes())
    }

    /// Returns the message as text, with U+FFFD for bytes that are not UTF-8.
    pub fn message(&self) -> Cow<'_, str> {
        alloc::string::String::from_utf8_lossy(self.message_bytes())
    }
}

impl core::fmt::Debug for ErrorReply {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ErrorReply")
            .field("code", &self.code())
            .field("message", &self.message())
            .finish()
    }
}

const _: () = assert!(MAX_NAME_LENGTH == u8::MAX as usize, "lengths are kept in one byte");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Dialect;
    use crate::wire::decode;

    #[test]
    fn contents_are_equal_if_encoding_name_and_payload_are() {
        let content = |name: &[u8], payload| Content::new(name, &payload).unwrap();
        let one = content(b"ab", Payload::utf8("c"));
        assert_eq!(one, content(b"ab", Payload::utf8("c")));
        for other in [
            content(b"ab", Payload::binary("c")),
            content(b"xy", Payload::utf8("c")),
            content(b"ab", Payload::utf8("d")),
            content(b"a", Payload::utf8("bc")),
        ] {
            assert_ne!(one, other);
        }
        let received = decode(Dialect::V1_4, Bytes::from_static(b"\x41\x01a\0b\0"));
        let padded = content(b"a", Payload::utf16("b"));
        assert_eq!(received, Ok(Message::Signal(padded)), "padding does not count");
    }

    #[test]
    fn names_of_any_bytes_up_to_255_are_kept() {
        let long = [0xff; 255];
        let content = Content::new(&long, &Payload::EMPTY).unwrap();
        assert_eq!((content.name(), content.name_str()), (&long[..], None));
        let too_long = InvalidName::TooLong { length: 256 };
        assert_eq!(Content::new(&[b'n'; 256], &Payload::EMPTY), Err(too_long));
        let content = Content::new("caf\u{e9}".as_bytes(), &Payload::EMPTY).unwrap();
        assert_eq!(content.name_str(), Some("caf\u{e9}"));
    }

    #[test]
    fn error_replies_have_a_code_and_are_read_as_text() {
        let error = ErrorReply::new(b"C\xff", b"it \xfe").unwrap();
        assert_eq!((error.code_bytes(), error.message_bytes()), (&b"C\xff"[..], &b"it \xfe"[..]));
        assert_eq!((&*error.code(), &*error.message()), ("C\u{fffd}", "it \u{fffd}"));
        let shown = alloc::format!("{error:?}");
        assert!(shown.contains("C\u{fffd}") && shown.contains("it \u{fffd}"), "{shown}");
        assert_eq!(ErrorReply::new(b"", b"m"), Err(InvalidName::EmptyCode));
        assert!(ErrorReply::new(&[b'C'; 255], b"").is_ok());
        let too_long = InvalidName::TooLong { length: 256 };
        assert_eq!(ErrorReply::new(&[b'C'; 256], b""), Err(too_long));
    }

    #[test]
    fn messages_with_an_identifier_return_it() {
        let id = Identifier::from_counter(7);
        let content = Content::new(b"n", &Payload::EMPTY).unwrap();
        let error = ErrorReply::new(b"C", b"").unwrap();
        for message in [
            Message::Request { id, content: content.clone() },
            Message::Reply { id, payload: Payload::EMPTY },
            Message::ErrorReply { id, error },
            Message::SpecialReply { id, reply: SpecialReply::Shutdown },
            Message::CloseSession { id },
            Message::RestoreSession { id, key: Bytes::from_static(b"k") },
            Message::Question { id, content: content.clone() },
            Message::QuestionCancelled { id },
            Message::Answer { id, payload: Payload::EMPTY },
            Message::AnswerError { id, error: ErrorReply::new(b"C", b"").unwrap() },
            Message::AnswerRefused { id, refusal: AnswerRefusal::Busy },
            Message::HistorySignal { id, content: content.clone() },
            Message::ResumeSession { id, resume: Resume::new(1, 2, b"k") },
            Message::IdempotentRequest { id, content: content.clone() },
        ] {
            assert_eq!(message.identifier(), Some(id), "{message:?}");
        }
        for message in [Message::Signal(content), Message::SessionClosed, Message::Heartbeat] {
            assert_eq!(message.identifier(), None, "{message:?}");
        }
    }
}
