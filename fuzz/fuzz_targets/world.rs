//! The simulated world, with the input instead of random numbers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wwr_world::{Dice, Lines, run};

fuzz_target!(|input: &[u8]| {
    if let Some(violation) = run(Dice::from_bytes(input), Lines::Dropped).violation {
        panic!("{violation}");
    }
});
