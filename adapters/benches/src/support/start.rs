//! How a program that measures starts and ends.

use std::process::ExitCode;

use super::host::Failure;

/// Runs it, unless it is started as a test: `cargo test --benches` does so without the flag that
/// `cargo bench` passes. Says why it failed, if it did.
pub(crate) fn start(run: impl FnOnce() -> Result<ExitCode, Failure>) -> ExitCode {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("skipped: this measures, which is for cargo bench");
        return ExitCode::SUCCESS;
    }
    run().unwrap_or_else(|error| {
        eprintln!("failed: {error}");
        ExitCode::FAILURE
    })
}
