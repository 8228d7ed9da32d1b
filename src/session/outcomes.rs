//! Which idempotent requests were executed, and how they ended.

use alloc::collections::{BTreeMap, BTreeSet};
use core::num::NonZeroUsize;
use core::time::Duration;

use super::exchange::ConnectionId;
use super::history::mixed;
use crate::time::Instant;
use crate::valid::{InvalidConfig, not_zero, positive};

/// How many bytes an outcome counts for beside its own.
const OUTCOME: usize = 96;

/// Which outcomes of idempotent requests are kept, so that a request is executed once although it comes
/// twice (protocol §10.6).
///
/// ```
/// use core::time::Duration;
/// use wwr::session::OutcomesConfig;
///
/// let mut config = OutcomesConfig::default();
/// config.window = Duration::from_secs(600);
/// assert!(config.check().is_ok());
/// config.window = Duration::ZERO;
/// assert!(config.check().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutcomesConfig {
    /// How long an outcome is kept, from the end of its request. A client that was away for longer is
    /// forgotten. Not zero, and at most 2^32 - 1 ms, some 49 days. Default: 2 min.
    pub window: Duration,
    /// How many outcomes are kept for each client: those of its last requests. Default: 64.
    pub max_per_client: NonZeroUsize,
    /// How many clients are remembered that have no connection at the moment. Default: 16 384.
    pub max_clients: NonZeroUsize,
    /// How many bytes the outcomes of all clients take together: the oldest of all are forgotten first.
    /// An outcome counts for 96 bytes beside its own. Not zero. Default: 64 MiB.
    pub max_bytes: usize,
}

const PER_CLIENT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);
const CLIENTS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(16_383);

impl Default for OutcomesConfig {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(120),
            max_per_client: PER_CLIENT,
            max_clients: CLIENTS,
            max_bytes: 64 * 1024 * 1024,
        }
    }
}

impl OutcomesConfig {
    /// The longest [`window`](Self::window): 2^32 - 1 ms, some 49 days.
    pub const MAX_WINDOW: Duration = Duration::from_millis(u32::MAX as u64);

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`] names the setting that is wrong.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let (setting, value) = ("idempotency.window", self.window);
        positive(setting, value)?;
        if value > Self::MAX_WINDOW {
            return Err(InvalidConfig::TooLong { setting, value, max: Self::MAX_WINDOW });
        }
        not_zero("idempotency.max_bytes", self.max_bytes)
    }
}

/// A client over all its connections, as it calls itself: 16 random bytes, made when the client was. A
/// secret like a session key: whoever knows it may learn outcomes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Instance(pub [u8; 16]);

impl core::fmt::Debug for Instance {
    /// Omits the bytes.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Instance(16 bytes)")
    }
}

/// What a server remembers of a client, as a number. If it has forgotten the client, or is another run of
/// the server, the client gets another one: then it is not known which of its requests were executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Scope(pub u64);

/// The answer to [`Outcomes::begin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun<T> {
    /// The request was never seen: execute it, then [`finish`](Outcomes::finish) it.
    Fresh,
    /// It is being executed. How it ends is not known yet.
    Running,
    /// It was executed, and ended like this.
    Done(T),
    /// It may have been executed, and how it ended is not known (any more).
    Unknown,
}

/// What is known of the idempotent requests of all clients of a server.
///
/// Pure, and without knowledge of what an outcome is. What it answers could as well be answered by an
/// engine that several servers share: [`attach`](Self::attach), [`begin`](Self::begin) and
/// [`finish`](Self::finish) are the questions.
///
/// A request is never begun twice in a scope. That does not depend on how much is kept: where an outcome is
/// forgotten, the client's record knows up to which number, and where the record is forgotten, the scope is
/// gone.
///
/// Calls cost O(log n) in the number of clients and outcomes, and what they forget.
#[derive(Debug)]
pub struct Outcomes<T> {
    config: OutcomesConfig,
    seed: u64,
    made: u64,
    instances: BTreeMap<Instance, Scope>,
    clients: BTreeMap<Scope, Record>,
    requests: BTreeMap<(Scope, u64), State<T>>,
    /// The requests that have ended, in this order.
    ended: BTreeSet<(Instant, Scope, u64)>,
    /// The clients without a connection, in the order in which they lost the last one.
    pub(super) away: BTreeSet<(Instant, Scope)>,
    pub(super) bytes: usize,
    now: Instant,
}

/// What is known of a client.
#[derive(Debug)]
struct Record {
    instance: Instance,
    /// How many connections of it there are.
    connections: usize,
    away_since: Instant,
    /// How many of its requests have ended and are not forgotten.
    ended: usize,
    /// No request up to this number is begun, unless it is known.
    forgotten: u64,
}

#[derive(Debug)]
enum State<T> {
    Running {
        by: ConnectionId,
    },
    /// `None` if the outcome is not known.
    Ended {
        at: Instant,
        bytes: usize,
        outcome: Option<T>,
    },
}

impl<T: Clone> Outcomes<T> {
    /// Creates an empty table. `seed` is random: by it, scopes of another run are others.
    pub const fn new(config: OutcomesConfig, seed: u64) -> Self {
        Self {
            config,
            seed,
            made: 0,
            instances: BTreeMap::new(),
            clients: BTreeMap::new(),
            requests: BTreeMap::new(),
            ended: BTreeSet::new(),
            away: BTreeSet::new(),
            bytes: 0,
            now: Instant::EPOCH,
        }
    }

