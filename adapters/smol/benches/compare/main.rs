//! What the protocol costs: a bare WebSocket echo and a WebWire echo, the same load on both.
//!
//! Starts the two servers in turn, as processes of their own on loopback, puts the same load on
//! each, and prints throughput, processor time per request and resident memory per idle connection,
//! with the ratios of the two. Both answer on one thread. Run it with
//!
//! ```text
//! cargo bench -p wwr-smol --bench compare -- --help
//! ```
//!
//! Times are those of this machine now; only ratios within one run are worth comparing.

#[cfg(target_os = "linux")]
mod args;
#[cfg(target_os = "linux")]
mod bare;
#[cfg(target_os = "linux")]
mod case;
#[cfg(target_os = "linux")]
mod child;
#[cfg(target_os = "linux")]
#[path = "../support/connection.rs"]
mod connection;
#[cfg(target_os = "linux")]
#[path = "../support/handshake.rs"]
mod handshake;
#[cfg(target_os = "linux")]
#[path = "../support/load.rs"]
mod load;
#[cfg(target_os = "linux")]
mod measure;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
#[path = "../support/process.rs"]
mod process;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
#[path = "../support/resident.rs"]
mod resident;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
#[path = "../support/start.rs"]
mod start;
#[cfg(target_os = "linux")]
#[path = "../support/traffic.rs"]
mod traffic;
#[cfg(target_os = "linux")]
mod webwire;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    run::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("skipped: processor time and memory of the servers are read from /proc");
}
