//! From messages to bytes.

use bytes::{BufMut, Bytes, BytesMut};

use super::accept_conf::AcceptConf;
use super::answer_refusal::AnswerRefusal;
use super::client_settings::ClientSettings;
use super::error::ComposeError;
use super::history::{HistoryMark, KeptOutcomes};
use super::identifier::Identifier;
use super::kind::Kind;
use super::length;
use super::message::{Content, Message, SpecialReply};
use super::name::{ErrorCode, Name, check_code, check_name};
use super::payload::{Encoding, Payload};
use crate::dialect::Dialect;

/// How much is allocated for small messages at a time.
const CHUNK: usize = 4096;

/// Messages longer than this do not share a chunk.
const LARGE: usize = CHUNK / 4;

/// Writes messages, many small ones into one shared chunk.
///
/// A message is written once. The result can be cloned and sent to many peers.
///
/// ```
/// use bytes::Bytes;
/// use wwr::wire::{self, Encoder};
/// use wwr::{Dialect, Payload};
///
/// let id = wire::Identifier::from_counter(1);
/// let reply = wire::Message::Reply { id, payload: Payload::utf8("done") };
/// let frame = Encoder::new().encode(Dialect::V1_4, &reply)?;
/// assert_eq!(&frame[..], b"\xc0\x01\0\0\0\0\0\0\0done");
/// assert_eq!(wire::decode(Dialect::V1_4, frame).as_ref(), Ok(&reply));
/// # Ok::<(), wwr::wire::ComposeError>(())
/// ```
#[derive(Debug)]
pub struct Encoder {
    chunk: Option<BytesMut>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// Creates an encoder. Allocates nothing until the first message.
    pub const fn new() -> Self {
        Self { chunk: None }
    }

    /// Creates an encoder for one message of this length, which keeps no more memory than that
    /// takes.
    pub(crate) fn for_one(length: usize) -> Self {
        // Large messages have memory of their own in any case.
        Self { chunk: (length <= LARGE).then(|| BytesMut::with_capacity(length)) }
    }

    /// Frees the current chunk.
    pub fn shrink(&mut self) {
        self.chunk = None;
    }

    /// Writes any message, after checking what the types leave open (protocol §1.5).
    ///
    /// # Errors
    ///
    /// [`ComposeError`] if the reference would refuse it: a kind the dialect does not have, a name
    /// or an error code that is not printable ASCII, a request with neither name nor payload.
    pub fn encode(&mut self, dialect: Dialect, message: &Message) -> Result<Bytes, ComposeError> {
        let is_rare = matches!(
            message,
            Message::Question { .. }
                | Message::QuestionCancelled { .. }
                | Message::Answer { .. }
                | Message::AnswerError { .. }
                | Message::AnswerRefused { .. }
                | Message::HistorySignal { .. }
                | Message::HistoryMark(_)
                | Message::KeptOutcomes(_)
                | Message::ResumeSession { .. }
                | Message::IdempotentRequest { .. }
        );
        if is_rare { self.encode_rare(dialect, message) } else { self.encode_any(dialect, message) }
    }

    /// Writes a message of a question, a history or an idempotent request. Out of line, so that other messages are written as fast
    /// without them.
    #[cold]
    #[inline(never)]
    fn encode_rare(&mut self, dialect: Dialect, message: &Message) -> Result<Bytes, ComposeError> {
        self.encode_any(dialect, message)
    }