    /// Records that a client has one connection more. Returns the scope of its requests: the same as
    /// before if the client is remembered.
    pub fn attach(&mut self, now: Instant, instance: Instance) -> Scope {
        self.advance(now);
        if let Some(scope) = self.instances.get(&instance).copied()
            && let Some(client) = self.clients.get_mut(&scope)
        {
            if client.connections == 0 {
                self.away.remove(&(client.away_since, scope));
            }
            client.connections += 1;
            return scope;
        }
        self.made += 1;
        let scope = Scope(mixed(self.seed.wrapping_add(self.made)));
        let away_since = self.now;
        let record = Record { instance, connections: 1, away_since, ended: 0, forgotten: 0 };
        self.instances.insert(instance, scope);
        self.clients.insert(scope, record);
        scope
    }

    /// Records that a client has one connection less.
    pub fn detach(&mut self, now: Instant, scope: Scope) {
        let now = self.advance(now);
        let Some(client) = self.clients.get_mut(&scope) else { return };
        client.connections = client.connections.saturating_sub(1);
        if client.connections > 0 {
            return;
        }
        client.away_since = now;
        self.away.insert((now, scope));
        while self.away.len() > self.config.max_clients.get()
            && let Some((_, scope)) = self.away.first().copied()
        {
            self.forget_client(scope);
        }
    }

    /// Begins a request, unless it was begun before. Numbers of requests rise, apart from those that are
    /// repeated.
    pub fn begin(
        &mut self,
        now: Instant,
        scope: Scope,
        request: u64,
        by: ConnectionId,
    ) -> Begun<T> {
        self.advance(now);
        let Some(client) = self.clients.get(&scope) else { return Begun::Unknown };
        match self.requests.get(&(scope, request)) {
            Some(State::Running { .. }) => Begun::Running,
            Some(State::Ended { outcome: Some(outcome), .. }) => Begun::Done(outcome.clone()),
            Some(State::Ended { outcome: None, .. }) => Begun::Unknown,
            None if request <= client.forgotten => Begun::Unknown,
            None => {
                self.requests.insert((scope, request), State::Running { by });
                Begun::Fresh
            }
        }
    }

