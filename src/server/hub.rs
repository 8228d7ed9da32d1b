//! The control plane of a server.

mod action;
mod cluster;
mod config;
mod expiry;
mod groups;
mod jobs;
mod recovery;
mod shared_histories;
mod shared_outcomes;
mod shutdown;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

pub use action::{HubAction, Job, JobId, Refusal, StoreAnswer, WaiterId, Work};
pub use config::{Expiry, HubConfig, IdleConnections};
pub use groups::{FORMER_KEYS, GroupError, MAX_GROUP_NAME};
pub use recovery::SessionSignal;

use cluster::refuse;

use super::counters::{HubCounters, JobEnd};
use expiry::Rounds;
use groups::{Groups, Lasts, Memberships};
use jobs::{Jobs, Purpose};
use recovery::{Recovery, Told};
use shutdown::Stage;

use crate::actions::Actions;
use crate::cluster::LocalNode;
use crate::session::{Change, Command, ConnectionId, Effect, Registry, SessionKey, StoreFailed};
use crate::time::Instant;
use crate::valid::Valid;

/// The control plane of a server as a state machine: everything that the connections of one server
/// share.
///
/// It decides how many connections are admitted, which of them hold which session, what the session
/// store has to do and by when, which sessions expire, which connections are in which group, and
/// how a shutdown proceeds. It never sees a frame and owns no [`Connection`](super::Connection):
/// those live in tasks and threads of their own, and share only the hub.
///
/// # Contract
///
/// * **Inputs**: a connection is [admitted](Self::admit) before its handshake is answered. It is
///   [opened](Self::opened) when its WebSocket is, and has [left](Self::left) when everything of it
///   has ended, also after a failed handshake. In between, its session commands go to
///   [`handle`](Self::handle). The store's answers go to [`answered`](Self::answered).
/// * **Outputs** are [`HubAction`]s, appended to the list that the methods take. Carry all of them
///   out, in order. A host with a lock around the hub queues the actions for a connection before it
///   releases the lock, so that each connection hears of changes in the order in which they
///   happened.
/// * **Time** is an argument. A time that lies before an earlier one counts as the earlier one.
///   After [`handle_timeout`](Self::handle_timeout) the next timeout lies in the future. A call
///   that comes too early or once too often does nothing.
/// * **Jobs** of the store are answered or time out, exactly once each. Answers may come in any
///   order. Late, repeated and unknown answers are ignored, and so are answers that do not fit the
///   job.
/// * **Bounds**: the cost of a call is logarithmic in the number of entries, plus linear in the
///   number of connections that it notifies. Every entry that a client causes goes away with its
///   connection, or with the store's answer.
/// * The same calls return the same actions.
///
/// ```
/// use wwr::server::{Hub, HubAction, HubConfig, Refusal};
/// use wwr::{Actions, Instant};
///
/// let (now, mut out) = (Instant::EPOCH, Actions::new());
/// let mut config = HubConfig::default();
/// config.max_connections = 1;
/// let mut hub = Hub::new(&config.validate()?);
/// let id = hub.admit(now)?;
/// assert_eq!(hub.admit(now), Err(Refusal::Full { max: 1 }));
/// hub.opened(now, id, &mut out);
/// hub.join(id, "lobby")?;
/// assert!(hub.members("lobby").eq([id]));
///
/// hub.shut_down(now, core::time::Duration::from_secs(10), &mut out);
/// assert!(matches!(out.pop(), Some(HubAction::ShutDown { to, .. }) if to == id));
/// hub.left(now, id, &mut out);
/// assert_eq!(out.pop(), Some(HubAction::Stopped));
/// assert_eq!(hub.member_count("lobby"), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Hub {
    config: HubConfig,
    connections: BTreeMap<ConnectionId, Member>,
    /// How many connections are open.
    open: usize,
    /// How many of the open ones are drained.
    drained: usize,
    last_id: u64,
    registry: Registry,
    effects: Actions<Effect>,
    /// The part in a cluster, if the hub has one.
    node: Option<Box<LocalNode>>,
    jobs: Jobs,
    /// The callers that wait until a session is destroyed, with how many connections were told
    /// about it.
    waiters: BTreeMap<SessionKey, Vec<(WaiterId, usize)>>,
    last_waiter: u64,
    groups: Groups,
    rounds: Rounds,
    /// If histories or outcomes are kept.
    recovery: Option<Box<Recovery>>,
    stage: Stage,
    counters: HubCounters,
    now: Instant,
}