    #[inline(always)]
    fn encode_any(&mut self, dialect: Dialect, message: &Message) -> Result<Bytes, ComposeError> {
        let kind = message.kind();
        if !kind.is_known_in(dialect) {
            return Err(ComposeError::UnknownKind(kind));
        }
        Ok(match message {
            Message::Signal(content) => {
                check_name(content.name()).map_err(ComposeError::InvalidName)?;
                let head = [kind.as_byte(), content.name_length()];
                self.named(&head, content.encoding(), content.name(), content.payload())
            }
            Message::Request { id, content }
            | Message::Question { id, content }
            | Message::HistorySignal { id, content }
            | Message::IdempotentRequest { id, content } => {
                check_name(content.name()).map_err(ComposeError::InvalidName)?;
                if content.name().is_empty() && content.payload().is_empty() {
                    return Err(ComposeError::EmptyRequest);
                }
                let head = requesting(kind, *id, content.name_length());
                self.named(&head, content.encoding(), content.name(), content.payload())
            }
            Message::Reply { id, payload } => self.reply(*id, payload),
            Message::Answer { id, payload } => self.answer(*id, payload),
            Message::ErrorReply { id, error } | Message::AnswerError { id, error } => {
                check_code(error.code_bytes()).map_err(ComposeError::InvalidCode)?;
                self.coded(kind, *id, error.code_bytes(), error.message_bytes())
            }
            Message::QuestionCancelled { id } => self.question_cancelled(*id),
            Message::AnswerRefused { id, refusal } => self.answer_refused(*id, *refusal),
            Message::SpecialReply { id, reply } => self.special_reply(*id, *reply),
            Message::SessionCreated { object } => self.session_created(object),
            Message::SessionClosed => Self::session_closed(),
            Message::CloseSession { id } => self.close_session(*id),
            Message::RestoreSession { id, key } => self.restore_session(*id, key),
            Message::Heartbeat => Self::heartbeat(),
            Message::AcceptConf(conf) => self.accept_conf(conf),
            Message::ClientSettings(settings) => self.client_settings(*settings),
            Message::HistoryMark(mark) => self.history_mark(*mark),
            Message::KeptOutcomes(kept) => self.kept_outcomes(*kept),
            Message::ResumeSession { id, resume } => {
                self.identified(Kind::ResumeSession, *id, resume.as_bytes())
            }
        })
    }

    pub(crate) fn signal(&mut self, name: &Name, payload: &Payload) -> Bytes {
        let kind = Kind::signal(payload.encoding());
        let head = [kind.as_byte(), name.len() as u8];
        self.named(&head, payload.encoding(), name.as_bytes(), payload.as_bytes())
    }

    /// Name and payload must not both be empty: no server reads that.
    pub(crate) fn request(&mut self, id: Identifier, name: &Name, payload: &Payload) -> Bytes {
        let kind = Kind::request(payload.encoding());
        let head = requesting(kind, id, name.len() as u8);
        self.named(&head, payload.encoding(), name.as_bytes(), payload.as_bytes())
    }

    #[inline(always)]
    pub(crate) fn reply(&mut self, id: Identifier, payload: &Payload) -> Bytes {
        let head = identified(Kind::reply(payload.encoding()), id);
        self.write(length::reply(payload), |out| {
            out.put_slice(&head);
            if payload.encoding() == Encoding::Utf16 {
                out.put_u8(0);
            }
            out.put_slice(payload.as_bytes());
        })
    }

    pub(crate) fn error_reply(&mut self, id: Identifier, code: &ErrorCode, message: &str) -> Bytes {
        self.coded(Kind::ErrorReply, id, code.as_bytes(), message.as_bytes())
    }

    /// Name and payload must not both be empty: no client reads that.
    #[cold]
    #[inline(never)]
    pub(crate) fn question(&mut self, id: Identifier, name: &Name, payload: &Payload) -> Bytes {
        let kind = Kind::question(payload.encoding());
        let head = requesting(kind, id, name.len() as u8);
        self.named(&head, payload.encoding(), name.as_bytes(), payload.as_bytes())
    }

    /// Writes a signal of a history.
    #[cold]
    #[inline(never)]
    pub(crate) fn history_signal(&mut self, offset: u64, signal: &Content) -> Bytes {
        let kind = Kind::history_signal(signal.encoding());
        let head = requesting(kind, Identifier::from_counter(offset), signal.name_length());
        self.named(&head, signal.encoding(), signal.name(), signal.payload())
    }

