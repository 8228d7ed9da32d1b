//! A simulated world for [`wwr`]: many clients and servers, all the real machines of the core, over
//! a network and a store that are models; time is virtual, and all chance comes from one source.
//! One seed is one run, bit for bit.
//!
//! Everything that can go wrong does: connections break, fall silent or crawl, servers crash and
//! come back, some as another version, the store fails or loses its answers, clocks jump, peers
//! send what they like. After each step the [`Invariant`]s hold, checked against the truth. In the
//! end the faults are over, all recover, and nothing is left.
//!
//! * `world`: puts it together; `setup` says what it is like, `world/life` what happens in it,
//!   `world/end` how it ends; `faults` names what goes wrong.
//! * `client`, `server`, `adversary`, `modest`: the actors. `application` is what servers serve.
//! * `script`: a world without randomness, step by step, with exact expectations; `reference` has clients
//!   made by hand for it, and `record` is what scripts look at.
//! * `network`, `store`, `clock`, `event`: what is between them. `bytes` has links that carry bytes, through the
//!   WebSockets of `wwr_socket`, in place of messages.
//! * `hosts`: a small world of its own, of the clients and servers of `wwr_socket`.
//! * `nodes`: another one, of several nodes that share an engine.
//! * `ledger`: what really happened. `invariants` names what has to hold; the checks are next to
//!   what they look at, in the files called `checks`.
//! * `trace`, `coverage`: a record of what happened, and of what has been tried.

mod adversary;
mod application;
mod bytes;
mod client;
mod clock;
mod coverage;
mod dice;
mod event;
mod faults;
mod hosts;
mod invariants;
mod ledger;
mod modest;
mod network;
mod nodes;
mod record;
mod recovering;
mod reference;
mod script;
mod server;
mod setup;
mod sharing;
mod stage;
mod store;
mod trace;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use application::request_names;
pub use bytes::Mistake;
pub use coverage::Coverage;
pub use dice::Dice;
pub use event::ClientId;
pub use faults::Fault;
pub use hosts::{HostMistake, HostReport, run_hosts};
pub use invariants::{Invariant, Violation};
pub use network::{SocketId, Way};
pub use nodes::{NodeMistake, NodesReport, run_nodes};
pub use record::Sent;
pub use recovering::{RecoveryMistake, RecoveryReport, run_recovery};
pub use reference::{Act, Death, Kind, Notice, Reference, ReferenceId};
pub use script::{Script, with};
pub use sharing::{SharingMistake, SharingReport, run_sharing};
pub use world::Report;

/// Whether a run keeps lines to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// It does.
    Kept,
    /// It does not, which is much faster.
    Dropped,
}

/// What the links between clients and servers carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// Messages.
    Messages,
    /// Bytes, which WebSockets make of messages, and messages of them. What happens is the same, to the
    /// fingerprint.
    Bytes,
    /// Bytes, with a mistake now and then. It is found as a [`Violation`] of [`Invariant::BytesAreMessages`].
    Broken(Mistake),
}

/// Runs a world over messages. A panic of a machine is a [`Violation`] of [`Invariant::NoPanic`].
pub fn run(dice: Dice, lines: Lines) -> Report {
    run_over(Links::Messages, dice, lines)
}

/// Runs a world over such links.
pub fn run_over(links: Links, dice: Dice, lines: Lines) -> Report {
    let mut world = world::World::new(links, dice, lines == Lines::Kept);
    if let Err(cause) = catch_unwind(AssertUnwindSafe(|| world.run())) {
        let text = cause.downcast_ref::<String>().cloned();
        let text = text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).into()));
        world.panicked(text.unwrap_or_else(|| "without a word".into()));
    }
    world.into_report()
}
