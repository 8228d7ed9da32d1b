//! Histories, step by step and against a model.

use core::time::Duration;
use std::collections::BTreeMap;
use std::vec::Vec;

use super::super::{Batch, Histories, HistoryConfig, Position};
use crate::session::SessionKey;
use crate::time::Instant;

fn key(name: &str) -> SessionKey {
    SessionKey::new(name).unwrap()
}

fn config() -> HistoryConfig {
    let max_age = Duration::from_millis(100);
    HistoryConfig { max_signals: 4, max_bytes: 100, max_age, max_total_bytes: 10_000 }
}

/// Histories whose signals are their offsets.
struct Fixture {
    histories: Histories<u64>,
    now: Instant,
}

impl Fixture {
    fn new(config: HistoryConfig) -> Self {
        config.check().unwrap();
        Self { histories: Histories::new(config, [7; 16]), now: Instant::EPOCH }
    }

    fn append(&mut self, name: &str, bytes: usize) -> Position {
        self.histories.append(self.now, &key(name), bytes, |offset| offset)
    }

    fn read(&mut self, name: &str, after: Position) -> Batch<u64> {
        self.histories.read(self.now, &key(name), after, usize::MAX, usize::MAX)
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        self.histories.expire(self.now, |_| false);
    }
}

#[test]
fn what_was_missed_is_read_in_order_and_ends_with_the_last() {
    let mut fixture = Fixture::new(config());
    let start = fixture.histories.mark(fixture.now, &key("a"));
    assert_eq!(start.offset, 0);
    let first = fixture.append("a", 10);
    assert_eq!(first, Position { offset: 1, ..start });
    fixture.append("b", 10);
    fixture.append("a", 10);
    let batch = fixture.read("a", start);
    assert_eq!((batch.gap, batch.first, batch.last), (false, 1, 2));
    assert_eq!(batch.signals, [1, 2]);
    let batch = fixture.read("a", first);
    assert_eq!((batch.gap, batch.first, &batch.signals[..]), (false, 2, &[2][..]));
    let batch = fixture.read("a", Position { offset: 2, ..start });
    assert_eq!((batch.gap, batch.first, batch.signals.len()), (false, 3, 0));
}

#[test]
fn a_batch_is_bounded_but_never_empty_if_something_follows() {
    let mut fixture = Fixture::new(config());
    let start = fixture.histories.mark(fixture.now, &key("a"));
    for _ in 0..3 {
        fixture.append("a", 30);
    }
    let mut read = |most, bytes| {
        let batch = fixture.histories.read(fixture.now, &key("a"), start, most, bytes);
        assert_eq!((batch.first, batch.last), (1, 3));
        batch.signals.len()
    };
    assert_eq!((read(2, 1000), read(9, 60), read(9, 59), read(9, 1)), (2, 2, 1, 1));
}

#[test]
fn too_many_too_long_and_too_old_signals_leave_a_gap() {
    let mut fixture = Fixture::new(config());
    let start = fixture.histories.mark(fixture.now, &key("a"));
    for _ in 0..5 {
        fixture.append("a", 1);
    }
    let batch = fixture.read("a", start);
    assert_eq!((batch.gap, batch.first, batch.signals.len()), (true, 2, 4));
    assert!(!fixture.read("a", Position { offset: 1, ..start }).gap, "all that follows is there");
    fixture.append("a", 1000);
    let batch = fixture.read("a", Position { offset: 5, ..start });
    assert_eq!((batch.gap, batch.signals), (false, Vec::from([6])), "the newest is kept");
    fixture.pass(99);
    assert_eq!(fixture.read("a", start).signals, [6]);
    fixture.pass(1);
    let batch = fixture.read("a", start);
    assert_eq!((batch.gap, batch.first, batch.last, batch.signals.len()), (true, 7, 6, 0));
    assert!(!fixture.read("a", Position { offset: 6, ..start }).gap);
}

#[test]
fn another_history_is_a_gap() {
    let mut fixture = Fixture::new(config());
    let position = fixture.append("a", 1);
    assert!(!fixture.read("a", position).gap);
    let other = Position { incarnation: position.incarnation ^ 1, ..position };
    let batch = fixture.read("a", other);
    assert_eq!((batch.gap, batch.first, batch.signals), (true, 1, Vec::from([1])));
    let future = Position { offset: 2, ..position };
    assert!(fixture.read("a", future).gap, "nobody can have seen that");
    fixture.histories.remove(&key("a"));
    let again = fixture.append("a", 1);
    assert_ne!(again.incarnation, position.incarnation);
    assert!(fixture.read("a", position).gap);
}

#[test]
fn a_history_follows_its_session_to_another_key() {
    let mut fixture = Fixture::new(config());
    let position = fixture.append("a", 1);
    fixture.append("b", 1);
    fixture.histories.rename(&key("a"), &key("bbb"));
    assert_eq!(fixture.append("bbb", 1), Position { offset: 2, ..position });
    assert_eq!(fixture.read("bbb", position).signals, [2]);
    fixture.histories.rename(&key("bbb"), &key("b"));
    assert_eq!(fixture.histories.len(), 1, "one under that key is replaced");
    fixture.histories.remove(&key("b"));
    assert_eq!((fixture.histories.bytes(), fixture.histories.is_empty()), (0, true));
    assert_eq!(fixture.histories.next_timeout(), None);
}

