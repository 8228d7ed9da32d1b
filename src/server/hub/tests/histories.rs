//! Histories that nodes share, one call and all its actions at a time.

use super::cluster::Nodes;
use super::*;
use crate::cluster::Answer;
use crate::server::RecoveryCommand;
use crate::session::Position;
use crate::wire::PreparedSignal;

impl Nodes {
    fn recovers(&mut self, id: usize, from: u64, command: RecoveryCommand) {
        let node = &mut self.nodes[id];
        node.hub.recover(self.now, ConnectionId(from), command, &mut node.out);
        self.carry_out(id);
    }

    fn reads(&mut self, id: usize, from: u64, incarnation: u64, offset: u64) {
        let after = Position { incarnation, offset };
        self.recovers(id, from, RecoveryCommand::Read { number: 1, after });
    }

    fn signals(&mut self, id: usize, text: &'static str) -> SessionSignal {
        let signal = PreparedSignal::new("n", text).unwrap();
        let node = &mut self.nodes[id];
        let told = node.hub.signal_session(self.now, &key("k"), &signal, &mut node.out);
        self.carry_out(id);
        told
    }

    /// The session exists, and a connection of the first node holds it that reads its history.
    fn with_one_holder() -> (Self, u64) {
        let mut nodes = Self::keeping(2, |_| {});
        nodes.recovers(0, 1, RecoveryCommand::Follow);
        nodes.asks(0, 1, Command::Create(session("k")));
        nodes.settle();
        let told = core::mem::take(&mut nodes.nodes[0].told);
        let incarnation = told.iter().find_map(|mark| {
            let number = mark.split("incarnation: ").nth(1)?.split(',').next()?;
            number.parse().ok()
        });
        (nodes, incarnation.expect("a mark"))
    }

    /// One of the second node, which does not read the history, holds it as well.
    fn with_history() -> (Self, u64) {
        let (mut nodes, incarnation) = Self::with_one_holder();
        nodes.restores(1, 1, "Restored");
        (nodes, incarnation)
    }
}

#[test]
fn a_signal_is_appended_and_then_read_on_each_node_once() {
    let (mut nodes, incarnation) = Nodes::with_history();
    let told = nodes.signals(1, "one");
    assert_eq!((told.following, told.others.len()), (1, 0));
    // Nobody gets it before it has its place.
    nodes.told(0, &[]);
    nodes.told(1, &[]);
    nodes.settle();
    nodes.told(0, &["news for 1: Signalled"]);
    let told = nodes.nodes[1].told.join("; ");
    assert!(told.contains("Signal { to: ConnectionId(1)") && told.contains("Sent { nodes: 1 }"));
    let reads = |nodes: &Nodes, id: usize| {
        nodes.nodes[id].hub.cluster_counters().map_or(0, |counters| counters.history_reads)
    };
    // A connection that comes to hold the session costs no question, and the sender need not read.
    assert_eq!((reads(&nodes, 0), reads(&nodes, 1)), (1, 0));
    nodes.reads(0, 1, incarnation, 0);
    let batch = nodes.nodes[0].told.join("; ");
    assert!(batch.contains("first: 1") && batch.contains("gap: false"), "{batch}");
    assert_eq!(reads(&nodes, 0), 1, "it is read from the node");
}

#[test]
fn a_history_begins_where_it_ended_when_the_engine_gave_the_place() {
    let (mut nodes, incarnation) = Nodes::with_one_holder();
    nodes.recovers(1, 2, RecoveryCommand::Follow);
    for (offset, text) in [(0, "one"), (1, "two")] {
        nodes.asks(1, 2, Command::Restore(key("k")));
        let answers = nodes.perform(1);
        // It has the session from now on, whenever it hears of that.
        nodes.signals(0, text);
        for (job, answer) in nodes.perform(0) {
            nodes.answer(0, job, Ok(answer));
        }
        for (job, answer) in answers {
            nodes.answer(1, job, Ok(answer));
        }
        let mark = format!("Mark(Position {{ incarnation: {incarnation}, offset: {offset} }})");
        nodes.told(1, &["tell 2 k Restored", &format!("news for 2: {mark}")]);
        nodes.settle();
        nodes.told(1, &["news for 2: Signalled"]);
        nodes.reads(1, 2, incarnation, offset);
        let batch = core::mem::take(&mut nodes.nodes[1].told).join("; ");
        assert!(batch.contains("gap: false") && batch.contains(text), "{batch}");
        nodes.asks(1, 2, Command::Leave(key("k")));
        nodes.settle();
        nodes.nodes[1].told.clear();
    }
}

