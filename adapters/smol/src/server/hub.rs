//! The host of a hub: a lock around it, the connections that it speaks of, the store, and its timer.

mod jobs;
#[cfg(test)]
mod tests;
mod timer;

use std::collections::{BTreeMap, HashMap};
use std::iter;
use std::net::SocketAddr;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use event_listener::Event;
use futures_channel::oneshot;
use wwr::server::gate;
use wwr::server::{self, HubAction, HubConfig, Job, JobId, WaiterId};
use wwr::session::{Command, ConnectionId, StoreFailed};
use wwr::{Actions, Instant, SessionKey, Valid};

use super::connection::{Connection, Ended, Input};
use super::handle::Connections;
use super::throttle::Throttle;

use crate::clock::Clock;
use crate::executor::Spawn;
use crate::key::KeyGenerator;
use crate::store::SharedStore;

/// How many connections are looked up at a time by those who go through all of them.
const PORTION: usize = 256;

/// The shared part of a server, without its application.
pub(super) struct Hub {
    pub(super) clock: Clock,
    pub(super) keys: Box<dyn KeyGenerator>,
    address: OnceLock<SocketAddr>,
    executor: Box<dyn Spawn>,
    store: SharedStore,
    /// For the log.
    store_timeout: Duration,
    control: Mutex<Control>,
    /// Notified when the hub wants to be called earlier than the timer was set for.
    earlier: Arc<Event>,
    /// Notified when the server has stopped.
    stopped: Event,
    /// Keys of clients that no session has.
    pub(super) unknown_keys: Throttle,
    /// Failures of the store.
    store_failures: Throttle,
}

/// What is behind the lock.
#[derive(Debug)]
struct Control {
    machine: server::Hub,
    out: Actions<HubAction>,
    /// The open connections, in the order of their identifiers, so that whoever goes through all of
    /// them can stop in between.
    connections: BTreeMap<ConnectionId, Connection>,
    /// The callers that wait until a session is destroyed.
    waiters: HashMap<WaiterId, oneshot::Sender<Result<usize, StoreFailed>>>,
    /// What the store is doing. A job whose sender is dropped gives up.
    running: HashMap<JobId, oneshot::Sender<()>>,
    /// The newest connection.
    last_id: ConnectionId,
    /// When the timer calls; never, if `None`.
    timer_at: Option<Instant>,
}

impl Hub {
    pub(super) fn new(
        executor: Box<dyn Spawn>,
        keys: Box<dyn KeyGenerator>,
        store: SharedStore,
        config: &Valid<HubConfig>,
    ) -> Arc<Self> {
        let control = Control {
            machine: server::Hub::new(config),
            out: Actions::new(),
            connections: BTreeMap::new(),
            waiters: HashMap::new(),
            running: HashMap::new(),
            last_id: ConnectionId(0),
            timer_at: None,
        };
        let hub = Arc::new(Self {
            clock: Clock::new(),
            keys,
            address: OnceLock::new(),
            executor,
            store,
            store_timeout: config.store_timeout,
            control: Mutex::new(control),
            earlier: Arc::new(Event::new()),
            stopped: Event::new(),
            unknown_keys: Throttle::default(),
            store_failures: Throttle::default(),
        });
        hub.spawn(timer::run(Arc::downgrade(&hub), hub.earlier.clone()));
        hub
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

    /// Calls the hub, and carries out what it wants.
    ///
    /// All that is for connections is queued before anybody else can call, so that a connection hears
    /// of changes in the order in which they happened.
    fn call<T>(
        self: &Arc<Self>,
        call: impl FnOnce(&mut server::Hub, Instant, &mut Actions<HubAction>) -> T,
    ) -> T {
        self.call_and(call, |_, answer| answer)
    }

    /// The same; `then` sees to it before anything is carried out.
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
        let next = control.machine.next_timeout();
        let is_earlier = next.is_some_and(|next| control.timer_at.is_none_or(|at| next < at));
        if is_earlier {
            control.timer_at = next;
        }
        drop(control);
        if is_earlier {
            self.earlier.notify(1);
        }
        for (job, given_up) in jobs {
            let hub = self.clone();
            self.spawn(async move { hub.work(job, given_up).await });
        }
        answer
    }

