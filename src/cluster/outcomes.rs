//! What nodes ask about idempotent requests, what the engine answers, and what that means (protocol §10.6).

use alloc::collections::BTreeMap;
use core::time::Duration;

use bytes::Bytes;

use super::engine::{DataId, Epoch, Membership, REMEMBERED};
use crate::session::{Begun, Fingerprint, Instance, OutcomesConfig, Scope};
use crate::time::Instant;

/// Something about the idempotent requests of one client.
///
/// The engine has a record of each client, with a [`Scope`]. It is made when a node asks for it, and forgotten as a whole
/// when no node has asked anything for [a while](OutcomeLimits::keep), when it was made under other [data](DataId), or
/// when the engine needs its memory. The next one has another scope. So no change that the engine has lost can be
/// mistaken for one that was never made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeRequest {
    /// The client. A secret: an engine keeps a digest of it.
    pub instance: Instance,
    /// The run of the node that asks.
    pub epoch: Epoch,
    /// Greater than that of the requests which this run made before.
    pub number: u64,
    /// Which epochs this node knows to be dead. How requests end that they run is never known.
    pub membership: Membership,
    /// How much is kept. The same on all nodes.
    pub limits: OutcomeLimits,
    /// What to do.
    pub step: OutcomeStep,
}

/// How much an engine keeps of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutcomeLimits {
    /// How long the record is kept from the last request on.
    pub keep: Duration,
    /// How many outcomes: those of the requests that have ended last.
    pub outcomes: u32,
    /// How many bytes they take together. One that is longer is not kept: it is not known.
    pub bytes: u32,
}

impl OutcomeLimits {
    /// Returns what nodes with these settings ask for.
    pub(crate) fn of(config: &OutcomesConfig, lease: Duration) -> Self {
        let bounded = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            // A node that has a connection of the client asks four times as often.
            keep: config.window.max(lease * 2) * 2,
            outcomes: bounded(config.max_per_client.get()),
            bytes: bounded(config.max_bytes_per_client),
        }
    }

    /// After what time a node asks again, so that the record stays.
    pub(crate) fn renewed_after(&self) -> Duration {
        self.keep / 4
    }
}

/// What to do with the requests of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutcomeStep {
    /// Keep the record, or make one with this scope, if the engine has these data. Answered by
    /// [`Attached`](OutcomeAnswer::Attached) or [`OtherData`](OutcomeAnswer::OtherData).
    Attach {
        /// Random, and never used before.
        fresh: Scope,
        /// Which data the engine has, as far as the node knows. So a request that is carried out again, after the
        /// engine has lost what it did, does not make a record of the same scope.
        data: DataId,
    },
    /// Begin a request, unless it was begun before. Answered by [`Begun`](OutcomeAnswer::Begun),
    /// [`Running`](OutcomeAnswer::Running), or [`Overtaken`](OutcomeAnswer::Overtaken).
    Begin {
        /// The scope that the node knows.
        scope: Scope,
        /// The number of the request, among those of the client.
        token: u64,
        /// What it asks.
        content: Fingerprint,
    },
    /// A request has ended that this run of the node has begun. Answered by [`Done`](OutcomeAnswer::Done), also if it
    /// does not run any more.
    Finish {
        /// The scope in which it was begun.
        scope: Scope,
        /// The number of the request.
        token: u64,
        /// The number of the request to the engine that has begun it.
        begun: u64,
        /// How. `None` if that is not known.
        outcome: Option<Bytes>,
    },
    /// A request that this run of the node may have begun was not executed. It may be begun again, and never by a
    /// request to the engine of that number or a lower one. Answered by [`Done`](OutcomeAnswer::Done).
    Undo {
        /// The scope in which it was to begin.
        scope: Scope,
        /// The number of the request.
        token: u64,
        /// The number of the request to the engine that was to begin it.
        begun: u64,
    },
}

