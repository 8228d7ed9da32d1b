//! The control plane of a server.

mod action;
mod config;
mod expiry;
mod groups;
mod jobs;
mod shutdown;
#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

pub use action::{HubAction, Job, JobId, Refusal, StoreAnswer, WaiterId, Work};
pub use config::{Expiry, HubConfig, IdleConnections};
pub use groups::{GroupError, MAX_GROUP_NAME};

use expiry::{Renewal, Rounds};
use groups::{Groups, Memberships};
use jobs::{Jobs, Purpose};
use shutdown::Stage;

use crate::actions::Actions;
use crate::session::{Command, ConnectionId, Effect, Registry, SessionKey, StoreFailed, Ticket};
use crate::time::Instant;
use crate::valid::Valid;

/// The control plane of a server as a state machine: what all connections of one server share.
///
/// It decides how many connections are admitted, which of them hold which session, what the session
/// store has to do and by when, which sessions expire, who is in which group, and how a shutdown
/// proceeds. It never sees a frame and owns no [`Connection`](super::Connection): those live in tasks
/// and threads of their own, and share nothing but this.
///
/// # Contract
///
/// * **Inputs**: a connection is [admitted](Self::admit) before its handshake is answered,
///   [opened](Self::opened) when its WebSocket is, and has [left](Self::left) when nothing of it is
///   left, also if the handshake failed. In between, its session commands go to
///   [`handle`](Self::handle). The store's answers go to [`answered`](Self::answered).
/// * **Outputs** are [`HubAction`]s, appended to the list that the methods take. Carry all of them
///   out, in order. A host that keeps the hub behind a lock queues what is for a connection before it
///   releases the lock, so that each connection hears of changes in the order in which they happened.
/// * **Time** is an argument. A time before one seen earlier counts as that one. After
///   [`handle_timeout`](Self::handle_timeout) the next timeout lies in the future; a call too early or
///   once too often does nothing.
/// * **Jobs** of the store are answered or time out, exactly once each. Answers may come in any order;
///   late, repeated and unknown ones are ignored, and so are answers of another kind than the job.
/// * **Bounds**: the cost of a call is logarithmic in what is there, plus linear in the number of
///   connections that it tells something. Nothing that a client sends adds an entry that does not
///   leave with its connection, or with the store's answer.
/// * The same calls give the same actions.
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
    /// How many of them are open.
    open: usize,
    /// How many of the open ones are drained.
    drained: usize,
    last_id: u64,
    registry: Registry,
    effects: Actions<Effect>,
    jobs: Jobs,
    /// The callers that wait until a session is destroyed, with how many connections were told.
    waiters: BTreeMap<SessionKey, Vec<(WaiterId, usize)>>,
    last_waiter: u64,
    groups: Groups,
    rounds: Rounds,
    renewal: Option<Renewal>,
    stage: Stage,
    now: Instant,
}

/// What the hub knows of a connection.
#[derive(Debug)]
struct Member {
    presence: Presence,
    /// The session that its latest command was about.
    session: Option<SessionKey>,
    groups: Memberships,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// Its handshake is under way.
    Admitted,
    /// It is open, since then.
    Open { since: Instant },
    /// It is open, the server shuts down, and nothing runs on it any more.
    Drained { since: Instant },
}

impl Presence {
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
    /// A hub without connections.
    pub fn new(config: &Valid<HubConfig>) -> Self {
        Self {
            connections: BTreeMap::new(),
            open: 0,
            drained: 0,
            last_id: 0,
            registry: Registry::new(config.sessions),
            effects: Actions::new(),
            jobs: Jobs::default(),
            waiters: BTreeMap::new(),
            last_waiter: 0,
            groups: Groups::default(),
            rounds: Rounds::new(config.expiry, Instant::EPOCH),
            renewal: None,
            stage: Stage::Serving,
            now: Instant::EPOCH,
            config: **config,
        }
    }

    /// Reserves room for a connection, before its handshake is answered. It counts until it has
    /// [left](Self::left). Identifiers are never used twice.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if as many connections are there as may be, or the server shuts down.
    pub fn admit(&mut self, now: Instant) -> Result<ConnectionId, Refusal> {
        self.advance(now);
        self.check_admission()?;
        self.last_id += 1;
        let id = ConnectionId(self.last_id);
        let member =
            Member { presence: Presence::Admitted, session: None, groups: Memberships::new() };
        self.connections.insert(id, member);
        Ok(id)
    }

    /// Whether a connection would be admitted now.
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

    /// The WebSocket of an admitted connection is open. If the server began to shut down since it was
    /// admitted, the connection is told so.
    pub fn opened(&mut self, now: Instant, id: ConnectionId, out: &mut Out) {
        let now = self.advance(now);
        let Some(member) = self.connections.get_mut(&id) else { return };
        if member.presence != Presence::Admitted {
            return;
        }
        member.presence = Presence::Open { since: now };
        self.open += 1;
        self.tell_stage(id, out);
    }