/// What the hub knows about a connection.
#[derive(Debug)]
struct Member {
    phase: Phase,
    /// The session that it has created or restored last, under its present key.
    session: Option<SessionKey>,
    /// The keys that this session had before while the connection held it, oldest first.
    former_keys: Vec<SessionKey>,
    /// `None` once the connection has ended: it cannot join any group.
    groups: Option<Memberships>,
    /// Whether its session was lost on this node: it is being closed.
    moves_away: bool,
}

impl Member {
    /// Records that the connection asks for another session.
    fn turns_to(&mut self, session: Option<SessionKey>) {
        self.session = session;
        self.former_keys = Vec::new();
    }

    /// Records that the session of the connection has another key.
    fn rotated(&mut self, to: SessionKey) {
        let Some(former) = self.session.replace(to) else { return };
        if self.former_keys.len() == FORMER_KEYS {
            self.former_keys.remove(0);
        }
        self.former_keys.push(former);
    }

    /// Returns whether this is or was the key of the session of the connection.
    fn knows(&self, key: &SessionKey) -> bool {
        self.session.as_ref() == Some(key) || self.former_keys.contains(key)
    }
}

/// The phase of life of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its handshake is under way.
    Admitted,
    /// It has been open since then.
    Open { since: Instant },
    /// It is open, the server shuts down, and no handler runs on it any more.
    Drained { since: Instant },
}

impl Phase {
    const fn since(self) -> Option<Instant> {
        match self {
            Self::Admitted => None,
            Self::Open { since } | Self::Drained { since } => Some(since),
        }
    }
}

type Out = Actions<HubAction>;

/// Connections.
impl Hub {
    /// Creates a hub without connections.
    pub fn new(config: &Valid<HubConfig>) -> Self {
        Self {
            connections: BTreeMap::new(),
            open: 0,
            drained: 0,
            last_id: 0,
            registry: Registry::new(config.sessions),
            effects: Actions::new(),
            node: None,
            jobs: Jobs::default(),
            waiters: BTreeMap::new(),
            last_waiter: 0,
            groups: Groups::default(),
            rounds: Rounds::new(config.expiry, Instant::EPOCH),
            recovery: None,
            stage: Stage::Serving,
            counters: HubCounters::default(),
            now: Instant::EPOCH,
            config: **config,
        }
    }

    /// Reserves room for a connection, before its handshake is answered. The connection counts
    /// until it has [left](Self::left). Identifiers are never used twice.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if the maximum number of connections is reached, or the server shuts down.
    pub fn admit(&mut self, now: Instant) -> Result<ConnectionId, Refusal> {
        self.advance(now);
        self.check_admission()?;
        self.last_id += 1;
        let id = ConnectionId(self.last_id);
        let groups = Some(Memberships::new());
        let member = Member {
            phase: Phase::Admitted,
            session: None,
            former_keys: Vec::new(),
            groups,
            moves_away: false,
        };
        self.connections.insert(id, member);
        Ok(id)
    }

    /// Checks whether a connection would be admitted now.
    ///
    /// # Errors
    ///
    /// As for [`admit`](Self::admit).
    pub fn check_admission(&self) -> Result<(), Refusal> {
        if !matches!(self.stage, Stage::Serving) {
            return Err(Refusal::ShuttingDown);
        }
        let max = self.config.max_connections;
        if self.connections.len() >= max { Err(Refusal::Full { max }) } else { Ok(()) }
    }

    /// Records that the WebSocket of an admitted connection is open. If the server began to shut
    /// down after the admission, the connection is told so.
    pub fn opened(&mut self, now: Instant, id: ConnectionId, out: &mut Out) {
        let now = self.advance(now);
        let Some(member) = self.connections.get_mut(&id) else { return };
        if member.phase != Phase::Admitted {
            return;
        }
        member.phase = Phase::Open { since: now };
        self.open += 1;
        self.counters.opened += 1;
        self.tell_stage(id, out);
    }

