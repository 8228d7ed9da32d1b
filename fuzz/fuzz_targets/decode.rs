//! Any bytes to messages, and back: whatever is read lies inside the frame and is written again
//! with the same meaning, if it may be sent at all.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use wwr::Dialect;
use wwr::wire::{ComposeError, DecodeError, Encoder, Message, decode};

/// The first byte of the input chooses one of these, the rest is the frame.
const DIALECTS: [Dialect; 5] = Dialect::ALL;

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else { return };
    let dialect = DIALECTS[usize::from(*choice) % DIALECTS.len()];
    let frame = Bytes::copy_from_slice(bytes);
    match decode(dialect, frame.clone()) {
        Ok(message) => {
            parts(&message).into_iter().for_each(|part| assert_lies_inside(&frame, part));
            look_at_text(&message);
            write_again(dialect, &message, frame.len());
        }
        Err(error) => check(error, &frame),
    }
});

/// The slices of the frame that a message holds.
fn parts(message: &Message) -> [&[u8]; 2] {
    match message {
        Message::Signal(content)
        | Message::Request { content, .. }
        | Message::Question { content, .. }
        | Message::HistorySignal { content, .. }
        | Message::IdempotentRequest { content, .. } => [content.name(), content.payload()],
        Message::Reply { payload, .. } | Message::Answer { payload, .. } => {
            [payload.as_bytes(), &[]]
        }
        Message::ErrorReply { error, .. } | Message::AnswerError { error, .. } => {
            [error.code_bytes(), error.message_bytes()]
        }
        Message::SessionCreated { object } => [object, &[]],
        Message::RestoreSession { key, .. } => [key, &[]],
        Message::ResumeSession { resume, .. } => [resume.as_bytes(), &[]],
        Message::AcceptConf(conf) => [conf.sub_protocol.as_deref().unwrap_or_default(), &[]],
        Message::SpecialReply { .. }
        | Message::SessionClosed
        | Message::CloseSession { .. }
        | Message::ClientSettings(_)
        | Message::QuestionCancelled { .. }
        | Message::AnswerRefused { .. }
        | Message::HistoryMark(_)
        | Message::KeptOutcomes(_)
        | Message::Heartbeat => [&[], &[]],
    }
}

fn assert_lies_inside(frame: &[u8], part: &[u8]) {
    if !part.is_empty() {
        let (outer, inner) = (frame.as_ptr_range(), part.as_ptr_range());
        assert!(outer.start <= inner.start && inner.end <= outer.end, "a copy");
    }
}

/// Text of a peer never panics.
fn look_at_text(message: &Message) {
    match message {
        Message::Signal(content)
        | Message::Request { content, .. }
        | Message::Question { content, .. }
        | Message::HistorySignal { content, .. }
        | Message::IdempotentRequest { content, .. } => {
            let text = content.text().map(String::from);
            let payload = content.clone().into_payload();
            assert_eq!(payload.as_bytes(), content.payload());
            assert_eq!(payload.text().map(String::from), text);
            assert_eq!(content.name_str().is_some(), str::from_utf8(content.name()).is_ok());
        }
        Message::Reply { payload, .. } | Message::Answer { payload, .. } => drop(payload.text()),
        Message::ErrorReply { error, .. } | Message::AnswerError { error, .. } => {
            drop((error.code(), error.message()))
        }
        _ => {}
    }
}

fn write_again(dialect: Dialect, message: &Message, length: usize) {
    match Encoder::new().encode(dialect, message) {
        Ok(written) => {
            assert!(written.len() <= length, "nothing is added");
            assert_eq!(decode(dialect, written.clone()).as_ref(), Ok(message));
            let again = Encoder::new().encode(dialect, message);
            assert_eq!(again, Ok(written), "the same message is written the same");
        }
        Err(ComposeError::InvalidName(_) | ComposeError::InvalidCode(_)) => {
            let [name, _] = parts(message);
            assert!(!name.iter().all(|byte| (b' '..=b'~').contains(byte)), "{message:?}");
        }
        Err(error) => {
            panic!("{message:?} was read, but {error}");
        }
    }
}

fn check(error: DecodeError, frame: &[u8]) {
    match error {
        DecodeError::Empty => assert!(frame.is_empty()),
        DecodeError::UnknownKind(byte) => assert_eq!(frame.first(), Some(&byte)),
        DecodeError::Malformed { kind, identifier, .. } => {
            assert_eq!(frame.first(), Some(&kind.as_byte()));
            if let Some(identifier) = identifier {
                assert_eq!(frame.get(1..9), Some(&identifier.as_bytes()[..]));
            }
        }
    }
}