    /// Nothing of a connection is left: its socket is closed, its handlers have ended. Also if its
    /// handshake failed. Its session and its groups are released, if it did not do so itself. Ignored
    /// if it has left before.
    pub fn left(&mut self, now: Instant, id: ConnectionId, out: &mut Out) {
        self.advance(now);
        let Some(member) = self.connections.remove(&id) else { return };
        self.open -= usize::from(member.presence != Presence::Admitted);
        self.drained -= usize::from(matches!(member.presence, Presence::Drained { .. }));
        self.groups.leave_all(id, member.groups);
        if let Some(key) = member.session {
            self.registry.handle(id, Command::Leave(key), &mut self.effects);
            self.route(out);
        }
        self.proceed(out);
    }

    /// How many connections are open.
    pub const fn connection_count(&self) -> usize {
        self.open
    }

    /// How many connections are admitted or open: never more than
    /// [`HubConfig::max_connections`].
    pub fn admitted_count(&self) -> usize {
        self.connections.len()
    }
}

/// Sessions.
impl Hub {
    /// Carries out the command of a connection: what
    /// [`Action::Session`](super::Action::Session) has. Ignored if the connection has left.
    pub fn handle(&mut self, now: Instant, id: ConnectionId, command: Command, out: &mut Out) {
        self.advance(now);
        let Some(member) = self.connections.get_mut(&id) else { return };
        member.session = match &command {
            Command::Restore(key) | Command::Close(key) => Some(key.clone()),
            Command::Create(session) => Some(session.key.clone()),
            Command::Leave(_) => None,
        };
        self.registry.handle(id, command, &mut self.effects);
        self.route(out);
    }

    /// The store has answered, or failed.
    pub fn answered(&mut self, now: Instant, job: JobId, answer: StoreAnswer, out: &mut Out) {
        self.advance(now);
        let fits = match (self.jobs.purpose(job), &answer) {
            (Some(Purpose::LookUp(..) | Purpose::Renew), StoreAnswer::LookedUp(_))
            | (Some(Purpose::Create(..)), StoreAnswer::Created(_))
            | (Some(Purpose::Destroy(..)), StoreAnswer::Destroyed(_))
            | (Some(Purpose::Expire), StoreAnswer::Expired(_)) => true,
            (_, StoreAnswer::LookedUp(_))
            | (_, StoreAnswer::Created(_))
            | (_, StoreAnswer::Destroyed(_))
            | (_, StoreAnswer::Expired(_)) => false,
        };
        if fits && let Some(purpose) = self.jobs.take(job) {
            self.conclude(purpose, answer, out);
        }
    }

    /// Closes a session for all its connections and destroys it, also if no connection holds it. If
    /// `disconnect`, the connections are closed as well. Ends with [`HubAction::Done`].
    pub fn close_session(
        &mut self,
        now: Instant,
        key: SessionKey,
        disconnect: bool,
        out: &mut Out,
    ) -> WaiterId {
        self.advance(now);
        self.last_waiter += 1;
        let waiter = WaiterId(self.last_waiter);
        let told = self.registry.close_key(key.clone(), disconnect, &mut self.effects);
        self.waiters.entry(key).or_default().push((waiter, told));
        self.route(out);
        waiter
    }

    /// How many sessions at least one connection holds.
    pub const fn active_sessions(&self) -> usize {
        self.registry.active_sessions()
    }