/// What the engine answers about the requests of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutcomeAnswer {
    /// There is a record.
    Attached {
        /// Its scope.
        scope: Scope,
    },
    /// There is no record, and none was made: the engine has these data. In a cluster of engines, those of the server that
    /// has the records of this client.
    OtherData(DataId),
    /// Whether to execute the request, or how it has ended. Never [`Begun::Running`] or [`Begun::NotNow`].
    Begun(Begun<Bytes>),
    /// It is being executed.
    Running {
        /// By this run of a node.
        by: Epoch,
    },
    /// It is recorded.
    Done,
    /// There is no record of that scope (any more). Whether the request was executed is not known.
    NoScope,
    /// An [`Undo`](OutcomeStep::Undo) was carried out before. Nothing was changed.
    Overtaken,
    /// The epoch of this node is dead, and another node has acted upon that. Nothing was changed.
    Fenced,
    /// The engine works, and cannot carry out this request: what it has of the client cannot be read. Nothing was
    /// changed.
    Failed,
}

/// How many bytes an outcome counts for beside its own.
pub(super) const OUTCOME: u32 = 64;

/// What an engine has of a client.
#[derive(Clone, Debug)]
pub(super) struct Client {
    scope: Scope,
    /// Under which data it was made.
    data: DataId,
    until: Instant,
    /// No request up to this number is begun, unless it is known.
    forgotten: u64,
    nodes: BTreeMap<Epoch, Mark>,
    requests: BTreeMap<u64, State>,
    /// The requests that have ended, in this order.
    ended: BTreeMap<u64, u64>,
    last_end: u64,
    bytes: u32,
}

/// What is known of a run of a node that has asked something.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// The highest number of a request that it has undone.
    undone: u64,
    is_fenced: bool,
    /// When it has asked last, or was found to be dead.
    at: Instant,
}

#[derive(Clone, Debug)]
struct State {
    content: Fingerprint,
    progress: Progress,
}

#[derive(Clone, Debug)]
enum Progress {
    Running {
        by: Epoch,
        /// The number of the request to the engine.
        number: u64,
    },
    /// `None` if the outcome is not known.
    Ended(Option<Bytes>),
}

/// Carries out a request, on what there is of the client.
pub(super) fn perform(
    known: &mut Option<Client>,
    now: Instant,
    data: DataId,
    request: OutcomeRequest,
) -> OutcomeAnswer {
    if known.as_ref().is_some_and(|client| client.is_over(now, data)) {
        *known = None;
    }
    let client = match (&mut *known, &request.step) {
        (Some(client), _) => client,
        (None, OutcomeStep::Attach { data: expected, .. }) if *expected != data => {
            return OutcomeAnswer::OtherData(data);
        }
        (None, OutcomeStep::Attach { fresh, .. }) => known.insert(Client::new(*fresh, data)),
        (None, _) => return OutcomeAnswer::NoScope,
    };
    client.perform(now, request)
}

impl Client {
    const fn new(scope: Scope, data: DataId) -> Self {
        Self {
            scope,
            data,
            until: Instant::EPOCH,
            forgotten: 0,
            nodes: BTreeMap::new(),
            requests: BTreeMap::new(),
            ended: BTreeMap::new(),
            last_end: 0,
            bytes: 0,
        }
    }

    /// Returns whether the record counts no more.
    pub(super) fn is_over(&self, now: Instant, data: DataId) -> bool {
        self.until <= now || self.data != data
    }

    fn perform(&mut self, now: Instant, request: OutcomeRequest) -> OutcomeAnswer {
        let OutcomeRequest { epoch, number, membership, limits, step, .. } = request;
        self.fence(now, &membership, limits);
        let mark = self.nodes.get(&epoch);
        if mark.is_some_and(|mark| mark.is_fenced) {
            return OutcomeAnswer::Fenced;
        }
        let undone = mark.map_or(0, |mark| mark.undone);
        self.nodes.insert(epoch, Mark { undone, is_fenced: false, at: now });
        self.until = self.until.max(now + limits.keep);
        match step {
            OutcomeStep::Attach { .. } => OutcomeAnswer::Attached { scope: self.scope },
            OutcomeStep::Begin { scope, .. }
            | OutcomeStep::Finish { scope, .. }
            | OutcomeStep::Undo { scope, .. }
                if scope != self.scope =>
            {
                OutcomeAnswer::NoScope
            }
            OutcomeStep::Begin { .. } if number <= undone => OutcomeAnswer::Overtaken,
            OutcomeStep::Begin { token, content, .. } => self.begin(epoch, number, token, content),
            OutcomeStep::Finish { token, begun, outcome, .. } => {
                if self.is_run_by(token, epoch, begun) {
                    self.end(token, outcome, limits);
                }
                OutcomeAnswer::Done
            }
            OutcomeStep::Undo { token, begun, .. } => {
                if self.is_run_by(token, epoch, begun) {
                    self.requests.remove(&token);
                }
                let undone = undone.max(begun);
                self.nodes.insert(epoch, Mark { undone, is_fenced: false, at: now });
                OutcomeAnswer::Done
            }
        }
    }

