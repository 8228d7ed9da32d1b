//! A message as a JSON object, both ways.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wwr::wire::{
    AcceptConf, AnswerRefusal, ClientSettings, ComposeError, DecodeError, Encoder, ErrorReply,
    HistoryMark, HistoryState, Identifier, InvalidName, KeptOutcomes, Kind, Message, OddUtf16,
    Resume, SpecialReply,
};
use wwr::{Content, Dialect, Encoding, Payload};

use crate::hex::{Hex, NotHex};

/// The object, its members in the order in which they are written.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    #[serde(default = "yes")]
    ok: bool,
    #[serde(default = "yes")]
    type_known: bool,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Hex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_hex: Option<Hex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<EncodingName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_hex: Option<Hex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accept_conf: Option<Settings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_settings: Option<Stated>,
    #[serde(skip_serializing_if = "Option::is_none", skip_deserializing)]
    error: Option<String>,
}

const fn yes() -> bool {
    true
}

/// The advertised settings of 2.0 servers.
#[derive(Debug, Serialize, Deserialize)]
struct Settings {
    major: u8,
    minor: u8,
    read_timeout_ms: u32,
    message_buffer_size: u32,
    #[serde(default)]
    sub_protocol_hex: Hex,
}

/// What clients of `wwr.1` state.
#[derive(Debug, Serialize, Deserialize)]
struct Stated {
    max_message_size: u32,
    /// 0 if the client answers none.
    #[serde(default, skip_serializing_if = "is_zero")]
    max_questions: u16,
    /// Whether the client wants signals with their offsets.
    #[serde(default, skip_serializing_if = "is_no")]
    resumes_signals: bool,
    /// What the client calls itself, if it repeats requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instance_hex: Option<Hex>,
}

const fn is_zero(number: &u16) -> bool {
    *number == 0
}

const fn is_no(flag: &bool) -> bool {
    !*flag
}

/// The encodings by the names the objects have for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EncodingName {
    Binary,
    Utf8,
    Utf16,
}

impl EncodingName {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Utf8 => "utf8",
            Self::Utf16 => "utf16",
        }
    }
}

impl From<Encoding> for EncodingName {
    fn from(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Binary => Self::Binary,
            Encoding::Utf8 => Self::Utf8,
            Encoding::Utf16 => Self::Utf16,
        }
    }
}

