//! The codec against a second one that was written from the protocol alone, over mutated messages:
//! both read the same, refuse the same, and write the same.
//!
//! ```text
//! WWR_MUTATIONS=20000000 WWR_SEED=7 cargo test --release --test differential -- --nocapture
//! ```

mod mutation;
mod naive;

use std::collections::BTreeMap;
use std::env;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use naive::{Conf, Fields, Reading, Version};
use serde_json::Value;
use wwr::wire::{AcceptConf, DecodeError, Encoder, Kind, Message, decode};
use wwr::{Dialect, Encoding};

/// How many messages are compared unless `WWR_MUTATIONS` says otherwise.
const MUTATIONS: usize = 200_000;

const VERSIONS: [(Version, Dialect); 4] = [
    (Version::V1_4, Dialect::V1_4),
    (Version::V1_5, Dialect::V1_5),
    (Version::Wwr1, Dialect::Wwr1),
    (Version::V2_0, Dialect::V2_0),
];

const VECTORS: [&str; 6] = [
    include_str!("../vectors/parse-1.4.jsonl"),
    include_str!("../vectors/parse-2.0.jsonl"),
    include_str!("../vectors/compose-1.4.jsonl"),
    include_str!("../vectors/compose-2.0.jsonl"),
    include_str!("../vectors/parse-wwr.1.jsonl"),
    include_str!("../vectors/compose-wwr.1.jsonl"),
];

/// Longer messages are the same as shorter ones, and only take longer.
const LONGEST_SEED: usize = 512;

fn rows(text: &str) -> impl Iterator<Item = Value> + '_ {
    text.lines().map(|line| serde_json::from_str(line).expect(line))
}

fn hex(row: &Value, member: &str) -> Option<Vec<u8>> {
    let text = row.get(member)?.as_str()?;
    Some(HEXLOWER.decode(text.as_bytes()).expect(text))
}

/// The messages of both sides in the vectors, the malformed ones included.
fn seeds() -> Vec<Vec<u8>> {
    let messages = VECTORS.into_iter().flat_map(rows).filter_map(|row| hex(&row, "hex"));
    let mut seeds: Vec<_> = messages.filter(|seed| seed.len() <= LONGEST_SEED).collect();
    seeds.sort_unstable();
    seeds.dedup();
    seeds
}

/// What our decoder says, in the words of the naive one.
fn ours(dialect: Dialect, frame: &Bytes) -> Reading {
    match decode(dialect, frame.clone()) {
        Ok(message) => Reading::Message(fields(&message)),
        Err(DecodeError::Empty) => Reading::NoType,
        Err(DecodeError::UnknownKind(kind)) => Reading::UnknownType(kind),
        Err(DecodeError::Malformed { kind, identifier, .. }) => {
            let id = identifier.map(|id| *id.as_bytes());
            Reading::Malformed { kind: kind.as_byte(), id }
        }
    }
}

fn fields(message: &Message) -> Fields {
    let reason = match message {
        Message::AnswerRefused { refusal, .. } => [refusal.as_byte()],
        _ => [0],
    };
    let numbers = match message {
        Message::HistoryMark(mark) => {
            let place = [mark.incarnation.to_le_bytes(), mark.offset.to_le_bytes()].concat();
            [&[mark.state.as_byte()], &place[..]].concat()
        }
        Message::KeptOutcomes(kept) => {
            let window = [kept.window_ms.to_le_bytes(), kept.outcomes.to_le_bytes()].concat();
            [&kept.scope.to_le_bytes(), &window[..]].concat()
        }
        _ => Vec::new(),
    };
    let (name, encoding, payload): (&[u8], _, &[u8]) = match message {
        Message::HistoryMark(_) | Message::KeptOutcomes(_) => (&[], Encoding::Binary, &numbers),
        Message::ResumeSession { resume, .. } => (&[], Encoding::Binary, resume.as_bytes()),
        Message::AnswerRefused { .. } => (&[], Encoding::Binary, &reason),
        Message::Signal(content)
        | Message::Request { content, .. }
        | Message::Question { content, .. }
        | Message::HistorySignal { content, .. }
        | Message::IdempotentRequest { content, .. } => {
            (content.name(), content.encoding(), content.payload())
        }
        Message::Reply { payload, .. } | Message::Answer { payload, .. } => {
            (&[], payload.encoding(), payload.as_bytes())
        }
        Message::ErrorReply { error, .. } | Message::AnswerError { error, .. } => {
            (error.code_bytes(), Encoding::Binary, error.message_bytes())
        }
        Message::SessionCreated { object } => (&[], Encoding::Binary, object),
        Message::RestoreSession { key, .. } => (&[], Encoding::Binary, key),
        Message::AcceptConf(_)
        | Message::ClientSettings(_)
        | Message::QuestionCancelled { .. }
        | Message::SpecialReply { .. }
        | Message::SessionClosed
        | Message::CloseSession { .. }
        | Message::Heartbeat => (&[], Encoding::Binary, &[]),
    };
    Fields {
        kind: message.kind().as_byte(),
        id: message.identifier().map(|id| *id.as_bytes()),
        encoding: match encoding {
            Encoding::Binary => naive::Encoding::Binary,
            Encoding::Utf8 => naive::Encoding::Utf8,
            Encoding::Utf16 => naive::Encoding::Utf16,
        },
        name: name.to_vec(),
        payload: payload.to_vec(),
        conf: match message {
            Message::AcceptConf(conf) => Some(advertised(conf)),
            _ => None,
        },
        stated: match message {
            Message::ClientSettings(settings) => {
                let (longest, questions) = (settings.max_message_size, settings.max_questions);
                Some((longest, questions, settings.resumes_signals, settings.instance))
            }
            _ => None,
        },
    }
}

