//! What attacks cost a WebWire server, and what a good client beside them notices.
//!
//! For each attack, starts a server as a process of its own, on loopback; a good client makes
//! requests and opens connections first without the attack, then during it. Prints what processor
//! time, memory and file descriptors the attack cost the server, and the latencies of the good
//! client. Ends with an error if a promise was broken: a good client that was not served, memory or
//! descriptors that did not stay in their bounds. Run it with
//!
//! ```text
//! cargo bench -p wwr-benches --bench attack -- --help
//! ```

mod app;
mod args;
mod attacks;
mod good;
mod measure;
mod report;
mod run;
mod wire;

pub use run::main;
