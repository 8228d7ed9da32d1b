//! One service on many nodes: what they ask an engine that they share, and what it answers.
//!
//! A *node* is a process with a server. The *engine* is a database that all nodes reach: Redis, Valkey, or
//! [`MemoryEngine`] where the nodes are in one process. Nothing here talks to it. A
//! [`Hub`](crate::server::Hub) asks [`Request`]s, and the host brings the [`Answer`]s and the [`News`].
//!
//! Each run of a node has an [`Epoch`], and a *lease* on it that it renews. For each session, the engine has a
//! record, and for each epoch the number of *places* that it takes: one for each connection that holds the
//! session. All changes are made by compare-and-set in the engine, so that limits hold over all nodes:
//!
//! * a request says how many places its node has **afterwards**, so that one that is carried out twice
//!   changes nothing;
//! * requests about sessions have increasing numbers, so that one that arrives after a later one is refused;
//! * a request says which epochs are known to be dead ([`Membership`]). Their places are free, and requests of
//!   theirs are refused from then on;
//! * a record has a revision that each change raises. News of a change is only a hint: who has missed it
//!   sees the higher revision when it [confirms](Step::Confirm) its places, which it does once in each lease.

mod action;
mod config;
mod engine;
mod history;
mod memory;
mod message;
mod node;
mod outcomes;
#[cfg(test)]
mod tests;

pub use action::{
    ClusterAction, ClusterCounters, ClusterState, EngineJob, EngineJobId, LostBy, MessageId,
    SendOutcome,
};
pub use config::ClusterConfig;
pub use engine::{
    Answer, Audience, Closing, DataId, EngineFailed, Epoch, Lease, Membership, News, Node,
    REMEMBERED, Request, Revision, SessionAnswer, SessionRequest, Step,
};
pub use history::{HistoryAnswer, HistoryRequest, HistoryStep};
pub use memory::MemoryEngine;
pub use message::{NodeSignal, UnreadableMessage};
pub(crate) use node::{Content, Desk, Grown, LocalNode, NodeOut};
pub use outcomes::{OutcomeAnswer, OutcomeLimits, OutcomeRequest, OutcomeStep};
