//! From bytes to messages.

use bytes::{Buf, Bytes};

use super::accept_conf::AcceptConf;
use super::answer_refusal::AnswerRefusal;
use super::client_settings::ClientSettings;
use super::error::{DecodeError, Malformation};
use super::history::{HistoryMark, HistoryState, KeptOutcomes, Resume};
use super::identifier::Identifier;
use super::kind::Kind;
use super::length;
use super::message::{Content, ErrorReply, Message, SpecialReply};
use super::payload::{Encoding, Payload};
use crate::dialect::Dialect;

/// Type byte and identifier.
const PREFIX: usize = 9;
/// The prefix and the byte that holds the length of the name or the error code.
const NAMED_PREFIX: usize = PREFIX + 1;

/// Reads one message: the payload of one WebSocket message (protocol §1.4).
///
/// Copies and allocates nothing: the contents of the message are slices of `frame`. Takes the same
/// time for a message of any length.
///
/// # Errors
///
/// [`DecodeError`] says what is wrong with the frame, with the identifier if it could be read.
///
/// ```
/// use bytes::Bytes;
/// use wwr::{Dialect, wire};
///
/// let frame = Bytes::from_static(b"\x3f\x05alarmfire");
/// let message = wire::decode(Dialect::V1_4, frame)?;
/// let wire::Message::Signal(content) = message else { unreachable!() };
/// assert_eq!((content.name(), content.payload()), (&b"alarm"[..], &b"fire"[..]));
/// # Ok::<(), wwr::wire::DecodeError>(())
/// ```
pub fn decode(dialect: Dialect, frame: Bytes) -> Result<Message, DecodeError> {
    let Some(&byte) = frame.first() else { return Err(DecodeError::Empty) };
    let kind = match Kind::from_byte(byte) {
        Some(kind) if kind.is_known_in(dialect) => kind,
        _ => return Err(DecodeError::UnknownKind(byte)),
    };
    let frame = Frame { kind, bytes: frame };
    match kind {
        Kind::SignalBinary => frame.signal(dialect, Encoding::Binary),
        Kind::SignalUtf8 => frame.signal(dialect, Encoding::Utf8),
        Kind::SignalUtf16 => frame.signal_utf16(),
        Kind::RequestBinary => frame.request(Encoding::Binary),
        Kind::RequestUtf8 => frame.request(Encoding::Utf8),
        Kind::RequestUtf16 => frame.request(Encoding::Utf16),
        Kind::ReplyBinary => frame.reply(Encoding::Binary),
        Kind::ReplyUtf8 => frame.reply(Encoding::Utf8),
        Kind::ReplyUtf16 => frame.reply(Encoding::Utf16),
        Kind::ErrorReply => frame.error_reply(),
        Kind::ReplyShutdown => frame.special(SpecialReply::Shutdown),
        Kind::ReplyInternalError => frame.special(SpecialReply::InternalError),
        Kind::ReplySessionNotFound => frame.special(SpecialReply::SessionNotFound),
        Kind::ReplyMaxSessionConnections => frame.special(SpecialReply::MaxSessionConnections),
        Kind::ReplySessionsDisabled => frame.special(SpecialReply::SessionsDisabled),
        Kind::ReplyProtocolError => frame.special(SpecialReply::ProtocolError),
        Kind::SessionCreated => frame.session_created(),
        Kind::SessionClosed => frame.exactly(1).map(|()| Message::SessionClosed),
        Kind::Heartbeat => frame.exactly(1).map(|()| Message::Heartbeat),
        Kind::CloseSession => {
            frame.exactly(PREFIX)?;
            Ok(Message::CloseSession { id: frame.identifier() })
        }
        Kind::RestoreSession => {
            frame.at_least(PREFIX + 1)?;
            Ok(Message::RestoreSession { id: frame.identifier(), key: frame.rest(PREFIX) })
        }
        Kind::AcceptConf => frame.accept_conf(),
        Kind::ClientSettings => frame.client_settings(),
        Kind::QuestionBinary => frame.question(Encoding::Binary),
        Kind::QuestionUtf8 => frame.question(Encoding::Utf8),
        Kind::QuestionUtf16 => frame.question(Encoding::Utf16),
        Kind::QuestionCancelled => frame.question_cancelled(),
        Kind::AnswerBinary => frame.answer(Encoding::Binary),
        Kind::AnswerUtf8 => frame.answer(Encoding::Utf8),
        Kind::AnswerUtf16 => frame.answer(Encoding::Utf16),
        Kind::AnswerError => frame.answer_error(),
        Kind::AnswerRefused => frame.answer_refused(),
        Kind::ReplyOutcomeUnknown => frame.special(SpecialReply::OutcomeUnknown),
        Kind::ReplyNotExecuted => frame.special(SpecialReply::NotExecuted),
        Kind::HistorySignalBinary => frame.history_signal(Encoding::Binary),
        Kind::HistorySignalUtf8 => frame.history_signal(Encoding::Utf8),
        Kind::HistorySignalUtf16 => frame.history_signal(Encoding::Utf16),
        Kind::HistoryMark => frame.history_mark(),
        Kind::KeptOutcomes => frame.kept_outcomes(),
        Kind::ResumeSession => frame.resume_session(),
        Kind::IdempotentRequestBinary => frame.idempotent_request(Encoding::Binary),
        Kind::IdempotentRequestUtf8 => frame.idempotent_request(Encoding::Utf8),
        Kind::IdempotentRequestUtf16 => frame.idempotent_request(Encoding::Utf16),
    }
}

