//! The parsers: what they read we read, with the same fields, and what they refuse we refuse.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Deserialize;
use wwr::wire::{DecodeError, Encoder, Identifier, Kind, Malformation, Message, decode};
use wwr::{Dialect, Encoding};

use crate::vectors::{File, Hex, Id, PARSE_1_4, PARSE_2_0, PARSE_WWR1, Tag, rows};

#[derive(Debug, Deserialize)]
struct Row {
    hex: Hex,
    ok: bool,
    type_known: bool,
    #[serde(rename = "type")]
    kind: Option<u8>,
    id: Option<Id>,
    #[serde(flatten)]
    fields: Option<Fields>,
}

/// What a message holds beside its type and identifier.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Fields {
    name_hex: Hex,
    encoding: Tag,
    payload_hex: Hex,
    accept_conf: Option<Conf>,
    client_settings: Option<Stated>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Conf {
    major: u8,
    minor: u8,
    read_timeout_ms: u32,
    message_buffer_size: u32,
    sub_protocol_hex: Hex,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stated {
    max_message_size: u32,
    #[serde(default)]
    max_questions: u16,
    #[serde(default)]
    resumes_signals: bool,
    instance_hex: Option<Hex>,
}

/// The fields of a message as the vectors give them.
fn fields(message: &Message) -> Fields {
    let (mut accept_conf, mut client_settings) = (None, None);
    let copy = Bytes::copy_from_slice;
    let none = Bytes::new;
    let (name, encoding, payload) = match message {
        Message::Signal(content)
        | Message::Request { content, .. }
        | Message::Question { content, .. }
        | Message::HistorySignal { content, .. }
        | Message::IdempotentRequest { content, .. } => {
            (copy(content.name()), content.encoding(), copy(content.payload()))
        }
        Message::Reply { payload, .. } | Message::Answer { payload, .. } => {
            (none(), payload.encoding(), copy(payload.as_bytes()))
        }
        Message::ErrorReply { error, .. } | Message::AnswerError { error, .. } => {
            (copy(error.code_bytes()), Encoding::Binary, copy(error.message_bytes()))
        }
        Message::SessionCreated { object } => (none(), Encoding::Binary, object.clone()),
        Message::RestoreSession { key, .. } => (none(), Encoding::Binary, key.clone()),
        Message::AcceptConf(conf) => {
            accept_conf = Some(Conf {
                major: conf.major,
                minor: conf.minor,
                read_timeout_ms: conf.read_timeout_ms,
                message_buffer_size: conf.message_buffer_size,
                sub_protocol_hex: Hex(conf.sub_protocol.clone().unwrap_or_default()),
            });
            (none(), Encoding::Binary, none())
        }
        Message::ClientSettings(settings) => {
            client_settings = Some(Stated {
                max_message_size: settings.max_message_size,
                max_questions: settings.max_questions,
                resumes_signals: settings.resumes_signals,
                instance_hex: settings.instance.map(|instance| Hex(copy(&instance))),
            });
            (none(), Encoding::Binary, none())
        }
        Message::HistoryMark(mark) => {
            let (incarnation, offset) = (mark.incarnation.to_le_bytes(), mark.offset.to_le_bytes());
            let state = [mark.state.as_byte()];
            (none(), Encoding::Binary, [&state[..], &incarnation, &offset].concat().into())
        }
        Message::KeptOutcomes(kept) => {
            let (window, outcomes) = (kept.window_ms.to_le_bytes(), kept.outcomes.to_le_bytes());
            let scope = kept.scope.to_le_bytes();
            (none(), Encoding::Binary, [&scope[..], &window, &outcomes].concat().into())
        }
        Message::ResumeSession { resume, .. } => {
            (none(), Encoding::Binary, resume.as_bytes().clone())
        }
        Message::AnswerRefused { refusal, .. } => {
            (none(), Encoding::Binary, Bytes::copy_from_slice(&[refusal.as_byte()]))
        }
        Message::SpecialReply { .. }
        | Message::SessionClosed
        | Message::CloseSession { .. }
        | Message::QuestionCancelled { .. }
        | Message::Heartbeat => (none(), Encoding::Binary, none()),
    };
    let encoding = match encoding {
        Encoding::Binary => Tag::Binary,
        Encoding::Utf8 => Tag::Utf8,
        Encoding::Utf16 => Tag::Utf16,
    };
    let (name_hex, payload_hex) = (Hex(name), Hex(payload));
    Fields { name_hex, encoding, payload_hex, accept_conf, client_settings }
}

fn identifier(decoded: &Result<Message, DecodeError>) -> Option<Identifier> {
    match decoded {
        Ok(message) => message.identifier(),
        Err(DecodeError::Malformed { identifier, .. }) => *identifier,
        Err(DecodeError::Empty | DecodeError::UnknownKind(_)) => None,
    }
}

/// Asserts every row; returns how many are messages, how many malformed, how many unknown.
fn check(file: &File) -> (usize, usize, usize) {
    let (mut messages, mut malformed, mut unknown) = (0, 0, 0);
    for row in rows::<Row>(file.text) {
        let decoded = decode(file.dialect, row.hex.0.clone());
        assert_eq!(identifier(&decoded), row.id.map(|id| id.0), "{row:?} gave {decoded:?}");
        match &decoded {
            Ok(message) => {
                assert!(row.ok && row.type_known, "{row:?} gave {decoded:?}");
                assert_eq!(Some(message.kind().as_byte()), row.kind);
                assert_eq!(Some(fields(message)), row.fields, "{:?}", row.hex);
                messages += 1;
            }
            Err(DecodeError::Malformed { kind, .. }) => {
                assert!(row.type_known && !row.ok, "{row:?} gave {decoded:?}");
                assert_eq!(Some(kind.as_byte()), row.kind);
                malformed += 1;
            }
            Err(DecodeError::UnknownKind(byte)) => {
                assert!(!row.type_known && !row.ok, "{row:?} gave {decoded:?}");
                assert_eq!(Some(*byte), row.kind);
                unknown += 1;
            }
            Err(DecodeError::Empty) => {
                assert!(!row.type_known && row.kind.is_none(), "{row:?} gave {decoded:?}");
                unknown += 1;
            }
        }
    }
    (messages, malformed, unknown)
}

/// All messages of a file, with the bytes they were read from.
fn messages(file: &File) -> impl Iterator<Item = (Bytes, Message)> + use<> {
    let dialect = file.dialect;
    rows::<Row>(file.text).into_iter().filter(|row| row.ok).map(move |row| {
        let message = decode(dialect, row.hex.0.clone()).expect("checked by other tests");
        (row.hex.0, message)
    })
}

#[test]
fn messages_of_1_4_are_read_as_the_reference_reads_them() {
    assert_eq!(check(&PARSE_1_4), (1517, 1059, 427));
}

#[test]
fn messages_of_2_0_are_read_as_the_reference_reads_them() {
    assert_eq!(check(&PARSE_2_0), (1619, 997, 387));
}

#[test]
fn messages_of_wwr_1_are_read_as_the_protocol_says() {
    assert_eq!(check(&PARSE_WWR1), (80, 34, 3));
}

#[test]
fn what_wwr_1_adds_are_messages_of_wwr_1_only() {
    for (frame, message) in messages(&PARSE_WWR1) {
        for dialect in Dialect::ALL.into_iter().filter(|dialect| *dialect != Dialect::Wwr1) {
            let kind = message.kind().as_byte();
            let known = decode(dialect, frame.clone()) != Err(DecodeError::UnknownKind(kind));
            let own = matches!(kind, 7 | 8 | 11..=19 | 24..=30 | 130..=132);
            assert!(!(own && known), "{dialect}: {frame:?}");
            assert!(own || known || dialect != Dialect::Unknown, "{dialect}: {frame:?}");
            let written = Encoder::new().encode(dialect, &message);
            assert!(known || written.is_err(), "{dialect}: {message:?}");
        }
    }
}

#[test]
fn wwr_1_reads_everything_that_any_version_reads() {
    for file in [PARSE_1_4, PARSE_2_0] {
        for (frame, message) in messages(&file) {
            assert_eq!(decode(Dialect::Wwr1, frame), Ok(message));
        }
    }
}

#[test]
fn version_1_5_is_1_4_and_the_heartbeat() {
    for row in rows::<Row>(PARSE_1_4.text) {
        let [older, newer] =
            [Dialect::V1_4, Dialect::V1_5].map(|dialect| decode(dialect, row.hex.0.clone()));
        if row.kind == Some(Kind::Heartbeat.as_byte()) {
            assert_eq!(older, Err(DecodeError::UnknownKind(33)));
            assert_eq!(newer.is_ok(), row.hex.0.len() == 1, "{:?}", row.hex);
        } else {
            assert_eq!(older, newer);
        }
    }
}

#[test]
fn an_unknown_dialect_reads_everything_that_any_version_reads() {
    for file in [PARSE_1_4, PARSE_2_0] {
        for (frame, message) in messages(&file) {
            assert_eq!(decode(Dialect::Unknown, frame), Ok(message));
        }
    }
}

#[test]
fn every_prefix_of_a_message_is_a_shorter_message_or_refused() {
    for file in [PARSE_1_4, PARSE_2_0, PARSE_WWR1] {
        for (frame, message) in messages(&file) {
            for length in 0..frame.len() {
                match decode(file.dialect, frame.slice(..length)) {
                    Ok(shorter) => {
                        assert_eq!(shorter.kind(), message.kind());
                        assert_eq!(shorter.identifier(), message.identifier());
                    }
                    Err(DecodeError::Empty) => assert_eq!(length, 0),
                    Err(DecodeError::Malformed { kind, identifier, .. }) => {
                        assert_eq!(kind, message.kind());
                        assert!(identifier.is_none() || identifier == message.identifier());
                    }
                    Err(DecodeError::UnknownKind(byte)) => panic!("{byte} is known: {frame:?}"),
                }
            }
        }
    }
}

/// What becomes of a message when bytes are added at its end.
enum Longer {
    /// They are not looked at.
    Same,
    /// They are part of the payload, or of what the type has in its place.
    Grows,
    /// They may complete a number that follows.
    States,
    /// The message is refused.
    Refused,
}

fn longer(kind: Kind, added: usize) -> Longer {
    match kind {
        Kind::SessionClosed | Kind::Heartbeat | Kind::CloseSession | Kind::QuestionCancelled => {
            Longer::Refused
        }
        Kind::SignalUtf16
        | Kind::RequestUtf16
        | Kind::ReplyUtf16
        | Kind::QuestionUtf16
        | Kind::AnswerUtf16
        | Kind::HistorySignalUtf16
        | Kind::IdempotentRequestUtf16
            if added % 2 == 1 =>
        {
            Longer::Refused
        }
        Kind::ReplyShutdown
        | Kind::ReplyInternalError
        | Kind::ReplySessionNotFound
        | Kind::ReplyMaxSessionConnections
        | Kind::ReplySessionsDisabled
        | Kind::ReplyProtocolError
        | Kind::ReplyOutcomeUnknown
        | Kind::ReplyNotExecuted
        | Kind::HistoryMark
        | Kind::KeptOutcomes
        | Kind::AnswerRefused => Longer::Same,
        Kind::ClientSettings => Longer::States,
        _ => Longer::Grows,
    }
}

#[test]
fn bytes_after_a_message_are_payload_ignored_or_refused_as_the_type_says() {
    for file in [PARSE_1_4, PARSE_2_0, PARSE_WWR1] {
        for (frame, message) in messages(&file) {
            for tail in [&b"~"[..], b"~~"] {
                let mut bytes = BytesMut::from(&frame[..]);
                bytes.put_slice(tail);
                let decoded = decode(file.dialect, bytes.freeze());
                match (longer(message.kind(), tail.len()), decoded) {
                    (Longer::Refused, Err(DecodeError::Malformed { reason, .. })) => {
                        let odd = matches!(reason, Malformation::OddUtf16 { .. });
                        let long = matches!(reason, Malformation::WrongLength { .. });
                        assert!(odd || long, "{frame:?}: {reason:?}");
                    }
                    (Longer::Same, Ok(same)) => assert_eq!(same, message),
                    (Longer::States, Ok(Message::ClientSettings(settings))) => {
                        let Message::ClientSettings(before) = &message else {
                            panic!("{message:?} became client settings");
                        };
                        let length = frame.len();
                        assert_eq!(settings.max_message_size, before.max_message_size);
                        let completed = length < 7 && length + tail.len() >= 7;
                        assert_eq!(settings.max_questions != before.max_questions, completed);
                        if length >= 8 && before.instance.is_some() {
                            assert_eq!(&settings, before);
                        }
                    }
                    (Longer::Grows, Ok(grown)) => {
                        assert_eq!(grown.identifier(), message.identifier());
                        let (mut before, after) = (fields(&message), fields(&grown));
                        let last = match &mut before.accept_conf {
                            Some(conf) => &mut conf.sub_protocol_hex.0,
                            None => &mut before.payload_hex.0,
                        };
                        *last = [&last[..], tail].concat().into();
                        assert_eq!(before, after);
                    }
                    (_, decoded) => panic!("{frame:?} with {tail:?} gave {decoded:?}"),
                }
            }
        }
    }
}

/// Whether the protocol lets this be sent, although it may be received: names and codes differ.
fn may_be_sent(message: &Message) -> bool {
    let name = fields(message).name_hex.0;
    name.iter().all(|byte| (b' '..=b'~').contains(byte))
}

/// Bytes of a message that have no meaning: the value of the padding, what follows a special reply.
fn meaningless(message: &Message, frame: &[u8]) -> usize {
    let known = fields(message);
    let parts = match message {
        Message::Signal(_) => 2,
        Message::Request { .. }
        | Message::ErrorReply { .. }
        | Message::Question { .. }
        | Message::AnswerError { .. }
        | Message::HistorySignal { .. }
        | Message::IdempotentRequest { .. } => 10,
        Message::AcceptConf(conf) => 11 + conf.sub_protocol.as_ref().map_or(0, Bytes::len),
        Message::ClientSettings(settings) => {
            let abilities = usize::from(settings.resumes_signals || settings.instance.is_some());
            let asked = usize::from(settings.max_questions > 0 || abilities > 0);
            5 + 2 * asked + abilities + 16 * usize::from(settings.instance.is_some())
        }
        // An unknown state is written as a gap.
        Message::HistoryMark(_) => return 1,
        Message::KeptOutcomes(_) => 1,
        Message::SessionCreated { .. } | Message::SessionClosed | Message::Heartbeat => 1,
        Message::Reply { .. }
        | Message::SpecialReply { .. }
        | Message::CloseSession { .. }
        | Message::RestoreSession { .. }
        | Message::Answer { .. }
        | Message::ResumeSession { .. }
        | Message::QuestionCancelled { .. } => 9,
        // An unknown reason is written as a failure.
        Message::AnswerRefused { .. } => return 1,
    };
    frame.len() - parts - known.name_hex.0.len() - known.payload_hex.0.len()
}

/// Writes all messages of a file again; returns how many came out the same, how many with other
/// padding or without trailing bytes, and how many may not be sent.
fn rewrite(file: &File) -> (usize, usize, usize) {
    let (mut same, mut cleaned, mut refused) = (0, 0, 0);
    let mut encoder = Encoder::new();
    for (frame, message) in messages(file) {
        let Ok(written) = encoder.encode(file.dialect, &message) else {
            assert!(!may_be_sent(&message), "{message:?} was refused");
            refused += 1;
            continue;
        };
        assert!(may_be_sent(&message), "{message:?} was written");
        assert_eq!(decode(file.dialect, written.clone()).as_ref(), Ok(&message));
        if written == frame {
            same += 1;
        } else {
            assert!(meaningless(&message, &frame) > 0, "{frame:?} became {written:?}");
            cleaned += 1;
        }
    }
    (same, cleaned, refused)
}

#[test]
fn decoded_messages_are_encoded_with_the_same_meaning() {
    assert_eq!(rewrite(&PARSE_1_4), (1070, 190, 257));
    assert_eq!(rewrite(&PARSE_2_0), (1101, 155, 363));
    assert_eq!(rewrite(&PARSE_WWR1), (69, 11, 0));
}