    /// Records that everything of a connection has ended: its socket is closed, its handlers have
    /// ended, or its handshake failed. Releases its session and its groups, if the connection has
    /// not done so itself. Ignored if it has left before.
    pub fn left(&mut self, now: Instant, id: ConnectionId, out: &mut Out) {
        self.advance(now);
        let Some(member) = self.connections.remove(&id) else { return };
        self.open -= usize::from(member.phase != Phase::Admitted);
        self.drained -= usize::from(matches!(member.phase, Phase::Drained { .. }));
        self.groups.leave_all(id, member.groups.unwrap_or_default());
        self.recovery_left(id, out);
        if let Some(key) = member.session {
            self.watch(out);
            self.instruct(id, Command::Leave(key));
        }
        self.route(out);
        self.proceed(out);
    }

    /// Records that a connection has ended for the application, while its close handshake or its
    /// handlers may go on. It leaves its groups, and joins none any more. Everything else of it is
    /// there until it has [left](Self::left). Ignored if that was so before.
    pub fn ended(&mut self, id: ConnectionId) {
        let Some(member) = self.connections.get_mut(&id) else { return };
        self.groups.leave_all(id, member.groups.take().unwrap_or_default());
    }

    /// Returns how many connections are open.
    pub const fn connection_count(&self) -> usize {
        self.open
    }

    /// Returns how many connections are admitted or open: never more than
    /// [`HubConfig::max_connections`].
    pub fn admitted_count(&self) -> usize {
        self.connections.len()
    }
}

/// Sessions.
impl Hub {
    /// Carries out the command of a connection, the content of
    /// [`Action::Session`](super::Action::Session). Ignored if the connection has left.
    pub fn handle(&mut self, now: Instant, id: ConnectionId, command: Command, out: &mut Out) {
        self.advance(now);
        self.watch(out);
        let Some(member) = self.connections.get_mut(&id) else { return };
        if member.moves_away {
            refuse(id, command, out);
            return self.route(out);
        }
        match &command {
            Command::Restore(key) => member.turns_to(Some(key.clone())),
            Command::Create(session) => member.turns_to(Some(session.key.clone())),
            // These may have a key that was rotated meanwhile.
            Command::Close(_) | Command::Edit(_) => {}
            Command::Leave(_) => {
                member.turns_to(None);
                if let Some(groups) = &mut member.groups {
                    self.groups.leave_session(id, groups);
                }
            }
        }
        self.instruct(id, command);
        self.route(out);
    }

    /// Passes a command on to the registry.
    fn instruct(&mut self, id: ConnectionId, command: Command) {
        let left = match &command {
            // It may have closed the session, and does not live to see that.
            Command::Leave(key) => Some(self.registry.awaits_close(id, key)),
            _ => None,
        };
        let touched = match &command {
            Command::Leave(key) | Command::Close(key) if self.node.is_some() => {
                Some(self.registry.current(id, key.clone()))
            }
            _ => None,
        };
        let before = self.registry.active_sessions();
        self.registry.handle(id, command, &mut self.effects);
        if let Some(closes) = left {
            let lost = before.saturating_sub(self.registry.active_sessions());
            self.counters.sessions.lost += lost as u64;
            self.counters.sessions.closed += u64::from(closes);
        }
        if let Some(key) = touched {
            self.touch(&key);
        }
    }

    /// Handles an answer of the store, or its failure.
    pub fn answered(&mut self, now: Instant, job: JobId, answer: StoreAnswer, out: &mut Out) {
        self.advance(now);
        let fits = match (self.jobs.purpose(job), &answer) {
            (Some(Purpose::LookUp(..)), StoreAnswer::LookedUp(_))
            | (Some(Purpose::Create(..)), StoreAnswer::Created(_))
            | (Some(Purpose::Update(..)), StoreAnswer::Updated(_))
            | (Some(Purpose::Destroy(..)), StoreAnswer::Destroyed(_))
            | (Some(Purpose::Expire), StoreAnswer::Expired(_)) => true,
            (_, StoreAnswer::LookedUp(_))
            | (_, StoreAnswer::Created(_))
            | (_, StoreAnswer::Updated(_))
            | (_, StoreAnswer::Destroyed(_))
            | (_, StoreAnswer::Expired(_)) => false,
        };
        if fits && let Some((since, purpose)) = self.jobs.take(job) {
            let end = if answer.has_failed() { JobEnd::Failed } else { JobEnd::Done };
            self.count_job(&purpose, end, since);
            self.conclude(purpose, answer, out);
        }
    }

