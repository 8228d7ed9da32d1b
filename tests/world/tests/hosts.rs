//! Worlds of whole hosts and clients over connections that carry bytes.

use wwr_world::{Dice, HostMistake, Lines, run_hosts};

/// How many worlds are run.
const WORLDS: u64 = 50;

/// How many lines before the end of a world that has failed are shown.
const LAST_LINES: usize = 150;

/// How many worlds a mistake is looked for in.
const LOOKED_AT: u64 = 10;

#[test]
fn the_invariants_hold_in_worlds_of_hosts() {
    let (mut requests, mut replies) = (0, 0);
    for seed in 0..WORLDS {
        let report = run_hosts(Dice::seeded(seed), Lines::Dropped, None);
        if let Some(violation) = report.violation {
            let lines = run_hosts(Dice::seeded(seed), Lines::Kept, None).trace;
            let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
            panic!("seed {seed}: {violation}\n{}", last.join("\n"));
        }
        requests += report.requests.0;
        replies += report.requests.1;
    }
    println!("{requests} requests, {replies} replies");
    // The rest has met a fault, or was too late.
    assert!(replies > requests / 2, "{replies} of {requests}");
}

#[test]
fn the_same_seed_is_the_same_world_of_hosts() {
    let fingerprint = |seed| run_hosts(Dice::seeded(seed), Lines::Dropped, None).fingerprint;
    for seed in 0..20 {
        assert_eq!(fingerprint(seed), fingerprint(seed), "seed {seed}");
    }
    assert_ne!(fingerprint(1), fingerprint(2));
}

#[test]
fn mistakes_of_loops_are_found() {
    for mistake in HostMistake::ALL {
        let mut by = Vec::new();
        let found = (0..LOOKED_AT).filter(|seed| {
            let violation = run_hosts(Dice::seeded(*seed), Lines::Dropped, Some(mistake)).violation;
            by.extend(violation.as_ref().map(|violation| violation.invariant));
            violation.is_some()
        });
        let found = found.count();
        by.sort();
        by.dedup();
        println!("{mistake:?}: found in {found} worlds of {LOOKED_AT}, by {by:?}");
        assert!(found > 0, "{mistake:?} is not found");
    }
}
