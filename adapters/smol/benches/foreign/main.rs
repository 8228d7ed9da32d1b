//! What client and server are worth on executors that do not drive the reactor of their sockets.
//!
//! On [smol] the thread that runs the tasks also waits for the sockets. On any other executor a thread
//! of its own waits, and wakes the others. This puts the same load on client and server on each kind
//! of executor, in one run: requests one after another, for the latency of each, and many at once, for
//! the throughput of the server. Run it with
//!
//! ```text
//! cargo bench -p wwr-smol --bench foreign -- --help
//! ```
//!
//! Times are those of this machine now; only ratios within one run are worth comparing.

#[cfg(target_os = "linux")]
mod args;
#[cfg(target_os = "linux")]
mod case;
#[cfg(target_os = "linux")]
#[path = "../support/connection.rs"]
mod connection;
#[cfg(target_os = "linux")]
mod echo;
#[cfg(target_os = "linux")]
#[path = "../support/handshake.rs"]
mod handshake;
#[cfg(target_os = "linux")]
mod latency;
#[cfg(target_os = "linux")]
#[path = "../support/load.rs"]
mod load;
#[cfg(target_os = "linux")]
mod place;
#[cfg(target_os = "linux")]
#[path = "../support/process.rs"]
mod process;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod runtime;
#[cfg(target_os = "linux")]
#[path = "../support/start.rs"]
mod start;
#[cfg(target_os = "linux")]
#[path = "../support/traffic.rs"]
mod traffic;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    run::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("skipped: the processor time of the servers is read from /proc");
}
