//! Benches of servers and clients on sockets, with the adapter for smol, that for tokio, and others.
//!
//! Each bench starts its servers as processes of their own, on loopback. `--help` shows the options:
//!
//! ```text
//! cargo bench -p wwr-benches --bench compare -- --help
//! ```

#[cfg(target_os = "linux")]
mod attack;
#[cfg(target_os = "linux")]
mod compare;
#[cfg(target_os = "linux")]
mod foreign;
#[cfg(target_os = "linux")]
mod scale;
#[cfg(target_os = "linux")]
mod support;

#[cfg(target_os = "linux")]
pub use {
    attack::main as attack, compare::main as compare, foreign::main as foreign,
    scale::main as scale,
};

#[cfg(not(target_os = "linux"))]
pub use {skipped as attack, skipped as compare, skipped as foreign, skipped as scale};

/// Says that there is no bench.
#[cfg(not(target_os = "linux"))]
pub fn skipped() -> std::process::ExitCode {
    println!("skipped: processor time and memory of the servers are read from /proc");
    std::process::ExitCode::SUCCESS
}
