//! What requests about histories mean.

use super::*;
use crate::session::{Batch, HistoryConfig, Position};
use bytes::Bytes;

fn limits() -> HistoryConfig {
    HistoryConfig { max_signals: 3, max_bytes: 8, ..HistoryConfig::default() }
}

impl Nodes {
    fn history(&mut self, by: &Lease, step: HistoryStep) -> HistoryAnswer {
        self.number += 1;
        let (key, epoch, incarnation) = (key(), by.epoch, self.number);
        let request = HistoryRequest { key, epoch, incarnation, limits: limits(), step };
        match self.perform(Request::History(Box::new(request))) {
            Answer::History(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// Asks about the session, and returns where its history ends.
    fn end(&mut self, by: &Lease, step: Step) -> Position {
        self.number += 1;
        let request = SessionRequest {
            key: key(),
            epoch: by.epoch,
            number: self.number,
            membership: by.membership(),
            history: Some(self.number),
            step,
        };
        match self.perform(Request::Session(Box::new(request))) {
            Answer::WithHistory { end, .. } => end,
            other => panic!("{other:?}"),
        }
    }

    fn append(&mut self, by: &Lease, text: &'static str) -> Position {
        let signal = Bytes::from_static(text.as_bytes());
        match self.history(by, HistoryStep::Append { signal }) {
            HistoryAnswer::Appended { end, .. } => end,
            other => panic!("{other:?}"),
        }
    }

    fn read(&mut self, by: &Lease, after: Position) -> Batch<Bytes> {
        let step = HistoryStep::Read { after, most: 2, max_bytes: 6 };
        match self.history(by, step) {
            HistoryAnswer::Read(batch) => *batch,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn signals_have_offsets_that_all_nodes_share_and_the_others_hear_of_them() {
    let mut nodes = Nodes::new();
    let (a, b, c) = (nodes.enter("a"), nodes.enter("b"), nodes.enter("c"));
    nodes.ask(&a, create());
    nodes.ask(&b, join(1));
    let start = nodes.end(&b, join(1));
    assert_eq!(start.offset, 0);
    let place = |offset| Position { incarnation: start.incarnation, offset };
    assert_eq!(nodes.append(&a, "one"), place(1));
    assert_eq!(nodes.append(&c, "two"), place(2));
    let told = |to: &Lease, offset| (to.epoch, News::Appended { key: key(), end: place(offset) });
    assert_eq!(core::mem::take(&mut nodes.news), [told(&b, 1), told(&a, 2), told(&b, 2)]);
    let missed = nodes.read(&b, place(0));
    assert_eq!((missed.first, missed.gap, missed.last), (1, false, 2));
    assert_eq!(missed.signals, ["one", "two"]);
    // A confirmation also says where the history ends.
    let confirm = Step::Confirm { places: 1, limit: None, known: Revision(1) };
    assert_eq!(nodes.end(&b, confirm), place(2));
}

#[test]
fn a_history_is_bounded_and_a_gap_is_told() {
    let mut nodes = Nodes::new();
    let a = nodes.enter("a");
    nodes.ask(&a, create());
    let place = |incarnation, offset| Position { incarnation, offset };
    let incarnation = nodes.append(&a, "one").incarnation;
    for text in ["two", "3", "4"] {
        nodes.append(&a, text);
    }
    // Three are kept, and two or six bytes of them are read at a time.
    let read = nodes.read(&a, place(incarnation, 0));
    assert_eq!((read.first, read.gap, read.last), (2, true, 4));
    assert_eq!(read.signals, ["two", "3"]);
    let read = nodes.read(&a, place(incarnation, 1));
    assert_eq!((read.first, read.gap), (2, false));
    for (incarnation, offset) in [(incarnation, 5), (incarnation + 1, 3)] {
        let read = nodes.read(&a, place(incarnation, offset));
        assert_eq!((read.first, read.gap, read.signals.len()), (2, true, 2));
    }
    // The newest one is kept, whatever its length, and not for longer than it may.
    nodes.append(&a, "a long one");
    let read = nodes.read(&a, place(incarnation, 3));
    assert_eq!((read.first, read.gap, read.signals.len()), (5, true, 1));
    nodes.now = nodes.now + limits().max_age;
    let read = nodes.read(&a, place(incarnation, 4));
    assert_eq!((read.first, read.gap, read.signals.len(), read.last), (6, true, 0, 5));
    let read = nodes.read(&a, place(incarnation, 5));
    assert_eq!((read.first, read.gap), (6, false));
}

#[test]
fn a_history_ends_with_its_session_and_there_is_none_without() {
    let mut nodes = Nodes::new();
    let a = nodes.enter("a");
    let append = || HistoryStep::Append { signal: Bytes::from_static(b"one") };
    let read = || HistoryStep::Read {
        after: Position { incarnation: 1, offset: 0 },
        most: 1,
        max_bytes: 1,
    };
    assert_eq!(nodes.history(&a, append()), HistoryAnswer::NotFound);
    assert_eq!(nodes.engine.record_count(), 0);
    nodes.ask(&a, create());
    nodes.append(&a, "one");
    nodes.ask(&a, Step::Close);
    assert_eq!(nodes.history(&a, append()), HistoryAnswer::NotFound);
    assert_eq!(nodes.history(&a, read()), HistoryAnswer::NotFound);
}

#[test]
fn with_other_data_a_history_begins_anew_and_offsets_are_not_given_twice() {
    let mut nodes = Nodes::new();
    let a = nodes.enter("a");
    nodes.ask(&a, create());
    nodes.append(&a, "one");
    let replica = nodes.engine.clone();
    let lost = nodes.append(&a, "two");
    nodes.engine = replica;
    nodes.engine.take_over(DataId(7));
    let other = nodes.append(&a, "other two");
    assert_ne!(other.incarnation, lost.incarnation);
    assert_eq!(other.offset, 1);
    let read = nodes.read(&a, lost);
    assert_eq!((read.gap, read.signals), (true, Vec::from([Bytes::from_static(b"other two")])));
}
