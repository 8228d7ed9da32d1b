//! The idempotent requests of the connections of a node (protocol §10.6).

mod records;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::{LocalNode, NodeOut, WINDOW};
use crate::cluster::engine::DataId;
use crate::cluster::outcomes::OutcomeLimits;
use crate::session::{Begun, ConnectionId, Fingerprint, Instance, Numbers, OutcomesConfig, Scope};
use crate::time::Instant;
use crate::wire::KeptOutcomes;

/// After what time a request that waits for another node is asked about again. The pause doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How many ends of requests the engine is told at a time.
const ENDS_AT_ONCE: usize = 4096;

/// What an end that waits counts for beside the outcome, in bytes.
const END: usize = 384;

/// What a node knows of idempotent requests.
#[derive(Debug)]
pub(super) struct Outcomes {
    config: OutcomesConfig,
    limits: OutcomeLimits,
    scopes: Numbers,
    clients: BTreeMap<Instance, Client>,
    connections: BTreeMap<ConnectionId, Connection>,
    /// When the engine is asked for the records of clients.
    due: BTreeSet<(Instant, Instance)>,
    /// How many of these questions are under way.
    attaching: usize,
    /// The requests of connections that have no outcome.
    open: BTreeMap<OpenId, Open>,
    /// Those that run here, each once: by connection and number.
    running: BTreeMap<(ConnectionId, u64), OpenId>,
    /// The same by scope and number.
    local: BTreeMap<(Scope, u64), OpenId>,
    /// Those that wait for one that runs here.
    followers: BTreeSet<(Scope, u64, OpenId)>,
    /// Those that wait for one that runs elsewhere, and when they ask again.
    polls: BTreeSet<(Instant, OpenId)>,
    /// What the engine has to learn.
    ends: BTreeMap<u64, End>,
    /// Those of them that are not under way.
    unsent: BTreeSet<u64>,
    last_end: u64,
    /// How many bytes they take.
    end_bytes: usize,
}

/// A request: its connection, and the number that it has there.
type OpenId = (ConnectionId, u64);

/// A client that has connections here.
#[derive(Debug, Default)]
struct Client {
    connections: BTreeSet<ConnectionId>,
    /// The scope of its record in this run of the node.
    scope: Option<Scope>,
    /// Which data the engine has for it, if they are not those of the nodes.
    data: Option<DataId>,
    due: Option<Instant>,
    is_asked: bool,
}

/// A connection whose client may repeat requests.
#[derive(Debug)]
struct Connection {
    instance: Instance,
    told: Told,
}

/// What the client was told on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Nothing yet: it repeats no request until it is.
    NoWord,
    /// First that nothing can be kept. So no request that comes on the connection was sent before, and it may begin in
    /// any scope. Then this scope, if there was one.
    Nothing(Option<Scope>),
    /// This scope. Any request that comes may be repeated, and was begun in this scope if at all. So it must not begin in
    /// another one.
    Scope(Scope),
}

/// A request without an outcome.
#[derive(Debug)]
struct Open {
    instance: Instance,
    token: u64,
    content: Fingerprint,
    /// In which scope it is to begin, once the engine is asked.
    scope: Option<Scope>,
    since: Instant,
    state: State,
}

#[derive(Debug)]
enum State {
    /// It waits for the scope of its client.
    Parked,
    /// The engine is asked whether to execute it.
    Asked { number: u64, pause: Option<Duration> },
    /// Another node executes it, or this one did in an earlier run. The engine is asked again then.
    Waiting { next: Instant, pause: Duration },
    /// It is executed for another connection of this node.
    Following { scope: Scope },
    /// It is executed.
    Running { scope: Scope, number: u64 },
}

/// The end of a request that the engine has to learn.
#[derive(Clone, Debug)]
struct End {
    instance: Instance,
    scope: Scope,
    token: u64,
    begun: u64,
    /// How it has ended. `None`: it was not executed.
    executed: Option<Option<Bytes>>,
}

