//! What the protocol costs: echoes of WebWire, of bare WebSockets and of JSON-RPC, all under the same
//! load. What TLS costs: the same with it.
//!
//! Starts the servers in turn, as processes of their own on loopback, puts the same load on each, and
//! prints throughput, processor time per request and resident memory per idle connection, with the
//! ratios to the bare echo on the same runtime. Each has one thread; those on tokio's `multi_thread`
//! have one worker, unless `--workers` says otherwise. Run it with
//!
//! ```text
//! cargo bench -p wwr-benches --bench compare -- --help
//! ```
//!
//! `bare-epoll` is what the system itself costs: it reads, turns frames around where they are, and writes, and
//! so bounds what any server on one thread can do.
//!
//! Times are those of this machine now; only ratios within one run are worth comparing.

mod args;
mod bare;
mod event_loop;
mod jsonrpc;
mod measure;
mod memory;
mod report;
mod run;
mod system;
mod webwire;

pub use run::main;
