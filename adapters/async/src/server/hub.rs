//! The host of a hub: a lock around it, its open connections, the store, and its timer.

mod groups;
#[cfg(feature = "inspect")]
mod inspected;
mod jobs;
mod nodes;
mod stats;
#[cfg(test)]
pub(super) mod tests;
mod timer;

use std::collections::BTreeMap;
use std::iter;
use std::net::SocketAddr;
use std::ops::Bound;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use event_listener::Event;
use futures_channel::oneshot;
use wwr::cluster::{Audience, ClusterAction, ClusterConfig};
use wwr::server::gate;
use wwr::server::{
    self, HubAction, HubConfig, Job, JobId, RecoveryCommand, RecoveryConfig, WaiterId,
};
use wwr::session::{Change, Command, ConnectionId, StoreFailed};
use wwr::{Actions, Instant, PreparedSignal, SessionKey, Valid};

use super::broadcast::Broadcast;
use super::connection::{Connection, Ended, Input};
use super::handle::Connections;
use super::refusals::Refusals;
use super::throttle::Throttle;
use nodes::{Node, NodeControl};

use crate::clock::Clock;
use crate::cluster::SharedEngine;
use crate::key::KeyGenerator;
use crate::runtime::{Runtime, Spawner};
use crate::store::SharedStore;

/// How many connections a walk over all of them takes from the table at a time.
const PORTION: usize = 256;

/// The shared part of a server, without its application.
pub(super) struct Hub {
    pub(super) clock: Clock,
    pub(super) keys: Box<dyn KeyGenerator>,
    address: OnceLock<SocketAddr>,
    runtime: Box<dyn Spawner>,
    store: SharedStore,
    /// `None`: no cluster.
    node: Option<Node>,
    /// For the log.
    store_timeout: Duration,
    /// For how long the handler of an idempotent request runs on when its connection has ended.
    pub(super) window: Duration,
    control: Mutex<Control>,
    /// Notified when the hub needs a call earlier than the timer is set for.
    earlier: Arc<Event>,
    /// Notified when the server has stopped.
    stopped: Event,
    pub(super) refusals: Refusals,
    /// Held while somebody adds up the counters of all connections.
    adding_up: Mutex<()>,
    /// The log throttle for keys of clients that no session has.
    pub(super) unknown_keys: Throttle,
    /// The log throttle for failures of the store.
    store_failures: Throttle,
    /// Whether sessions stay in memory for ever, and the log does not say so yet.
    grows: AtomicBool,
}

/// The state behind the lock.
#[derive(Debug)]
struct Control {
    machine: server::Hub,
    out: Actions<HubAction>,
    /// The table of open connections, ordered by their identifiers, so that a walk over all of them
    /// can pause.
    connections: BTreeMap<ConnectionId, Connection>,
    /// The callers that wait until a session is destroyed.
    waiters: BTreeMap<WaiterId, oneshot::Sender<Result<usize, StoreFailed>>>,
    /// `None`: no cluster.
    node: Option<Box<NodeControl>>,
    /// Whether the connections whose session is just closed by its key get a close frame of the application
    /// after that.
    closes_with_frame: bool,
    /// The jobs that the store is doing. Dropping the sender gives up the job.
    running: BTreeMap<JobId, oneshot::Sender<()>>,
    /// What the connections have counted that are not in the table any more.
    ended: stats::Ended,
    /// While the counters of all connections are added up: those that are not visited yet.
    unseen: Option<stats::Unseen>,
    /// The newest connection.
    last_id: ConnectionId,
    /// When the timer fires. `None` if it is off.
    timer_at: Option<Instant>,
    /// Whether the runtime has ended. Then the store does no job, and time does not pass.
    abandoned: bool,
}

impl Control {
    /// Returns whether nothing will happen any more.
    fn has_ended(&self) -> bool {
        self.abandoned || (self.machine.is_stopped() && !self.awaits_engine())
    }
}

