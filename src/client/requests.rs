//! The requests without an outcome: queued for a connection, or sent and waiting for a reply.

use alloc::boxed::Box;
use alloc::collections::BinaryHeap;
use core::cmp::Reverse;
use core::fmt;

use super::table::{KEPT, Table, shrunk_capacity};
use crate::session::SessionKey;
use crate::time::Instant;
use crate::wire::{Identifier, Name, Payload, length};

/// Identifies a request of one client. A client never uses one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct RequestId(u64);

impl RequestId {
    /// The identifier of the request on the wire: the counter, little-endian (protocol §2).
    pub const fn identifier(self) -> Identifier {
        Identifier::from_counter(self.0)
    }

    /// Returns a number for tables of the host: requests of a client count from 1, and no number comes
    /// twice.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Returns the identifier with this [number](Self::as_u64). One that no pending request has is
    /// harmless: to [cancel](super::Client::cancel) it does nothing.
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    pub(super) const fn from_identifier(identifier: Identifier) -> Self {
        Self(identifier.counter())
    }
}

impl fmt::Display for RequestId {
    /// The counter, as a decimal number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What to send.
#[derive(Debug)]
pub(super) enum Call {
    Request {
        name: Name,
        payload: Payload,
    },
    /// A request that may be repeated.
    Idempotent {
        name: Name,
        payload: Payload,
    },
    Restore(SessionKey),
    Close,
}

impl Call {
    /// Returns the length of its message in bytes.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Request { name, payload } | Self::Idempotent { name, payload } => {
                length::request(name, payload)
            }
            Self::Restore(key) => length::IDENTIFIED + key.as_str().len(),
            Self::Close => length::IDENTIFIED,
        }
    }
}

/// What a reply answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Request,
    /// A request that can be repeated on another connection.
    Idempotent(Box<Kept>),
    Restore,
    /// Closes the session of this key; without a key, the session that an earlier restore brings.
    Close(Option<SessionKey>),
    /// A restoration whose outcome was reported before its reply came. The server may still carry
    /// it out. At most this many replies are still to come.
    LateRestore(u32),
    /// The same for a request to close a session. In 2.0, only the reply shows that the server
    /// carried it out.
    LateClose(Option<SessionKey>),
}

impl Purpose {
    /// Returns whether the outcome was already reported.
    const fn is_late(&self) -> bool {
        match self {
            Self::Request | Self::Idempotent(_) | Self::Restore | Self::Close(_) => false,
            Self::LateRestore(_) | Self::LateClose(_) => true,
        }
    }
}

/// An idempotent request that was sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) name: Name,
    pub(super) payload: Payload,
    pub(super) deadline: Instant,
    /// In which scope it was sent. `None` if the server had not said that yet.
    pub(super) scope: Option<u64>,
    /// Whether it was sent on an earlier connection as well.
    pub(super) is_repeated: bool,
}

impl Kept {
    /// Returns the length of its message in bytes.
    fn size(&self) -> usize {
        length::request(&self.name, &self.payload)
    }
}

/// An idempotent request that was sent on a connection which is lost.
#[derive(Debug)]
pub(super) struct Repeat {
    pub(super) request: Box<Kept>,
    /// In which scope it was sent.
    pub(super) scope: u64,
    /// Until when it may be repeated.
    pub(super) until: Instant,
}

#[derive(Debug)]
struct Queued {
    call: Call,
    deadline: Instant,
}

/// The requests in the order of their calls, because identifiers rise.
#[derive(Debug)]
pub(super) struct Requests {
    counter: u64,
    queued: Table<Queued>,
    sent: Table<Purpose>,
    /// What was sent on an earlier connection, and is to be sent again.
    repeats: Table<Repeat>,
    /// How many bytes of idempotent requests are kept because they may be sent again.
    kept_bytes: usize,
    /// The deadline of each queued or sent request that has no outcome yet. Deadlines of other
    /// requests stay for a while, but the first one never belongs to such a request.
    deadlines: BinaryHeap<Reverse<(Instant, RequestId)>>,
    queued_bytes: usize,
    /// The one restore-session of the application that may be under way.
    restoring: Option<RequestId>,
    /// How many of the sent requests are late restorations, and how many late closures.
    late_restores: usize,
    late_closes: usize,
}

