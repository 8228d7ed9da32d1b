//! Worlds of several nodes that share an engine.

use wwr_world::{Dice, Lines, NodeMistake, run_nodes};

/// How many worlds are run.
const WORLDS: u64 = 20;

/// How many lines before the end of a world that has failed are shown.
const LAST_LINES: usize = 150;

/// In how many worlds a mistake is found at the latest.
const LOOKED_AT: u64 = 40;

#[test]
fn the_invariants_hold_in_worlds_of_nodes() {
    let (mut commands, mut requests, mut lost) = ((0, 0), 0, 0);
    for seed in 0..WORLDS {
        let report = run_nodes(Dice::seeded(seed), Lines::Dropped, None);
        if let Some(violation) = report.violation {
            let lines = run_nodes(Dice::seeded(seed), Lines::Kept, None).trace;
            let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
            panic!("seed {seed}: {violation}\n{}", last.join("\n"));
        }
        commands = (commands.0 + report.commands.0, commands.1 + report.commands.1);
        (requests, lost) = (requests + report.requests, lost + report.lost);
    }
    println!(
        "{commands:?} commands, {requests} requests to the engine, {lost} times a node was lost"
    );
    // There is something to see.
    assert!(commands.1 > WORLDS * 50 && requests > WORLDS * 500 && lost > WORLDS);
}

#[test]
fn the_same_seed_is_the_same_world_of_nodes() {
    let fingerprint = |seed| run_nodes(Dice::seeded(seed), Lines::Dropped, None).fingerprint;
    for seed in 0..3 {
        assert_eq!(fingerprint(seed), fingerprint(seed), "seed {seed}");
    }
    assert_ne!(fingerprint(1), fingerprint(2));
}

#[test]
fn mistakes_of_nodes_and_engines_are_found() {
    for mistake in NodeMistake::ALL {
        let found = (0..LOOKED_AT).find_map(|seed| {
            let report = run_nodes(Dice::seeded(seed), Lines::Dropped, Some(mistake));
            report.violation.map(|violation| (seed, violation))
        });
        println!("{mistake:?}: {found:?}");
        assert!(found.is_some(), "{mistake:?} is not found");
    }
}