fn advertised(conf: &AcceptConf) -> Conf {
    Conf {
        major: conf.major,
        minor: conf.minor,
        timeout: conf.read_timeout_ms,
        buffer: conf.message_buffer_size,
        sub_protocol: conf.sub_protocol.as_deref().unwrap_or_default().to_vec(),
    }
}

/// What the naive decoder says if the version is not known: whatever any of them reads.
fn read_as_any(frame: &[u8]) -> Reading {
    let [_, older, _, newer] = VERSIONS.map(|(version, _)| naive::read(version, frame));
    match (&older, &newer) {
        (Reading::Message(_), _) | (_, Reading::UnknownType(_)) => older,
        _ => newer,
    }
}

/// Compares everything about one message; returns what it is in 2.0 for the count.
fn compare(message: Vec<u8>) -> Reading {
    let frame = Bytes::from(message);
    let mut last = Reading::NoType;
    for (version, dialect) in VERSIONS {
        let theirs = naive::read(version, &frame);
        assert_eq!(ours(dialect, &frame), theirs, "{dialect} of {}", HEXLOWER.encode(&frame));
        if let Reading::Message(fields) = &theirs {
            compare_writing(dialect, &frame, fields);
        }
        last = theirs;
    }
    let any = ours(Dialect::Unknown, &frame);
    assert_eq!(any, read_as_any(&frame), "any version of {}", HEXLOWER.encode(&frame));
    last
}

/// What was read in one version is written, or refused, in each.
fn compare_writing(read_in: Dialect, frame: &Bytes, fields: &Fields) {
    let message = decode(read_in, frame.clone()).expect("compared before");
    for (version, dialect) in VERSIONS {
        let ours = Encoder::new().encode(dialect, &message).ok().map(|bytes| bytes.to_vec());
        let theirs = naive::write(version, fields);
        assert_eq!(ours, theirs, "{dialect} of {}", HEXLOWER.encode(frame));
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is to be a number: {text:?}")))
}

/// The naive decoder is worth something: it agrees with what the reference did.
#[test]
fn the_naive_decoder_reads_the_vectors_as_the_reference_does() {
    let read =
        [(VECTORS[0], Version::V1_4), (VECTORS[1], Version::V2_0), (VECTORS[4], Version::Wwr1)];
    for (text, version) in read {
        for row in rows(text) {
            let message = hex(&row, "hex").expect("each row has it");
            let id = hex(&row, "id");
            match naive::read(version, &message) {
                Reading::Message(fields) => {
                    assert_eq!(row["ok"], true, "{row}");
                    assert_eq!(fields.id.map(Vec::from), id, "{row}");
                    assert_eq!(Some(fields.name), hex(&row, "name_hex"), "{row}");
                    assert_eq!(Some(fields.payload), hex(&row, "payload_hex"), "{row}");
                }
                Reading::Malformed { id: read, .. } => {
                    assert_eq!((&row["ok"], &row["type_known"]), (&false.into(), &true.into()));
                    assert_eq!(read.map(Vec::from), id, "{row}");
                }
                Reading::NoType | Reading::UnknownType(_) => {
                    assert_eq!((&row["type_known"], id), (&false.into(), None), "{row}");
                }
            }
        }
    }
}

#[test]
fn both_decoders_read_the_vectors_alike() {
    seeds().into_iter().for_each(|seed| drop(compare(seed)));
}

/// Every message of up to two bytes, and every length of every type with the lengths of names.
#[test]
fn both_decoders_agree_on_all_short_and_all_edge_messages() {
    drop(compare(Vec::new()));
    for kind in 0..=u8::MAX {
        drop(compare(vec![kind]));
        (0..=u8::MAX).for_each(|second| drop(compare(vec![kind, second])));
    }
    for kind in Kind::ALL.iter().map(|kind| kind.as_byte()) {
        for length in 0..40 {
            for name in [0, 1, 2, 3, 7, 8, 26, 27, 28, 29, 30, 31, 255] {
                let mut message = vec![b'x'; length];
                for (at, byte) in [(0, kind), (1, name), (9, name)] {
                    message.get_mut(at).into_iter().for_each(|place| *place = byte);
                }
                drop(compare(message));
            }
        }
    }
}

#[test]
fn both_decoders_agree_on_mutated_messages() {
    let mutations = number("WWR_MUTATIONS").map_or(MUTATIONS, |number| number as usize);
    let seed = number("WWR_SEED").unwrap_or(1);
    let seeds = seeds();
    let mut dice = mutation::Dice(seed);
    let mut read: BTreeMap<u8, usize> = BTreeMap::new();
    let (mut malformed, mut unknown) = (BTreeMap::new(), 0_usize);
    for _ in 0..mutations {
        match compare(mutation::message(&mut dice, &seeds)) {
            Reading::Message(fields) => *read.entry(fields.kind).or_default() += 1,
            Reading::Malformed { kind, .. } => *malformed.entry(kind).or_default() += 1,
            Reading::NoType | Reading::UnknownType(_) => unknown += 1,
        }
    }
    let sums = [&read, &malformed].map(|counts| counts.values().sum::<usize>());
    println!("{mutations} messages from {} seeds, seed {seed}", seeds.len());
    println!("as 2.0: {} read, {} malformed, {unknown} of no type", sums[0], sums[1]);
    println!("read by type: {read:?}\nmalformed by type: {malformed:?}");
    for kind in Kind::ALL.iter().filter(|kind| kind.is_known_in(Dialect::V2_0)) {
        let byte = kind.as_byte();
        let few = mutations / 10_000;
        let counts = [&read, &malformed].map(|counts| counts.get(&byte).copied().unwrap_or(0));
        assert!(counts.iter().all(|count| *count >= few), "{counts:?} {kind:?} read and malformed");
    }
}
