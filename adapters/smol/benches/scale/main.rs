//! What becomes of a server with very many connections.
//!
//! Starts a server as a process of its own, on loopback, and has thousands of clients come, stay and
//! go. Prints how long that took, what processor time and memory it cost the server, and ends with
//! an error if anything was not as it has to be: a client that was not served, a signal or a session
//! that was lost, memory that did not come back. Run it with
//!
//! ```text
//! cargo bench -p wwr-smol --bench scale -- --help
//! ```

#[cfg(target_os = "linux")]
mod app;
#[cfg(target_os = "linux")]
mod args;
#[cfg(target_os = "linux")]
mod broadcast;
#[cfg(target_os = "linux")]
mod crowd;
#[cfg(target_os = "linux")]
#[path = "../support/handshake.rs"]
mod handshake;
#[cfg(target_os = "linux")]
mod idle;
#[cfg(target_os = "linux")]
#[path = "../support/process.rs"]
mod process;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
#[path = "../support/resident.rs"]
mod resident;
#[cfg(target_os = "linux")]
mod restore;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod session;
#[cfg(target_os = "linux")]
mod socket;
#[cfg(target_os = "linux")]
#[path = "../support/sockets.rs"]
mod sockets;
#[cfg(target_os = "linux")]
mod stage;
#[cfg(target_os = "linux")]
#[path = "../support/start.rs"]
mod start;
#[cfg(target_os = "linux")]
mod storm;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    run::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("skipped: processor time and memory of the server are read from /proc");
}
