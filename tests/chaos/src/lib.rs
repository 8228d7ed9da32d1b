//! Breaks nodes, engines and networks of a cluster while thousands of clients work, and checks what all of them saw
//! against what `docs/cluster.md` promises.
//!
//! * [`history`] is what was seen, by whom and when.
//! * [`check`] says what of it is untrue. It knows no process and no clock.
//! * [`conduct`] is the program: it starts engines, nodes and clients as processes, breaks them, and has the history
//!   checked after each round.

pub mod check;
pub mod conduct;
pub mod history;

mod clients;
mod clock;
mod fault;
mod node;
mod proxy;
