//! Worlds of clients that repeat requests on several nodes.

use std::collections::BTreeMap;

use wwr_world::{Dice, Lines, SharingMistake, run_sharing};

/// How many worlds are run, unless `WWR_WORLDS` says otherwise.
const WORLDS: u64 = 60;

/// How many lines before the end of a world that has failed are shown.
const LAST_LINES: usize = 80;

/// In how many worlds a mistake is looked for.
const LOOKED_AT: u64 = 40;

#[test]
fn nothing_is_executed_twice_on_any_nodes_and_what_is_told_is_true() {
    let (mut requests, mut answered, mut refused, mut several) = (0, 0, 0, 0);
    let mut seen = BTreeMap::new();
    let worlds = std::env::var("WWR_WORLDS").ok().and_then(|worlds| worlds.parse().ok());
    for seed in 0..worlds.unwrap_or(WORLDS) {
        let report = run_sharing(Dice::seeded(seed), Lines::Dropped, None);
        if let Some(violation) = report.violation {
            let lines = run_sharing(Dice::seeded(seed), Lines::Kept, None).trace;
            let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
            panic!("seed {seed}: {violation}\n{}", last.join("\n"));
        }
        (requests, answered) = (requests + report.requests.0, answered + report.requests.1);
        (refused, several) = (refused + report.requests.2, several + report.requests.3);
        for (what, count) in report.seen {
            *seen.entry(what).or_insert(0) += count;
        }
    }
    println!(
        "{requests} requests, {answered} answered, {refused} not executed, {several} on several nodes"
    );
    println!("{seen:?}");
    // There is something to see.
    assert!(
        several > requests / 50 && answered > requests / 2,
        "{several}, {answered} of {requests}"
    );
}

#[test]
fn the_same_seed_is_the_same_world_of_sharing() {
    let fingerprint = |seed| run_sharing(Dice::seeded(seed), Lines::Dropped, None).fingerprint;
    for seed in 0..5 {
        assert_eq!(fingerprint(seed), fingerprint(seed), "seed {seed}");
    }
    assert_ne!(fingerprint(1), fingerprint(2));
}

#[test]
fn mistakes_of_sharing_are_found() {
    for mistake in SharingMistake::ALL {
        let mut by = Vec::new();
        let found = (0..LOOKED_AT).filter(|seed| {
            let report = run_sharing(Dice::seeded(*seed), Lines::Dropped, Some(mistake));
            by.extend(report.violation.as_ref().map(|violation| violation.invariant));
            report.violation.is_some()
        });
        let found = found.count();
        by.sort();
        by.dedup();
        println!("{mistake:?}: found in {found} worlds of {LOOKED_AT}, by {by:?}");
        assert!(found > 0, "{mistake:?} is not found");
    }
}