impl End {
    fn bytes(&self) -> usize {
        END + self.executed.iter().flatten().map(Bytes::len).sum::<usize>()
    }
}

/// A question to the engine about idempotent requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Attach(Instance),
    Begin { of: OpenId, instance: Instance, scope: Scope, token: u64, number: u64 },
    End(u64),
}

impl Outcomes {
    fn new(config: OutcomesConfig, lease: Duration, secret: [u8; 16]) -> Self {
        Self {
            config,
            limits: OutcomeLimits::of(&config, lease),
            scopes: Numbers::new(secret, b'n'),
            clients: BTreeMap::new(),
            connections: BTreeMap::new(),
            due: BTreeSet::new(),
            attaching: 0,
            open: BTreeMap::new(),
            running: BTreeMap::new(),
            local: BTreeMap::new(),
            followers: BTreeSet::new(),
            polls: BTreeSet::new(),
            ends: BTreeMap::new(),
            unsent: BTreeSet::new(),
            last_end: 0,
            end_bytes: 0,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.clients.is_empty()
            && self.connections.is_empty()
            && self.due.is_empty()
            && self.open.is_empty()
            && self.running.is_empty()
            && self.local.is_empty()
            && self.followers.is_empty()
            && self.polls.is_empty()
            && self.ends.is_empty()
            && self.unsent.is_empty()
            && self.end_bytes == 0
    }

    /// Returns when something is to be asked. Only while the engine is asked anything.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let attach = self.due.first().map(|(at, _)| *at).filter(|_| self.attaching < WINDOW);
        let poll = self.polls.first().map(|(at, _)| *at);
        let end = self.may_send_end().then_some(Instant::EPOCH);
        [attach, poll, end].into_iter().flatten().min()
    }

    fn schedule(&mut self, instance: Instance, at: Instant) {
        let Some(client) = self.clients.get_mut(&instance) else { return };
        if let Some(due) = client.due.replace(at) {
            self.due.remove(&(due, instance));
        }
        self.due.insert((at, instance));
    }

    fn may_send_end(&self) -> bool {
        !self.unsent.is_empty() && self.ends.len() - self.unsent.len() < ENDS_AT_ONCE
    }

    /// Whether there is room for one more. So no end is left out.
    const fn may_begin(&self) -> bool {
        self.end_bytes < self.config.max_bytes
    }

    fn push_end(&mut self, mut end: End) {
        let most = self.config.max_bytes.saturating_sub(self.end_bytes + END);
        if let Some(outcome) = &mut end.executed {
            let most = most.min(self.config.max_bytes_per_client);
            *outcome = outcome.take().filter(|outcome| outcome.len() <= most);
        }
        self.end_bytes += end.bytes();
        self.last_end += 1;
        self.unsent.insert(self.last_end);
        self.ends.insert(self.last_end, end);
    }

    fn take_end(&mut self, number: u64) {
        self.unsent.remove(&number);
        if let Some(end) = self.ends.remove(&number) {
            self.end_bytes -= end.bytes();
        }
    }

    /// Takes a request out of all tables.
    fn take(&mut self, id: OpenId) -> Option<Open> {
        let open = self.open.remove(&id)?;
        match open.state {
            State::Parked | State::Asked { .. } => {}
            State::Waiting { next, .. } => {
                self.polls.remove(&(next, id));
            }
            State::Following { scope } => {
                self.followers.remove(&(scope, open.token, id));
            }
            State::Running { scope, .. } => {
                self.running.remove(&(id.0, open.token));
                self.local.remove(&(scope, open.token));
            }
        }
        Some(open)
    }

    fn take_follower(&mut self, scope: Scope, token: u64) -> Option<(OpenId, Open)> {
        let first = (scope, token, (ConnectionId(0), 0));
        let (of, number, id) = *self.followers.range(first..).next()?;
        if (of, number) != (scope, token) {
            return None;
        }
        self.take(id).map(|open| (id, open))
    }