    /// The connections that hold a session.
    pub fn session_connections(&self, key: &SessionKey) -> impl Iterator<Item = ConnectionId> + '_ {
        self.registry.connections(key)
    }

    /// Turns what the registry wants into actions of the hub.
    fn route(&mut self, out: &mut Out) {
        while let Some(effect) = self.effects.pop() {
            let (purpose, work) = match effect {
                Effect::Deliver { connection, outcome } => {
                    out.push(HubAction::Deliver { to: connection, outcome });
                    continue;
                }
                Effect::Lookup { ticket, key } => {
                    (Purpose::LookUp(ticket, key.clone()), Work::LookUp(key))
                }
                Effect::Store { ticket, session } => {
                    (Purpose::Create(ticket, session.key.clone()), Work::Create(session))
                }
                Effect::Destroy { ticket, key } => {
                    match &mut self.renewal {
                        Some(renewal) if renewal.key == key => renewal.destroy = Some(ticket),
                        Some(_) | None => self.destroy(ticket, key, out),
                    }
                    continue;
                }
            };
            self.ask_store(purpose, work, self.config.store_timeout, out);
        }
    }

    fn destroy(&mut self, ticket: Ticket, key: SessionKey, out: &mut Out) {
        let (purpose, work) = (Purpose::Destroy(ticket, key.clone()), Work::Destroy(key));
        self.ask_store(purpose, work, self.config.store_timeout, out);
    }

    fn ask_store(&mut self, purpose: Purpose, work: Work, within: Duration, out: &mut Out) {
        let id = self.jobs.start(purpose, self.now + within);
        out.push(HubAction::Store(Job { id, work }));
    }

    /// A job has ended, with an answer of its kind.
    fn conclude(&mut self, purpose: Purpose, answer: StoreAnswer, out: &mut Out) {
        let effects = &mut self.effects;
        let (key, destroyed) = match (purpose, answer) {
            (Purpose::LookUp(ticket, key), StoreAnswer::LookedUp(found)) => {
                self.registry.looked_up(ticket, found, effects);
                (key, Ok(()))
            }
            (Purpose::Create(ticket, key), StoreAnswer::Created(created)) => {
                self.registry.stored(ticket, created, effects);
                // A creation that failed may have happened all the same: then the session is there.
                (key, created)
            }
            (Purpose::Destroy(ticket, key), StoreAnswer::Destroyed(destroyed)) => {
                self.registry.destroyed(ticket, destroyed, effects);
                (key, destroyed)
            }
            (Purpose::Renew, StoreAnswer::LookedUp(found)) => {
                return self.renewed(found.map(drop), out);
            }
            (Purpose::Expire, _) => return self.expired(),
            // The kinds were compared before.
            (
                Purpose::LookUp(..) | Purpose::Create(..) | Purpose::Destroy(..) | Purpose::Renew,
                _,
            ) => return,
        };
        self.route(out);
        if !self.registry.is_closing(&key) {
            for (waiter, told) in self.waiters.remove(&key).unwrap_or_default() {
                out.push(HubAction::Done { waiter, told, result: destroyed });
            }
        }
    }
}

/// Groups.
impl Hub {
    /// Adds a connection to a group, which exists as long as it has members. Returns whether the
    /// connection was not in it before. A connection leaves its groups when it has
    /// [left](Self::left).
    ///
    /// # Errors
    ///
    /// [`GroupError`] if the connection has left, is in too many groups, or the name is empty or too
    /// long.
    pub fn join(&mut self, id: ConnectionId, group: &str) -> Result<bool, GroupError> {
        let member = self.connections.get_mut(&id).ok_or(GroupError::UnknownConnection)?;
        self.groups.join(id, &mut member.groups, group, self.config.max_groups)
    }

    /// Removes a connection from a group. Returns whether it was in it.
    pub fn leave(&mut self, id: ConnectionId, group: &str) -> bool {
        let Some(member) = self.connections.get_mut(&id) else { return false };
        self.groups.leave(id, &mut member.groups, group)
    }

    /// The connections in a group, in the order of their identifiers.
    pub fn members(&self, group: &str) -> impl Iterator<Item = ConnectionId> + '_ {
        self.groups.members(group)
    }

    /// How many connections are in a group.
    pub fn member_count(&self, group: &str) -> usize {
        self.groups.member_count(group)
    }

    /// The groups that a connection is in, in the order in which it joined them.
    pub fn groups_of(&self, id: ConnectionId) -> impl Iterator<Item = &str> {
        let member = self.connections.get(&id);
        member.into_iter().flat_map(|member| self.groups.names_of(&member.groups))
    }

    /// How many groups have members.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }
}

/// Time.
impl Hub {
    /// When [`handle_timeout`](Self::handle_timeout) is to be called; `None` if only another call can
    /// change anything.
    pub fn next_timeout(&self) -> Option<Instant> {
        let timeouts =
            [self.jobs.next_deadline(), self.rounds.next_timeout(), self.stage.deadline()];
        timeouts.into_iter().flatten().min()
    }

    /// Does what is due: fails jobs that the store did not answer, starts a round of expiry, takes a
    /// shutdown to its next stage. A no-op before [`next_timeout`](Self::next_timeout).
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Out) {
        let now = self.advance(now);
        // First, since jobs without any time end at once.
        self.start_round(out);
        while let Some((job, purpose)) = self.jobs.take_overdue(now) {
            out.push(HubAction::StoreTimedOut { job });
            let answer = match purpose {
                Purpose::LookUp(..) | Purpose::Renew => StoreAnswer::LookedUp(Err(StoreFailed)),
                Purpose::Create(..) => StoreAnswer::Created(Err(StoreFailed)),
                Purpose::Destroy(..) => StoreAnswer::Destroyed(Err(StoreFailed)),
                Purpose::Expire => StoreAnswer::Expired(Err(StoreFailed)),
            };
            self.conclude(purpose, answer, out);
        }
        self.stage_timeout(out);
    }

    /// Whether nothing is there and nothing is awaited.
    pub fn is_idle(&self) -> bool {
        self.connections.is_empty()
            && self.registry.is_idle()
            && self.jobs.is_empty()
            && self.waiters.is_empty()
            && self.groups.len() == 0
    }

    /// Takes note of the time, and returns the time that counts.
    fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }
}
