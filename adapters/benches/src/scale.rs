//! What happens to a server with very many connections.
//!
//! Starts a server as a process of its own, on loopback, and has thousands of clients come, stay and
//! go. Prints how long that took, what processor time and memory it cost the server, and ends with
//! an error if anything was not as it has to be: a client that was not served, a signal or a session
//! that was lost, memory that did not come back. Run it with
//!
//! ```text
//! cargo bench -p wwr-benches --bench scale -- --help
//! ```

mod app;
mod args;
mod broadcast;
mod crowd;
mod idle;
mod report;
mod restore;
mod run;
mod session;
mod socket;
mod stage;
mod storm;

pub use run::main;
