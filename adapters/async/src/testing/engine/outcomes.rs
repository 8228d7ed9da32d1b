//! Idempotent requests over several nodes.

use core::time::Duration;

use fastrand::Rng;
use wwr::cluster::{DataId, OutcomeAnswer, OutcomeLimits, OutcomeStep};
use wwr::session::{Begun, Fingerprint, Instance, Scope};

use super::Behaviour;
use super::pair::Pair;

pub(super) const LIMITS: OutcomeLimits =
    OutcomeLimits { keep: Duration::from_secs(3600), outcomes: 4, bytes: 1000 };

const ADA: Instance = Instance([1; 16]);
const BOB: Instance = Instance([2; 16]);
const TEA: Fingerprint = Fingerprint([1; 16]);
const COFFEE: Fingerprint = Fingerprint([0xab; 16]);
const FRESH: OutcomeAnswer = OutcomeAnswer::Begun(Begun::Fresh);
const UNKNOWN: OutcomeAnswer = OutcomeAnswer::Begun(Begun::Unknown);

fn attach(fresh: u64) -> OutcomeStep {
    // The pair knows which data its engines have.
    OutcomeStep::Attach { fresh: Scope(fresh), data: DataId(0) }
}

fn begin(scope: Scope, token: u64) -> OutcomeStep {
    OutcomeStep::Begin { scope, token, content: TEA }
}

fn finish(scope: Scope, token: u64, begun: u64, outcome: &[u8]) -> OutcomeStep {
    OutcomeStep::Finish { scope, token, begun, outcome: Some(outcome.to_vec().into()) }
}

fn done(outcome: &[u8]) -> OutcomeAnswer {
    OutcomeAnswer::Begun(Begun::Done(outcome.to_vec().into()))
}

pub(super) const BEHAVIOURS: &[Behaviour] = &[
    ("a client has one scope on all nodes", |pair| {
        let (a, b) = (pair.enter("a"), pair.enter("b"));
        let scope = Scope(u64::MAX);
        let known = OutcomeAnswer::Attached { scope };
        assert_eq!(pair.outcome(1, a, ADA, begin(scope, 1)), OutcomeAnswer::NoScope);
        assert_eq!(pair.outcome(2, a, ADA, attach(u64::MAX)), known);
        assert_eq!(pair.outcome(1, b, ADA, attach(7)), known);
        assert_eq!(pair.outcome(2, b, BOB, attach(7)), OutcomeAnswer::Attached { scope: Scope(7) });
        assert_eq!(pair.outcome(3, b, ADA, begin(Scope(7), 1)), OutcomeAnswer::NoScope);
    }),
    ("a request is begun once by all nodes, and its outcome comes back", |pair| {
        let (a, b) = (pair.enter("a"), pair.enter("b"));
        let scope = Scope(7);
        pair.outcome(1, a, ADA, attach(7));
        for token in [2, 1 << 60, u64::MAX] {
            for _ in 0..2 {
                assert_eq!(pair.outcome(token, a, ADA, begin(scope, token)), FRESH);
            }
            let running = pair.outcome(token - 1, a, ADA, begin(scope, token));
            assert!(matches!(running, OutcomeAnswer::Running { .. }));
            let running = pair.outcome(token, b, ADA, begin(scope, token));
            assert!(matches!(running, OutcomeAnswer::Running { .. }));
            let text = b"yes \0\xff";
            for (node, begun) in [(b, token), (a, token - 1)] {
                let step = finish(scope, token, begun, b"no");
                assert_eq!(pair.outcome(token, node, ADA, step), OutcomeAnswer::Done);
            }
            for text in [&text[..], b"no"] {
                let step = finish(scope, token, token, text);
                assert_eq!(pair.outcome(token, a, ADA, step), OutcomeAnswer::Done);
            }
            assert_eq!(pair.outcome(token, b, ADA, begin(scope, token)), done(text));
            let other = OutcomeStep::Begin { scope, token, content: COFFEE };
            let other = pair.outcome(token, b, ADA, other);
            assert_eq!(other, OutcomeAnswer::Begun(Begun::OtherRequest));
        }
    }),
    ("what was not executed may be begun again, and not by a late request", |pair| {
        let (a, b) = (pair.enter("a"), pair.enter("b"));
        let scope = Scope(7);
        pair.outcome(1, a, ADA, attach(7));
        assert_eq!(pair.outcome(9, a, ADA, begin(scope, 1)), FRESH);
        let undo = OutcomeStep::Undo { scope, token: 1, begun: 9 };
        assert_eq!(pair.outcome(10, a, ADA, undo), OutcomeAnswer::Done);
        assert_eq!(pair.outcome(9, a, ADA, begin(scope, 1)), OutcomeAnswer::Overtaken);
        assert_eq!(pair.outcome(1, b, ADA, begin(scope, 1)), FRESH);
        let running = pair.outcome(11, a, ADA, begin(scope, 1));
        assert!(matches!(running, OutcomeAnswer::Running { .. }));
    }),
    ("what a dead node has begun is unknown, and it is fenced", |pair| {
        let (a, b) = (pair.enter("a"), pair.enter("b"));
        let scope = Scope(7);
        pair.outcome(1, a, ADA, attach(7));
        pair.outcome(2, a, ADA, begin(scope, 1));
        pair.retire(a);
        let running = pair.outcome(1, b, ADA, begin(scope, 1));
        assert!(matches!(running, OutcomeAnswer::Running { .. }), "it does not know yet");
        pair.renew(b);
        assert_eq!(pair.outcome(2, b, ADA, begin(scope, 1)), UNKNOWN);
        for step in [finish(scope, 1, 2, b"late"), begin(scope, 2), attach(8)] {
            assert_eq!(pair.outcome(3, a, ADA, step), OutcomeAnswer::Fenced);
        }
        assert_eq!(pair.outcome(3, b, ADA, begin(scope, 1)), UNKNOWN);
        assert_eq!(pair.outcome(4, b, ADA, begin(scope, 2)), FRESH);
    }),
    ("outcomes are bounded, and one that is forgotten is unknown", |pair| {
        let a = pair.enter("a");
        let scope = Scope(7);
        pair.outcome(1, a, ADA, attach(7));
        let lengths = [0, 1, 2, 3, 4, 800, 900, 936, 937, 1];
        for (token, length) in (1..).zip(lengths) {
            pair.outcome(token, a, ADA, begin(scope, token));
            pair.outcome(token, a, ADA, finish(scope, token, token, &vec![b'x'; length]));
            for token in 1..=token {
                pair.outcome(token + 100, a, ADA, begin(scope, token));
            }
        }
        assert_eq!(pair.outcome(200, a, ADA, begin(scope, 9)), UNKNOWN, "it is too long");
        assert_eq!(pair.outcome(200, a, ADA, begin(scope, 10)), done(b"x"));
        assert_eq!(pair.outcome(200, a, ADA, begin(scope, 1)), UNKNOWN);
    }),
];