impl Requests {
    pub(super) const fn new() -> Self {
        Self {
            counter: 0,
            queued: Table::new(),
            sent: Table::new(),
            repeats: Table::new(),
            kept_bytes: 0,
            deadlines: BinaryHeap::new(),
            queued_bytes: 0,
            restoring: None,
            late_restores: 0,
            late_closes: 0,
        }
    }

    /// Returns a fresh identifier. The first is 1, and zero is never used.
    pub(super) fn next_id(&mut self) -> RequestId {
        self.counter = self.counter.wrapping_add(1).max(1);
        RequestId(self.counter)
    }

    /// Returns how many requests have no outcome yet.
    pub(super) fn len(&self) -> usize {
        self.remembered() - self.late_restores - self.late_closes
    }

    /// Returns how many requests are queued or sent, with those that have an outcome but no reply.
    pub(super) fn remembered(&self) -> usize {
        self.queued.len() + self.sent.len() + self.repeats.len()
    }

    /// Returns whether something is to be sent again.
    pub(super) fn has_repeats(&self) -> bool {
        self.repeats.len() > 0
    }

    pub(super) const fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    pub(super) const fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Returns whether a restore-session of the application is queued or sent.
    pub(super) const fn is_restoring(&self) -> bool {
        self.restoring.is_some()
    }

    /// Returns whether the server may come to hold a session because the application asked for it.
    pub(super) const fn may_restore(&self) -> bool {
        self.is_restoring() || self.late_restores > 0
    }

    /// Returns the oldest sent request that waits for its reply.
    pub(super) fn oldest_waiting(&self) -> Option<RequestId> {
        let mut sent = self.sent.iter();
        sent.find(|(_, purpose)| !purpose.is_late()).map(|(id, _)| id)
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.peek().map(|Reverse((deadline, _))| *deadline)
    }

    pub(super) fn queue(&mut self, id: RequestId, call: Call, deadline: Instant) {
        self.queued_bytes += call.size();
        if matches!(call, Call::Restore(_)) {
            self.restoring = Some(id);
        }
        self.deadlines.push(Reverse((deadline, id)));
        self.queued.insert(id, Queued { call, deadline });
    }

    #[inline]
    pub(super) fn await_reply(&mut self, id: RequestId, purpose: Purpose, deadline: Instant) {
        if purpose == Purpose::Restore {
            self.restoring = Some(id);
        }
        if let Purpose::Idempotent(kept) = &purpose {
            self.kept_bytes += kept.size();
        }
        self.deadlines.push(Reverse((deadline, id)));
        self.sent.insert(id, purpose);
    }

    /// Records that a request that was sent was sent on an earlier connection, too.
    pub(super) fn mark_repeated(&mut self, id: RequestId) {
        if let Some(Purpose::Idempotent(kept)) = self.sent.get_mut(id) {
            kept.is_repeated = true;
        }
    }

    /// Records that this many replies to a restoration may still come, although no caller waits.
    pub(super) fn expect_late_restore(&mut self, id: RequestId, replies: u32) {
        self.sent.insert(id, Purpose::LateRestore(replies));
        self.late_restores += 1;
    }

    fn expect_late_close(&mut self, id: RequestId, key: Option<SessionKey>) {
        self.sent.insert(id, Purpose::LateClose(key));
        self.late_closes += 1;
    }

    /// Removes the oldest of the queued requests.
    pub(super) fn take_queued(&mut self) -> Option<(RequestId, Call, Instant)> {
        let (id, Queued { call, deadline }) = self.queued.pop_first()?;
        self.queued_bytes -= call.size();
        self.forget(id);
        Some((id, call, deadline))
    }

