//! Messages to bytes and back to the same messages; bytes to messages and back to the same bytes,
//! but for what the layouts leave open.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use wwr::wire::{
    AcceptConf, AnswerRefusal, ClientSettings, ComposeError, Encoder, ErrorReply, HistoryMark,
    Identifier, KeptOutcomes, Message, Resume, SpecialReply, decode,
};
use wwr::{Content, Dialect, Encoding, Payload};

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    /// One encoder writes them all.
    Messages(Dialect, Vec<Made<'a>>),
    Frame(Dialect, &'a [u8]),
}

/// A message of any type, whether it can be written or not.
#[derive(Arbitrary, Debug)]
enum Made<'a> {
    Signal { name: &'a [u8], payload: Payload },
    Request { id: Identifier, name: &'a [u8], payload: Payload },
    Reply { id: Identifier, payload: Payload },
    ErrorReply { id: Identifier, code: &'a [u8], message: &'a [u8] },
    SpecialReply { id: Identifier, reply: SpecialReply },
    SessionCreated { object: &'a [u8] },
    SessionClosed,
    CloseSession { id: Identifier },
    RestoreSession { id: Identifier, key: &'a [u8] },
    Heartbeat,
    AcceptConf(AcceptConf),
    ClientSettings(ClientSettings),
    Question { id: Identifier, name: &'a [u8], payload: Payload },
    QuestionCancelled { id: Identifier },
    Answer { id: Identifier, payload: Payload },
    AnswerError { id: Identifier, code: &'a [u8], message: &'a [u8] },
    AnswerRefused { id: Identifier, refusal: AnswerRefusal },
    HistorySignal { id: Identifier, name: &'a [u8], payload: Payload },
    HistoryMark(HistoryMark),
    KeptOutcomes(KeptOutcomes),
    ResumeSession { id: Identifier, incarnation: u64, offset: u64, key: &'a [u8] },
    IdempotentRequest { id: Identifier, name: &'a [u8], payload: Payload },
}

fuzz_target!(|input: Input<'_>| {
    match input {
        Input::Messages(dialect, made) => write_and_read(dialect, made),
        Input::Frame(dialect, bytes) => read_and_write(dialect, bytes),
    }
});

impl Made<'_> {
    /// `None` if there is no such message: a name of more than 255 bytes, an empty code.
    fn message(self) -> Option<Message> {
        let copy = Bytes::copy_from_slice;
        Some(match self {
            Self::Signal { name, payload } => Message::Signal(Content::new(name, &payload).ok()?),
            Self::Request { id, name, payload } => {
                Message::Request { id, content: Content::new(name, &payload).ok()? }
            }
            Self::Reply { id, payload } => Message::Reply { id, payload },
            Self::ErrorReply { id, code, message } => {
                Message::ErrorReply { id, error: ErrorReply::new(code, message).ok()? }
            }
            Self::SpecialReply { id, reply } => Message::SpecialReply { id, reply },
            Self::SessionCreated { object } => Message::SessionCreated { object: copy(object) },
            Self::SessionClosed => Message::SessionClosed,
            Self::CloseSession { id } => Message::CloseSession { id },
            Self::RestoreSession { id, key } => Message::RestoreSession { id, key: copy(key) },
            Self::Heartbeat => Message::Heartbeat,
            Self::ClientSettings(settings) => Message::ClientSettings(settings),
            Self::Question { id, name, payload } => {
                Message::Question { id, content: Content::new(name, &payload).ok()? }
            }
            Self::QuestionCancelled { id } => Message::QuestionCancelled { id },
            Self::Answer { id, payload } => Message::Answer { id, payload },
            Self::AnswerError { id, code, message } => {
                Message::AnswerError { id, error: ErrorReply::new(code, message).ok()? }
            }
            Self::AnswerRefused { id, refusal } => Message::AnswerRefused { id, refusal },
            Self::HistorySignal { id, name, payload } => {
                Message::HistorySignal { id, content: Content::new(name, &payload).ok()? }
            }
            Self::HistoryMark(mark) => Message::HistoryMark(mark),
            Self::KeptOutcomes(kept) => Message::KeptOutcomes(kept),
            Self::ResumeSession { id, incarnation, offset, key } => {
                Message::ResumeSession { id, resume: Resume::new(incarnation, offset, key) }
            }
            Self::IdempotentRequest { id, name, payload } => {
                Message::IdempotentRequest { id, content: Content::new(name, &payload).ok()? }
            }
            Self::AcceptConf(conf) => Message::AcceptConf(AcceptConf {
                sub_protocol: conf.sub_protocol.filter(|name| !name.is_empty()),
                ..conf
            }),
        })
    }
}

fn write_and_read(dialect: Dialect, made: Vec<Made<'_>>) {
    let mut encoder = Encoder::new();
    let mut written = Vec::new();
    for message in made.into_iter().filter_map(Made::message) {
        match encoder.encode(dialect, &message) {
            Ok(frame) => {
                let alone = Encoder::new().encode(dialect, &message);
                assert_eq!(alone.as_ref(), Ok(&frame), "what was written before shows");
                written.push((message, frame));
            }
            Err(error) => assert!(is_reason(error, dialect, &message), "{message:?}: {error}"),
        }
        if written.len() % 3 == 2 {
            encoder.shrink();
        }
    }
    // What comes later shares memory with what came before, and changes nothing of it.
    for (message, frame) in written {
        let read = decode(dialect, frame.clone());
        if is_readable(dialect, &message) {
            assert_eq!(read, Ok(message));
        } else {
            assert!(read.is_err(), "{message:?} came back as {read:?}");
        }
    }
}

fn is_printable(text: &[u8]) -> bool {
    text.iter().all(|byte| (b' '..=b'~').contains(byte))
}

/// Whether a message is refused for what is wrong with it (protocol §1.5).
fn is_reason(error: ComposeError, dialect: Dialect, message: &Message) -> bool {
    match (error, message) {
        (ComposeError::UnknownKind(kind), _) => {
            kind == message.kind() && !kind.is_known_in(dialect)
        }
        (
            ComposeError::InvalidName(_),
            Message::Signal(content)
            | Message::Request { content, .. }
            | Message::Question { content, .. }
            | Message::HistorySignal { content, .. }
            | Message::IdempotentRequest { content, .. },
        ) => !is_printable(content.name()),
        (
            ComposeError::InvalidCode(_),
            Message::ErrorReply { error, .. } | Message::AnswerError { error, .. },
        ) => !is_printable(error.code_bytes()),
        (
            ComposeError::EmptyRequest,
            Message::Request { content, .. }
            | Message::Question { content, .. }
            | Message::HistorySignal { content, .. }
            | Message::IdempotentRequest { content, .. },
        ) => content.name().is_empty() && content.payload().is_empty(),
        _ => false,
    }
}

/// Some of what composers write is refused by parsers (protocol §1.4, §1.5).
fn is_readable(dialect: Dialect, message: &Message) -> bool {
    match message {
        Message::Signal(content) if content.payload().is_empty() => {
            content.encoding() != Encoding::Utf16
                && !content.name().is_empty()
                && dialect.rules().accepts_name_only_signals
        }
        Message::SessionCreated { object } => !object.is_empty(),
        Message::RestoreSession { key, .. } => !key.is_empty(),
        Message::ResumeSession { resume, .. } => !resume.key().is_empty(),
        _ => true,
    }
}

fn read_and_write(dialect: Dialect, bytes: &[u8]) {
    let Ok(message) = decode(dialect, Bytes::copy_from_slice(bytes)) else { return };
    match Encoder::new().encode(dialect, &message) {
        Ok(written) => assert_eq!(written, canonical(&message, bytes), "{message:?}"),
        Err(ComposeError::InvalidName(_) | ComposeError::InvalidCode(_)) => {}
        Err(error) => panic!("{message:?} was read, but {error}"),
    }
}

/// The bytes of a message as they are written: padding is zero, and nothing follows the identifier
/// of a reply that is only a type, or what is known of client settings.
fn canonical(message: &Message, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let padding = match message {
        Message::Signal(content) if content.encoding() == Encoding::Utf16 => {
            (content.name().len() % 2 == 1).then_some(2 + content.name().len())
        }
        Message::Request { content, .. }
        | Message::Question { content, .. }
        | Message::HistorySignal { content, .. }
        | Message::IdempotentRequest { content, .. }
            if content.encoding() == Encoding::Utf16 =>
        {
            (content.name().len() % 2 == 1).then_some(10 + content.name().len())
        }
        Message::Reply { payload, .. } | Message::Answer { payload, .. } => {
            (payload.encoding() == Encoding::Utf16).then_some(9)
        }
        Message::SpecialReply { .. } => {
            bytes.truncate(9);
            None
        }
        Message::ClientSettings(settings) => {
            let abilities =
                u8::from(settings.resumes_signals) + 2 * u8::from(settings.instance.is_some());
            bytes.truncate(match (abilities, settings.instance) {
                (0, _) if settings.max_questions == 0 => 5,
                (0, _) => 7,
                (_, None) => 8,
                (_, Some(_)) => 24,
            });
            if let Some(byte) = bytes.get_mut(7) {
                *byte = abilities;
            }
            None
        }
        Message::HistoryMark(mark) => {
            bytes.truncate(18);
            bytes[1] = mark.state.as_byte();
            None
        }
        Message::KeptOutcomes(_) => {
            bytes.truncate(17);
            None
        }
        Message::AnswerRefused { refusal, .. } => {
            bytes.truncate(10);
            bytes[9] = refusal.as_byte();
            None
        }
        _ => None,
    };
    if let Some(at) = padding {
        bytes[at] = 0;
    }
    bytes
}
