//! Idempotent requests over several nodes.

use bytes::Bytes;

use super::*;
use crate::cluster::{OutcomeAnswer, OutcomeLimits, OutcomeRequest, OutcomeStep};
use crate::session::{Begun, Fingerprint, Instance, Scope};

const TEA: Fingerprint = Fingerprint([1; 16]);
const ADA: Instance = Instance([1; 16]);
const LIMITS: OutcomeLimits =
    OutcomeLimits { keep: Duration::from_secs(60), outcomes: 3, bytes: 1000 };

impl Nodes {
    fn outcome(&mut self, number: u64, by: &Lease, step: OutcomeStep) -> OutcomeAnswer {
        let request = OutcomeRequest {
            instance: ADA,
            epoch: by.epoch,
            number,
            membership: by.membership(),
            limits: LIMITS,
            step,
        };
        match self.perform(Request::Outcome(Box::new(request))) {
            Answer::Outcome(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    fn attach(&mut self, by: &Lease, fresh: u64) -> Scope {
        self.number += 1;
        let step = OutcomeStep::Attach { fresh: Scope(fresh), data: self.data };
        match self.outcome(self.number, by, step) {
            OutcomeAnswer::Attached { scope } => scope,
            other => panic!("{other:?}"),
        }
    }

    fn begin(&mut self, by: &Lease, scope: Scope, token: u64) -> OutcomeAnswer {
        self.number += 1;
        self.outcome(self.number, by, OutcomeStep::Begin { scope, token, content: TEA })
    }

    /// Ends the request that was begun by the request of this number.
    fn finish(&mut self, by: &Lease, scope: Scope, token: u64, begun: u64, text: &'static str) {
        let outcome = Some(Bytes::from_static(text.as_bytes()));
        self.number += 1;
        let step = OutcomeStep::Finish { scope, token, begun, outcome };
        assert_eq!(self.outcome(self.number, by, step), OutcomeAnswer::Done);
    }

    fn undo(&mut self, by: &Lease, scope: Scope, token: u64, begun: u64) {
        self.number += 1;
        let step = OutcomeStep::Undo { scope, token, begun };
        assert_eq!(self.outcome(self.number, by, step), OutcomeAnswer::Done);
    }
}

const FRESH: OutcomeAnswer = OutcomeAnswer::Begun(Begun::Fresh);
const UNKNOWN: OutcomeAnswer = OutcomeAnswer::Begun(Begun::Unknown);

fn done(text: &'static str) -> OutcomeAnswer {
    OutcomeAnswer::Begun(Begun::Done(Bytes::from_static(text.as_bytes())))
}

fn pair() -> (Nodes, Lease, Lease, Scope) {
    let mut nodes = Nodes::new();
    nodes.enter("a");
    let b = nodes.enter("b");
    // Each knows the other.
    let Answer::Lease(a) = nodes.perform(Request::Renew { epoch: b.nodes[0].epoch, lease: LEASE })
    else {
        panic!()
    };
    let scope = nodes.attach(&a, 7);
    assert_eq!((nodes.attach(&b, 8), scope), (Scope(7), Scope(7)), "all nodes have one scope");
    (nodes, a, b, scope)
}

#[test]
fn a_request_is_begun_once_by_all_nodes() {
    let (mut nodes, a, b, scope) = pair();
    assert_eq!(nodes.begin(&a, scope, 1), FRESH);
    let begun = nodes.number;
    assert_eq!(nodes.begin(&b, scope, 1), OutcomeAnswer::Running { by: a.epoch });
    assert_eq!(nodes.begin(&a, scope, 1), OutcomeAnswer::Running { by: a.epoch });
    // A repetition of the request to the engine.
    let step = OutcomeStep::Begin { scope, token: 1, content: TEA };
    assert_eq!(nodes.outcome(begun, &a, step), FRESH);
    nodes.finish(&b, scope, 1, begun, "no: it is not its own");
    nodes.finish(&a, scope, 1, begun + 1, "no: another one");
    nodes.finish(&a, scope, 1, begun, "yes");
    nodes.finish(&a, scope, 1, begun, "no: too late");
    assert_eq!(nodes.begin(&b, scope, 1), done("yes"));
    let other = OutcomeStep::Begin { scope, token: 1, content: Fingerprint([2; 16]) };
    assert_eq!(nodes.outcome(99, &b, other), OutcomeAnswer::Begun(Begun::OtherRequest));
}

#[test]
fn what_was_not_executed_may_be_begun_again_and_not_by_what_is_late() {
    let (mut nodes, a, b, scope) = pair();
    assert_eq!(nodes.begin(&a, scope, 1), FRESH);
    let begun = nodes.number;
    nodes.undo(&b, scope, 1, begun);
    assert_eq!(nodes.begin(&b, scope, 1), OutcomeAnswer::Running { by: a.epoch });
    nodes.undo(&a, scope, 1, begun);
    let late = OutcomeStep::Begin { scope, token: 1, content: TEA };
    assert_eq!(nodes.outcome(begun, &a, late), OutcomeAnswer::Overtaken);
    assert_eq!(nodes.begin(&b, scope, 1), FRESH);
    assert_eq!(nodes.begin(&a, scope, 2), FRESH);
}

#[test]
fn what_a_dead_node_has_begun_is_unknown_for_ever() {
    let (mut nodes, a, b, scope) = pair();
    assert_eq!(nodes.begin(&a, scope, 1), FRESH);
    let begun = nodes.number;
    // Its lease has run out, and the other node does not know that yet.
    nodes.now = nodes.now + LEASE / 2;
    nodes.perform(Request::Renew { epoch: b.epoch, lease: LEASE });
    nodes.now = nodes.now + LEASE / 2 + Duration::from_millis(1);
    assert_eq!(nodes.begin(&b, scope, 1), OutcomeAnswer::Running { by: a.epoch });
    let Answer::Lease(b) = nodes.perform(Request::Renew { epoch: b.epoch, lease: LEASE }) else {
        panic!()
    };
    assert!(b.membership().is_dead(a.epoch));
    assert_eq!(nodes.begin(&b, scope, 1), UNKNOWN);
    // It wakes up, and can neither end nor begin anything.
    let late = |outcome| OutcomeStep::Finish { scope, token: 1, begun, outcome };
    assert_eq!(nodes.outcome(98, &a, late(Some("late".into()))), OutcomeAnswer::Fenced);
    assert_eq!(nodes.begin(&a, scope, 2), OutcomeAnswer::Fenced);
    assert_eq!((nodes.begin(&b, scope, 1), nodes.begin(&b, scope, 2)), (UNKNOWN, FRESH));
}

#[test]
fn what_is_lost_or_was_not_used_for_long_has_another_scope() {
    let (mut nodes, a, b, scope) = pair();
    assert_eq!(nodes.begin(&a, scope, 1), FRESH);
    nodes.engine.take_over(DataId(2));
    assert_eq!(nodes.begin(&a, scope, 1), OutcomeAnswer::NoScope);
    // A request from before that is carried out again.
    let late = OutcomeStep::Attach { fresh: scope, data: DataId(1) };
    assert_eq!(nodes.outcome(1, &a, late), OutcomeAnswer::OtherData(DataId(2)));
    nodes.data = DataId(2);
    assert_eq!(nodes.attach(&b, 9), Scope(9));
    assert_eq!(nodes.begin(&b, scope, 1), OutcomeAnswer::NoScope);
    assert_eq!(nodes.begin(&b, Scope(9), 1), FRESH);
    nodes.now = nodes.now + LIMITS.keep;
    assert_eq!(nodes.begin(&b, Scope(9), 1), OutcomeAnswer::NoScope);
    assert_eq!(nodes.attach(&b, 10), Scope(10));
}

#[test]
fn outcomes_are_bounded_and_a_forgotten_one_is_unknown() {
    let (mut nodes, a, _, scope) = pair();
    for token in 1..=4 {
        assert_eq!(nodes.begin(&a, scope, token), FRESH);
        nodes.finish(&a, scope, token, nodes.number, "done");
    }
    assert_eq!((nodes.begin(&a, scope, 1), nodes.begin(&a, scope, 2)), (UNKNOWN, done("done")));
    assert_eq!(nodes.begin(&a, scope, 5), FRESH);
    nodes.finish(&a, scope, 5, nodes.number, &TEXT[..900]);
    assert_eq!(
        (nodes.begin(&a, scope, 4), nodes.begin(&a, scope, 5)),
        (UNKNOWN, done(&TEXT[..900]))
    );
    assert_eq!(nodes.begin(&a, scope, 6), FRESH);
    nodes.finish(&a, scope, 6, nodes.number, TEXT);
    assert_eq!(nodes.begin(&a, scope, 6), UNKNOWN, "it is too long");
}

const TEXT: &str = match core::str::from_utf8(&[b'x'; 1000]) {
    Ok(text) => text,
    Err(_) => "",
};
