//! What attacks cost a WebWire server, and what a good client beside them notices.
//!
//! For each attack, starts a server as a process of its own, on loopback; a good client makes
//! requests and opens connections first without the attack, then during it. Prints what processor
//! time, memory and file descriptors the attack cost the server, and the latencies of the good
//! client. Ends with an error if a promise was broken: a good client that was not served, memory or
//! descriptors that did not stay in their bounds. Run it with
//!
//! ```text
//! cargo bench -p wwr-smol --bench attack -- --help
//! ```

#[cfg(target_os = "linux")]
mod args;
#[cfg(target_os = "linux")]
mod attacks;
#[cfg(target_os = "linux")]
mod good;
#[cfg(target_os = "linux")]
#[path = "../support/handshake.rs"]
mod handshake;
#[cfg(target_os = "linux")]
mod measure;
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
mod server;
#[cfg(target_os = "linux")]
#[path = "../support/sockets.rs"]
mod sockets;
#[cfg(target_os = "linux")]
#[path = "../support/start.rs"]
mod start;
#[cfg(target_os = "linux")]
mod wire;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    run::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("skipped: processor time and memory of the server are read from /proc");
}