/// A frame of a known kind, being checked.
struct Frame {
    kind: Kind,
    bytes: Bytes,
}

impl Frame {
    #[cold]
    fn malformed(&self, identifier: Option<Identifier>, reason: Malformation) -> DecodeError {
        DecodeError::Malformed { kind: self.kind, identifier, reason }
    }

    fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Refuses a frame of fewer than `least` bytes.
    fn at_least(&self, least: usize) -> Result<(), DecodeError> {
        if self.len() >= least {
            return Ok(());
        }
        Err(self.malformed(None, Malformation::TooShort { length: self.len(), least }))
    }

    /// Refuses a frame that does not have `exact` bytes.
    fn exactly(&self, exact: usize) -> Result<(), DecodeError> {
        if self.len() == exact {
            return Ok(());
        }
        Err(self.malformed(None, Malformation::WrongLength { length: self.len(), exact }))
    }

    /// Refuses a frame with an odd number of bytes, which no UTF-16 message has.
    fn even(&self) -> Result<(), DecodeError> {
        if self.len().is_multiple_of(2) {
            return Ok(());
        }
        Err(self.malformed(None, Malformation::OddUtf16 { length: self.len() }))
    }

    /// Returns the byte at `index`, which lies inside a length that was checked.
    fn byte(&self, index: usize) -> u8 {
        self.bytes.get(index).copied().unwrap_or_default()
    }

    /// Returns four little-endian bytes at `index`, which lie inside a length that was checked.
    fn word(&self, index: usize) -> u32 {
        self.bytes
            .get(index..)
            .and_then(|rest| rest.first_chunk())
            .map_or(0, |word| u32::from_le_bytes(*word))
    }

    /// Returns eight little-endian bytes at `index`, which lie inside a length that was checked.
    fn long(&self, index: usize) -> u64 {
        self.bytes
            .get(index..)
            .and_then(|rest| rest.first_chunk())
            .map_or(0, |long| u64::from_le_bytes(*long))
    }

    /// Returns bytes 1 to 8 of a frame that has them.
    fn identifier(&self) -> Identifier {
        let bytes = self.bytes.get(1..).and_then(|rest| rest.first_chunk());
        bytes.map_or(Identifier::ZERO, |bytes| Identifier::from_bytes(*bytes))
    }

    /// Returns the bytes from `offset` on.
    fn rest(mut self, offset: usize) -> Bytes {
        self.bytes.advance(offset.min(self.bytes.len()));
        self.bytes
    }

    /// Refuses a frame shorter than `least`, the length that its name of `name_length` bytes
    /// requires.
    fn holds_name(
        &self,
        identifier: Option<Identifier>,
        name_length: u8,
        least: usize,
    ) -> Result<(), DecodeError> {
        if self.len() >= least {
            return Ok(());
        }
        let length = self.len();
        Err(self.malformed(identifier, Malformation::NamePastEnd { name_length, least, length }))
    }