    /// Records how a request has ended that this connection has begun: with an outcome of so many bytes,
    /// or in a way that is not known. Returns whether that was so. An outcome that does not fit counts as not
    /// known.
    pub fn finish(
        &mut self,
        now: Instant,
        scope: Scope,
        request: u64,
        by: ConnectionId,
        outcome: Option<(T, usize)>,
    ) -> bool {
        let at = self.advance(now);
        if !self.is_run_by(scope, request, by) {
            return false;
        }
        let most = self.config.max_bytes.saturating_sub(OUTCOME);
        let (outcome, bytes) = match outcome {
            Some((outcome, bytes)) if bytes <= most => (Some(outcome), OUTCOME + bytes),
            Some(_) | None => (None, OUTCOME),
        };
        if let Some(client) = self.clients.get_mut(&scope) {
            client.ended += 1;
            self.bytes += bytes;
            self.requests.insert((scope, request), State::Ended { at, bytes, outcome });
            self.ended.insert((at, scope, request));
            self.limit(scope);
        } else {
            self.requests.remove(&(scope, request));
        }
        true
    }

    /// Records that a request which this connection has begun was not executed after all: it may be begun
    /// again. Returns whether that was so.
    pub fn undo(&mut self, scope: Scope, request: u64, by: ConnectionId) -> bool {
        let is_run = self.is_run_by(scope, request, by);
        if is_run {
            self.requests.remove(&(scope, request));
        }
        is_run
    }

    /// Returns when to call [`expire`](Self::expire), if at all.
    pub fn next_timeout(&self) -> Option<Instant> {
        let ended = self.ended.first().map(|(at, ..)| *at);
        let away = self.away.first().map(|(since, _)| *since);
        let first = [ended, away].into_iter().flatten().min();
        first.map(|first| first + self.config.window)
    }

    /// Forgets what is older than the window.
    pub fn expire(&mut self, now: Instant) {
        let now = self.advance(now);
        let window = self.config.window;
        while let Some(&(at, scope, request)) = self.ended.first()
            && at + window <= now
        {
            self.forget_request(scope, request);
        }
        while let Some(&(since, scope)) = self.away.first()
            && since + window <= now
        {
            self.forget_client(scope);
        }
    }

    /// Returns how many requests are known, running ones included.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Returns whether nothing is known of any request or client.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.clients.is_empty()
    }

    fn is_run_by(&self, scope: Scope, request: u64, connection: ConnectionId) -> bool {
        let state = self.requests.get(&(scope, request));
        matches!(state, Some(State::Running { by }) if *by == connection)
    }

    /// Forgets the oldest outcomes of this client, and of all, as far as too many are kept.
    fn limit(&mut self, scope: Scope) {
        let max = self.config.max_per_client.get();
        while self.clients.get(&scope).is_some_and(|client| client.ended > max) {
            // Those that run are few: as many as connections may have handlers.
            let mut known = self.requests.range((scope, 0)..=(scope, u64::MAX));
            let ended = known.find(|(_, state)| matches!(state, State::Ended { .. }));
            let Some((&(_, request), _)) = ended else { break };
            self.forget_request(scope, request);
        }
        while self.bytes > self.config.max_bytes
            && let Some(&(_, scope, request)) = self.ended.first()
        {
            self.forget_request(scope, request);
        }
    }

    /// Forgets how a request has ended, but not that it has.
    fn forget_request(&mut self, scope: Scope, request: u64) {
        let Some(State::Ended { at, bytes, .. }) = self.requests.remove(&(scope, request)) else {
            return;
        };
        self.ended.remove(&(at, scope, request));
        self.bytes -= bytes;
        if let Some(client) = self.clients.get_mut(&scope) {
            client.ended -= 1;
            client.forgotten = client.forgotten.max(request);
        }
    }

    /// Forgets a client, and all its requests that have ended. Its scope is gone: nothing begins in it any
    /// more. What runs in it still ends.
    fn forget_client(&mut self, scope: Scope) {
        let Some(client) = self.clients.remove(&scope) else { return };
        self.away.remove(&(client.away_since, scope));
        self.instances.remove(&client.instance);
        let known = self.requests.range((scope, 0)..=(scope, u64::MAX));
        let ended = known.filter(|(_, state)| matches!(state, State::Ended { .. }));
        let ended: alloc::vec::Vec<_> = ended.map(|((_, request), _)| *request).collect();
        for request in ended {
            self.forget_request(scope, request);
        }
    }

    fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }
}
