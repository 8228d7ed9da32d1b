//! The jobs that the session store has not answered yet.

use alloc::collections::{BTreeMap, BTreeSet};

use super::action::JobId;
use crate::session::{SessionKey, Ticket};
use crate::time::Instant;

/// What a job is for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Purpose {
    /// The registry looks a session up.
    LookUp(Ticket, SessionKey),
    /// The registry keeps a new session.
    Create(Ticket, SessionKey),
    /// The registry changes the info of a session.
    Update(Ticket, SessionKey),
    /// The registry destroys a session.
    Destroy(Ticket, SessionKey),
    /// Sessions expire.
    Expire,
}

/// The jobs without an answer, each with its deadline.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    last: u64,
    pending: BTreeMap<JobId, Pending>,
    deadlines: BTreeSet<(Instant, JobId)>,
}

#[derive(Debug)]
struct Pending {
    since: Instant,
    deadline: Instant,
    purpose: Purpose,
}

impl Jobs {
    pub(super) fn start(&mut self, purpose: Purpose, since: Instant, deadline: Instant) -> JobId {
        self.last += 1;
        let id = JobId(self.last);
        self.pending.insert(id, Pending { since, deadline, purpose });
        self.deadlines.insert((deadline, id));
        id
    }

    /// Returns what a job without an answer is for.
    pub(super) fn purpose(&self, id: JobId) -> Option<&Purpose> {
        self.pending.get(&id).map(|pending| &pending.purpose)
    }

    /// Removes a job whose answer has come. Returns since when it was pending, too.
    pub(super) fn take(&mut self, id: JobId) -> Option<(Instant, Purpose)> {
        let Pending { since, deadline, purpose } = self.pending.remove(&id)?;
        self.deadlines.remove(&(deadline, id));
        Some((since, purpose))
    }

    /// Removes a job whose answer did not come in time.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Option<(JobId, Instant, Purpose)> {
        let (deadline, id) = *self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.take(id).map(|(since, purpose)| (id, since, purpose))
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}
