//! Histories of sessions, and outcomes of idempotent requests (protocol §10.5, §10.6).

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::mem;

use bytes::Bytes;

use super::shared_histories::Shared;
use super::{Hub, HubAction, HubConfig, Out};
use crate::cluster::MessageId;
use crate::server::RequestId;
use crate::server::recovery::{Outcome, RecoveryCommand, RecoveryConfig, RecoveryNews, compact};
use crate::session::{
    self, Begun, Change, ConnectionId, Fingerprint, Histories, Instance, Outcomes, Position, Scope,
    SessionKey,
};
use crate::time::Instant;
use crate::valid::Valid;
use crate::wire::{KeptOutcomes, PreparedSignal};

/// How many signals of a history a connection gets at a time.
const BATCH: usize = 64;

/// How many bytes of signals a connection gets at a time, if they are more than one.
const BATCH_BYTES: usize = 16 * 1024;

/// What is kept, and who waits for it.
#[derive(Debug)]
pub(super) struct Recovery {
    config: RecoveryConfig,
    histories: Option<Histories<Bytes>>,
    /// The connections that read the signals to their session from its history, and what they know of it.
    followers: BTreeMap<ConnectionId, Follower>,
    /// If histories are shared with other nodes.
    pub(super) shared: Option<Shared>,
    outcomes: Option<Outcomes<Box<Outcome>>>,
    attached: BTreeMap<ConnectionId, Client>,
    /// The requests that wait for the outcome of one that is being executed.
    waiting: BTreeSet<Waiting>,
}

/// The scope and the number of an idempotent request, and who waits for its outcome.
type Waiting = (Scope, u64, ConnectionId, RequestId);

/// What a connection knows of the history of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follower {
    /// All of it, or it has asked for the rest.
    UpToDate,
    /// It was told that the history has grown, and has not read yet.
    Told,
}

/// The client of a connection.
#[derive(Debug)]
struct Client {
    scope: Scope,
    /// The requests that its connection executes, by their numbers.
    running: BTreeMap<u64, RequestId>,
    /// The requests for which it waits, and what they ask.
    waits: BTreeMap<(u64, RequestId), Fingerprint>,
}

/// What [`Hub::signal_session`] leaves to the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionSignal {
    /// Where the signal is in the history of the session, if there is one.
    pub position: Option<Position>,
    /// How many connections read it from there. They were told.
    pub following: usize,
    /// The connections to which the host sends the signal.
    pub others: Vec<ConnectionId>,
    /// If the history is one that nodes share: what becomes of the signal is told by
    /// [`ClusterAction::Sent`](crate::cluster::ClusterAction::Sent). All connections that hold the session count as
    /// [`following`](Self::following) then, and get the signal once it has its place, here as on other nodes.
    pub appending: Option<MessageId>,
}

impl Hub {
    /// Creates a hub that keeps histories of sessions, or outcomes of idempotent requests. `secret` is
    /// random, and another one in each run of the server: by it, clients learn that what was kept before is
    /// gone, and none can tell what others are told.
    pub fn with_recovery(
        config: &Valid<HubConfig>,
        recovery: &Valid<RecoveryConfig>,
        secret: [u8; 16],
    ) -> Self {
        let kept: RecoveryConfig = **recovery;
        let mut hub = Self::new(config);
        if kept != RecoveryConfig::default() {
            let histories = kept.history.map(|history| Histories::new(history, secret));
            let outcomes = kept.outcomes.map(|outcomes| Outcomes::new(outcomes, secret));
            hub.recovery = Some(Box::new(Recovery { histories, outcomes, ..Recovery::new(kept) }));
        }
        hub
    }

