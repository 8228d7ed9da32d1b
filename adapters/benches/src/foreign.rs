//! What client and server are worth on executors that do not drive the reactor of their sockets.
//!
//! On [smol] the thread that runs the tasks also waits for the sockets. On any other executor a thread
//! of its own waits, and wakes the others. This puts the same load on client and server on each kind
//! of executor, in one run: requests one after another, for the latency of each, and many at once, for
//! the throughput of the server. Run it with
//!
//! ```text
//! cargo bench -p wwr-benches --bench foreign -- --help
//! ```
//!
//! Times are those of this machine now; only ratios within one run are worth comparing.

mod args;
mod echo;
mod latency;
mod place;
mod report;
mod run;
mod runtime;

pub use run::main;