/// Why an object is not a message that can be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("it is not a message, ok is false")]
    NotOk,
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} is not a message type of any version")]
    UnknownType(u8),
    #[error("messages of type {kind} have no {member}")]
    Unexpected { kind: u8, member: &'static str },
    #[error("the encoding of messages of type {kind} is {}", expected.as_str())]
    OtherEncoding { kind: u8, expected: EncodingName },
    #[error("an identifier has 8 bytes, this one has {0}")]
    Identifier(usize),
    #[error("invalid name: {0}")]
    Name(InvalidName),
    #[error("invalid error code: {0}")]
    Code(InvalidName),
    #[error("the payload of messages of type 29 is one byte, the number of the reason")]
    Reason,
    #[error("an instance has 16 bytes, this one has {0}")]
    Instance(usize),
    #[error(
        "the payload of messages of this type are numbers of a certain length, this one has {0} bytes"
    )]
    Numbers(usize),
    #[error("{0}")]
    OddUtf16(#[from] OddUtf16),
    #[error("{0}")]
    Compose(#[from] ComposeError),
}

impl Row {
    /// Returns the object of what was received; `first` is its first byte.
    pub(crate) fn new(first: Option<u8>, decoded: Result<Message, DecodeError>) -> Self {
        match decoded {
            Ok(message) => Self::of_message(message),
            Err(error) => Self {
                type_known: matches!(error, DecodeError::Malformed { .. }),
                id: match error {
                    DecodeError::Malformed { identifier, .. } => identifier.map(Hex::from),
                    DecodeError::Empty | DecodeError::UnknownKind(_) => None,
                },
                kind: first,
                error: Some(error.to_string()),
                ..Self::EMPTY
            },
        }
    }

    /// Returns the object of input that is not hexadecimal.
    pub(crate) fn not_hex(error: &NotHex) -> Self {
        Self { error: Some(error.to_string()), ..Self::EMPTY }
    }

    const EMPTY: Self = Self {
        ok: false,
        type_known: false,
        kind: None,
        id: None,
        name_hex: None,
        encoding: None,
        payload_hex: None,
        accept_conf: None,
        client_settings: None,
        error: None,
    };

    fn of_message(message: Message) -> Self {
        let row = Self {
            ok: true,
            type_known: true,
            kind: Some(message.kind().as_byte()),
            id: message.identifier().map(Hex::from),
            encoding: Some(encoding_of(message.kind()).into()),
            name_hex: Some(Hex::default()),
            payload_hex: Some(Hex::default()),
            ..Self::EMPTY
        };
        match message {
            Message::Signal(content)
            | Message::Request { content, .. }
            | Message::Question { content, .. }
            | Message::HistorySignal { content, .. }
            | Message::IdempotentRequest { content, .. } => Self {
                name_hex: Some(Hex::copy(content.name())),
                payload_hex: Some(Hex(content.into_payload().into_bytes())),
                ..row
            },
            Message::Reply { payload, .. } | Message::Answer { payload, .. } => {
                Self { payload_hex: Some(Hex(payload.into_bytes())), ..row }
            }
            Message::ErrorReply { error, .. } | Message::AnswerError { error, .. } => Self {
                name_hex: Some(Hex::copy(error.code_bytes())),
                payload_hex: Some(Hex::copy(error.message_bytes())),
                ..row
            },
            Message::SessionCreated { object: bytes }
            | Message::RestoreSession { key: bytes, .. } => {
                Self { payload_hex: Some(Hex(bytes)), ..row }
            }
            Message::ClientSettings(settings) => {
                let stated = Stated {
                    max_message_size: settings.max_message_size,
                    max_questions: settings.max_questions,
                    resumes_signals: settings.resumes_signals,
                    instance_hex: settings.instance.map(|instance| Hex::copy(&instance)),
                };
                Self { client_settings: Some(stated), ..row }
            }
            Message::HistoryMark(HistoryMark { state, incarnation, offset }) => {
                let place = [incarnation.to_le_bytes(), offset.to_le_bytes()].concat();
                let payload = [&[state.as_byte()], &place[..]].concat();
                Self { payload_hex: Some(Hex(payload.into())), ..row }
            }
            Message::KeptOutcomes(KeptOutcomes { scope, window_ms, outcomes }) => {
                let window = [window_ms.to_le_bytes(), outcomes.to_le_bytes()].concat();
                let payload = [&scope.to_le_bytes(), &window[..]].concat();
                Self { payload_hex: Some(Hex(payload.into())), ..row }
            }
            Message::ResumeSession { resume, .. } => {
                Self { payload_hex: Some(Hex(resume.as_bytes().clone())), ..row }
            }
            Message::AnswerRefused { refusal, .. } => {
                Self { payload_hex: Some(Hex::copy(&[refusal.as_byte()])), ..row }
            }
            Message::AcceptConf(conf) => Self {
                accept_conf: Some(Settings {
                    major: conf.major,
                    minor: conf.minor,
                    read_timeout_ms: conf.read_timeout_ms,
                    message_buffer_size: conf.message_buffer_size,
                    sub_protocol_hex: Hex(conf.sub_protocol.unwrap_or_default()),
                }),
                ..row
            },
            Message::SpecialReply { .. }
            | Message::SessionClosed
            | Message::CloseSession { .. }
            | Message::QuestionCancelled { .. }
            | Message::Heartbeat => row,
        }
    }

    /// Composes the message and returns its bytes.
    ///
    /// Everything the object contains has to become part of the message.
    pub(crate) fn encode(
        mut self,
        dialect: Dialect,
        encoder: &mut Encoder,
    ) -> Result<Bytes, Refusal> {
        if !self.ok {
            return Err(Refusal::NotOk);
        }
        let byte = self.kind.ok_or(Refusal::Missing("type"))?;
        let kind = Kind::from_byte(byte).ok_or(Refusal::UnknownType(byte))?;
        let expected = EncodingName::from(encoding_of(kind));
        if self.encoding.is_some_and(|given| given != expected) {
            return Err(Refusal::OtherEncoding { kind: byte, expected });
        }
        let message = self.take_message(kind)?;
        self.is_used_up(byte)?;
        Ok(encoder.encode(dialect, &message)?)
    }

    fn take_message(&mut self, kind: Kind) -> Result<Message, Refusal> {
        Ok(match kind {
            Kind::SignalBinary | Kind::SignalUtf8 | Kind::SignalUtf16 => {
                Message::Signal(self.take_content(kind)?)
            }
            Kind::RequestBinary | Kind::RequestUtf8 | Kind::RequestUtf16 => {
                Message::Request { id: self.take_id()?, content: self.take_content(kind)? }
            }
            Kind::ReplyBinary | Kind::ReplyUtf8 | Kind::ReplyUtf16 => {
                Message::Reply { id: self.take_id()?, payload: self.take_payload(kind)? }
            }
            Kind::ErrorReply => {
                let error = self.take_error()?;
                Message::ErrorReply { id: self.take_id()?, error }
            }
            Kind::QuestionBinary | Kind::QuestionUtf8 | Kind::QuestionUtf16 => {
                Message::Question { id: self.take_id()?, content: self.take_content(kind)? }
            }
            Kind::QuestionCancelled => Message::QuestionCancelled { id: self.take_id()? },
            Kind::AnswerBinary | Kind::AnswerUtf8 | Kind::AnswerUtf16 => {
                Message::Answer { id: self.take_id()?, payload: self.take_payload(kind)? }
            }
            Kind::AnswerError => {
                let error = self.take_error()?;
                Message::AnswerError { id: self.take_id()?, error }
            }
            Kind::AnswerRefused => {
                let payload = take(&mut self.payload_hex);
                let &[reason] = &payload[..] else { return Err(Refusal::Reason) };
                let refusal = AnswerRefusal::from_byte(reason);
                Message::AnswerRefused { id: self.take_id()?, refusal }
            }
            Kind::ReplyShutdown => self.take_special(SpecialReply::Shutdown)?,
            Kind::ReplyInternalError => self.take_special(SpecialReply::InternalError)?,
            Kind::ReplySessionNotFound => self.take_special(SpecialReply::SessionNotFound)?,
            Kind::ReplyMaxSessionConnections => {
                self.take_special(SpecialReply::MaxSessionConnections)?
            }
            Kind::ReplySessionsDisabled => self.take_special(SpecialReply::SessionsDisabled)?,
            Kind::ReplyProtocolError => self.take_special(SpecialReply::ProtocolError)?,
            Kind::ReplyOutcomeUnknown => self.take_special(SpecialReply::OutcomeUnknown)?,
            Kind::ReplyNotExecuted => self.take_special(SpecialReply::NotExecuted)?,
            Kind::HistorySignalBinary | Kind::HistorySignalUtf8 | Kind::HistorySignalUtf16 => {
                Message::HistorySignal { id: self.take_id()?, content: self.take_content(kind)? }
            }
            Kind::IdempotentRequestBinary
            | Kind::IdempotentRequestUtf8
            | Kind::IdempotentRequestUtf16 => Message::IdempotentRequest {
                id: self.take_id()?,
                content: self.take_content(kind)?,
            },
            Kind::HistoryMark => {
                let [state, incarnation, offset] = self.take_numbers([1, 8, 8])?;
                let state = HistoryState::from_byte(state as u8);
                Message::HistoryMark(HistoryMark { state, incarnation, offset })
            }
            Kind::KeptOutcomes => {
                let [scope, window, outcomes] = self.take_numbers([8, 4, 4])?;
                let (window_ms, outcomes) = (window as u32, outcomes as u32);
                Message::KeptOutcomes(KeptOutcomes { scope, window_ms, outcomes })
            }
            Kind::ResumeSession => {
                let data = take(&mut self.payload_hex);
                let [incarnation, offset] = numbers(&data, [8, 8])?;
                let key = data.get(16..).unwrap_or_default();
                let resume = Resume::new(incarnation, offset, key);
                Message::ResumeSession { id: self.take_id()?, resume }
            }
            Kind::SessionCreated => Message::SessionCreated { object: take(&mut self.payload_hex) },
            Kind::SessionClosed => Message::SessionClosed,
            Kind::CloseSession => Message::CloseSession { id: self.take_id()? },
            Kind::RestoreSession => {
                Message::RestoreSession { id: self.take_id()?, key: take(&mut self.payload_hex) }
            }
            Kind::Heartbeat => Message::Heartbeat,
            Kind::ClientSettings => {
                let stated = self.client_settings.take();
                let stated = stated.ok_or(Refusal::Missing("client_settings"))?;
                let instance = stated.instance_hex.map(|Hex(bytes)| {
                    let length = bytes.len();
                    bytes[..].try_into().map_err(|_| Refusal::Instance(length))
                });
                Message::ClientSettings(ClientSettings {
                    max_message_size: stated.max_message_size,
                    max_questions: stated.max_questions,
                    resumes_signals: stated.resumes_signals,
                    instance: instance.transpose()?,
                })
            }
            Kind::AcceptConf => {
                let conf = self.accept_conf.take().ok_or(Refusal::Missing("accept_conf"))?;
                Message::AcceptConf(AcceptConf {
                    major: conf.major,
                    minor: conf.minor,
                    read_timeout_ms: conf.read_timeout_ms,
                    message_buffer_size: conf.message_buffer_size,
                    sub_protocol: Some(conf.sub_protocol_hex.0).filter(|name| !name.is_empty()),
                })
            }
            other => return Err(Refusal::UnknownType(other.as_byte())),
        })
    }

    /// Takes a payload that consists of little-endian numbers of these lengths.
    fn take_numbers<const N: usize>(&mut self, lengths: [usize; N]) -> Result<[u64; N], Refusal> {
        let payload = take(&mut self.payload_hex);
        if payload.len() != lengths.iter().sum::<usize>() {
            return Err(Refusal::Numbers(payload.len()));
        }
        numbers(&payload, lengths)
    }

    fn take_id(&mut self) -> Result<Identifier, Refusal> {
        let Hex(bytes) = self.id.take().ok_or(Refusal::Missing("id"))?;
        let bytes = bytes[..].try_into().map_err(|_| Refusal::Identifier(bytes.len()))?;
        Ok(Identifier::from_bytes(bytes))
    }

    /// Takes code and message.
    fn take_error(&mut self) -> Result<ErrorReply, Refusal> {
        let (code, message) = (take(&mut self.name_hex), take(&mut self.payload_hex));
        ErrorReply::new(&code, &message).map_err(Refusal::Code)
    }

    fn take_payload(&mut self, kind: Kind) -> Result<Payload, Refusal> {
        Ok(Payload::new(encoding_of(kind), take(&mut self.payload_hex))?)
    }

    fn take_content(&mut self, kind: Kind) -> Result<Content, Refusal> {
        let payload = self.take_payload(kind)?;
        Content::new(&take(&mut self.name_hex), &payload).map_err(Refusal::Name)
    }

    fn take_special(&mut self, reply: SpecialReply) -> Result<Message, Refusal> {
        Ok(Message::SpecialReply { id: self.take_id()?, reply })
    }

    /// Refuses members that the type of the message does not use.
    fn is_used_up(&self, kind: u8) -> Result<(), Refusal> {
        let bytes = |member: &Option<Hex>| member.as_ref().is_some_and(|hex| !hex.0.is_empty());
        let members = [
            ("id", bytes(&self.id)),
            ("name_hex", bytes(&self.name_hex)),
            ("payload_hex", bytes(&self.payload_hex)),
            ("accept_conf", self.accept_conf.is_some()),
            ("client_settings", self.client_settings.is_some()),
        ];
        match members.into_iter().find(|(_, left)| *left) {
            Some((member, _)) => Err(Refusal::Unexpected { kind, member }),
            None => Ok(()),
        }
    }
}

/// Reads little-endian numbers of these lengths from the beginning of some bytes.
fn numbers<const N: usize>(mut bytes: &[u8], lengths: [usize; N]) -> Result<[u64; N], Refusal> {
    let short = Refusal::Numbers(bytes.len());
    let mut read = [0; N];
    for (number, length) in read.iter_mut().zip(lengths) {
        let Some((first, rest)) = bytes.split_at_checked(length) else { return Err(short) };
        *number = first.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
        bytes = rest;
    }
    Ok(read)
}

fn take(member: &mut Option<Hex>) -> Bytes {
    member.take().unwrap_or_default().0
}

/// Returns the encoding of the type; binary if it has none.
const fn encoding_of(kind: Kind) -> Encoding {
    match kind {
        Kind::SignalUtf8
        | Kind::RequestUtf8
        | Kind::ReplyUtf8
        | Kind::QuestionUtf8
        | Kind::AnswerUtf8
        | Kind::HistorySignalUtf8
        | Kind::IdempotentRequestUtf8 => Encoding::Utf8,
        Kind::SignalUtf16
        | Kind::RequestUtf16
        | Kind::ReplyUtf16
        | Kind::QuestionUtf16
        | Kind::AnswerUtf16
        | Kind::HistorySignalUtf16
        | Kind::IdempotentRequestUtf16 => Encoding::Utf16,
        _ => Encoding::Binary,
    }
}