    /// Sends a signal to a session: appends it to its history, if histories are kept, and tells the
    /// connections that read it from there. The answer says to which connections the host sends it. It does so
    /// before it releases its lock, so that each connection gets signals and news in order.
    pub fn signal_session(
        &mut self,
        now: Instant,
        key: &SessionKey,
        signal: &PreparedSignal,
        out: &mut Out,
    ) -> SessionSignal {
        if let Some(told) = self.append_shared(now, key, signal, out) {
            return told;
        }
        let now = self.advance(now);
        let mut told = SessionSignal::default();
        if let Some(recovery) = &mut self.recovery
            && let Some(histories) = &mut recovery.histories
        {
            let frame = |offset| signal.to_history(offset);
            told.position = Some(histories.append(now, key, signal.frame().len(), frame));
        }
        for to in self.registry.connections(key) {
            let recovery = self.recovery.as_mut();
            let Some(follower) = recovery.and_then(|recovery| recovery.follower(to)) else {
                told.others.push(to);
                continue;
            };
            told.following += 1;
            // However many signals there are, what waits for a connection does not grow with them.
            if mem::replace(follower, Follower::Told) == Follower::UpToDate {
                out.push(HubAction::Recover { to, news: RecoveryNews::Signalled });
            }
        }
        told
    }

    /// Carries out the command of a connection, the content of
    /// [`Action::Recover`](crate::server::Action::Recover). Ignored if the connection has left.
    pub fn recover(
        &mut self,
        now: Instant,
        id: ConnectionId,
        command: RecoveryCommand,
        out: &mut Out,
    ) {
        let now = self.advance(now);
        if self.recover_shared(now, id, &command, out) {
            return;
        }
        let Some(command) = self.recover_shared_outcomes(now, id, command, out) else { return };
        let Some(member) = self.connections.get(&id) else { return };
        let Some(recovery) = &mut self.recovery else {
            // Nothing is kept: the request is executed, and cannot be repeated.
            if let RecoveryCommand::Begin { request, .. } = command {
                let news = RecoveryNews::Begun { request, begun: Begun::Fresh };
                out.push(HubAction::Recover { to: id, news });
            }
            return;
        };
        match command {
            RecoveryCommand::Follow => {
                recovery.followers.insert(id, Follower::UpToDate);
                // The application may have created the session before the client said a word.
                if let Some(key) = member.session.clone()
                    && self.registry.holds(id, &key)
                {
                    self.mark_history(id, &key, out);
                }
            }
            RecoveryCommand::Read { number, after } => {
                if let Some(follower) = recovery.follower(id) {
                    *follower = Follower::UpToDate;
                }
                let key = member.session.as_ref().filter(|key| {
                    self.registry.holds(id, key) || self.registry.awaits_close(id, key)
                });
                if let (Some(key), Some(histories)) = (key, &mut recovery.histories) {
                    let batch = histories.read(now, key, after, BATCH, BATCH_BYTES);
                    let news = RecoveryNews::Batch { number, batch: Box::new(batch) };
                    out.push(HubAction::Recover { to: id, news });
                }
            }
            RecoveryCommand::Attach(instance) => recovery.attach(now, id, instance, out),
            RecoveryCommand::Begin { request, token, content } => {
                recovery.begin(now, id, request, (token, content), out);
            }
            RecoveryCommand::Finish { token, outcome } => {
                recovery.finish(now, id, token, Some(*outcome), out);
            }
            RecoveryCommand::Undo { request, token } => {
                recovery.undo(now, id, request, token, out);
            }
        }
    }

    /// A connection learns of a change of its session.
    pub(super) fn tell_follower(&mut self, id: ConnectionId, told: &Told, out: &mut Out) {
        match told {
            Told::Holds(key) => {
                self.mark_shared(id, key, out);
                self.mark_history(id, key, out);
            }
            Told::HasNewKey(key) => self.move_shared(id, key, out),
            Told::HoldsAgain => {
                // What was sent meanwhile was sent to those that held the session.
                let recovery = self.recovery.as_mut();
                if let Some(follower) = recovery.and_then(|recovery| recovery.follower(id)) {
                    *follower = Follower::Told;
                    out.push(HubAction::Recover { to: id, news: RecoveryNews::Signalled });
                }
            }
        }
    }

    /// If a connection that holds a session reads its signals from the history, it has to know where that ends now.
    fn mark_history(&mut self, id: ConnectionId, key: &SessionKey, out: &mut Out) {
        if let Some(recovery) = &mut self.recovery
            && let Some(follower) = recovery.follower(id)
        {
            *follower = Follower::UpToDate;
            let Some(histories) = &mut recovery.histories else { return };
            let mark = histories.mark(self.now, key);
            out.push(HubAction::Recover { to: id, news: RecoveryNews::Mark(mark) });
        }
    }

