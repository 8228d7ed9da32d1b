//! Outcomes of idempotent requests, step by step and against a model.

use core::num::NonZeroUsize;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use super::super::{Begun, ConnectionId, Fingerprint, Instance, Outcomes, OutcomesConfig, Scope};
use crate::time::Instant;

const ADA: Instance = Instance([1; 16]);
const BOB: Instance = Instance([2; 16]);
const ONE: ConnectionId = ConnectionId(1);
const TWO: ConnectionId = ConnectionId(2);
const TEA: Fingerprint = Fingerprint([1; 16]);

fn config() -> OutcomesConfig {
    let count = |count| NonZeroUsize::new(count).unwrap();
    OutcomesConfig {
        window: Duration::from_millis(100),
        max_per_client: count(3),
        max_bytes_per_client: 1500,
        max_clients: count(2),
        max_bytes: 4000,
    }
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn outcomes() -> Outcomes<&'static str> {
    config().check().unwrap();
    Outcomes::new(config(), [7; 16])
}

#[test]
fn a_request_is_begun_once_and_its_outcome_comes_back() {
    let mut outcomes = outcomes();
    let scope = outcomes.attach(at(0), ADA);
    assert_eq!(outcomes.begin(at(0), scope, 1, TEA, ONE), Begun::Fresh);
    assert_eq!(outcomes.begin(at(0), scope, 1, TEA, TWO), Begun::Running);
    assert!(!outcomes.finish(at(1), scope, 1, TWO, Some(("no", 2))), "it runs elsewhere");
    assert!(outcomes.finish(at(1), scope, 1, ONE, Some(("yes", 3))));
    assert!(!outcomes.finish(at(1), scope, 1, ONE, Some(("again", 5))));
    assert_eq!(outcomes.begin(at(2), scope, 1, TEA, TWO), Begun::Done("yes"));
    assert_eq!(outcomes.begin(at(2), scope, 2, TEA, TWO), Begun::Fresh);
    assert!(outcomes.finish(at(3), scope, 2, TWO, None));
    assert_eq!(outcomes.begin(at(3), scope, 2, TEA, TWO), Begun::Unknown);
}

#[test]
fn what_was_not_executed_may_be_begun_again() {
    let mut outcomes = outcomes();
    let scope = outcomes.attach(at(0), ADA);
    assert_eq!(outcomes.begin(at(0), scope, 1, TEA, ONE), Begun::Fresh);
    assert!(!outcomes.undo(scope, 1, TWO));
    assert!(outcomes.undo(scope, 1, ONE));
    assert_eq!(outcomes.begin(at(0), scope, 1, TEA, TWO), Begun::Fresh);
}

#[test]
fn a_forgotten_outcome_is_unknown_and_never_fresh() {
    let mut outcomes = outcomes();
    let scope = outcomes.attach(at(0), ADA);
    for request in 1..=4 {
        assert_eq!(outcomes.begin(at(0), scope, request, TEA, ONE), Begun::Fresh);
        outcomes.finish(at(0), scope, request, ONE, Some(("done", 4)));
    }
    assert_eq!(outcomes.begin(at(0), scope, 1, TEA, ONE), Begun::Unknown, "three are kept");
    assert_eq!(outcomes.begin(at(0), scope, 2, TEA, ONE), Begun::Done("done"));
    outcomes.expire(at(99));
    assert_eq!(outcomes.begin(at(99), scope, 2, TEA, ONE), Begun::Done("done"));
    assert_eq!(outcomes.next_timeout(), Some(at(100)));
    outcomes.expire(at(100));
    for request in 1..=4 {
        assert_eq!(outcomes.begin(at(100), scope, request, TEA, ONE), Begun::Unknown);
    }
    assert_eq!(outcomes.begin(at(100), scope, 5, TEA, ONE), Begun::Fresh);
}

#[test]
fn a_client_keeps_its_scope_until_it_was_away_for_the_window() {
    let mut outcomes = outcomes();
    let scope = outcomes.attach(at(0), ADA);
    assert_eq!(outcomes.attach(at(0), ADA), scope, "a second connection");
    outcomes.detach(at(0), scope);
    outcomes.expire(at(1000));
    assert_eq!(outcomes.begin(at(1000), scope, 1, TEA, ONE), Begun::Fresh);
    outcomes.finish(at(1000), scope, 1, ONE, Some(("done", 4)));
    outcomes.detach(at(1010), scope);
    outcomes.expire(at(1109));
    assert_eq!(outcomes.attach(at(1109), ADA), scope);
    outcomes.detach(at(1109), scope);
    outcomes.expire(at(1209));
    assert!(outcomes.is_empty());
    let later = outcomes.attach(at(1210), ADA);
    assert_ne!(later, scope);
    assert_eq!(outcomes.begin(at(1210), scope, 2, TEA, ONE), Begun::Unknown, "that scope is gone");
    assert_eq!(outcomes.begin(at(1210), later, 2, TEA, ONE), Begun::Fresh);
}

