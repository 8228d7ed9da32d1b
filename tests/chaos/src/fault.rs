//! What is broken.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::history::Node;

/// Something that is broken for some seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Fault {
    /// Nothing: for comparison.
    Nothing,
    /// The node is killed, and started again in the end.
    KillNode(Node),
    /// The node stands still for longer than its lease.
    PauseNode(Node),
    /// The engine is killed, and comes back with its data.
    KillEngine,
    /// The engine stands still.
    PauseEngine,
    /// The engine is killed, and comes back without data.
    EmptyEngine,
    /// The master is killed, and a sentinel makes the replica the master.
    FailOver,
    /// The connections between the node and the engine break, and no new ones are accepted.
    CutEngine(Node),
    /// The connections between the node and the engine carry nothing.
    StallEngine(Node),
    /// The connections between the clients and the node break, and no new ones are accepted.
    CutClients(Node),
    /// The connections between the clients and the node carry nothing.
    StallClients(Node),
}

impl Fault {
    /// The names of all of them, for options.
    pub const NAMES: [&str; 11] = [
        "nothing",
        "kill-node",
        "pause-node",
        "kill-engine",
        "pause-engine",
        "empty-engine",
        "fail-over",
        "cut-engine",
        "stall-engine",
        "cut-clients",
        "stall-clients",
    ];

    /// The fault of this name, of this node if it is about one.
    pub fn named(name: &str, node: Node) -> Option<Self> {
        Some(match name {
            "nothing" => Self::Nothing,
            "kill-node" => Self::KillNode(node),
            "pause-node" => Self::PauseNode(node),
            "kill-engine" => Self::KillEngine,
            "pause-engine" => Self::PauseEngine,
            "empty-engine" => Self::EmptyEngine,
            "fail-over" => Self::FailOver,
            "cut-engine" => Self::CutEngine(node),
            "stall-engine" => Self::StallEngine(node),
            "cut-clients" => Self::CutClients(node),
            "stall-clients" => Self::StallClients(node),
            _ => return None,
        })
    }

    /// Whether the engine may lose what it has acknowledged.
    pub const fn loses_data(self) -> bool {
        matches!(self, Self::EmptyEngine | Self::FailOver)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => write!(f, "nothing is broken"),
            Self::KillNode(node) => write!(f, "node {node} killed"),
            Self::PauseNode(node) => write!(f, "node {node} paused"),
            Self::KillEngine => write!(f, "engine killed"),
            Self::PauseEngine => write!(f, "engine paused"),
            Self::EmptyEngine => write!(f, "engine emptied"),
            Self::FailOver => write!(f, "failover"),
            Self::CutEngine(node) => write!(f, "node {node} cut from the engine"),
            Self::StallEngine(node) => write!(f, "node {node} stalled to the engine"),
            Self::CutClients(node) => write!(f, "clients cut from node {node}"),
            Self::StallClients(node) => write!(f, "clients stalled to node {node}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_a_fault_of_its_own() {
        let mut faults: Vec<_> = Fault::NAMES.iter().map(|name| Fault::named(name, 1)).collect();
        assert!(faults.iter().all(Option::is_some));
        faults.dedup();
        assert_eq!(faults.len(), Fault::NAMES.len());
        assert_eq!(Fault::named("fire", 1), None);
    }
}
