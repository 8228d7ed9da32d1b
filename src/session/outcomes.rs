//! Which idempotent requests were executed, and how they ended.

use alloc::collections::{BTreeMap, BTreeSet};
use core::num::NonZeroUsize;
use core::time::Duration;

use super::exchange::ConnectionId;
use super::secret::{self, Numbers};
use crate::time::Instant;
use crate::valid::{InvalidConfig, not_zero, positive};

/// How many bytes an outcome counts for beside its own: its places in the tables, and what it is kept in.
const OUTCOME: usize = 384;

/// How many bytes a client counts for beside its outcomes.
const CLIENT: usize = 384;

/// How many things are forgotten at most because others take their place, or their time is over, in one call.
const FORGOTTEN_AT_ONCE: usize = 64;

/// How long what is left of that waits.
const PAUSE: Duration = Duration::from_millis(1);

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
    /// How many outcomes are kept for each client: those of the requests that have ended last. Default: 64.
    pub max_per_client: NonZeroUsize,
    /// How many bytes the outcomes of one client take together, counted as in [`max_bytes`](Self::max_bytes). One
    /// that does not fit at all is not kept: if its request is repeated, the outcome is not known. Not zero.
    /// Default: 1 MiB.
    pub max_bytes_per_client: usize,
    /// How many clients are remembered that have no connection at the moment. Default: 16 384.
    pub max_clients: NonZeroUsize,
    /// How many bytes the clients and outcomes take together. Those of clients that have no connection are forgotten
    /// first, beginning with the one that is away longest; then the oldest outcome of the client that takes most. A
    /// client with a connection counts for 384 bytes, and is never forgotten; an outcome for 384 beside its own. No
    /// less than [`max_bytes_per_client`](Self::max_bytes_per_client). Default: 64 MiB.
    pub max_bytes: usize,
}

const PER_CLIENT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);
const CLIENTS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(16_383);

