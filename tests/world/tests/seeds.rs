//! Some thousand worlds, and those that found something once. Many more: the example `simulate`.

use wwr_world::{Coverage, Dice, Lines, run};

/// How many worlds each test runs.
const WORLDS: u64 = 1500;

/// Runs the world of a seed; fails with what to do about it if something does not hold.
fn world(seed: u64) -> wwr_world::Report {
    let report = run(Dice::seeded(seed), Lines::Dropped);
    if let Some(violation) = &report.violation {
        let lines = run(Dice::seeded(seed), Lines::Kept).trace;
        let last: Vec<_> = lines.iter().rev().take(40).rev().cloned().collect();
        panic!(
            "{violation}\n\n{}\n\nto repeat it: cargo run --release --example simulate -- \
             --seed {seed} --trace",
            last.join("\n")
        );
    }
    report
}

/// Runs worlds; what they came across has to be worth it.
fn worlds(seeds: impl Iterator<Item = u64>) {
    let mut seen = Coverage::default();
    for seed in seeds {
        seen.merge(&world(seed).coverage);
    }
    let dull: Vec<_> = EXPECTED.iter().filter(|name| seen.seen(name) < WORLDS / 100).collect();
    assert!(dull.is_empty(), "seldom seen: {dull:?}\n{seen}");
}

/// What many worlds come across.
const EXPECTED: [&str; 84] = [
    // Outcomes.
    "Ok",
    "Failed",
    "Internal",
    "ServerShutdown",
    "SessionNotFound",
    "MaxSessionConnections",
    "SessionsDisabled",
    "Protocol",
    "TimedOut, sent",
    "TimedOut, not sent",
    "Cancelled",
    "NotSent",
    "ConnectionLost",
    // What applications are told.
    "SessionCreated",
    "SessionRestored",
    "SessionClosed",
    "SessionLost",
    "Disconnected, lost",
    "Disconnected, silent",
    "Disconnected, closed by the server",
    "told to stay away",
    "ConnectFailed",
    // Reasons to close.
    "Requested",
    "Application",
    "Shutdown",
    "Silent",
    // Transitions that are not met by chance.
    "Dialing -> Resuming",
    "AwaitingConf -> Resuming",
    "AwaitingConf -> Probing",
    "Resuming -> Ready",
    "Resuming -> Waiting",
    "Open/Restoring -> Draining/Restoring",
    "Open/Held -> Draining/Held",
    "held -> held+looking up",
    "held+storing -> storing+to be destroyed",
    "destroying -> held",
    // Hubs.
    "Serving -> Draining",
    "Draining -> Closing",
    "Closing -> Aborting",
    "Closing -> Stopped",
    "Aborting -> Stopped",
    "hub: shut down, idle ones stay",
    "hub: shut down, idle ones close",
    "hub: close",
    "hub: abort",
    "hub: job timed out",
    "answer to a job that timed out",
    "hub: session destroyed for a caller",
    "hub: session not destroyed for a caller",
    "hub: expiry skipped",
    "signal waits",
    "signal waits, another was dropped",
    "signal refused",
    "question while the peer does not read",
    "session expires",
    "ShutdownAgain",
    "Full",
    // Faults.
    "Cut",
    "CutLate",
    "HalfOpen",
    "RefusedDial",
    "SentAway",
    "ProbeLost",
    "SlowReader",
    "NoiseToClient",
    "StoreFails",
    "StoreLosesAnswer",
    "StoreNeverAnswers",
    "Crash",
    "OtherVersion",
    "ClockForward",
    "ClockBack",
    "CloseKey",
    "HeartbeatStorm",
    "TextFrame",
    "Oversize",
    "Malformed",
    "KeyGuess",
    "StolenKey",
    "Flood",
    "NeverReads",
    "Vanished",
    "LateTimers",
    "Reconfigured",
];

#[test]
fn the_invariants_hold_in_worlds_of_even_seeds() {
    worlds((0..WORLDS).map(|number| 2 * number));
}

#[test]
fn the_invariants_hold_in_worlds_of_odd_seeds() {
    worlds((0..WORLDS).map(|number| 2 * number + 1));
}

#[test]
fn the_same_seed_is_the_same_world_bit_for_bit() {
    let fingerprint = |seed| run(Dice::seeded(seed), Lines::Dropped).fingerprint;
    for seed in 0..100 {
        assert_eq!(fingerprint(seed), fingerprint(seed), "seed {seed}");
        let shown = run(Dice::seeded(seed), Lines::Kept);
        assert_eq!(fingerprint(seed), shown.fingerprint, "seed {seed}, shown");
        assert!(!shown.trace.is_empty());
    }
    assert_ne!(fingerprint(1), fingerprint(2));
}

/// Worlds that found a mistake of the core once. Each mistake has a test of its own there as well:
/// what happens in the world of a seed changes with the worlds.
#[test]
fn worlds_that_found_something() {
    for (seed, what) in [
        (9, "a protocol error that a 2.0 client cannot read, after a preflight without an answer"),
        (183_751, "a session restored at the second attempt, after the first did not find it"),
    ] {
        println!("{what}");
        world(seed);
    }
}

#[test]
fn bytes_make_worlds_too() {
    for length in 0..200 {
        let bytes: Vec<_> = (0..length).map(|index| (index * 89 + length) as u8).collect();
        let report = run(Dice::from_bytes(&bytes), Lines::Dropped);
        assert_eq!(report.violation, None, "{bytes:?}");
    }
}

/// Inputs of the fuzz target that found something.
#[test]
fn inputs_that_found_something() {
    let inputs: [(&str, &[u8]); 5] = [
        (
            "a handler that was queued for long sends a client away just when all are looked at",
            include_bytes!("inputs/sent_away_late"),
        ),
        ("a shutdown without any time", include_bytes!("inputs/no_time_to_shut_down")),
        (
            "a server becomes another version while it is dialled, and slow handlers hide it",
            include_bytes!("inputs/version_changed_while_dialing"),
        ),
        (
            "the slot of a connection that closes its session is taken before it is told",
            include_bytes!("inputs/place_given_up_before_it_is_told"),
        ),
        (
            "a connection ends while a handler waits for its session to be closed",
            include_bytes!("inputs/ended_while_a_handler_closes_its_session"),
        ),
    ];
    for (what, input) in inputs {
        assert_eq!(run(Dice::from_bytes(input), Lines::Dropped).violation, None, "{what}");
    }
}
