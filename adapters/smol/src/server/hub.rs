//! What the connections of a server share: the registry of sessions, the store, and who is there.

mod jobs;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::iter;
use std::net::SocketAddr;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use event_listener::Event;
use futures_channel::oneshot;
use wwr::session::{Command, ConnectionId, Effect, Registry, RegistryConfig, StoreFailed};
use wwr::{Actions, Instant, SessionKey, UnixTime};

use self::jobs::{Asked, Job};
use super::connection::{Connection, Ended, Input};
use super::handle::Connections;
use super::settings::Collection;
use super::throttle::Throttle;

use crate::clock::{Clock, sleep};
use crate::executor::Spawn;
use crate::key::KeyGenerator;
use crate::store::{Collected, SessionStore, SharedStore, ShortKey};

/// How long a shutdown that is past its deadline waits for closing handshakes, and then for tasks
/// whose sockets it has taken away.
const GOODBYE: Duration = Duration::from_secs(1);

/// How many connections are looked up at a time by those who go through all of them.
const PORTION: usize = 256;

/// The shared part of a server, without its application.
pub(super) struct Hub {
    pub(super) clock: Clock,
    pub(super) keys: Box<dyn KeyGenerator>,
    address: OnceLock<SocketAddr>,
    executor: Box<dyn Spawn>,
    store: SharedStore,
    store_timeout: Duration,
    /// Locked before `closers` and `roster`, never after.
    registry: Mutex<Registry>,
    /// Who waits for a session to be destroyed.
    closers: Mutex<HashMap<SessionKey, Vec<Waiting>>>,
    roster: Mutex<Roster>,
    /// Notified when the server enters another stage. Every connection that ends waits for one, so
    /// what happens to a single connection must not wake them.
    advanced: Event,
    /// Notified when the last connection has ended.
    emptied: Event,
    last_id: AtomicU64,
    /// Keys of clients that no session has.
    pub(super) unknown_keys: Throttle,
    /// Failures of the store.
    store_failures: Throttle,
}

/// Somebody who waits for a session to be destroyed.
type Waiting = oneshot::Sender<Result<(), StoreFailed>>;

/// Who is there.
#[derive(Debug, Default)]
struct Roster {
    /// In the order of their numbers, so that who goes through all of them can stop in between.
    connections: BTreeMap<ConnectionId, Connection>,
    /// Connections that are let in but whose handshake is not over.
    arriving: usize,
    stage: Stage,
    /// When connections are to be gone, once the server drains.
    deadline: Instant,
}

impl Roster {
    fn is_empty(&self) -> bool {
        self.connections.is_empty() && self.arriving == 0
    }
}

/// Where a server stands in its life. There is no way back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    #[default]
    Serving,
    /// What runs may finish, what is new is refused.
    Draining,
    /// The deadline is over: no handler is waited for.
    Overdue,
    /// Nor any client.
    GivingUp,
    Stopped,
}

impl Hub {
    pub(super) fn new(
        executor: Box<dyn Spawn>,
        keys: Box<dyn KeyGenerator>,
        store: SharedStore,
        store_timeout: Duration,
        config: RegistryConfig,
    ) -> Self {
        Self {
            clock: Clock::new(),
            keys,
            address: OnceLock::new(),
            executor,
            store,
            store_timeout,
            registry: Mutex::new(Registry::new(config)),
            closers: Mutex::new(HashMap::new()),
            roster: Mutex::new(Roster::default()),
            advanced: Event::new(),
            emptied: Event::new(),
            last_id: AtomicU64::new(0),
            unknown_keys: Throttle::default(),
            store_failures: Throttle::default(),
        }
    }

