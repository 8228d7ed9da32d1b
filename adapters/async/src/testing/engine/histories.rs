//! What every engine has to do with histories.

use bytes::Bytes;
use wwr::cluster::{HistoryAnswer, HistoryStep, News, Step};
use wwr::session::{Batch, HistoryConfig, Position};

use super::pair::Pair;
use super::{Behaviour, close_for_all, confirm, create, is_found, join};

/// An incarnation that no floating-point number is.
const INCARNATION: u64 = u64::MAX - 10;

fn limits(max_signals: usize, max_bytes: usize) -> HistoryConfig {
    let mut limits = HistoryConfig::default();
    (limits.max_signals, limits.max_bytes) = (max_signals, max_bytes);
    limits
}

fn append_within(
    pair: &mut Pair<'_>,
    node: usize,
    limits: HistoryConfig,
    signal: &'static [u8],
) -> Position {
    let step = HistoryStep::Append { signal: Bytes::from_static(signal) };
    match pair.history(node, "k", INCARNATION, limits, step) {
        HistoryAnswer::Appended { end, .. } => end,
        other => panic!("a signal was to be appended, and the answer is {other:?}"),
    }
}

fn append(pair: &mut Pair<'_>, node: usize, signal: &'static [u8]) -> Position {
    append_within(pair, node, limits(3, 20), signal)
}

fn read(pair: &mut Pair<'_>, node: usize, after: Position) -> Batch<Bytes> {
    read_within(pair, node, limits(3, 20), after)
}

fn read_within(
    pair: &mut Pair<'_>,
    node: usize,
    limits: HistoryConfig,
    after: Position,
) -> Batch<Bytes> {
    let step = HistoryStep::Read { after, most: 2, max_bytes: 9 };
    match pair.history(node, "k", INCARNATION - 1, limits, step) {
        HistoryAnswer::Read(batch) => *batch,
        other => panic!("a history was to be read, and the answer is {other:?}"),
    }
}

const fn place(offset: u64) -> Position {
    Position { incarnation: INCARNATION, offset }
}

pub(super) const BEHAVIOURS: &[Behaviour] = &[
    (
        "signals have offsets that all nodes share, and the others with places hear of them",
        |pair| {
            let (a, b, c) = (pair.enter("a"), pair.enter("b"), pair.enter("c"));
            pair.ask(a, "k", create(1));
            pair.ask(b, "k", join(1, 0));
            assert_eq!(append(pair, a, b"one\0\xff"), place(1));
            let key = super::key("k");
            let news = News::Appended { key, end: place(1) };
            assert_eq!(pair.last_news(), [(b, news)]);
            assert_eq!(append(pair, c, b""), place(2));
            assert_eq!(pair.last_news().len(), 2);
            let missed = read(pair, b, place(0));
            assert_eq!((missed.first, missed.gap, missed.last), (1, false, 2));
            assert_eq!(missed.signals, [&b"one\0\xff"[..], b""]);
            assert_eq!(read(pair, b, place(2)).signals.len(), 0);
        },
    ),
    ("who comes to hold a session learns where its history ends", |pair| {
        let (a, b) = (pair.enter("a"), pair.enter("b"));
        // The pair compares where it ends.
        pair.new_history = Some(INCARNATION);
        pair.numbered(1, a, "k", create(1));
        pair.numbered(1, a, "k", create(1));
        pair.new_history = Some(INCARNATION - 1);
        assert_eq!(append(pair, a, b"one"), place(1));
        pair.numbered(1, a, "k", create(1));
        pair.ask(b, "k", join(1, 0));
        assert_eq!(append(pair, b, b"two"), place(2));
        pair.ask(b, "k", confirm(1, 0, 1));
        assert!(is_found(&pair.ask(b, "k", confirm(1, 0, 0))));
        pair.ask(b, "unknown", join(1, 0));
    }),
    ("a history is made for who has a place and asks for one", |pair| {
        let (a, b) = (pair.enter("a"), pair.enter("b"));
        pair.numbered(1, a, "k", create(1));
        pair.ask(b, "k", join(1, 0));
        pair.new_history = Some(INCARNATION - 1);
        pair.ask(b, "k", confirm(1, 1, 1));
        pair.ask(b, "k", Step::Place { places: 2 });
        // Nobody has made one yet.
        assert_eq!(append(pair, b, b"one"), place(1));
        pair.ask(b, "k", close_for_all(None, false));
        // It was created, and has no history any more.
        pair.numbered(1, a, "k", create(1));
    }),
    ("a history is bounded, and says what is missing", |pair| {
        let a = pair.enter("a");
        pair.ask(a, "k", create(1));
        for signal in [&b"1"[..], b"22", b"333", b"4444"] {
            append(pair, a, signal);
        }
        let first = read(pair, a, place(0));
        assert_eq!((first.first, first.gap, first.signals.len()), (2, true, 2));
        assert!(!read(pair, a, place(1)).gap);
        for unknown in [place(5), place(u64::MAX), Position { incarnation: 7, offset: 3 }] {
            assert!(read(pair, a, unknown).gap, "{unknown:?} is no place in it");
        }
        // The newest is kept, and read, whatever its length.
        append(pair, a, b"a signal of many bytes");
        let long = read(pair, a, place(3));
        assert_eq!((long.first, long.gap, long.signals.len()), (5, true, 1));
    }),
    ("signals that are too old are forgotten, and offsets go on", |pair| {
        let a = pair.enter("a");
        pair.ask(a, "k", create(1));
        let mut brief = limits(3, 20);
        brief.max_age = core::time::Duration::from_millis(1);
        append_within(pair, a, brief, b"one");
        pair.wait_for_that_moment();
        let old = read_within(pair, a, brief, place(0));
        assert_eq!((old.first, old.gap, old.signals.len(), old.last), (2, true, 0, 1));
        assert!(!read_within(pair, a, brief, place(1)).gap);
        assert_eq!(append(pair, a, b"two"), place(2));
        assert_eq!(read(pair, a, place(1)).signals, [&b"two"[..]]);
    }),
    ("a history ends with its session, and there is none without", |pair| {
        let (a, b) = (pair.enter("a"), pair.enter("b"));
        let none = |pair: &mut Pair<'_>, node| {
            let signal = Bytes::from_static(b"nobody");
            for step in [
                HistoryStep::Append { signal },
                HistoryStep::Read { after: place(0), most: 1, max_bytes: 1 },
            ] {
                let answer = pair.history(node, "k", INCARNATION, limits(3, 20), step);
                assert_eq!(answer, HistoryAnswer::NotFound);
            }
        };
        none(pair, a);
        pair.ask(a, "k", create(1));
        pair.ask(b, "k", join(1, 0));
        append(pair, a, b"one");
        pair.ask(a, "k", Step::Close);
        assert_eq!(append(pair, a, b"two"), place(2));
        pair.ask(b, "k", close_for_all(None, false));
        none(pair, b);
    }),
];