impl Default for OutcomesConfig {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(120),
            max_per_client: PER_CLIENT,
            max_bytes_per_client: 1024 * 1024,
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
        not_zero("idempotency.max_bytes_per_client", self.max_bytes_per_client)?;
        if self.max_bytes < self.max_bytes_per_client {
            return Err(InvalidConfig::TooSmall {
                setting: "idempotency.max_bytes",
                value: self.max_bytes as u64,
                min: self.max_bytes_per_client as u64,
            });
        }
        Ok(())
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

/// What a request asks, in short: so that one which uses the identifier of another is noticed. Two requests of the same
/// fingerprint may differ only if somebody has made an effort, and whoever does so gets what the client was told before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 16]);

impl Fingerprint {
    /// Returns the fingerprint of a request with this name, and a payload that is encoded in this way, as a number
    /// of the application of this type.
    pub fn new(name: &[u8], encoding: u8, payload: &[u8]) -> Self {
        let length = (name.len() as u64).to_le_bytes();
        Self(secret::digest(&[&[encoding], &length, name, payload]))
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
    /// Another request with its number was begun before. It is not executed.
    OtherRequest,
    /// It is not executed now, because nothing can be recorded at the moment. Whether it was executed before is not
    /// known.
    NotNow,
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
    scopes: Numbers,
    instances: BTreeMap<Instance, Scope>,
    clients: BTreeMap<Scope, Record>,
    requests: BTreeMap<(Scope, u64), State<T>>,
    /// The requests that have ended, in this order.
    ended: BTreeSet<(Instant, Scope, u64)>,
    /// The same for each client.
    ended_of: BTreeSet<(Scope, Instant, u64)>,
    /// The clients without a connection, in the order in which they lost the last one.
    pub(super) away: BTreeSet<(Instant, Scope)>,
    /// How many bytes the outcomes of each client take that has some.
    sizes: BTreeSet<(usize, Scope)>,
    pub(super) bytes: usize,
    /// When the work on what is too old goes on, if some was left.
    goes_on: Option<Instant>,
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
    /// How many bytes these take.
    bytes: usize,
    /// No request up to this number is begun, unless it is known.
    forgotten: u64,
}

#[derive(Debug)]
struct State<T> {
    content: Fingerprint,
    progress: Progress<T>,
}

#[derive(Debug)]
enum Progress<T> {
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

impl<T> Progress<T> {
    const fn has_ended(&self) -> bool {
        matches!(self, Self::Ended { .. })
    }
}

impl<T: Clone> Outcomes<T> {
    /// Creates an empty table. `secret` is random: by it, scopes of another run are others, and nobody can tell one
    /// from another.
    pub const fn new(config: OutcomesConfig, secret: [u8; 16]) -> Self {
        Self {
            config,
            scopes: Numbers::new(secret, b's'),
            instances: BTreeMap::new(),
            clients: BTreeMap::new(),
            requests: BTreeMap::new(),
            ended: BTreeSet::new(),
            ended_of: BTreeSet::new(),
            away: BTreeSet::new(),
            sizes: BTreeSet::new(),
            bytes: 0,
            goes_on: None,
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
        let mut scope = Scope(self.scopes.next());
        // What ran when its client was forgotten is still there.
        while self.clients.contains_key(&scope) || self.runs_anything(scope) {
            scope = Scope(self.scopes.next());
        }
        let away_since = self.now;
        let record =
            Record { instance, connections: 1, away_since, ended: 0, bytes: 0, forgotten: 0 };
        self.instances.insert(instance, scope);
        self.clients.insert(scope, record);
        self.bytes += CLIENT;
        self.make_room();
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
        if self.away.len() > self.config.max_clients.get()
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
        content: Fingerprint,
        by: ConnectionId,
    ) -> Begun<T> {
        self.advance(now);
        let Some(client) = self.clients.get(&scope) else { return Begun::Unknown };
        match self.requests.get(&(scope, request)) {
            Some(known) if known.content != content => Begun::OtherRequest,
            Some(State { progress: Progress::Running { .. }, .. }) => Begun::Running,
            Some(State { progress: Progress::Ended { outcome: Some(outcome), .. }, .. }) => {
                Begun::Done(outcome.clone())
            }
            Some(State { progress: Progress::Ended { outcome: None, .. }, .. }) => Begun::Unknown,
            None if request <= client.forgotten => Begun::Unknown,
            None => {
                let progress = Progress::Running { by };
                self.requests.insert((scope, request), State { content, progress });
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
        let Some(content) = self.run_by(scope, request, by) else { return false };
        let Some(client) = self.clients.get_mut(&scope) else {
            self.requests.remove(&(scope, request));
            return true;
        };
        let most = self.config.max_bytes_per_client.saturating_sub(OUTCOME);
        let (outcome, bytes) = match outcome {
            Some((outcome, bytes)) if bytes <= most => (Some(outcome), OUTCOME + bytes),
            Some(_) | None => (None, OUTCOME),
        };
        client.ended += 1;
        let progress = Progress::Ended { at, bytes, outcome };
        self.requests.insert((scope, request), State { content, progress });
        self.ended.insert((at, scope, request));
        self.ended_of.insert((scope, at, request));
        self.resize(scope, |size| size + bytes);
        self.limit(scope);
        self.make_room();
        if self.bytes > self.config.max_bytes {
            self.forget_request(scope, request);
        }
        true
    }

    /// Records that a request which this connection has begun was not executed after all: it may be begun
    /// again. Returns whether that was so.
    pub fn undo(&mut self, scope: Scope, request: u64, by: ConnectionId) -> bool {
        let is_run = self.run_by(scope, request, by).is_some();
        if is_run {
            self.requests.remove(&(scope, request));
        }
        is_run
    }

    /// Returns when to call [`expire`](Self::expire), if at all.
    pub fn next_timeout(&self) -> Option<Instant> {
        let ended = self.ended.first().map(|(at, ..)| *at);
        let away = self.away.first().map(|(since, _)| *since);
        let first = [ended, away].into_iter().flatten().min()? + self.config.window;
        Some(self.goes_on.map_or(first, |goes_on| goes_on.max(first)))
    }

    /// Forgets what is older than the window: a part of it, if that is much, and the rest a moment later.
    pub fn expire(&mut self, now: Instant) {
        let now = self.advance(now);
        if self.goes_on.is_some_and(|goes_on| goes_on > now) {
            return;
        }
        let window = self.config.window;
        self.goes_on = None;
        for _ in 0..FORGOTTEN_AT_ONCE {
            if let Some(&(at, scope, request)) = self.ended.first()
                && at + window <= now
            {
                self.forget_request(scope, request);
            } else if let Some(&(since, scope)) = self.away.first()
                && since + window <= now
            {
                self.forget_client(scope);
            } else {
                return;
            }
        }
        self.goes_on = Some(now + PAUSE);
    }

    /// Returns how many requests are known, running ones included.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Returns whether nothing is known of any request or client.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.clients.is_empty()
    }

    /// Returns what a request asks that this connection runs.
    fn run_by(&self, scope: Scope, request: u64, connection: ConnectionId) -> Option<Fingerprint> {
        let state = self.requests.get(&(scope, request))?;
        let runs = matches!(&state.progress, Progress::Running { by } if *by == connection);
        runs.then_some(state.content)
    }

    fn runs_anything(&self, scope: Scope) -> bool {
        self.requests.range((scope, 0)..=(scope, u64::MAX)).next().is_some()
    }

    /// Forgets the first of the outcomes of this client, as far as it has too many.
    fn limit(&mut self, scope: Scope) {
        let (count, bytes) = (self.config.max_per_client.get(), self.config.max_bytes_per_client);
        let has_too_many = |client: &Record| client.ended > count || client.bytes > bytes;
        while self.clients.get(&scope).is_some_and(has_too_many) {
            if !self.forget_first_of(scope) {
                return;
            }
        }
    }

    /// Forgets what may be forgotten for others, as far as too much is kept.
    fn make_room(&mut self) {
        for _ in 0..FORGOTTEN_AT_ONCE {
            if self.bytes <= self.config.max_bytes {
                return;
            }
            if let Some((_, scope)) = self.away.first().copied() {
                self.forget_client(scope);
            } else if let Some((_, scope)) = self.sizes.last().copied() {
                self.forget_first_of(scope);
            }
        }
    }

    /// Forgets the outcome of a client that it got first. Returns whether there was one.
    fn forget_first_of(&mut self, scope: Scope) -> bool {
        let from = (scope, Instant::EPOCH, 0);
        let first = self.ended_of.range(from..).next().copied();
        let Some((_, _, request)) = first.filter(|(of, ..)| *of == scope) else { return false };
        self.forget_request(scope, request);
        true
    }

    /// Forgets how a request has ended, but not that it has.
    fn forget_request(&mut self, scope: Scope, request: u64) {
        let state = self.requests.remove(&(scope, request));
        let Some(State { progress: Progress::Ended { at, bytes, .. }, .. }) = state else { return };
        self.ended.remove(&(at, scope, request));
        self.ended_of.remove(&(scope, at, request));
        self.resize(scope, |size| size - bytes);
        if let Some(client) = self.clients.get_mut(&scope) {
            client.ended -= 1;
            client.forgotten = client.forgotten.max(request);
        }
    }

    /// Records that the outcomes of a client take another number of bytes.
    fn resize(&mut self, scope: Scope, change: impl FnOnce(usize) -> usize) {
        let Some(client) = self.clients.get_mut(&scope) else { return };
        self.sizes.remove(&(client.bytes, scope));
        self.bytes -= client.bytes;
        client.bytes = change(client.bytes);
        self.bytes += client.bytes;
        if client.bytes > 0 {
            self.sizes.insert((client.bytes, scope));
        }
    }

    /// Forgets a client, and all its requests that have ended. Its scope is gone: nothing begins in it any
    /// more. What runs in it still ends.
    fn forget_client(&mut self, scope: Scope) {
        let known = self.requests.range((scope, 0)..=(scope, u64::MAX));
        let ended = known.filter(|(_, state)| state.progress.has_ended());
        let ended: alloc::vec::Vec<_> = ended.map(|((_, request), _)| *request).collect();
        for request in ended {
            self.forget_request(scope, request);
        }
        let Some(client) = self.clients.remove(&scope) else { return };
        self.bytes -= CLIENT;
        self.away.remove(&(client.away_since, scope));
        self.instances.remove(&client.instance);
    }

    fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }
}