    /// Does what the hub wants; returns what is for the store.
    fn carry_out(&self, control: &mut Control) -> Vec<(Job, oneshot::Receiver<()>)> {
        let mut jobs = Vec::new();
        while let Some(action) = control.out.pop() {
            match action {
                HubAction::Deliver { to, outcome } => {
                    if let Some(connection) = control.connections.get(&to) {
                        // A connection that just ended does not need it any more.
                        let _ = connection.push(Input::Session(outcome), 0);
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
                HubAction::ExpirySkipped => tracing::warn!(
                    "no sessions expire in this round: the session store could not note that one of \
                     them is in use"
                ),
                HubAction::Done { waiter, told, result } => {
                    if let Some(waiting) = control.waiters.remove(&waiter) {
                        // The caller may have lost interest.
                        let _ = waiting.send(result.map(|()| told));
                    }
                }
                HubAction::Stopped => {
                    let late = control.connections.len();
                    if late > 0 {
                        tracing::warn!(
                            connections = late,
                            "the shutdown is over, though connections did not end in time"
                        );
                    }
                    self.stopped.notify(usize::MAX);
                }
            }
        }
        jobs
    }

    fn lock(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connections.
impl Hub {
    /// Reserves room for one more connection.
    pub(super) fn admit(self: &Arc<Self>) -> Result<Admission, gate::Refusal> {
        let id = self.lock().machine.admit(self.clock.now())?;
        Ok(Admission { hub: self.clone(), id })
    }

    /// A connection is open, until what this returns is dropped.
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

    /// Nothing runs on a connection that was told that the server shuts down.
    pub(super) fn drained(self: &Arc<Self>, id: ConnectionId) {
        self.call(|machine, now, out| machine.drained(now, id, out));
    }

    pub(super) fn connections(&self) -> Vec<Connection> {
        self.lock().connections.values().cloned().collect()
    }

    /// The open connections one after another. Nobody has to wait until all were seen, nor are all
    /// copied: connections that come or go meanwhile may be left out, all others are seen once.
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
    /// Hands a connection's command to the hub.
    pub(super) fn handle(self: &Arc<Self>, from: ConnectionId, command: Command) {
        self.call(|machine, now, out| machine.handle(now, from, command, out));
    }

    pub(super) fn active_sessions(&self) -> usize {
        self.lock().machine.active_sessions()
    }

    pub(super) fn session_connections(&self, key: &SessionKey) -> Vec<Connection> {
        let control = self.lock();
        let ids = control.machine.session_connections(key);
        ids.filter_map(|id| control.connections.get(&id).cloned()).collect()
    }

    /// Closes a session everywhere, and waits until it is destroyed; returns how many connections were
    /// told.
    pub(super) async fn close_session(
        self: &Arc<Self>,
        key: SessionKey,
        connections: Connections,
    ) -> Result<usize, StoreFailed> {
        let (done, destroyed) = oneshot::channel();
        let disconnect = connections == Connections::Close;
        let told = self.call_and(
            |machine, now, out| machine.close_session(now, key, disconnect, out),
            |control, waiter| {
                control.waiters.insert(waiter, done);
                let Connections::CloseWith(_) = connections else { return Vec::new() };
                let told = control.out.iter().filter_map(|action| match action {
                    HubAction::Deliver { to, .. } => control.connections.get(to).cloned(),
                    _ => None,
                });
                told.collect()
            },
        );
        if let Connections::CloseWith(frame) = connections {
            // They have been told of their session.
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

    /// Waits until the server has stopped.
    pub(super) async fn stops(&self) {
        loop {
            let listener = self.stopped.listen();
            if self.lock().machine.is_stopped() {
                return;
            }
            listener.await;
        }
    }
}

impl Drop for Hub {
    /// The timer is not needed any more.
    fn drop(&mut self) {
        self.earlier.notify(usize::MAX);
    }
}

/// Room for a connection, from before its handshake to its end. It has left when this is dropped, also
/// if its task is cut short.
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
            |control, ()| control.connections.remove(&id),
        );
        drop(removed);
    }
}

/// Holds a connection among the open ones.
pub(super) struct OpenGuard {
    /// Dropped last.
    _admission: Admission,
    connection: Connection,
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        // Only if the task was dropped before it could do so itself.
        self.connection.end(Ended::Aborted);
    }
}