#[test]
fn what_runs_ends_even_if_its_client_is_forgotten() {
    let mut outcomes = outcomes();
    let scope = outcomes.attach(at(0), ADA);
    assert_eq!(outcomes.begin(at(0), scope, 1, TEA, ONE), Begun::Fresh);
    outcomes.detach(at(0), scope);
    outcomes.expire(at(100));
    assert_eq!(outcomes.len(), 1);
    assert!(outcomes.finish(at(200), scope, 1, ONE, Some(("done", 4))));
    assert!(outcomes.is_empty());
}

#[test]
fn clients_that_are_away_are_bounded() {
    let mut outcomes = outcomes();
    let scopes: Vec<_> =
        (0..3).map(|client| outcomes.attach(at(client), Instance([client as u8; 16]))).collect();
    scopes.iter().for_each(|scope| outcomes.detach(at(5), *scope));
    let again: Vec<_> =
        (0..3).rev().map(|client| outcomes.attach(at(6), Instance([client; 16]))).collect();
    assert_eq!(again.iter().rev().filter(|scope| scopes.contains(scope)).count(), 2);
}

/// Executes a request whose outcome has so many bytes.
fn execute(
    outcomes: &mut Outcomes<&'static str>,
    at: Instant,
    scope: Scope,
    request: u64,
    bytes: usize,
) {
    assert_eq!(outcomes.begin(at, scope, request, TEA, ONE), Begun::Fresh);
    assert!(outcomes.finish(at, scope, request, ONE, Some(("done", bytes))));
}

#[test]
fn the_bytes_of_one_client_are_bounded() {
    let mut outcomes = outcomes();
    let bob = outcomes.attach(at(6), BOB);
    for request in 1..=3 {
        execute(&mut outcomes, at(6), bob, request, 300);
    }
    assert_eq!(outcomes.begin(at(6), bob, 1, TEA, ONE), Begun::Unknown);
    assert_eq!(outcomes.begin(at(6), bob, 3, TEA, ONE), Begun::Done("done"));
    execute(&mut outcomes, at(6), bob, 4, 1500);
    assert_eq!(outcomes.begin(at(6), bob, 4, TEA, ONE), Begun::Unknown, "it is too long");
}

#[test]
fn a_greedy_client_does_not_push_out_what_others_have() {
    let mut config = config();
    (config.max_bytes_per_client, config.max_bytes) = (2000, 4500);
    let mut outcomes = Outcomes::new(config, [7; 16]);
    let ada = outcomes.attach(at(0), ADA);
    execute(&mut outcomes, at(0), ada, 1, 10);
    let greedy: Vec<_> =
        (3..6).map(|client| outcomes.attach(at(0), Instance([client; 16]))).collect();
    for request in 1..=20 {
        greedy.iter().for_each(|scope| execute(&mut outcomes, at(1), *scope, request, 300));
        assert!(outcomes.bytes <= config.max_bytes);
    }
    assert_eq!(outcomes.begin(at(2), ada, 1, TEA, ONE), Begun::Done("done"), "the oldest of all");
    // One that is away goes before those who are there.
    let last = |outcomes: &mut Outcomes<_>, scope| outcomes.begin(at(2), scope, 20, TEA, ONE);
    assert_eq!(last(&mut outcomes, greedy[2]), Begun::Done("done"));
    outcomes.detach(at(2), ada);
    outcomes.detach(at(3), greedy[2]);
    let bob = outcomes.attach(at(4), BOB);
    execute(&mut outcomes, at(4), bob, 1, 300);
    assert_eq!(outcomes.begin(at(4), ada, 1, TEA, ONE), Begun::Unknown, "away longest");
    assert_eq!(last(&mut outcomes, greedy[2]), Begun::Done("done"));
}

#[test]
fn the_outcome_that_came_first_is_forgotten_first_whatever_its_number() {
    let mut outcomes = outcomes();
    let scope = outcomes.attach(at(0), ADA);
    assert_eq!(outcomes.begin(at(0), scope, 1, TEA, ONE), Begun::Fresh);
    (2..=4).for_each(|request| execute(&mut outcomes, at(request), scope, request, 4));
    outcomes.finish(at(5), scope, 1, ONE, Some(("late", 4)));
    assert_eq!(outcomes.begin(at(6), scope, 1, TEA, ONE), Begun::Done("late"));
    assert_eq!(outcomes.begin(at(6), scope, 2, TEA, ONE), Begun::Unknown);
}

#[test]
fn a_number_that_is_used_for_another_request_is_refused() {
    let mut outcomes = outcomes();
    let coffee = Fingerprint::new(b"order", 1, b"coffee");
    let scope = outcomes.attach(at(0), ADA);
    assert_eq!(outcomes.begin(at(0), scope, 1, TEA, ONE), Begun::Fresh);
    assert_eq!(outcomes.begin(at(0), scope, 1, coffee, ONE), Begun::OtherRequest, "it runs");
    outcomes.finish(at(0), scope, 1, ONE, Some(("done", 4)));
    assert_eq!(outcomes.begin(at(0), scope, 1, coffee, ONE), Begun::OtherRequest);
    assert_eq!(outcomes.begin(at(0), scope, 1, TEA, ONE), Begun::Done("done"));
    // Where the name ends matters, and how the payload is encoded.
    let all = [
        coffee,
        Fingerprint::new(b"orde", 1, b"rcoffee"),
        Fingerprint::new(b"order", 2, b"coffee"),
        Fingerprint::new(b"order", 1, b"coffef"),
    ];
    assert!((1..4).all(|other| all[other] != all[0]));
}