    /// The address of the listener, once there is one.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.address.get().copied()
    }

    pub(super) fn listens_on(&self, address: SocketAddr) {
        // Called once, by the server that is made of this hub.
        let _ = self.address.set(address);
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.executor.spawn_task(Box::pin(task));
    }

    pub(super) fn next_id(&self) -> ConnectionId {
        ConnectionId(self.last_id.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Lets one more connection in, unless there are `most` or the server shuts down.
    pub(super) fn admit(self: &Arc<Self>, most: usize) -> Option<Arrival> {
        let mut roster = lock(&self.roster);
        let full = roster.connections.len() + roster.arriving >= most;
        if full || roster.stage > Stage::Serving {
            return None;
        }
        roster.arriving += 1;
        Some(Arrival { hub: self.clone() })
    }

    /// A connection is open, until what this gives is dropped.
    pub(super) fn enter(self: &Arc<Self>, connection: Connection) -> Presence {
        let mut roster = lock(&self.roster);
        roster.connections.insert(connection.connection_id(), connection.clone());
        let (stage, deadline) = (roster.stage, roster.deadline);
        drop(roster);
        match stage {
            Stage::Serving => {}
            Stage::Draining | Stage::Overdue => {
                let within = deadline.saturating_since(self.clock.now());
                connection.close_by(Input::ShutDown(within));
            }
            Stage::GivingUp | Stage::Stopped => connection.inbox().close(),
        }
        Presence { hub: self.clone(), connection }
    }

    pub(super) fn connections(&self) -> Vec<Connection> {
        lock(&self.roster).connections.values().cloned().collect()
    }

    /// The open connections one after another. Nobody has to wait until all were seen, nor are all
    /// copied: who comes or goes meanwhile may be left out, everybody else is seen once.
    pub(super) fn walk(&self) -> impl Iterator<Item = Connection> {
        let newest = self.last_id.load(Ordering::Relaxed);
        let mut seen = Bound::Unbounded;
        let portions = iter::from_fn(move || {
            let roster = lock(&self.roster);
            let unseen = roster.connections.range((seen, Bound::Unbounded));
            let unseen = unseen.take_while(|(id, _)| id.0 <= newest).take(PORTION);
            let portion: Vec<_> = unseen.map(|(_, connection)| connection.clone()).collect();
            drop(roster);
            seen = Bound::Excluded(portion.last()?.connection_id());
            Some(portion)
        });
        portions.flatten()
    }

    pub(super) fn connection_count(&self) -> usize {
        lock(&self.roster).connections.len()
    }

    pub(super) fn is_draining(&self) -> bool {
        lock(&self.roster).stage > Stage::Serving
    }

    /// Closes all connections once their handlers are done; the rest after `within`.
    pub(super) async fn shut_down(&self, within: Duration) {
        let deadline = self.clock.now() + within;
        {
            let mut roster = lock(&self.roster);
            // Who asks again does not give more time than there was.
            let first = roster.stage == Stage::Serving;
            roster.deadline = if first { deadline } else { deadline.min(roster.deadline) };
        }
        self.advance(Stage::Draining);
        for connection in self.connections() {
            connection.close_by(Input::ShutDown(within));
        }
        // The connections keep the deadline by themselves; what follows is for those whose handlers
        // outlive their client, then for those whose client is slow to close.
        if !self.empties(within).await {
            self.advance(Stage::Overdue);
        }
        if !self.empties(GOODBYE).await {
            self.advance(Stage::GivingUp);
            let late = self.connections();
            tracing::warn!(connections = late.len(), "shutdown takes too long: giving up on them");
            late.iter().for_each(|connection| connection.inbox().close());
            self.empties(GOODBYE).await;
        }
        self.advance(Stage::Stopped);
    }

    /// Whether all connections have ended before a time is over.
    async fn empties(&self, within: Duration) -> bool {
        let in_time = async {
            wait_until(&self.emptied, || lock(&self.roster).is_empty()).await;
            true
        };
        let too_late = async {
            sleep(within).await;
            false
        };
        smol::future::or(in_time, too_late).await
    }

    /// Enters a stage, unless the server is further already.
    fn advance(&self, stage: Stage) {
        let mut roster = lock(&self.roster);
        roster.stage = roster.stage.max(stage);
        drop(roster);
        self.advanced.notify(usize::MAX);
    }

    /// Waits until the server has come this far.
    pub(super) async fn reaches(&self, stage: Stage) {
        wait_until(&self.advanced, || lock(&self.roster).stage >= stage).await;
    }

    /// Removes old sessions from the store, again and again, while the server exists and serves.
    pub(super) async fn collect(hub: Weak<Self>, collection: Collection) {
        loop {
            let Some(hub) = hub.upgrade() else { return };
            let work = async {
                let (now, age) = (Clock::unix_now(), collection.not_looked_up_for);
                hub.renew(now, age).await;
                // It looks at all sessions, which may take its time.
                let limit = hub.store_timeout.max(collection.every);
                let (asked, collect) = (Asked::about_all("collect"), hub.store.collect(now, age));
                match hub.ask_store_within(limit, asked, collect).await {
                    Ok(Collected { examined, removed: 0, failed: 0, leftovers: 0 }) => {
                        tracing::debug!(examined, "no old sessions");
                    }
                    Ok(Collected { examined, removed, failed, leftovers }) => {
                        tracing::info!(
                            examined,
                            removed,
                            failed,
                            leftovers,
                            "old sessions removed"
                        );
                    }
                    Err(_) => tracing::error!("old sessions could not be removed"),
                }
            };
            smol::future::or(work, hub.reaches(Stage::Stopped)).await;
            if lock(&hub.roster).stage == Stage::Stopped {
                return;
            }
            drop(hub);
            sleep(collection.every).await;
        }
    }

    /// Notes in the store that sessions are of use whose connections have been open for so long that
    /// their look-ups will soon be too old.
    async fn renew(&self, now: UnixTime, age: Duration) {
        let fresh = |connection: &Connection| {
            connection.info().connected_at.elapsed().is_ok_and(|open| open < age / 2)
        };
        let connections = self.connections().into_iter().filter(|one| !fresh(one));
        let held: HashSet<_> = connections.filter_map(|one| one.session_key()).collect();
        for key in held {
            let asked = Asked::about("look up", &key);
            if self.ask_store(asked, self.store.look_up(&key, now)).await.is_err() {
                let session = ShortKey(&key);
                tracing::warn!(%session, "a session in use may be collected");
            }
        }
    }

    pub(super) fn active_sessions(&self) -> usize {
        lock(&self.registry).active_sessions()
    }

    pub(super) fn session_connections(&self, key: &SessionKey) -> Vec<Connection> {
        let ids: Vec<_> = lock(&self.registry).connections(key).collect();
        let roster = lock(&self.roster);
        ids.iter().filter_map(|id| roster.connections.get(id).cloned()).collect()
    }

    /// Hands a connection's command to the registry.
    pub(super) fn handle(self: &Arc<Self>, from: ConnectionId, command: Command) {
        let jobs = self.consult(|registry, effects| registry.handle(from, command, effects)).1;
        self.start(jobs);
    }

    /// Closes a session everywhere, and waits until it is destroyed; gives how many connections
    /// were told.
    pub(super) async fn close_key(
        self: &Arc<Self>,
        key: SessionKey,
        connections: Connections,
    ) -> Result<usize, StoreFailed> {
        let (done, destroyed) = oneshot::channel();
        let ((told, closed), jobs) = self.consult(|registry, effects| {
            let disconnect = connections == Connections::Close;
            let told = registry.close_key(key.clone(), disconnect, effects);
            let holders = effects.iter().filter_map(|effect| match effect {
                Effect::Deliver { connection, .. } => Some(*connection),
                _ => None,
            });
            let closed: Vec<_> = match connections {
                Connections::CloseWith(_) => holders.collect(),
                Connections::Keep | Connections::Close => Vec::new(),
            };
            lock(&self.closers).entry(key).or_default().push(done);
            (told, closed)
        });
        if let Connections::CloseWith(frame) = connections {
            // They have been told of their session.
            for connection in closed {
                let connection = lock(&self.roster).connections.get(&connection).cloned();
                if let Some(connection) = connection {
                    connection.close_by(Input::CloseWith(frame.clone()));
                }
            }
        }
        self.start(jobs);
        destroyed.await.unwrap_or(Err(StoreFailed))?;
        Ok(told)
    }

    /// Asks the registry, delivers what it says to connections, and gives what the store is to do.
    ///
    /// All deliveries are made before anybody else can ask, so that a connection hears of changes
    /// in the order in which they happened.
    fn consult<T>(
        &self,
        ask: impl FnOnce(&mut Registry, &mut Actions<Effect>) -> T,
    ) -> (T, Vec<Job>) {
        let mut effects = Actions::new();
        let mut registry = lock(&self.registry);
        let answer = ask(&mut registry, &mut effects);
        let jobs = effects.drain().filter_map(|effect| self.deliver(effect)).collect();
        (answer, jobs)
    }

    /// Carries out an effect, or gives it back as a job for the store.
    fn deliver(&self, effect: Effect) -> Option<Job> {
        match effect {
            Effect::Deliver { connection, outcome } => {
                let connection = lock(&self.roster).connections.get(&connection).cloned();
                if let Some(connection) = connection {
                    // A connection that just ended does not need it any more.
                    let _ = connection.push(Input::Session(outcome), 0);
                }
                None
            }
            Effect::Lookup { ticket, key } => Some(Job::Lookup(ticket, key)),
            Effect::Store { ticket, session } => Some(Job::Store(ticket, session)),
            Effect::Destroy { ticket, key } => Some(Job::Destroy(ticket, key)),
        }
    }
}

/// A place among the connections, held during the handshake.
pub(super) struct Arrival {
    hub: Arc<Hub>,
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let mut roster = lock(&self.hub.roster);
        roster.arriving -= 1;
        let empty = roster.is_empty();
        drop(roster);
        if empty {
            self.hub.emptied.notify(usize::MAX);
        }
    }
}

/// A place among the open connections. Given back also if the connection's task is cut short.
pub(super) struct Presence {
    hub: Arc<Hub>,
    connection: Connection,
}

impl Drop for Presence {
    fn drop(&mut self) {
        let id = self.connection.connection_id();
        // Only if the task was dropped before it could do so itself.
        if let Some(key) = self.connection.session_key() {
            self.hub.handle(id, Command::Leave(key));
        }
        self.connection.end(Ended::Aborted);
        let mut roster = lock(&self.hub.roster);
        let removed = roster.connections.remove(&id);
        let empty = roster.is_empty();
        drop(roster);
        drop(removed);
        if empty {
            self.hub.emptied.notify(usize::MAX);
        }
    }
}

/// Waits for something to be so; the event is notified when that may have changed.
async fn wait_until(changed: &Event, condition: impl Fn() -> bool) {
    loop {
        let listener = changed.listen();
        if condition() {
            return;
        }
        listener.await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
