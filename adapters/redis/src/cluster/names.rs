//! What things are called in the engine.

use wwr_async::SessionKey;
use wwr_async::cluster::{Epoch, Instance};

use crate::name;

/// The names of one service. All of a session is in one slot, and all of nodes and groups in another.
pub(super) struct Names {
    prefix: String,
    /// What the name of a node's channel begins with.
    pub(super) channels: String,
    pub(super) nodes: String,
    /// What the name of the followers of a group begins with.
    pub(super) groups: String,
    /// What the name of the groups that a node follows begins with.
    pub(super) follows: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.into(),
            channels: format!("wwr:news:{prefix}"),
            nodes: format!("wwr:nodes:{{{prefix}}}"),
            groups: format!("wwr:group:{{{prefix}}}:"),
            follows: format!("wwr:follows:{{{prefix}}}:"),
        }
    }

    /// The name of the record of a session.
    pub(super) fn record(&self, key: &SessionKey) -> String {
        name::of(&self.prefix, key)
    }

    /// The name of the record of a client that makes idempotent requests.
    pub(super) fn client(&self, instance: &Instance) -> String {
        format!("wwr:outcomes:{}", name::of_client(&self.prefix, instance))
    }

    /// The name of its outcomes: in the slot of the record.
    pub(super) fn outcomes(client: &str) -> String {
        format!("wwr:outcomes:{{{client}}}")
    }

    /// The name of its holders: in the slot of the record.
    pub(super) fn holders(record: &str) -> String {
        format!("wwr:holders:{{{record}}}")
    }

    /// The names of all that is stored for a session: its record, its holders, its history, and the signals in that.
    pub(super) fn all(record: &str) -> [String; 4] {
        let history = format!("wwr:history:{{{record}}}");
        let signals = format!("wwr:signals:{{{record}}}");
        [record.into(), Self::holders(record), history, signals]
    }

    /// What the name of a record has beyond the prefix.
    pub(super) fn digest<'a>(&self, record: &'a str) -> &'a str {
        record.get(self.prefix.len()..).unwrap_or_default()
    }

    pub(super) fn channel(&self, epoch: Epoch) -> String {
        format!("{}{}", self.channels, epoch.0)
    }
}