    /// Closes a session for all its connections and destroys it, even if no connection holds it.
    /// With `disconnect`, also closes the connections. Ends with [`HubAction::Done`].
    pub fn close_session(
        &mut self,
        now: Instant,
        key: SessionKey,
        disconnect: bool,
        out: &mut Out,
    ) -> WaiterId {
        self.advance(now);
        self.watch(out);
        self.last_waiter += 1;
        let waiter = WaiterId(self.last_waiter);
        let told = self.registry.close_key(key.clone(), disconnect, &mut self.effects);
        self.waiters.entry(key).or_default().push((waiter, told));
        self.route(out);
        waiter
    }

    /// Returns how many sessions at least one connection holds.
    pub const fn active_sessions(&self) -> usize {
        self.registry.active_sessions()
    }

    /// Returns the connections that hold a session.
    pub fn session_connections(&self, key: &SessionKey) -> impl Iterator<Item = ConnectionId> + '_ {
        self.registry.connections(key)
    }

    /// Turns the effects of the registry into actions of the hub.
    fn route(&mut self, out: &mut Out) {
        self.carry_out(out);
        if self.node.is_some() {
            self.run_node(out);
        }
    }

    fn carry_out(&mut self, out: &mut Out) {
        while let Some(effect) = self.effects.pop() {
            let effect = match self.ask_node(effect) {
                Some(effect) => effect,
                None => continue,
            };
            let (purpose, work) = match effect {
                Effect::Deliver { connection, outcome } => {
                    self.note_change(connection, &outcome.change);
                    let told = self.recovery.as_ref().and_then(|_| Told::by(&outcome));
                    out.push(HubAction::Deliver { to: connection, outcome });
                    if let Some(told) = told {
                        self.tell_follower(connection, &told, out);
                    }
                    continue;
                }
                Effect::Renewed(result) => {
                    self.renewed(result, out);
                    continue;
                }
                Effect::Lookup { ticket, key } => {
                    (Purpose::LookUp(ticket, key.clone()), Work::LookUp(key))
                }
                Effect::Store { ticket, session } => {
                    (Purpose::Create(ticket, session.key.clone()), Work::Create(session))
                }
                Effect::Update { ticket, update } => {
                    (Purpose::Update(ticket, update.key.clone()), Work::Update(update))
                }
                Effect::Destroy { ticket, key } => {
                    (Purpose::Destroy(ticket, key.clone()), Work::Destroy(key))
                }
            };
            self.ask_store(purpose, work, self.config.store_timeout, out);
        }
    }

    /// Counts a change, and records what it means for what the hub knows about the connection.
    fn note_change(&mut self, id: ConnectionId, change: &Change) {
        let Some(member) = self.connections.get_mut(&id) else { return };
        match change {
            Change::Rotated { session, .. } => member.rotated(session.key.clone()),
            Change::Closed
            | Change::Detached
            | Change::ClosedByKey { .. }
            | Change::ClosedByOther { .. } => {
                let held = member.session.is_some();
                member.turns_to(None);
                // One that was closed by others meanwhile is closed again when its own close arrives.
                if !held {
                    return;
                }
                if let Some(groups) = &mut member.groups {
                    self.groups.leave_session(id, groups);
                }
            }
            _ => {}
        }
        self.counters.sessions.count(change);
    }

    fn ask_store(&mut self, purpose: Purpose, work: Work, within: Duration, out: &mut Out) {
        let id = self.jobs.start(purpose, self.now, self.now + within);
        out.push(HubAction::Store(Job { id, work }));
    }

    fn count_job(&mut self, purpose: &Purpose, end: JobEnd, since: Instant) {
        let store = &mut self.counters.store;
        let jobs = match purpose {
            Purpose::LookUp(..) => &mut store.look_up,
            Purpose::Create(..) => &mut store.create,
            Purpose::Update(..) => &mut store.update,
            Purpose::Destroy(..) => &mut store.destroy,
            Purpose::Expire => &mut store.expire,
        };
        jobs.count(end, self.now.saturating_since(since));
    }

    /// Handles the end of a job, with an answer that fits it.
    fn conclude(&mut self, purpose: Purpose, answer: StoreAnswer, out: &mut Out) {
        let effects = &mut self.effects;
        // Once the session is destroyed under its old key, it has its new one.
        let new_key = match &purpose {
            Purpose::Destroy(_, key) => self.registry.reserved_key(key).cloned(),
            _ => None,
        };
        let (key, destroyed) = match (purpose, answer) {
            (Purpose::LookUp(ticket, key), StoreAnswer::LookedUp(found)) => {
                let is_gone = found == Ok(None);
                self.registry.looked_up(ticket, found, effects);
                if is_gone {
                    self.end_history(&key);
                }
                (key, Ok(()))
            }
            (Purpose::Create(ticket, key), StoreAnswer::Created(created)) => {
                self.registry.stored(ticket, created, effects);
                // A creation that failed may have succeeded in the store: then the session exists.
                (key, created)
            }
            (Purpose::Update(ticket, key), StoreAnswer::Updated(updated)) => {
                self.registry.updated(ticket, updated, effects);
                (key, Ok(()))
            }
            (Purpose::Destroy(ticket, key), StoreAnswer::Destroyed(destroyed)) => {
                self.registry.destroyed(ticket, destroyed, effects);
                match (&new_key, destroyed) {
                    (Some(new_key), Ok(())) => self.rename_history(&key, new_key),
                    (None, Ok(())) => self.end_history(&key),
                    (_, Err(StoreFailed)) => {}
                }
                (key, destroyed)
            }
            (Purpose::Expire, _) => return self.expired(),
            // The kinds were compared before.
            (
                Purpose::LookUp(..)
                | Purpose::Create(..)
                | Purpose::Update(..)
                | Purpose::Destroy(..),
                _,
            ) => return,
        };
        self.route(out);
        self.tell_waiters(key, new_key, destroyed, out);
    }

    /// Tells those that wait for the end of a session, unless it is still being closed. `new_key` is the key that
    /// it has got by what has just ended.
    fn tell_waiters(
        &mut self,
        key: SessionKey,
        new_key: Option<SessionKey>,
        destroyed: Result<(), StoreFailed>,
        out: &mut Out,
    ) {
        if self.waiters.is_empty() || self.registry.is_closing(&key) {
            return;
        }
        let Some(waiters) = self.waiters.remove(&key) else { return };
        match new_key.filter(|new_key| self.registry.is_closing(new_key)) {
            // A session that was closed while it got a new key is destroyed under that, too.
            Some(new_key) => self.waiters.entry(new_key).or_default().extend(waiters),
            None => {
                for (waiter, told) in waiters {
                    out.push(HubAction::Done { waiter, told, result: destroyed });
                }
            }
        }
    }
}

