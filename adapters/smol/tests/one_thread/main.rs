//! The suite on smol, with executors of one thread; and what only smol has.

#[path = "../adapter/mod.rs"]
mod adapter;
mod global_executor;
#[path = "../../../suite/mod.rs"]
mod suite;

/// How many threads an executor has.
const THREADS: usize = 1;