impl Hub {
    pub(super) fn new<R: Runtime>(
        runtime: &R,
        keys: Box<dyn KeyGenerator>,
        store: SharedStore,
        config: &Valid<HubConfig>,
        recovery: &Valid<RecoveryConfig>,
        secret: [u8; 16],
        cluster: Option<(SharedEngine, Valid<ClusterConfig>)>,
    ) -> Arc<Self> {
        let (machine, node, control, queues) = match cluster {
            None => (server::Hub::with_recovery(config, recovery, secret), None, None, None),
            Some((engine, cluster)) => {
                let (control, queues) = NodeControl::new();
                let machine =
                    server::Hub::clustered_with_recovery(config, &cluster, recovery, secret);
                let node = Node::new(engine, &cluster, recovery.history.is_some());
                (machine, Some(node), Some(Box::new(control)), Some(queues))
            }
        };
        let grows = node.is_none() && config.expiry.is_none() && store.is_in_memory();
        let control = Control {
            machine,
            node: control,
            closes_with_frame: false,
            out: Actions::new(),
            connections: BTreeMap::new(),
            waiters: BTreeMap::new(),
            running: BTreeMap::new(),
            ended: stats::Ended::default(),
            unseen: None,
            last_id: ConnectionId(0),
            timer_at: None,
            abandoned: false,
        };
        let hub = Arc::new(Self {
            clock: runtime.clock(),
            keys,
            grows: AtomicBool::new(grows),
            address: OnceLock::new(),
            runtime: Box::new(runtime.clone()),
            store,
            node,
            store_timeout: config.store_timeout,
            window: recovery.outcomes.map_or(Duration::ZERO, |outcomes| outcomes.window),
            control: Mutex::new(control),
            earlier: Arc::new(Event::new()),
            stopped: Event::new(),
            refusals: Refusals::new(),
            adding_up: Mutex::new(()),
            unknown_keys: Throttle::default(),
            store_failures: Throttle::default(),
        });
        let running = timer::Running(Arc::downgrade(&hub));
        runtime.spawn(timer::run(runtime.timer(), running, hub.earlier.clone()));
        if let Some(queues) = queues {
            hub.run_node(queues);
        }
        hub
    }