/// Groups.
impl Hub {
    /// Adds a connection to a group, which exists as long as it has members. Returns whether the
    /// connection was not in it before. A connection leaves its groups when it has
    /// [ended](Self::ended) or [left](Self::left).
    ///
    /// # Errors
    ///
    /// [`GroupError`] if the connection has ended, is in too many groups, or the name is empty or too
    /// long.
    pub fn join(&mut self, id: ConnectionId, group: &str) -> Result<bool, GroupError> {
        self.add(id, group, Lasts::Connection)
    }

    /// Like [`join`](Self::join), but only if the connection holds the session of this key, and it also
    /// leaves the group when it holds that no more: as soon as that is decided, and before the connection
    /// hears of it. Until then, a connection that closes its session still holds it, and if the close fails, it
    /// stays in the group. If the connection was in the group already, it stays in it
    /// for as long as before, and joining it by [`join`](Self::join) later makes it stay.
    ///
    /// A rotation does not make another session of it: one of the last [`FORMER_KEYS`] keys that the session
    /// had before, while the connection held it, is as good as the present one.
    ///
    /// # Errors
    ///
    /// As for [`join`](Self::join), and [`GroupError::NoSession`] or [`GroupError::OtherSession`].
    pub fn join_for_session(
        &mut self,
        id: ConnectionId,
        session: &SessionKey,
        group: &str,
    ) -> Result<bool, GroupError> {
        let member = self.connections.get(&id).ok_or(GroupError::UnknownConnection)?;
        let holds = |key| self.registry.holds(id, key) || self.registry.awaits_close(id, key);
        if !member.session.as_ref().is_some_and(holds) {
            return Err(GroupError::NoSession);
        }
        if !member.knows(session) {
            return Err(GroupError::OtherSession);
        }
        self.add(id, group, Lasts::Session)
    }