    /// Has a request wait, and ask again.
    fn wait(&mut self, now: Instant, id: OpenId, pause: Duration) {
        let Some(open) = self.open.get_mut(&id) else { return };
        let next = now + pause;
        let pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        open.state = State::Waiting { next, pause };
        self.polls.insert((next, id));
    }
}

/// What connections ask.
impl LocalNode {
    /// Has nodes share outcomes of idempotent requests.
    pub(crate) fn share_outcomes(&mut self, config: OutcomesConfig, secret: [u8; 16]) {
        self.outcomes = Some(Box::new(Outcomes::new(config, self.config.lease, secret)));
    }

    pub(crate) const fn shares_outcomes(&self) -> bool {
        self.outcomes.is_some()
    }

    /// A connection says which client it is of.
    pub(crate) fn attach(&mut self, now: Instant, id: ConnectionId, instance: Instance) {
        let is_ready = self.is_ready();
        let Some(outcomes) = &mut self.outcomes else { return };
        if outcomes.connections.contains_key(&id) {
            return;
        }
        let client = outcomes.clients.entry(instance).or_default();
        client.connections.insert(id);
        if let (Some(scope), true) = (client.scope, is_ready) {
            outcomes.connections.insert(id, Connection { instance, told: Told::Scope(scope) });
            return self.tell_kept(id, Some(scope));
        }
        outcomes.connections.insert(id, Connection { instance, told: Told::NoWord });
        // Also if there is a scope: it is told as soon as the engine answers.
        if !client.is_asked && (client.due.is_none() || !is_ready) {
            outcomes.schedule(instance, now);
        }
        if !is_ready {
            self.tell_untold(instance);
        }
    }

    /// A connection asks whether to execute a request.
    pub(crate) fn begin_request(
        &mut self,
        now: Instant,
        id: OpenId,
        token: u64,
        content: Fingerprint,
    ) {
        let is_ready = self.is_ready();
        let Some(outcomes) = &mut self.outcomes else { return };
        let may_begin = is_ready && outcomes.may_begin();
        let connection = outcomes.connections.get(&id.0).filter(|_| may_begin);
        let Some(&Connection { instance, told }) = connection else {
            return self.begun(id, Begun::NotNow);
        };
        let client = outcomes.clients.get(&instance);
        let (scope, is_asked) = client.map_or((None, false), |client| {
            (client.scope, client.is_asked || client.due.is_some_and(|due| due <= now))
        });
        let (state, since) = (State::Parked, now);
        let open = Open { instance, token, content, scope: None, since, state };
        match (scope, told) {
            (Some(scope), Told::Scope(told)) if scope != told => self.refuse_stale(id),
            (Some(_), _) => {
                outcomes.open.insert(id, open);
                self.ask_to_begin(now, id, None);
            }
            (None, _) if is_asked => {
                outcomes.open.insert(id, open);
            }
            (None, _) => self.begun(id, Begun::NotNow),
        }
    }

    /// Refuses a request that may have been begun in a scope which is gone. The client gets another scope on its next
    /// connection.
    fn refuse_stale(&mut self, id: OpenId) {
        self.begun(id, Begun::NotNow);
        self.out.push(NodeOut::Close(id.0));
    }

    /// A request has ended that a connection has executed. `None` if it is not known how.
    pub(crate) fn finish_request(
        &mut self,
        connection: ConnectionId,
        token: u64,
        outcome: Option<Bytes>,
    ) {
        let Some(outcomes) = &mut self.outcomes else { return };
        let Some(id) = outcomes.running.get(&(connection, token)).copied() else { return };
        let Some(Open { instance, state: State::Running { scope, number }, .. }) =
            outcomes.take(id)
        else {
            return;
        };
        let executed = Some(outcome.clone());
        outcomes.push_end(End { instance, scope, token, begun: number, executed });
        while let Some((to, _)) =
            self.outcomes.as_mut().and_then(|outcomes| outcomes.take_follower(scope, token))
        {
            let begun = outcome.clone().map_or(Begun::Unknown, Begun::Done);
            self.begun(to, begun);
        }
    }