/// Makes random requests. The pair compares what the engines do.
pub(super) fn walk(pair: &mut Pair<'_>, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    for name in ["a", "b", "c"] {
        pair.enter(name);
    }
    let mut begun = vec![(0, 1, 1)];
    for request in 1..400 {
        let first = pair.nodes().saturating_sub(4);
        let node = rng.usize(first..pair.nodes());
        let client = if rng.u8(..4) == 0 { BOB } else { ADA };
        let scope = if rng.u8(..20) == 0 { Scope(9) } else { Scope(7) };
        let token = 1 + request / 20 + rng.u64(..4);
        let known = begun.len() - 1 - rng.usize(..begun.len().min(5));
        let (by, of, number) = begun[known];
        let late = rng.u8(..10) == 0;
        match rng.u8(..100) {
            0..10 => drop(pair.outcome(request, node, client, attach(7))),
            10..50 => {
                let content = if rng.u8(..20) == 0 { COFFEE } else { TEA };
                let number = if late { number } else { request };
                let step = OutcomeStep::Begin { scope, token, content };
                if pair.outcome(number, node, client, step) == FRESH {
                    begun.push((node, token, number));
                }
            }
            50..80 => {
                let outcome = vec![b'x'; rng.usize(..600)];
                let outcome = (rng.u8(..8) > 0).then(|| outcome.into());
                let step = OutcomeStep::Finish { scope, token: of, begun: number, outcome };
                drop(pair.outcome(request, if late { node } else { by }, client, step));
            }
            80..90 => {
                let step = OutcomeStep::Undo { scope, token: of, begun: number };
                drop(pair.outcome(request, by, client, step));
            }
            90..96 => drop(pair.renew(node)),
            96..98 => pair.retire(node),
            _ => drop(pair.enter("another")),
        }
    }
}
