//! Messages to other nodes.

use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

use bytes::Bytes;

use crate::cluster::action::MessageId;
use crate::cluster::engine::Audience;
use crate::time::Instant;

/// The messages that have no outcome yet.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    last: u64,
    /// Those that wait for the engine, oldest first.
    waiting: VecDeque<Waiting>,
    /// What those count that the engine has not answered.
    sent: BTreeMap<MessageId, usize>,
    /// What all of them count.
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    id: MessageId,
    to: Audience,
    message: Bytes,
    /// Whether it is appended to the history of its session.
    appends: bool,
    since: Instant,
}

/// What is kept of a message, however short it is.
const OVERHEAD: usize = 256;

/// How many bytes a message counts.
fn size(to: &Audience, message: &Bytes) -> usize {
    let name = match to {
        Audience::Session(key) => key.as_str().len(),
        Audience::Group(name) => name.len(),
        Audience::All => 0,
    };
    OVERHEAD + name + message.len()
}

impl Outbox {
    pub(super) const fn new_id(&mut self) -> MessageId {
        self.last += 1;
        MessageId(self.last)
    }

    /// Returns whether there is room for a message.
    pub(super) fn has_room(&self, to: &Audience, message: &Bytes, most: usize) -> bool {
        self.bytes.saturating_add(size(to, message)) <= most
    }

    pub(super) fn push(
        &mut self,
        id: MessageId,
        to: Audience,
        message: Bytes,
        appends: bool,
        since: Instant,
    ) {
        self.bytes += size(&to, &message);
        self.waiting.push_back(Waiting { id, to, message, appends, since });
    }

    /// Returns the next message to pass on, and whether it is appended to a history. It counts until its outcome is
    /// known.
    pub(super) fn next(&mut self) -> Option<(MessageId, Audience, Bytes, bool)> {
        let Waiting { id, to, message, appends, .. } = self.waiting.pop_front()?;
        self.sent.insert(id, size(&to, &message));
        Some((id, to, message, appends))
    }

    /// Records that the outcome of a message that was passed on is known. Returns whether it was not before.
    pub(super) fn ended(&mut self, id: MessageId) -> bool {
        let size = self.sent.remove(&id);
        self.bytes -= size.unwrap_or_default();
        size.is_some()
    }

    /// Removes a message that has waited for this long, or any if `None`.
    pub(super) fn expired(
        &mut self,
        now: Instant,
        age: Option<Duration>,
    ) -> Option<(MessageId, Duration)> {
        let waited = now.saturating_since(self.waiting.front()?.since);
        if age.is_some_and(|age| waited < age) {
            return None;
        }
        let Waiting { id, to, message, .. } = self.waiting.pop_front()?;
        self.bytes -= size(&to, &message);
        Some((id, waited))
    }

    /// Returns since when the oldest message waits.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.waiting.front().map(|waiting| waiting.since)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty()
    }
}