    /// Returns the address of the listener, once there is one.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.address.get().copied()
    }

    pub(super) fn listens_on(&self, address: SocketAddr) {
        // Called once, by the server that owns this hub.
        let _ = self.address.set(address);
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn_boxed(Box::pin(task));
    }

    /// Calls the hub, and carries out its actions.
    ///
    /// All actions for connections are queued before the next call, so that a connection hears of
    /// changes in the order in which they happened.
    fn call<T>(
        self: &Arc<Self>,
        call: impl FnOnce(&mut server::Hub, Instant, &mut Actions<HubAction>) -> T,
    ) -> T {
        self.call_and(call, |_, answer| answer)
    }

    /// The same. `then` runs before anything is carried out.
    fn call_and<T, U>(
        self: &Arc<Self>,
        call: impl FnOnce(&mut server::Hub, Instant, &mut Actions<HubAction>) -> T,
        then: impl FnOnce(&mut Control, T) -> U,
    ) -> U {
        let mut control = self.lock();
        let Control { machine, out, .. } = &mut *control;
        let answer = call(machine, self.clock.now(), out);
        let answer = then(&mut control, answer);
        let jobs = self.carry_out(&mut control);
        if control.abandoned {
            control.waiters.clear();
            if let Some(node) = &mut control.node {
                node.abandon();
            }
        }
        self.set_timer(control);
        for (job, given_up) in jobs {
            let hub = self.clone();
            self.spawn(async move { hub.work(job, given_up).await });
        }
        answer
    }

    /// Has the timer fire earlier if the hub needs that, and ends the lock.
    fn set_timer(&self, mut control: MutexGuard<'_, Control>) {
        let next = control.machine.next_timeout();
        let is_earlier = next.is_some_and(|next| control.timer_at.is_none_or(|at| next < at));
        if is_earlier {
            control.timer_at = next;
        }
        // A node that retires ends after its hub has stopped.
        let has_ended = control.node.is_some() && control.has_ended();
        drop(control);
        if is_earlier {
            self.earlier.notify(1);
        }
        if has_ended {
            self.stopped.notify(usize::MAX);
        }
    }

    /// Carries out the actions of the hub, and returns the jobs for the store.
    fn carry_out(&self, control: &mut Control) -> Vec<(Job, oneshot::Receiver<()>)> {
        let mut jobs = Vec::new();
        while let Some(action) = control.out.pop() {
            match action {
                HubAction::Deliver { to, mut outcome } => {
                    if let Change::ClosedByKey { disconnect } = &mut outcome.change {
                        *disconnect &= !control.closes_with_frame;
                    }
                    if let Some(connection) = control.connections.get(&to) {
                        // A connection that has just ended does not need it any more.
                        let _ = connection.push(Input::Session(outcome), 0);
                    }
                }
                HubAction::Recover { to, news } => {
                    if let Some(connection) = control.connections.get(&to) {
                        // As above.
                        let _ = connection.push(Input::Recovery(Box::new(news)), 0);
                    }
                }
                HubAction::ShutDown { to, deadline, idle } => {
                    if let Some(connection) = control.connections.get(&to) {
                        connection.shut_down_by(deadline, idle);
                    }
                }
                HubAction::Close { to } => {
                    if let Some(connection) = control.connections.get(&to) {
                        connection.close_by(Input::Close);
                    }
                }
                HubAction::Abort { to } => {
                    if let Some(connection) = control.connections.get(&to) {
                        connection.abort();
                    }
                }
                HubAction::Store(job) => {
                    let (running, given_up) = oneshot::channel();
                    control.running.insert(job.id, running);
                    jobs.push((job, given_up));
                }
                HubAction::StoreTimedOut { job } => {
                    control.running.remove(&job);
                }
                HubAction::MoveAway { to } => {
                    if let Some(connection) = control.connections.get(&to) {
                        connection.close_by(Input::MoveAway);
                    }
                }
                HubAction::Cluster(action) => {
                    if let ClusterAction::Signal { to, signal } = &*action {
                        if let Some(connection) = control.connections.get(to) {
                            // The application may be on another node: one that refuses it is counted here only.
                            let _ = connection.send_prepared(signal, None);
                        }
                    } else if let Some(node) = &mut control.node {
                        node.carry_out(*action);
                    }
                }
                HubAction::ExpirySkipped => tracing::warn!(
                    "no sessions expire in this round: the session store could not note that one of \
                     them is in use"
                ),
                HubAction::Done { waiter, told, result } => {
                    if let Some(waiting) = control.waiters.remove(&waiter) {
                        // The caller may have dropped its future.
                        let _ = waiting.send(result.map(|()| told));
                    }
                }
                HubAction::Stopped => {
                    let late = control.connections.len();
                    if late > 0 {
                        tracing::warn!(
                            connections = late,
                            "the shutdown has ended, but some connections did not end in time"
                        );
                    }
                    self.stopped.notify(usize::MAX);
                }
            }
        }
        control.closes_with_frame = false;
        jobs
    }

    /// Ends everything that callers wait for: the runtime has ended.
    fn abandon(&self) {
        let mut control = self.lock();
        control.abandoned = true;
        control.waiters.clear();
        control.running.clear();
        if let Some(node) = &mut control.node {
            node.abandon();
        }
        drop(control);
        self.stopped.notify(usize::MAX);
    }

    fn lock(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connections.
impl Hub {
    /// Reserves room for another connection.
    pub(super) fn admit(self: &Arc<Self>) -> Result<Admission, gate::Refusal> {
        let id = self.lock().machine.admit(self.clock.now())?;
        Ok(Admission { hub: self.clone(), id })
    }

    /// Opens a connection, until the guard is dropped.
    pub(super) fn open(admission: Admission, connection: Connection) -> OpenGuard {
        let Admission { hub, id } = &admission;
        hub.call_and(
            |machine, now, out| machine.opened(now, *id, out),
            |control, ()| {
                control.connections.insert(*id, connection.clone());
                control.last_id = control.last_id.max(*id);
            },
        );
        OpenGuard { _admission: admission, connection }
    }

    /// Records that no handler runs any more on a connection that was told about the shutdown.
    pub(super) fn drained(self: &Arc<Self>, id: ConnectionId) {
        self.call(|machine, now, out| machine.drained(now, id, out));
    }

    pub(super) fn connections(&self) -> Vec<Connection> {
        self.lock().connections.values().cloned().collect()
    }

    /// Walks over the open connections. It never locks out other tasks for long, and does not copy
    /// the table: connections that come or go meanwhile may be missed, all others are visited once.
    pub(super) fn walk(&self) -> impl Iterator<Item = Connection> {
        let newest = self.lock().last_id;
        let mut seen = Bound::Unbounded;
        let portions = iter::from_fn(move || {
            let control = self.lock();
            let unseen = control.connections.range((seen, Bound::Unbounded));
            let unseen = unseen.take_while(|(id, _)| **id <= newest).take(PORTION);
            let portion: Vec<_> = unseen.map(|(_, connection)| connection.clone()).collect();
            drop(control);
            seen = Bound::Excluded(portion.last()?.connection_id());
            Some(portion)
        });
        portions.flatten()
    }

    pub(super) fn connection_count(&self) -> usize {
        self.lock().machine.connection_count()
    }
}

/// Sessions.
impl Hub {
    /// Passes a connection's command to the hub.
    pub(super) fn handle(self: &Arc<Self>, from: ConnectionId, command: Command) {
        self.call(|machine, now, out| machine.handle(now, from, command, out));
    }

    /// Passes a connection's command about histories and outcomes to the hub.
    pub(super) fn recover(self: &Arc<Self>, from: ConnectionId, command: RecoveryCommand) {
        self.call(|machine, now, out| machine.recover(now, from, command, out));
    }

    /// Sends a signal to all connections of a session, those that come back included.
    pub(super) fn signal_session(
        self: &Arc<Self>,
        key: &SessionKey,
        signal: &PreparedSignal,
    ) -> Broadcast {
        if let Some(told) = self.append(key, signal) {
            return told;
        }
        let forwarded = self.forward(|| Audience::Session(key.clone()), signal, None);
        self.call_and(
            |machine, now, out| machine.signal_session(now, key, signal, out),
            |control, told| {
                let mut result =
                    Broadcast { sent: told.following, forwarded, ..Broadcast::default() };
                let others = told.others.iter().filter_map(|id| control.connections.get(id));
                for connection in others {
                    // Under the lock: it stays behind the news that the connection holds the session.
                    let sent = connection.send_prepared(signal, None);
                    result.count(connection.clone(), sent);
                }
                result
            },
        )
    }

    pub(super) fn active_sessions(&self) -> usize {
        self.lock().machine.active_sessions()
    }

    pub(super) fn session_connections(&self, key: &SessionKey) -> Vec<Connection> {
        let control = self.lock();
        let ids = control.machine.session_connections(key);
        ids.filter_map(|id| control.connections.get(&id).cloned()).collect()
    }

    /// Closes a session for all its connections, and waits until it is destroyed. Returns how many
    /// connections were told.
    pub(super) async fn close_session(
        self: &Arc<Self>,
        key: SessionKey,
        connections: Connections,
    ) -> Result<usize, StoreFailed> {
        let (done, destroyed) = oneshot::channel();
        let disconnect = match connections {
            Connections::Keep => false,
            Connections::Close => true,
            // Other nodes do not know the frame: connections there are closed as usual.
            Connections::CloseWith(_) => self.node.is_some(),
        };
        let told = self.call_and(
            |machine, now, out| machine.close_session(now, key, disconnect, out),
            |control, waiter| {
                control.waiters.insert(waiter, done);
                let Connections::CloseWith(_) = connections else { return Vec::new() };
                control.closes_with_frame = true;
                let told = control.out.iter().filter_map(|action| match action {
                    HubAction::Deliver { to, .. } => control.connections.get(to).cloned(),
                    _ => None,
                });
                told.collect()
            },
        );
        if let Connections::CloseWith(frame) = connections {
            // They were told about the end of their session.
            for connection in told {
                connection.close_by(Input::CloseWith(frame.clone()));
            }
        }
        destroyed.await.unwrap_or(Err(StoreFailed))
    }
}

/// Shutdown.
impl Hub {
    pub(super) fn is_shutting_down(&self) -> bool {
        !self.lock().machine.is_serving()
    }

    /// Shuts the server down, and waits until that has ended.
    pub(super) async fn shut_down(self: &Arc<Self>, within: Duration) {
        self.call(|machine, now, out| machine.shut_down(now, within, out));
        self.stops().await;
    }

    /// Waits until the server has stopped, or its runtime has ended.
    pub(super) async fn stops(&self) {
        loop {
            let listener = self.stopped.listen();
            if self.lock().has_ended() {
                return;
            }
            listener.await;
        }
    }
}

impl Drop for Hub {
    /// Stops the timer.
    fn drop(&mut self) {
        self.earlier.notify(usize::MAX);
    }
}

/// A permit for a connection, from before its handshake to its end. The connection leaves the hub
/// when this is dropped, even if its task is cancelled.
pub(super) struct Admission {
    hub: Arc<Hub>,
    id: ConnectionId,
}

impl Admission {
    pub(super) const fn id(&self) -> ConnectionId {
        self.id
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let id = self.id;
        let removed = self.hub.call_and(
            |machine, now, out| machine.left(now, id, out),
            |control, ()| {
                let removed = control.connections.remove(&id);
                if let Some(connection) = &removed {
                    control.count_ended(id, connection);
                }
                removed
            },
        );
        drop(removed);
    }
}

/// Keeps a connection in the table of open ones.
pub(super) struct OpenGuard {
    /// Dropped last.
    _admission: Admission,
    connection: Connection,
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        // Takes effect only if the task was dropped before it could do this itself.
        self.connection.end(Ended::Aborted, Vec::new());
        self.connection.counts().end();
    }
}