#[test]
fn histories_without_signals_go_unless_a_connection_holds_the_session() {
    let mut fixture = Fixture::new(config());
    fixture.histories.mark(fixture.now, &key("held"));
    fixture.histories.mark(fixture.now, &key("left"));
    let due = fixture.histories.next_timeout().unwrap();
    assert_eq!(due, Instant::from_millis(100));
    fixture.histories.expire(due, |name| *name == key("held"));
    assert_eq!(fixture.histories.len(), 1);
    assert_eq!(fixture.histories.next_timeout(), Some(Instant::from_millis(200)));
}

#[test]
fn all_histories_together_are_bounded_and_the_oldest_goes_first() {
    let most = 3 * (64 + 30) + 3 * (256 + 1);
    let mut fixture = Fixture::new(HistoryConfig { max_total_bytes: most, ..config() });
    let [a, b, _] = ["a", "b", "c"].map(|name| fixture.append(name, 30));
    assert_eq!(fixture.histories.bytes(), most);
    fixture.append("b", 30);
    assert!(fixture.histories.bytes() <= most);
    let batch = fixture.read("a", Position { offset: 0, ..a });
    assert_eq!((batch.gap, batch.first), (true, 2));
    assert_eq!(fixture.read("b", Position { offset: 0, ..b }).signals, [1, 2]);
}

/// The simplest thing that could answer the same.
#[derive(Default)]
struct Model {
    /// For each key: incarnation, and all signals ever, with time and bytes; `None` if forgotten.
    sessions: BTreeMap<&'static str, (u64, Vec<Kept>)>,
}

/// When a signal was appended, and its bytes. `None` if it is forgotten.
type Kept = Option<(Instant, usize)>;

#[test]
fn histories_answer_as_a_naive_model_does() {
    const NAMES: [&str; 3] = ["x", "y", "z"];
    let mut fixture = Fixture::new(HistoryConfig { max_total_bytes: usize::MAX, ..config() });
    let mut model = Model::default();
    let mut random = 1_u64;
    let mut roll = |sides: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % sides
    };
    for _ in 0..50_000 {
        let name = NAMES[roll(3) as usize];
        match roll(20) {
            0..8 => {
                let bytes = roll(60) as usize;
                let position = fixture.append(name, bytes);
                let (incarnation, signals) = model.sessions.entry(name).or_default();
                signals.push(Some((fixture.now, bytes)));
                if signals.len() == 1 {
                    *incarnation = position.incarnation;
                }
                let offset = signals.len() as u64;
                assert_eq!(position, Position { incarnation: *incarnation, offset });
                loop {
                    let kept: Vec<_> = signals.iter().flatten().collect();
                    let bytes: usize = kept.iter().map(|(_, bytes)| bytes).sum();
                    if kept.len() <= 4 && (bytes <= 100 || kept.len() == 1) {
                        break;
                    }
                    *signals.iter_mut().find(|signal| signal.is_some()).unwrap() = None;
                }
            }
            8..16 => {
                let Some((incarnation, signals)) = model.sessions.get(name) else { continue };
                let incarnation = incarnation ^ u64::from(roll(8) == 0);
                let offset = roll(signals.len() as u64 + 2);
                let batch = fixture.read(name, Position { incarnation, offset });
                let known = incarnation == batch.incarnation;
                let left: Vec<u64> = (1..)
                    .zip(signals)
                    .filter_map(|(offset, signal)| signal.is_some().then_some(offset))
                    .collect();
                let last = signals.len() as u64;
                assert_eq!(batch.last, last);
                let wanted: Vec<u64> = (offset + 1..=last).collect();
                let whole = known && offset <= last && wanted.iter().all(|one| left.contains(one));
                assert_eq!(batch.gap, !whole, "{offset} of {last}, {left:?} are left");
                assert_eq!(batch.signals, if whole { wanted } else { left });
                let next = if whole { offset + 1 } else { last + 1 - batch.signals.len() as u64 };
                assert_eq!(batch.first, next);
            }
            16..19 => {
                fixture.now = fixture.now + Duration::from_millis(roll(40));
                let now = fixture.now;
                fixture.histories.expire(now, |_| true);
                let age = Duration::from_millis(100);
                for signal in model.sessions.values_mut().flat_map(|(_, signals)| signals) {
                    *signal = signal.filter(|(at, _)| *at + age > now);
                }
                assert!(fixture.histories.next_timeout().is_none_or(|due| due > now));
            }
            _ => {
                let other = NAMES[roll(3) as usize];
                if roll(4) > 0 {
                    fixture.histories.remove(&key(name));
                    model.sessions.remove(name);
                } else if other != name
                    && let Some(history) = model.sessions.remove(name)
                {
                    fixture.histories.rename(&key(name), &key(other));
                    model.sessions.insert(other, history);
                }
            }
        }
        let kept = model.sessions.values().flat_map(|(_, signals)| signals.iter().flatten());
        let entries: usize = kept.map(|(_, bytes)| bytes + 64).sum();
        assert_eq!(fixture.histories.bytes(), entries + model.sessions.len() * 257);
    }
}