    /// A connection does not want to know any more whether to execute a request, and has not executed it.
    pub(crate) fn undo_request(&mut self, now: Instant, id: OpenId) {
        let Some(outcomes) = &mut self.outcomes else { return };
        let Some(Open { instance, token, state, .. }) = outcomes.take(id) else { return };
        // If the engine was asked, its answer finds nobody.
        let State::Running { scope, number } = state else { return };
        outcomes.push_end(End { instance, scope, token, begun: number, executed: None });
        // Those that wait for it ask as if it had run elsewhere.
        while let Some((id, open)) = outcomes.take_follower(scope, token) {
            outcomes.open.insert(id, open);
            outcomes.wait(now, id, Duration::ZERO);
        }
    }

    /// A connection has left. What it executes has no known outcome.
    pub(crate) fn connection_left(&mut self, now: Instant, id: ConnectionId) {
        let Some(outcomes) = &mut self.outcomes else { return };
        let Some(Connection { instance, .. }) = outcomes.connections.remove(&id) else { return };
        if let Some(client) = outcomes.clients.get_mut(&instance) {
            client.connections.remove(&id);
            if client.connections.is_empty() {
                if let Some(due) = client.due {
                    outcomes.due.remove(&(due, instance));
                }
                outcomes.clients.remove(&instance);
            }
        }
        let open: Vec<_> = outcomes.open.range((id, 0)..=(id, u64::MAX)).collect();
        let (running, others): (Vec<_>, Vec<_>) =
            open.iter().partition(|(_, open)| matches!(open.state, State::Running { .. }));
        let running: Vec<_> = running.iter().map(|(_, open)| open.token).collect();
        let others: Vec<_> = others.iter().map(|(id, _)| **id).collect();
        running.into_iter().for_each(|token| self.finish_request(id, token, None));
        others.into_iter().for_each(|id| self.undo_request(now, id));
    }
}

/// What connections are told.
impl LocalNode {
    fn parked(&self, connection: ConnectionId) -> Vec<OpenId> {
        let open = self.outcomes.as_ref().map(|outcomes| &outcomes.open);
        let of = open.map(|open| open.range((connection, 0)..=(connection, u64::MAX)));
        let parked = of.into_iter().flatten();
        let parked = parked.filter(|(_, open)| matches!(open.state, State::Parked));
        parked.map(|(id, _)| *id).collect()
    }

    fn refuse_parked(&mut self, instance: Instance) {
        let Some(outcomes) = &self.outcomes else { return };
        let connections = outcomes.clients.get(&instance).map(|client| client.connections.clone());
        for connection in connections.into_iter().flatten() {
            for id in self.parked(connection) {
                if let Some(outcomes) = &mut self.outcomes {
                    outcomes.open.remove(&id);
                }
                self.begun(id, Begun::NotNow);
            }
        }
    }

    /// Tells the connections of a client that were told nothing that nothing can be kept now.
    fn tell_untold(&mut self, instance: Instance) {
        let Some(outcomes) = &mut self.outcomes else { return };
        let Some(client) = outcomes.clients.get(&instance) else { return };
        for to in client.connections.clone() {
            let Some(outcomes) = &mut self.outcomes else { return };
            if let Some(connection) = outcomes.connections.get_mut(&to)
                && connection.told == Told::NoWord
            {
                connection.told = Told::Nothing(None);
                self.tell_kept(to, None);
            }
        }
    }

    fn tell_kept(&mut self, to: ConnectionId, scope: Option<Scope>) {
        let Some(outcomes) = &self.outcomes else { return };
        let kept = KeptOutcomes {
            scope: scope.map_or(KeptOutcomes::NOTHING, |scope| scope.0),
            window_ms: u32::try_from(outcomes.config.window.as_millis()).unwrap_or(u32::MAX),
            outcomes: outcomes.limits.outcomes,
        };
        self.out.push(NodeOut::Kept { to, kept });
    }

    fn begun(&mut self, (to, request): OpenId, begun: Begun<Bytes>) {
        self.out.push(NodeOut::Begun { to, request, begun });
    }
}
