//! Worlds of clients that are to lose nothing.

use wwr_world::{Dice, Lines, RecoveryMistake, run_recovery};

/// How many worlds are run, unless `WWR_WORLDS` says otherwise.
const WORLDS: u64 = 100;

/// How many lines before the end of a world that has failed are shown.
const LAST_LINES: usize = 60;

/// How many worlds a mistake is looked for in.
const LOOKED_AT: u64 = 40;

#[test]
fn nothing_is_missed_in_silence_and_nothing_is_executed_twice() {
    let (mut signals, mut told, mut resumed, mut missed, mut gaps) = (0, 0, 0, 0, 0);
    let (mut requests, mut answered, mut twice) = (0, 0, 0);
    let worlds = std::env::var("WWR_WORLDS").ok().and_then(|worlds| worlds.parse().ok());
    for seed in 0..worlds.unwrap_or(WORLDS) {
        let report = run_recovery(Dice::seeded(seed), Lines::Dropped, None);
        if let Some(violation) = report.violation {
            let lines = run_recovery(Dice::seeded(seed), Lines::Kept, None).trace;
            let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
            panic!("seed {seed}: {violation}\n{}", last.join("\n"));
        }
        (signals, told) = (signals + report.signals.0, told + report.signals.1);
        (resumed, missed) = (resumed + report.resumed.0, missed + report.resumed.1);
        gaps += report.resumed.2;
        (requests, answered) = (requests + report.requests.0, answered + report.requests.1);
        twice += report.requests.2;
    }
    println!("{signals} signals, {told} told; {resumed} times resumed with {missed}, {gaps} gaps");
    println!("{requests} requests, {answered} answered, {twice} came twice or more often");
    assert!(missed > 1000 && gaps > 100, "it is worth the effort: {missed}, {gaps}");
    assert!(twice > 100 && answered * 10 > requests * 8, "{twice}, {answered} of {requests}");
}

#[test]
fn the_same_seed_is_the_same_world() {
    let fingerprint = |seed| run_recovery(Dice::seeded(seed), Lines::Dropped, None).fingerprint;
    for seed in 0..10 {
        assert_eq!(fingerprint(seed), fingerprint(seed), "seed {seed}");
    }
    assert_ne!(fingerprint(1), fingerprint(2));
}

#[test]
fn mistakes_are_found() {
    for mistake in RecoveryMistake::ALL {
        let mut by = Vec::new();
        let found = (0..LOOKED_AT).filter(|seed| {
            let report = run_recovery(Dice::seeded(*seed), Lines::Dropped, Some(mistake));
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