#[test]
fn news_that_overtakes_the_place_is_followed() {
    let (mut nodes, _) = Nodes::with_one_holder();
    nodes.recovers(1, 2, RecoveryCommand::Follow);
    nodes.asks(1, 2, Command::Restore(key("k")));
    let answers = nodes.perform(1);
    nodes.signals(0, "one");
    for (job, answer) in nodes.perform(0) {
        nodes.answer(0, job, Ok(answer));
    }
    nodes.hear(1);
    for (job, answer) in answers {
        nodes.answer(1, job, Ok(answer));
    }
    nodes.nodes[1].told.clear();
    nodes.settle();
    nodes.told(1, &["news for 2: Signalled"]);
}

#[test]
fn a_place_that_the_node_does_not_know_is_read_from_the_engine() {
    let (mut nodes, incarnation) = Nodes::with_one_holder();
    nodes.signals(0, "one");
    nodes.settle();
    nodes.recovers(1, 2, RecoveryCommand::Follow);
    nodes.asks(1, 2, Command::Restore(key("k")));
    nodes.settle();
    nodes.nodes[1].told.clear();
    nodes.reads(1, 2, incarnation, 0);
    // It may be away for a while.
    nodes.fail(1);
    nodes.told(1, &[]);
    nodes.pass(1_000);
    nodes.settle();
    nodes.pass(1_000);
    nodes.settle();
    let told = nodes.nodes[1].told.join("; ");
    assert!(told.contains("first: 1") && told.contains("gap: false"), "{told}");
    // Another history is a gap.
    nodes.nodes[1].told.clear();
    nodes.reads(1, 2, incarnation ^ 1, 1);
    nodes.settle();
    let told = nodes.nodes[1].told.join("; ");
    assert!(told.contains("gap: true"), "{told}");
}

#[test]
fn a_lost_hint_costs_a_lease_at_most() {
    let (mut nodes, _) = Nodes::with_history();
    nodes.signals(1, "one");
    let answers = nodes.perform(1);
    nodes.nodes[0].news.clear();
    for (job, answer) in answers {
        nodes.answer(1, job, Ok(answer));
    }
    nodes.told(0, &[]);
    for _ in 0..12 {
        nodes.pass(1_000);
        nodes.settle();
    }
    nodes.told(0, &["news for 1: Signalled"]);
}

#[test]
fn what_became_of_a_signal_without_an_answer_is_not_known() {
    let (mut nodes, _) = Nodes::with_history();
    nodes.signals(1, "one");
    nodes.fail(1);
    let told = core::mem::take(&mut nodes.nodes[1].told).join("; ");
    assert!(told.contains("Unknown"), "{told}");
    nodes.signals(1, "two");
    let told = core::mem::take(&mut nodes.nodes[1].told).join("; ");
    assert!(told.contains("Unavailable"), "{told}");
    // An answer that is none fits no question.
    let (mut nodes, _) = Nodes::with_history();
    nodes.signals(1, "one");
    for (job, _) in nodes.perform(1) {
        nodes.answer(1, job, Ok(Answer::Done));
    }
    assert!(nodes.nodes[1].told.join("; ").contains("Unknown"));
}

#[test]
fn a_client_that_says_late_that_it_follows_goes_on_where_it_is() {
    let (mut nodes, incarnation) = Nodes::with_history();
    nodes.signals(0, "one");
    nodes.settle();
    nodes.nodes[1].told.clear();
    nodes.recovers(1, 1, RecoveryCommand::Follow);
    let mark = format!("Mark(Position {{ incarnation: {incarnation}, offset: 1 }})");
    nodes.told(1, &[&format!("news for 1: {mark}")]);
}
