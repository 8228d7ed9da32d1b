//! The suite on smol, with executors of several threads.

mod adapter;
#[path = "../../suite/mod.rs"]
mod suite;

/// How many threads an executor has.
const THREADS: usize = 4;