    #[inline(always)]
    fn signal(self, dialect: Dialect, encoding: Encoding) -> Result<Message, DecodeError> {
        self.at_least(3)?;
        let name_length = self.byte(1);
        let payload = usize::from(!dialect.rules().accepts_name_only_signals);
        self.holds_name(None, name_length, 2 + usize::from(name_length) + payload)?;
        Ok(Message::Signal(Content::checked(self.rest(2), name_length, false, encoding)))
    }

    fn signal_utf16(self) -> Result<Message, DecodeError> {
        self.at_least(4)?;
        self.even()?;
        let name_length = self.byte(1);
        let padded = name_length % 2 == 1;
        let offset = 2 + usize::from(name_length) + usize::from(padded);
        self.holds_name(None, name_length, offset + 2)?;
        Ok(Message::Signal(Content::checked(self.rest(2), name_length, padded, Encoding::Utf16)))
    }

    /// Reads a request or a question: both have the same layout. The caller makes the message of it, so
    /// that a message or an error is written once, to where it stays.
    #[inline(always)]
    fn named(
        self,
        encoding: Encoding,
        message: impl FnOnce(Identifier, Content) -> Message,
    ) -> Result<Message, DecodeError> {
        self.at_least(NAMED_PREFIX + 1)?;
        if encoding == Encoding::Utf16 {
            self.even()?;
        }
        let id = self.identifier();
        let name_length = self.byte(PREFIX);
        let named = NAMED_PREFIX + usize::from(name_length);
        self.holds_name(Some(id), name_length, named)?;
        // The length is even, so the padding after a name of odd length exists.
        let padded = encoding == Encoding::Utf16 && name_length % 2 == 1;
        let content = Content::checked(self.rest(NAMED_PREFIX), name_length, padded, encoding);
        Ok(message(id, content))
    }

    /// Reads a reply or an answer, as [`named`](Self::named) does.
    #[inline(always)]
    fn unnamed(
        self,
        encoding: Encoding,
        message: impl FnOnce(Identifier, Payload) -> Message,
    ) -> Result<Message, DecodeError> {
        let offset = match encoding {
            Encoding::Binary | Encoding::Utf8 => PREFIX,
            Encoding::Utf16 => PREFIX + 1,
        };
        self.at_least(offset)?;
        if encoding == Encoding::Utf16 {
            self.even()?;
        }
        let id = self.identifier();
        Ok(message(id, Payload::checked(encoding, self.rest(offset))))
    }

    /// Reads an error that replies or answers, as [`named`](Self::named) does.
    #[inline(always)]
    fn coded(
        self,
        message: impl FnOnce(Identifier, ErrorReply) -> Message,
    ) -> Result<Message, DecodeError> {
        self.at_least(NAMED_PREFIX + 1)?;
        let id = self.identifier();
        let code_length = self.byte(PREFIX);
        if code_length == 0 {
            return Err(self.malformed(Some(id), Malformation::EmptyCode));
        }
        let least = NAMED_PREFIX + usize::from(code_length);
        self.holds_name(Some(id), code_length, least)?;
        let error = ErrorReply::checked(self.rest(NAMED_PREFIX), code_length);
        Ok(message(id, error))
    }

    #[inline(always)]
    fn request(self, encoding: Encoding) -> Result<Message, DecodeError> {
        self.named(encoding, |id, content| Message::Request { id, content })
    }

    #[inline(always)]
    fn reply(self, encoding: Encoding) -> Result<Message, DecodeError> {
        self.unnamed(encoding, |id, payload| Message::Reply { id, payload })
    }

    #[inline(always)]
    fn error_reply(self) -> Result<Message, DecodeError> {
        self.coded(|id, error| Message::ErrorReply { id, error })
    }

    // Questions and what is said about them (protocol §10.4) are read out of line, so that they cost
    // nothing where other messages are read.

    #[cold]
    #[inline(never)]
    fn question(self, encoding: Encoding) -> Result<Message, DecodeError> {
        self.named(encoding, |id, content| Message::Question { id, content })
    }

    #[cold]
    #[inline(never)]
    fn question_cancelled(self) -> Result<Message, DecodeError> {
        self.exactly(PREFIX)?;
        Ok(Message::QuestionCancelled { id: self.identifier() })
    }