    /// Records that a request is to be sent again, which was sent on an earlier connection.
    pub(super) fn repeat(&mut self, id: RequestId, repeat: Repeat) {
        self.kept_bytes += repeat.request.size();
        self.deadlines.push(Reverse((repeat.request.deadline, id)));
        self.repeats.insert(id, repeat);
    }

    /// Removes the oldest of the requests that are to be sent again.
    pub(super) fn take_repeat(&mut self) -> Option<(RequestId, Repeat)> {
        let (id, repeat) = self.repeats.pop_first()?;
        self.kept_bytes -= repeat.request.size();
        self.forget(id);
        Some((id, repeat))
    }

    /// Removes the oldest of the sent requests that have no outcome, and what is older.
    pub(super) fn take_sent(&mut self) -> Option<(RequestId, Purpose)> {
        loop {
            let (id, purpose) = self.sent.pop_first()?;
            if self.removed(id, &purpose) {
                return Some((id, purpose));
            }
        }
    }

    /// Removes the sent request that a reply is for.
    #[inline]
    pub(super) fn take_replied(&mut self, id: RequestId) -> Option<Purpose> {
        let purpose = self.sent.remove(id)?;
        self.removed(id, &purpose);
        Some(purpose)
    }

    /// Removes a request whose deadline is not after `now`, and returns whether it was sent.
    pub(super) fn take_expired(&mut self, now: Instant) -> Option<(RequestId, bool)> {
        let Reverse((deadline, id)) = *self.deadlines.peek()?;
        if deadline > now { None } else { self.remove(id).map(|sent| (id, sent)) }
    }

    /// Removes a request that has no outcome yet, and returns whether it was sent. `None` if there
    /// is no such request. The reply to a restoration or a closure still counts when it comes.
    pub(super) fn remove(&mut self, id: RequestId) -> Option<bool> {
        match self.sent.get(id) {
            Some(Purpose::LateRestore(_) | Purpose::LateClose(_)) => return None,
            Some(Purpose::Restore) => {
                self.take_replied(id);
                self.expect_late_restore(id, 1);
                return Some(true);
            }
            Some(Purpose::Close(_)) => {
                if let Some(Purpose::Close(key)) = self.take_replied(id) {
                    self.expect_late_close(id, key);
                }
                return Some(true);
            }
            Some(Purpose::Request | Purpose::Idempotent(_)) => {
                self.take_replied(id);
                return Some(true);
            }
            None => {}
        }
        if let Some(repeat) = self.repeats.remove(id) {
            self.kept_bytes -= repeat.request.size();
            self.forget(id);
            return Some(true);
        }
        let Queued { call, .. } = self.queued.remove(id)?;
        self.queued_bytes -= call.size();
        self.forget(id);
        Some(false)
    }

    /// Records that a sent request was removed. Returns whether it had no outcome so far.
    fn removed(&mut self, id: RequestId, purpose: &Purpose) -> bool {
        match purpose {
            Purpose::LateRestore(_) => self.late_restores -= 1,
            Purpose::LateClose(_) => self.late_closes -= 1,
            Purpose::Idempotent(kept) => {
                self.kept_bytes -= kept.size();
                self.forget(id);
                return true;
            }
            Purpose::Request | Purpose::Restore | Purpose::Close(_) => {
                self.forget(id);
                return true;
            }
        }
        false
    }

    /// A request was removed that had no outcome so far.
    fn forget(&mut self, id: RequestId) {
        self.restoring = self.restoring.filter(|restoring| *restoring != id);
        while let Some(Reverse((_, first))) = self.deadlines.peek()
            && !has_no_outcome(&self.queued, &self.sent, &self.repeats, *first)
        {
            self.deadlines.pop();
        }
        if are_mostly_stale(self.deadlines.len(), self.len()) {
            let (queued, sent, repeats) = (&self.queued, &self.sent, &self.repeats);
            let counts = |id| has_no_outcome(queued, sent, repeats, id);
            self.deadlines.retain(|Reverse((_, id))| counts(*id));
        }
        if let Some(capacity) = shrunk_capacity(self.deadlines.len(), self.deadlines.capacity()) {
            self.deadlines.shrink_to(capacity);
        }
    }
}