    fn begin(
        &mut self,
        epoch: Epoch,
        number: u64,
        token: u64,
        content: Fingerprint,
    ) -> OutcomeAnswer {
        let begun = match self.requests.get(&token) {
            Some(known) if known.content != content => Begun::OtherRequest,
            Some(State { progress, .. }) => match progress {
                Progress::Running { by, number: begun } if *by == epoch && *begun == number => {
                    Begun::Fresh
                }
                Progress::Running { by, .. } => return OutcomeAnswer::Running { by: *by },
                Progress::Ended(Some(outcome)) => Begun::Done(outcome.clone()),
                Progress::Ended(None) => Begun::Unknown,
            },
            None if token <= self.forgotten => Begun::Unknown,
            None => {
                let progress = Progress::Running { by: epoch, number };
                self.requests.insert(token, State { content, progress });
                Begun::Fresh
            }
        };
        OutcomeAnswer::Begun(begun)
    }

    fn is_run_by(&self, token: u64, epoch: Epoch, begun: u64) -> bool {
        let progress = self.requests.get(&token).map(|state| &state.progress);
        matches!(progress, Some(Progress::Running { by, number }) if (*by, *number) == (epoch, begun))
    }

    /// A request has ended. Forgets the first outcomes, as far as there are too many.
    fn end(&mut self, token: u64, outcome: Option<Bytes>, limits: OutcomeLimits) {
        let size = |outcome: &Option<Bytes>| {
            let length = outcome.as_ref().map_or(0, Bytes::len);
            u32::try_from(length).unwrap_or(u32::MAX).saturating_add(OUTCOME)
        };
        let outcome = if size(&outcome) > limits.bytes { None } else { outcome };
        let Some(state) = self.requests.get_mut(&token) else { return };
        self.last_end += 1;
        self.bytes = self.bytes.saturating_add(size(&outcome));
        state.progress = Progress::Ended(outcome);
        self.ended.insert(self.last_end, token);
        while (self.ended.len() > limits.outcomes as usize || self.bytes > limits.bytes)
            && let Some((_, token)) = self.ended.pop_first()
        {
            if let Some(State { progress: Progress::Ended(outcome), .. }) =
                self.requests.remove(&token)
            {
                self.bytes -= size(&outcome);
            }
            self.forgotten = self.forgotten.max(token);
        }
    }

    /// How requests of nodes end that are known to be dead will never be known. Forgets what is old of nodes.
    fn fence(&mut self, now: Instant, membership: &Membership, limits: OutcomeLimits) {
        for (epoch, mark) in &mut self.nodes {
            if membership.is_dead(*epoch) && !mark.is_fenced {
                (mark.is_fenced, mark.at) = (true, now);
            }
        }
        let is_lost = |(_, state): &(&u64, &State)| match state.progress {
            Progress::Running { by, .. } => {
                membership.is_dead(by) || self.nodes.get(&by).is_some_and(|mark| mark.is_fenced)
            }
            Progress::Ended(_) => false,
        };
        let lost: alloc::vec::Vec<u64> =
            self.requests.iter().filter(is_lost).map(|(token, _)| *token).collect();
        for token in lost {
            self.end(token, None, limits);
        }
        self.nodes.retain(|_, mark| now.saturating_since(mark.at) <= REMEMBERED);
    }
}
