//! The questions that the engine has not answered yet.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;

use bytes::Bytes;

use super::outcomes::Asked;
use crate::cluster::action::{EngineJobId, MessageId};
use crate::session::{ConnectionId, SessionKey};
use crate::time::Instant;

/// What a question is for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Purpose {
    /// The node enters, or renews its lease. Sent then.
    Lease { sent: Instant },
    /// The node retires.
    Retire,
    /// The request about a session that is under way.
    Session(SessionKey),
    /// A message is passed on.
    Message(MessageId),
    /// A signal is appended to a history.
    Append { id: MessageId, key: SessionKey, signal: Bytes },
    /// What is new in a history is read.
    Fetch { key: SessionKey, serial: u64 },
    /// What follows the place of one connection is read.
    Read { key: SessionKey, to: ConnectionId, serial: u64 },
    /// Something about idempotent requests.
    Outcome(Asked),
    /// A group is followed, or no more.
    Group { name: String, follow: bool },
}

/// The questions without an answer, each with its deadline.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    last: u64,
    pending: BTreeMap<EngineJobId, (Instant, Purpose)>,
    deadlines: BTreeSet<(Instant, EngineJobId)>,
}

impl Jobs {
    pub(super) fn start(&mut self, purpose: Purpose, deadline: Instant) -> EngineJobId {
        self.last += 1;
        let id = EngineJobId(self.last);
        self.pending.insert(id, (deadline, purpose));
        self.deadlines.insert((deadline, id));
        id
    }

    pub(super) fn take(&mut self, id: EngineJobId) -> Option<Purpose> {
        let (deadline, purpose) = self.pending.remove(&id)?;
        self.deadlines.remove(&(deadline, id));
        Some(purpose)
    }

    pub(super) fn take_overdue(&mut self, now: Instant) -> Option<(EngineJobId, Purpose)> {
        let (deadline, id) = *self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.take(id).map(|purpose| (id, purpose))
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Gives up all but the messages: they are of no run.
    pub(super) fn give_up(&mut self) {
        self.pending.retain(|_, (_, purpose)| {
            matches!(purpose, Purpose::Message(_) | Purpose::Append { .. })
        });
        let pending = &self.pending;
        self.deadlines.retain(|(_, id)| pending.contains_key(id));
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }
}