/// Returns whether it is worth removing stale deadlines from a list of this length, with this many
/// requests whose deadlines count. A request has at most two, the first from the time when it was
/// queued. So the cost is O(1) for each request.
const fn are_mostly_stale(deadlines: usize, requests: usize) -> bool {
    deadlines > 4 * requests + KEPT
}

#[inline(always)]
fn has_no_outcome(
    queued: &Table<Queued>,
    sent: &Table<Purpose>,
    repeats: &Table<Repeat>,
    id: RequestId,
) -> bool {
    match sent.get(id) {
        Some(purpose) => !purpose.is_late(),
        None => queued.get(id).is_some() || repeats.get(id).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const SOON: Instant = Instant::from_nanos(1);
    const LATER: Instant = Instant::from_nanos(2);

    #[test]
    fn deadlines_of_answered_requests_do_not_accumulate() {
        let mut requests = Requests::new();
        let old = requests.next_id();
        requests.await_reply(old, Purpose::Request, SOON);
        for _ in 0..10_000 {
            let id = requests.next_id();
            requests.queue(id, Call::Close, LATER);
            assert!(
                matches!(requests.take_queued(), Some((taken, Call::Close, LATER)) if taken == id)
            );
            requests.await_reply(id, Purpose::Request, LATER);
            assert_eq!(requests.take_replied(id), Some(Purpose::Request));
            assert_eq!(requests.next_deadline(), Some(SOON));
            assert!(requests.deadlines.len() <= 4 * requests.len() + KEPT + 2);
        }
        assert_eq!(requests.take_expired(SOON), Some((old, true)));
        assert_eq!((requests.next_deadline(), requests.len()), (None, 0));
    }

    /// With any number of requests, replies in any order, and at least one open request at all
    /// times.
    #[test]
    fn memory_of_a_burst_is_freed_before_the_last_request_is_answered() {
        for is_reversed in [false, true] {
            let mut requests = Requests::new();
            let old = requests.next_id();
            requests.await_reply(old, Purpose::Request, LATER);
            let mut burst: Vec<_> = (0..100 * KEPT).map(|_| requests.next_id()).collect();
            burst.iter().for_each(|id| requests.await_reply(*id, Purpose::Request, LATER));
            if is_reversed {
                burst.reverse();
            }
            for id in burst {
                assert_eq!(requests.take_replied(id), Some(Purpose::Request));
            }
            assert_eq!((requests.len(), requests.next_deadline()), (1, Some(LATER)));
            assert!(requests.deadlines.capacity() <= 8 * KEPT, "{}", requests.deadlines.capacity());
        }
    }

    #[test]
    fn stale_deadlines_are_removed_when_there_are_over_four_for_each_request() {
        for (requests, most) in [(0, KEPT), (1, KEPT + 4), (10 * KEPT, 41 * KEPT)] {
            assert!(!are_mostly_stale(most, requests) && !are_mostly_stale(1, requests));
            assert!(are_mostly_stale(most + 1, requests) && are_mostly_stale(2 * most, requests));
        }
    }

    #[test]
    fn queued_requests_expire_once() {
        let mut requests = Requests::new();
        let (first, second) = (requests.next_id(), requests.next_id());
        requests.queue(first, Call::Close, LATER);
        requests.queue(second, Call::Close, SOON);
        while let Some((id, _, deadline)) = requests.take_queued() {
            requests.await_reply(id, Purpose::Request, deadline);
        }
        assert_eq!(requests.take_expired(SOON), Some((second, true)));
        assert_eq!(requests.take_expired(SOON), None);
        assert_eq!(requests.take_expired(LATER), Some((first, true)));
        assert_eq!(requests.take_expired(LATER), None);
        assert_eq!(requests.next_deadline(), None);
    }
}