    /// A session has another key.
    pub(super) fn rename_history(&mut self, from: &SessionKey, to: &SessionKey) {
        if let Some(histories) = self.histories() {
            histories.rename(from, to);
        }
    }

    /// A session does not exist any more.
    pub(super) fn end_history(&mut self, key: &SessionKey) {
        if let Some(histories) = self.histories() {
            histories.remove(key);
        }
    }

    fn histories(&mut self) -> Option<&mut Histories<Bytes>> {
        self.recovery.as_mut().and_then(|recovery| recovery.histories.as_mut())
    }

    /// A connection has left. Requests that it has begun and not ended were executed in part, or as a whole.
    pub(super) fn recovery_left(&mut self, id: ConnectionId, out: &mut Out) {
        self.with_node(|node, now, _| node.connection_left(now, id));
        if let Some(recovery) = &mut self.recovery {
            recovery.left(self.now, id, out);
        }
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let recovery = self.recovery.as_ref()?;
        let histories = recovery.histories.as_ref().and_then(Histories::next_timeout);
        let outcomes = recovery.outcomes.as_ref().and_then(Outcomes::next_timeout);
        [histories, outcomes].into_iter().flatten().min()
    }

    pub(super) fn expire_recovery(&mut self, now: Instant) {
        let Some(recovery) = &mut self.recovery else { return };
        if let Some(histories) = &mut recovery.histories {
            let registry = &self.registry;
            histories.expire(now, |key| registry.connection_count(key) > 0);
        }
        if let Some(outcomes) = &mut recovery.outcomes {
            outcomes.expire(now);
        }
    }
}

/// What a change of its session means for a connection that reads the signals to it from the history.
pub(super) enum Told {
    /// It comes to hold the session.
    Holds(SessionKey),
    /// It holds the session as before: it could not be closed.
    HoldsAgain,
    /// Its session has another key.
    HasNewKey(SessionKey),
}

impl Told {
    pub(super) fn by(outcome: &session::Outcome) -> Option<Self> {
        match &outcome.change {
            Change::Restored(_) | Change::Created => Some(Self::Holds(outcome.key.clone())),
            Change::CloseFailed => Some(Self::HoldsAgain),
            Change::Rotated { session, .. } => Some(Self::HasNewKey(session.key.clone())),
            _ => None,
        }
    }
}

impl Recovery {
    /// Nothing is kept so far: neither histories nor outcomes are here.
    pub(super) const fn new(config: RecoveryConfig) -> Self {
        Self {
            config,
            histories: None,
            followers: BTreeMap::new(),
            shared: None,
            outcomes: None,
            attached: BTreeMap::new(),
            waiting: BTreeSet::new(),
        }
    }

    /// Records that a connection reads the signals to its session from the history.
    pub(super) fn follow(&mut self, id: ConnectionId) {
        self.followers.insert(id, Follower::UpToDate);
    }

    pub(super) fn follower(&mut self, id: ConnectionId) -> Option<&mut Follower> {
        self.config.history.as_ref()?;
        self.followers.get_mut(&id)
    }

    fn attach(&mut self, now: Instant, id: ConnectionId, instance: Instance, out: &mut Out) {
        let (Some(outcomes), Some(config)) = (&mut self.outcomes, self.config.outcomes) else {
            return;
        };
        if self.attached.contains_key(&id) {
            return;
        }
        let scope = outcomes.attach(now, instance);
        let client = Client { scope, running: BTreeMap::new(), waits: BTreeMap::new() };
        self.attached.insert(id, client);
        let kept = KeptOutcomes {
            scope: scope.0,
            window_ms: u32::try_from(config.window.as_millis()).unwrap_or(u32::MAX),
            outcomes: u32::try_from(config.max_per_client.get()).unwrap_or(u32::MAX),
        };
        out.push(HubAction::Recover { to: id, news: RecoveryNews::Kept(kept) });
    }