#[test]
fn what_is_too_old_is_forgotten_in_portions() {
    let mut config = config();
    config.max_per_client = NonZeroUsize::new(1000).unwrap();
    (config.max_bytes_per_client, config.max_bytes) = (1 << 20, 1 << 20);
    let mut outcomes = Outcomes::new(config, [7; 16]);
    let scope = outcomes.attach(at(0), ADA);
    (1..=200).for_each(|request| execute(&mut outcomes, at(0), scope, request, 4));
    let mut now = at(100);
    let mut calls = 0;
    while let Some(due) = outcomes.next_timeout() {
        now = now.max(due);
        let before = outcomes.len();
        outcomes.expire(now);
        assert!(before - outcomes.len() <= 64);
        assert!(outcomes.next_timeout().is_none_or(|due| due > now));
        calls += 1;
    }
    assert_eq!((calls, outcomes.len()), (4, 0));
    assert!(now < at(110));
}

/// Everything that ever happened.
#[derive(Default)]
struct Model {
    /// The requests that were begun in a scope, and the outcomes that are true.
    executed: BTreeMap<(Scope, u64), Option<&'static str>>,
    running: BTreeSet<(Scope, u64, ConnectionId)>,
}

/// Whatever is forgotten: nothing is executed twice, and no outcome is untrue.
#[test]
fn nothing_is_begun_twice_and_no_outcome_is_untrue() {
    const TEXTS: [&str; 3] = ["a", "b", "c"];
    let mut random = 3_u64;
    let mut roll = |sides: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % sides
    };
    let mut outcomes = outcomes();
    let mut model = Model::default();
    let mut now = at(0);
    let mut attached: Vec<Scope> = Vec::new();
    let mut known: Vec<Scope> = Vec::new();
    let mut next = 1;
    let mut counts = [0; 4];
    for _ in 0..100_000 {
        match roll(16) {
            0 => {
                let instance = Instance([roll(4) as u8; 16]);
                let scope = outcomes.attach(now, instance);
                attached.push(scope);
                known.push(scope);
            }
            1 if !attached.is_empty() => {
                let scope = attached.swap_remove(roll(attached.len() as u64) as usize);
                outcomes.detach(now, scope);
            }
            2..7 if !known.is_empty() => {
                // Not only of the scope that it has now: an old connection may be late.
                let recent = known.len().min(4) as u64;
                let scope = known[known.len() - 1 - roll(recent) as usize];
                let request = if roll(2) == 0 { next } else { next - roll(next.min(8)) };
                next = next.max(request + 1);
                let by = ConnectionId(roll(3));
                let executed = model.executed.get(&(scope, request)).copied();
                match outcomes.begin(now, scope, request, TEA, by) {
                    Begun::Fresh => {
                        assert_eq!(executed, None, "executed twice");
                        model.executed.insert((scope, request), None);
                        model.running.insert((scope, request, by));
                        counts[0] += 1;
                    }
                    Begun::Running => {
                        let runs = |by| model.running.contains(&(scope, request, ConnectionId(by)));
                        assert!((0..3).any(runs));
                        counts[1] += 1;
                    }
                    Begun::Done(outcome) => {
                        assert_eq!(executed, Some(Some(outcome)), "an untrue outcome");
                        counts[2] += 1;
                    }
                    Begun::Unknown => counts[3] += 1,
                    Begun::OtherRequest | Begun::NotNow => panic!("all are the same"),
                }
            }
            7..13 if !model.running.is_empty() => {
                let index = roll(model.running.len() as u64) as usize;
                let one = *model.running.iter().nth(index).unwrap();
                model.running.remove(&one);
                let (scope, request, by) = one;
                match roll(8) {
                    0 => assert!(outcomes.finish(now, scope, request, by, None)),
                    1 => {
                        assert!(outcomes.undo(scope, request, by));
                        model.executed.remove(&(scope, request));
                    }
                    _ => {
                        let text = TEXTS[roll(3) as usize];
                        let bytes = roll(1000) as usize;
                        assert!(outcomes.finish(now, scope, request, by, Some((text, bytes))));
                        model.executed.insert((scope, request), Some(text));
                    }
                }
            }
            13..15 => {
                now = now + Duration::from_millis(roll(20));
                outcomes.expire(now);
                assert!(outcomes.next_timeout().is_none_or(|due| due > now));
            }
            _ => {}
        }
        assert!(outcomes.bytes <= config().max_bytes);
        assert!(outcomes.away.len() <= 2);
    }
    assert!(counts.iter().all(|count| *count > 100), "{counts:?}");
}