    /// Name and payload must not both be empty: no server reads that.
    #[cold]
    #[inline(never)]
    pub(crate) fn idempotent_request(
        &mut self,
        id: Identifier,
        name: &Name,
        payload: &Payload,
    ) -> Bytes {
        let kind = Kind::idempotent_request(payload.encoding());
        let head = requesting(kind, id, name.len() as u8);
        self.named(&head, payload.encoding(), name.as_bytes(), payload.as_bytes())
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn history_mark(&mut self, mark: HistoryMark) -> Bytes {
        self.write(length::HISTORY_MARK, |out| {
            out.put_slice(&[Kind::HistoryMark.as_byte(), mark.state.as_byte()]);
            out.put_u64_le(mark.incarnation);
            out.put_u64_le(mark.offset);
        })
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn kept_outcomes(&mut self, kept: KeptOutcomes) -> Bytes {
        self.write(length::KEPT_OUTCOMES, |out| {
            out.put_u8(Kind::KeptOutcomes.as_byte());
            out.put_u64_le(kept.scope);
            out.put_u32_le(kept.window_ms);
            out.put_u32_le(kept.outcomes);
        })
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn resume_session(
        &mut self,
        id: Identifier,
        incarnation: u64,
        offset: u64,
        key: &[u8],
    ) -> Bytes {
        let head = identified(Kind::ResumeSession, id);
        self.write(head.len() + length::PLACE + key.len(), |out| {
            out.put_slice(&head);
            out.put_u64_le(incarnation);
            out.put_u64_le(offset);
            out.put_slice(key);
        })
    }

    pub(crate) fn question_cancelled(&mut self, id: Identifier) -> Bytes {
        self.identified(Kind::QuestionCancelled, id, &[])
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn answer(&mut self, id: Identifier, payload: &Payload) -> Bytes {
        let kind = Kind::answer(payload.encoding());
        let head = identified(kind, id);
        self.write(length::reply(payload), |out| {
            out.put_slice(&head);
            if payload.encoding() == Encoding::Utf16 {
                out.put_u8(0);
            }
            out.put_slice(payload.as_bytes());
        })
    }

    pub(crate) fn answer_error(
        &mut self,
        id: Identifier,
        code: &ErrorCode,
        message: &str,
    ) -> Bytes {
        self.coded(Kind::AnswerError, id, code.as_bytes(), message.as_bytes())
    }

    pub(crate) fn answer_refused(&mut self, id: Identifier, refusal: AnswerRefusal) -> Bytes {
        self.identified(Kind::AnswerRefused, id, &[refusal.as_byte()])
    }

    pub(crate) fn special_reply(&mut self, id: Identifier, reply: SpecialReply) -> Bytes {
        self.identified(reply.kind(), id, &[])
    }

    pub(crate) fn session_created(&mut self, object: &[u8]) -> Bytes {
        self.write(1 + object.len(), |out| {
            out.put_u8(Kind::SessionCreated.as_byte());
            out.put_slice(object);
        })
    }

    pub(crate) const fn session_closed() -> Bytes {
        const FRAME: [u8; 1] = [Kind::SessionClosed.as_byte()];
        Bytes::from_static(&FRAME)
    }

    pub(crate) const fn heartbeat() -> Bytes {
        const FRAME: [u8; 1] = [Kind::Heartbeat.as_byte()];
        Bytes::from_static(&FRAME)
    }

    pub(crate) fn close_session(&mut self, id: Identifier) -> Bytes {
        self.identified(Kind::CloseSession, id, &[])
    }

    pub(crate) fn restore_session(&mut self, id: Identifier, key: &[u8]) -> Bytes {
        self.identified(Kind::RestoreSession, id, key)
    }

    pub(crate) fn accept_conf(&mut self, conf: &AcceptConf) -> Bytes {
        let sub_protocol = conf.sub_protocol.as_deref().unwrap_or_default();
        self.write(length::ACCEPT_CONF + sub_protocol.len(), |out| {
            out.put_slice(&[Kind::AcceptConf.as_byte(), conf.major, conf.minor]);
            out.put_u32_le(conf.read_timeout_ms);
            out.put_u32_le(conf.message_buffer_size);
            out.put_slice(sub_protocol);
        })
    }

    pub(crate) fn client_settings(&mut self, settings: ClientSettings) -> Bytes {
        let abilities = settings.abilities();
        let asked = settings.max_questions > 0 || abilities != 0;
        let length = match (asked, abilities, settings.instance) {
            (false, ..) => length::CLIENT_SETTINGS,
            (true, 0, _) => length::CLIENT_SETTINGS + 2,
            (true, _, None) => length::CLIENT_ABILITIES,
            (true, _, Some(_)) => length::CLIENT_ABILITIES + length::INSTANCE,
        };
        self.write(length, |out| {
            out.put_u8(Kind::ClientSettings.as_byte());
            out.put_u32_le(settings.max_message_size);
            if asked {
                out.put_u16_le(settings.max_questions);
            }
            if abilities != 0 {
                out.put_u8(abilities);
                out.put_slice(settings.instance.as_ref().map_or(&[], |instance| &instance[..]));
            }
        })
    }

    /// Writes a signal or a request: what precedes the name, which has at most 255 bytes, and the
    /// rest.
    fn named(&mut self, head: &[u8], encoding: Encoding, name: &[u8], payload: &[u8]) -> Bytes {
        let length = head.len() + length::named(encoding, name.len(), payload.len());
        self.write(length, |out| {
            out.put_slice(head);
            out.put_slice(name);
            if length::is_padded(encoding, name.len()) {
                out.put_u8(0);
            }
            out.put_slice(payload);
        })
    }

    /// Writes an error; the code has at most 255 bytes.
    fn coded(&mut self, kind: Kind, id: Identifier, code: &[u8], message: &[u8]) -> Bytes {
        self.write(10 + code.len() + message.len(), |out| {
            out.put_u8(kind.as_byte());
            out.put_slice(id.as_bytes());
            out.put_u8(code.len() as u8);
            out.put_slice(code);
            out.put_slice(message);
        })
    }

    fn identified(&mut self, kind: Kind, id: Identifier, rest: &[u8]) -> Bytes {
        let head = identified(kind, id);
        self.write(head.len() + rest.len(), |out| {
            out.put_slice(&head);
            out.put_slice(rest);
        })
    }

    /// Writes `length` bytes into the chunk, or into separate memory if they are many: a large
    /// message must not keep a chunk alive, and a chunk must not be dropped for one. `fill` writes
    /// exactly that many bytes.
    #[inline(always)]
    fn write(&mut self, length: usize, fill: impl FnOnce(&mut BytesMut)) -> Bytes {
        let frame = if length > LARGE {
            let mut own = BytesMut::with_capacity(length);
            fill(&mut own);
            own.freeze()
        } else {
            let chunk = self.chunk.get_or_insert_default();
            if chunk.capacity() < length {
                chunk.reserve(CHUNK);
            }
            fill(chunk);
            chunk.split().freeze()
        };
        debug_assert_eq!(frame.len(), length, "the length was told in advance");
        frame
    }
}

/// Returns type, identifier, and the length of the name.
fn requesting(kind: Kind, id: Identifier, name: u8) -> [u8; length::IDENTIFIED + 1] {
    let [a, b, c, d, e, f, g, h] = *id.as_bytes();
    [kind.as_byte(), a, b, c, d, e, f, g, h, name]
}

/// Returns type and identifier.
fn identified(kind: Kind, id: Identifier) -> [u8; length::IDENTIFIED] {
    let [a, b, c, d, e, f, g, h] = *id.as_bytes();
    [kind.as_byte(), a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_messages_share_memory_and_large_ones_do_not() {
        let mut encoder = Encoder::new();
        let mut encode = |length| encoder.reply(Identifier::ZERO, &Payload::binary(zeros(length)));
        let (small, large, next) = (encode(10), encode(CHUNK), encode(10));
        assert!(large.is_unique(), "it keeps no chunk alive");
        assert!(!small.is_unique());
        let distance = next.as_ptr() as usize - small.as_ptr() as usize;
        assert_eq!(distance, small.len(), "the chunk was not thrown away");
        encoder.shrink();
        drop(next);
        assert!(small.is_unique(), "the encoder has let go of it");
    }

    #[test]
    fn a_message_may_take_a_quarter_of_a_chunk() {
        for (length, shares) in [(CHUNK / 4, true), (CHUNK / 4 + 1, false)] {
            let mut encoder = Encoder::new();
            let payload = Payload::binary(zeros(length - length::IDENTIFIED));
            let frame = encoder.reply(Identifier::ZERO, &payload);
            assert_eq!((frame.len(), !frame.is_unique()), (length, shares));
        }
    }

    fn zeros(length: usize) -> Bytes {
        BytesMut::zeroed(length).freeze()
    }
}