    fn begin(
        &mut self,
        now: Instant,
        id: ConnectionId,
        request: RequestId,
        (token, content): (u64, Fingerprint),
        out: &mut Out,
    ) {
        let begun = match (&mut self.outcomes, self.attached.get_mut(&id)) {
            (Some(outcomes), Some(client)) => {
                let begun = outcomes.begin(now, client.scope, token, content, id);
                match begun {
                    Begun::Running => {
                        client.waits.insert((token, request), content);
                        self.waiting.insert((client.scope, token, id, request));
                        return;
                    }
                    Begun::Fresh => {
                        client.running.insert(token, request);
                    }
                    Begun::Done(_) | Begun::Unknown | Begun::OtherRequest | Begun::NotNow => {}
                }
                begun
            }
            _ => Begun::Fresh,
        };
        out.push(HubAction::Recover { to: id, news: RecoveryNews::Begun { request, begun } });
    }

    /// A request has ended that this connection has begun. Those who wait for it learn how.
    fn finish(
        &mut self,
        now: Instant,
        id: ConnectionId,
        token: u64,
        outcome: Option<Outcome>,
        out: &mut Out,
    ) {
        let (Some(outcomes), Some(client)) = (&mut self.outcomes, self.attached.get_mut(&id))
        else {
            return;
        };
        client.running.remove(&token);
        let scope = client.scope;
        let kept = outcome.as_ref().map(compact);
        let kept = kept.map(|(outcome, bytes)| (Box::new(outcome), bytes));
        if !outcomes.finish(now, scope, token, id, kept) {
            return;
        }
        while let Some((to, request, _)) = self.take_waiting(scope, token) {
            let begun = match &outcome {
                Some(outcome) => Begun::Done(Box::new(outcome.clone())),
                None => Begun::Unknown,
            };
            out.push(HubAction::Recover { to, news: RecoveryNews::Begun { request, begun } });
        }
    }

    /// A request does not wait any more, or was not executed after all. Then the next one that waits for it is.
    fn undo(
        &mut self,
        now: Instant,
        id: ConnectionId,
        request: RequestId,
        token: u64,
        out: &mut Out,
    ) {
        let (Some(outcomes), Some(client)) = (&mut self.outcomes, self.attached.get_mut(&id))
        else {
            return;
        };
        let scope = client.scope;
        if client.waits.remove(&(token, request)).is_some() {
            self.waiting.remove(&(scope, token, id, request));
            return;
        }
        // Another one with its number may run.
        if client.running.get(&token) != Some(&request) {
            return;
        }
        client.running.remove(&token);
        if outcomes.undo(scope, token, id)
            && let Some((to, request, content)) = self.take_waiting(scope, token)
        {
            self.begin(now, to, request, (token, content), out);
        }
    }

    /// Removes one that waits for this request.
    fn take_waiting(
        &mut self,
        scope: Scope,
        token: u64,
    ) -> Option<(ConnectionId, RequestId, Fingerprint)> {
        let first = (scope, token, ConnectionId(0), RequestId::from_u64(0));
        let next = self.waiting.range(first..).next().copied()?;
        let (of, number, to, request) = next;
        if (of, number) != (scope, token) {
            return None;
        }
        self.waiting.remove(&next);
        let content = self.attached.get_mut(&to)?.waits.remove(&(token, request))?;
        Some((to, request, content))
    }

    fn left(&mut self, now: Instant, id: ConnectionId, out: &mut Out) {
        self.followers.remove(&id);
        if let Some(shared) = &mut self.shared {
            shared.left(id);
        }
        let Some(client) = self.attached.get_mut(&id) else { return };
        let scope = client.scope;
        let (running, waits) = (client.running.clone(), mem::take(&mut client.waits));
        for (token, request) in waits.into_keys() {
            self.waiting.remove(&(scope, token, id, request));
        }
        for token in running.into_keys() {
            self.finish(now, id, token, None, out);
        }
        self.attached.remove(&id);
        if let Some(outcomes) = &mut self.outcomes {
            outcomes.detach(now, scope);
        }
    }
}