    fn add(&mut self, id: ConnectionId, group: &str, lasts: Lasts) -> Result<bool, GroupError> {
        let member = self.connections.get_mut(&id);
        let memberships = member.and_then(|member| member.groups.as_mut());
        let memberships = memberships.ok_or(GroupError::UnknownConnection)?;
        self.groups.join(id, memberships, group, lasts, self.config.max_groups)
    }

    /// Removes a connection from a group. Returns whether it was a member.
    pub fn leave(&mut self, id: ConnectionId, group: &str) -> bool {
        let member = self.connections.get_mut(&id);
        let Some(groups) = member.and_then(|member| member.groups.as_mut()) else { return false };
        self.groups.leave(id, groups, group)
    }

    /// Returns the connections in a group, in the order of their identifiers.
    pub fn members(&self, group: &str) -> impl Iterator<Item = ConnectionId> + '_ {
        self.groups.members(group)
    }

    /// Returns the connections in a group whose identifiers are greater than this one, in order. For
    /// hosts that walk over a large group in portions.
    pub fn members_after(
        &self,
        group: &str,
        after: ConnectionId,
    ) -> impl Iterator<Item = ConnectionId> + '_ {
        self.groups.members_after(group, after)
    }

    /// Returns how many connections are in a group.
    pub fn member_count(&self, group: &str) -> usize {
        self.groups.member_count(group)
    }

    /// Returns the groups that a connection is in, in the order in which it joined them.
    pub fn groups_of(&self, id: ConnectionId) -> impl Iterator<Item = &str> {
        let member = self.connections.get(&id);
        let memberships = member.and_then(|member| member.groups.as_ref());
        memberships.into_iter().flat_map(|memberships| self.groups.names_of(memberships))
    }

    /// Returns the groups that have members, in the order of their names, each with the number of its
    /// members: those whose names come after this one, all of them after `""`. For hosts that walk over
    /// many groups in portions.
    pub fn groups_after(&self, name: &str) -> impl Iterator<Item = (&str, usize)> {
        self.groups.after(name)
    }

    /// Returns how many groups have members.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }
}

/// Time.
impl Hub {
    /// Returns when to call [`handle_timeout`](Self::handle_timeout). `None` if only another call
    /// can change anything.
    pub fn next_timeout(&self) -> Option<Instant> {
        let timeouts = [
            self.jobs.next_deadline(),
            self.rounds.next_timeout(),
            self.stage.deadline(),
            self.next_expiry(),
            self.node_timeout(),
        ];
        timeouts.into_iter().flatten().min()
    }

    /// Does what is due: fails jobs that the store did not answer, starts a round of expiry, moves
    /// a shutdown to its next stage. A no-op before [`next_timeout`](Self::next_timeout).
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Out) {
        let now = self.advance(now);
        // First, because jobs without any time end at once.
        self.start_round(out);
        while let Some((job, since, purpose)) = self.jobs.take_overdue(now) {
            self.count_job(&purpose, JobEnd::TimedOut, since);
            out.push(HubAction::StoreTimedOut { job });
            let answer = match purpose {
                Purpose::LookUp(..) => StoreAnswer::LookedUp(Err(StoreFailed)),
                Purpose::Create(..) => StoreAnswer::Created(Err(StoreFailed)),
                Purpose::Update(..) => StoreAnswer::Updated(Err(StoreFailed)),
                Purpose::Destroy(..) => StoreAnswer::Destroyed(Err(StoreFailed)),
                Purpose::Expire => StoreAnswer::Expired(Err(StoreFailed)),
            };
            self.conclude(purpose, answer, out);
        }
        self.expire_recovery(now);
        self.node_timed_out(out);
        self.stage_timeout(out);
    }

    /// Returns what was counted since the hub was made.
    pub const fn counters(&self) -> &HubCounters {
        &self.counters
    }

    /// Returns how many jobs the store has not answered yet.
    pub fn pending_jobs(&self) -> usize {
        self.jobs.len()
    }

    /// Returns whether the hub has no connection and no open job.
    pub fn is_idle(&self) -> bool {
        self.connections.is_empty()
            && self.registry.is_idle()
            && self.jobs.is_empty()
            && self.waiters.is_empty()
            && self.groups.len() == 0
            && self.node.as_ref().is_none_or(|node| node.is_idle())
    }

    /// Records the time, and returns the time that counts.
    fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }
}
