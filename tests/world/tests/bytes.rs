//! Worlds whose links carry bytes in place of messages: WebSockets are between the machines.

use wwr_world::{Dice, Invariant, Lines, Links, Mistake, run, run_over};

/// How many worlds are compared.
const WORLDS: u64 = 500;

/// How many worlds a mistake is looked for in.
const LOOKED_AT: u64 = 20;

#[test]
fn a_world_is_the_same_over_bytes_as_over_messages() {
    for seed in 0..WORLDS {
        let over_bytes = run_over(Links::Bytes, Dice::seeded(seed), Lines::Dropped);
        assert_eq!(over_bytes.violation, None, "seed {seed}");
        let over_messages = run(Dice::seeded(seed), Lines::Dropped);
        assert_eq!(over_bytes.fingerprint, over_messages.fingerprint, "seed {seed}");
    }
}

#[test]
fn mistakes_with_bytes_are_found() {
    for mistake in Mistake::ALL {
        let found = (0..LOOKED_AT).filter(|seed| {
            let report = run_over(Links::Broken(mistake), Dice::seeded(*seed), Lines::Dropped);
            let violation = report.violation.map(|violation| violation.invariant);
            assert!(matches!(violation, None | Some(Invariant::BytesAreMessages)), "{violation:?}");
            violation.is_some()
        });
        let found = found.count() as u64;
        println!("{mistake:?}: found in {found} worlds of {LOOKED_AT}");
        // In some worlds, hardly anything is sent.
        assert!(found > LOOKED_AT / 2, "{mistake:?}: found in {found} worlds of {LOOKED_AT}");
    }
}