    #[cold]
    #[inline(never)]
    fn answer(self, encoding: Encoding) -> Result<Message, DecodeError> {
        self.unnamed(encoding, |id, payload| Message::Answer { id, payload })
    }

    #[cold]
    #[inline(never)]
    fn answer_error(self) -> Result<Message, DecodeError> {
        self.coded(|id, error| Message::AnswerError { id, error })
    }

    #[cold]
    #[inline(never)]
    fn answer_refused(self) -> Result<Message, DecodeError> {
        self.at_least(length::ANSWER_REFUSED)?;
        let refusal = AnswerRefusal::from_byte(self.byte(PREFIX));
        Ok(Message::AnswerRefused { id: self.identifier(), refusal })
    }

    // The same holds for histories and idempotent requests (protocol §10.5, §10.6).

    #[cold]
    #[inline(never)]
    fn history_signal(self, encoding: Encoding) -> Result<Message, DecodeError> {
        self.named(encoding, |id, content| Message::HistorySignal { id, content })
    }

    #[cold]
    #[inline(never)]
    fn history_mark(self) -> Result<Message, DecodeError> {
        self.at_least(length::HISTORY_MARK)?;
        Ok(Message::HistoryMark(HistoryMark {
            state: HistoryState::from_byte(self.byte(1)),
            incarnation: self.long(2),
            offset: self.long(10),
        }))
    }

    #[cold]
    #[inline(never)]
    fn kept_outcomes(self) -> Result<Message, DecodeError> {
        self.at_least(length::KEPT_OUTCOMES)?;
        let (scope, window_ms, outcomes) = (self.long(1), self.word(9), self.word(13));
        Ok(Message::KeptOutcomes(KeptOutcomes { scope, window_ms, outcomes }))
    }

    #[cold]
    #[inline(never)]
    fn resume_session(self) -> Result<Message, DecodeError> {
        self.at_least(PREFIX + length::PLACE + 1)?;
        let id = self.identifier();
        Ok(Message::ResumeSession { id, resume: Resume::checked(self.rest(PREFIX)) })
    }

    #[cold]
    #[inline(never)]
    fn idempotent_request(self, encoding: Encoding) -> Result<Message, DecodeError> {
        self.named(encoding, |id, content| Message::IdempotentRequest { id, content })
    }

    fn special(self, reply: SpecialReply) -> Result<Message, DecodeError> {
        self.at_least(PREFIX)?;
        Ok(Message::SpecialReply { id: self.identifier(), reply })
    }

    fn session_created(self) -> Result<Message, DecodeError> {
        self.at_least(2)?;
        Ok(Message::SessionCreated { object: self.rest(1) })
    }

    #[cold]
    #[inline(never)]
    fn accept_conf(self) -> Result<Message, DecodeError> {
        self.at_least(11)?;
        let (major, minor) = (self.byte(1), self.byte(2));
        let (read_timeout_ms, message_buffer_size) = (self.word(3), self.word(7));
        let sub_protocol = Some(self.rest(11)).filter(|name| !name.is_empty());
        Ok(Message::AcceptConf(AcceptConf {
            major,
            minor,
            read_timeout_ms,
            message_buffer_size,
            sub_protocol,
        }))
    }

    #[cold]
    #[inline(never)]
    fn client_settings(self) -> Result<Message, DecodeError> {
        self.at_least(length::CLIENT_SETTINGS)?;
        let max_questions =
            self.bytes.get(length::CLIENT_SETTINGS..).and_then(|rest| rest.first_chunk());
        let abilities = self.byte(length::CLIENT_ABILITIES - 1);
        let instance =
            self.bytes.get(length::CLIENT_ABILITIES..).and_then(|rest| rest.first_chunk());
        let has_instance = abilities & ClientSettings::HAS_INSTANCE != 0;
        Ok(Message::ClientSettings(ClientSettings {
            max_message_size: self.word(1),
            max_questions: max_questions.map_or(0, |bytes| u16::from_le_bytes(*bytes)),
            resumes_signals: abilities & ClientSettings::RESUMES_SIGNALS != 0,
            instance: instance.filter(|_| has_instance).copied(),
        }))
    }
}
