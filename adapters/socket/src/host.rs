//! A server with all its sockets on one thread.

mod sockets;
#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;
use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use wwr::server::gate::{LogThrottle, Refusal};
use wwr::server::{
    Action, Connection, Hub, HubAction, JobId, Misuse, RequestError, RequestId, StoreAnswer,
    WaiterId, Work,
};
use wwr::session::StoreFailed;
use wwr::{
    Actions, Instant, InvalidConfig, Name, Payload, PreparedSignal, SessionInfo, SessionKey,
    UnixTime,
};

use crate::server::{
    Control, Disposition, Event, HandshakeOptions, Server, ServerConfig, ServerSocket, SocketId,
};
use crate::store::MemoryStore;
use sockets::{Place, Sockets};

/// A server with all its sockets on one thread: bytes in, events out; the loop around it owns sockets, clock
/// and random source.
///
/// ```text
/// wait for readiness, at most until next_timeout(), and not at all if has_work()
/// for each socket that is ready
///     accept -> accepted(..), or accept_failed(..);  read -> received(.., bytes), or end_of_input(..), or closed(..)
/// if next_timeout() has passed: handle_timeout(now)
/// while let Some(event) = poll_event(now)      the application: reply, signal, ..; sockets take turns
/// while let Some(id) = poll_output()
///     write output(id), tell sent(.., bytes);  look at disposition(id) and wants_input(id)
/// ```
///
/// A socket whose output was not [accepted](Self::sent) is not named again by
/// [`poll_output`](Self::poll_output) for that: write when the system says that it is ready. One that was not to be
/// read for a while is named when it is.
///
/// Sessions are in memory, unless the store is [elsewhere](Self::with_external_store). They stay there until they
/// are closed, unless the settings have an [expiry](wwr::server::HubConfig::expiry). An application that
/// answers a request later keeps its [`SocketId`] and [`RequestId`]; until then, messages behind the request
/// wait (as many handlers run at once on a connection as its concurrency says).
///
/// ```
/// use wwr::{Instant, UnixTime};
/// use wwr_socket::host::{Host, HostEvent};
/// use wwr_socket::server::{Event, ServerConfig};
///
/// let now = Instant::EPOCH;
/// let mut host = Host::new(ServerConfig::default(), now, UnixTime::from_seconds(1_800_000_000))?;
/// let (id, _) = host.accepted(now, "192.0.2.1".parse().unwrap());
/// host.received(now, id, b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n");
/// let event = host.poll_event(now);
/// assert!(matches!(event, Some(HostEvent::Socket { event: Event::Refused(_), .. })));
/// assert_eq!(host.poll_output(), Some(id));
/// assert!(host.output(id).starts_with(b"HTTP/1.1 426 Upgrade Required\r\n"));
/// # Ok::<(), wwr::InvalidConfig>(())
/// ```
pub struct Host {
    server: Server,
    sockets: Sockets,
    /// Sockets with input to handle.
    ready: VecDeque<SocketId>,
    /// What the loop has to do something for.
    dirty: VecDeque<SocketId>,
    events: VecDeque<HostEvent>,
    /// Whether a socket that is ready was not looked at after a call.
    is_unsettled: bool,
    store: Option<MemoryStore>,
    /// Whether the application was told that its sessions stay for ever.
    told_of_growth: bool,
    not_accepted: LogThrottle,
    /// What the wall clock has shown when the monotonic one did.
    wall_clock: (Instant, UnixTime),
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum HostEvent {
    /// On a socket.
    Socket {
        /// The socket.
        id: SocketId,
        /// What happened.
        event: Event,
    },
    /// Work for a session store that is [elsewhere](Host::with_external_store): call [`Host::answered`].
    Store {
        /// For the answer.
        job: JobId,
        /// What to do.
        work: Work,
    },
    /// The store did not answer in time: give up the job, and log it.
    StoreTimedOut {
        /// The job.
        job: JobId,
    },
    /// No sessions expire in this round, because the store failed. For the log.
    ExpirySkipped,
    /// The first session is in the memory of the host, and sessions stay there until they are closed or the
    /// host ends. For the log, once: set `hub.expiry`, so that unused ones are removed.
    SessionsNeverExpire,
    /// The system had no room for another socket: see [`Host::accept_failed`]. For the log, at most once a
    /// second.
    CannotAccept {
        /// How many attempts have failed since this was told.
        attempts: u64,
    },
    /// What [`Host::close_session`] has started has ended.
    SessionClosed {
        /// What that call has returned.
        waiter: WaiterId,
        /// How many connections were told that the session is closed.
        told: usize,
        /// Whether the session is destroyed.
        result: Result<(), StoreFailed>,
    },
    /// The shutdown has ended. Drop the host, and all sockets.
    Stopped,
}

/// Why a signal is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignalError {
    /// The connection is closed, or its client does not read such a signal.
    #[error(transparent)]
    Misuse(Misuse),
    /// The client does not read what it was sent, and too much waits already.
    #[error("the client reads too slowly, and too much waits for it (limits.max_write_backlog)")]
    TooSlow,
}

/// How many members of a group got a signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupSignal {
    /// It was queued for so many.
    pub sent: usize,
    /// So many read too slowly.
    pub too_slow: usize,
    /// So many cannot read it, or have gone.
    pub refused: usize,
}

/// Sockets and time.
impl Host {
    /// Makes a host without sockets. `unix_now` is what the wall clock shows at `now`; see
    /// [`set_wall_clock`](Self::set_wall_clock).
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`] names the setting that is wrong, and what it may be.
    pub fn new(
        config: ServerConfig,
        now: Instant,
        unix_now: UnixTime,
    ) -> Result<Self, InvalidConfig> {
        let sockets = Sockets::new(config.limits.max_handshakes);
        Ok(Self {
            server: Server::new(config)?,
            sockets,
            ready: VecDeque::new(),
            dirty: VecDeque::new(),
            events: VecDeque::new(),
            is_unsettled: false,
            store: Some(MemoryStore::default()),
            told_of_growth: false,
            not_accepted: LogThrottle::default(),
            wall_clock: (now, unix_now),
        })
    }

    /// Hands work for the session store out, by [`HostEvent::Store`].
    #[must_use]
    pub fn with_external_store(mut self) -> Self {
        self.store = None;
        self
    }

    /// Records what the wall clock shows now: when it was set, or ran otherwise than the monotonic one.
    pub const fn set_wall_clock(&mut self, now: Instant, unix_now: UnixTime) {
        self.wall_clock = (now, unix_now);
    }

    /// Records a socket that was accepted from this address; use the loopback address for sockets that have
    /// none. Returns a socket that has to make room for it, if there is one: it is closed by
    /// [`disposition`](Self::disposition), as all others.
    pub fn accepted(&mut self, now: Instant, from: IpAddr) -> (SocketId, Option<SocketId>) {
        let server = &self.server;
        let (id, evicted) = self.sockets.add(from, |id| ServerSocket::new(id, from, now, server));
        if let Some(evicted) = evicted {
            self.evict(now, evicted);
        }
        self.settle(id);
        (id, evicted)
    }

    /// Records that the system has no room for another socket: the process has no free file descriptors, or
    /// there is no memory. Some of the sockets on which no WebSocket was opened yet make room, in the order of
    /// [`HandshakeSlots`](wwr::server::gate::HandshakeSlots); they are closed by
    /// [`disposition`](Self::disposition). Returns when to accept again, and whether sockets make room: if not,
    /// a loop that keeps a file descriptor in reserve may accept with it what waits, only to close it.
    pub fn accept_failed(&mut self, now: Instant) -> (Instant, bool) {
        if let Some(attempts) = self.not_accepted.count(now) {
            self.events.push_back(HostEvent::CannotAccept { attempts });
        }
        let (evicted, pause) = self.sockets.evict_some();
        let makes_room = !evicted.is_empty();
        for id in evicted {
            self.evict(now, id);
        }
        (now + pause, makes_room)
    }

    /// Takes bytes of a client.
    #[inline]
    pub fn received(&mut self, now: Instant, id: SocketId, bytes: &[u8]) {
        let Some(place) = self.sockets.get(id) else { return };
        place.socket.received(now, bytes, &mut self.server);
        self.make_ready(id);
    }

    /// Takes the end of what a client sends: reading has returned zero bytes. What came before is handled
    /// first.
    pub fn end_of_input(&mut self, id: SocketId) {
        if let Some(place) = self.sockets.get(id) {
            place.socket.end_of_input();
            self.make_ready(id);
        }
    }

    /// Records that a socket is closed: by [`disposition`](Self::disposition), or by an error. Forgets it.
    pub fn closed(&mut self, now: Instant, id: SocketId) {
        if let Some(mut place) = self.sockets.remove(id) {
            place.socket.closed(now, &mut self.server);
        }
    }

    /// Returns the next thing that happened, and handles what was received up to it. Handle it, and call
    /// this until it returns `None`.
    pub fn poll_event(&mut self, now: Instant) -> Option<HostEvent> {
        loop {
            self.route(now);
            // In this order: the last event of all is that the server has stopped.
            if let Some((id, event)) = self.server.poll_event() {
                self.make_ready(id);
                return Some(HostEvent::Socket { id, event });
            }
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let &id = self.ready.front()?;
            let waits = match self.sockets.get(id) {
                Some(place) => place.socket.poll(now, &mut self.server),
                None => false,
            };
            self.is_unsettled |= waits;
            self.ready.pop_front();
            if waits {
                // The others have their turn before the next event of this one.
                self.ready.push_back(id);
            } else {
                if let Some(place) = self.sockets.get(id) {
                    place.is_ready = false;
                }
                self.settle(id);
            }
        }
    }

    /// Returns whether there is something to do before the loop waits: an event, input to handle, output.
    /// [`closed`](Self::closed) may cause an event as well.
    pub fn has_work(&self) -> bool {
        !self.events.is_empty()
            || !self.ready.is_empty()
            || !self.dirty.is_empty()
            || self.server.has_work()
    }

    /// Returns the next socket for which something is to be done: write its [`output`](Self::output), do
    /// what its [`disposition`](Self::disposition) says, read it [again](Self::wants_input).
    pub fn poll_output(&mut self) -> Option<SocketId> {
        if core::mem::take(&mut self.is_unsettled) {
            // Events were left.
            for index in 0..self.ready.len() {
                self.settle(self.ready[index]);
            }
        }
        loop {
            let id = self.dirty.pop_front()?;
            if let Some(place) = self.sockets.get(id) {
                place.is_dirty = false;
                return Some(id);
            }
        }
    }

    /// Returns what to send next on a socket.
    pub fn output(&self, id: SocketId) -> &[u8] {
        self.sockets.find(id).map_or(&[], |place| place.socket.output())
    }

    /// Records that the socket has accepted so many bytes of the output. Call it after each write, with 0 if
    /// the socket accepts nothing now: then write again when it is ready.
    pub fn sent(&mut self, now: Instant, id: SocketId, bytes: usize) {
        let Some(place) = self.sockets.get(id) else { return };
        let was_writable = place.socket.is_writable();
        place.socket.sent(now, bytes, &mut self.server);
        // One that takes nothing is not read. It is named when it is to be read again.
        place.is_read &= place.socket.wants_input();
        if !was_writable && place.socket.is_writable() {
            self.make_ready(id);
        }
        self.sockets.schedule(id);
    }

    /// Returns what has to be done with a socket, once its output is sent.
    pub fn disposition(&self, id: SocketId) -> Disposition {
        self.sockets.find(id).map_or(Disposition::Close, |place| place.socket.disposition())
    }

    /// Returns whether to read a socket.
    pub fn wants_input(&self, id: SocketId) -> bool {
        self.sockets.find(id).is_some_and(|place| place.socket.wants_input())
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout).
    pub fn next_timeout(&self) -> Option<Instant> {
        [self.sockets.next_timeout(), self.server.next_timeout()].into_iter().flatten().min()
    }

    /// Does what is due. Hand over what the sockets have ready before this call: what was not received yet
    /// counts as not sent.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.server.next_timeout().is_some_and(|due| due <= now) {
            self.server.handle_timeout(now);
        }
        while let Some(id) = self.sockets.take_due(now) {
            self.with(id, |socket, server| socket.handle_timeout(now, server));
            self.make_ready(id);
        }
        self.route(now);
    }

    /// Returns how many sockets there are.
    pub fn socket_count(&self) -> usize {
        self.sockets.len()
    }

    /// Returns how many sessions are in the memory of the host.
    pub fn stored_sessions(&self) -> usize {
        self.store.as_ref().map_or(0, MemoryStore::len)
    }
}

/// What the application does.
impl Host {
    /// Decides on a request about which it was [asked](Event::Handshake). See [`ServerSocket::answer`].
    pub fn answer(
        &mut self,
        now: Instant,
        id: SocketId,
        decision: Result<HandshakeOptions, wwr::server::gate::Answer>,
    ) {
        self.with(id, |socket, server| socket.answer(now, decision, server));
        self.make_ready(id);
    }

    /// Answers a request.
    ///
    /// # Errors
    ///
    /// [`Misuse::UnknownHandler`] if it was answered before, [`Misuse::Closed`] if the connection has ended.
    #[inline]
    pub fn reply(
        &mut self,
        now: Instant,
        id: SocketId,
        request: RequestId,
        result: Result<Payload, RequestError>,
    ) -> Result<(), Misuse> {
        self.connection(now, id, |machine, out| machine.reply(request, result, out))
            .unwrap_or(Err(Misuse::Closed))
    }

    /// Sends a signal to a client.
    ///
    /// # Errors
    ///
    /// [`SignalError`]. Then nothing was sent.
    pub fn signal(
        &mut self,
        now: Instant,
        id: SocketId,
        name: &Name,
        payload: &Payload,
    ) -> Result<(), SignalError> {
        self.signal_by(now, id, |machine, out| machine.signal(name, payload, out))
    }

    /// Sends a signal to all members of a [group](Hub::join). It is encoded once.
    pub fn signal_group(
        &mut self,
        now: Instant,
        group: &str,
        signal: &PreparedSignal,
    ) -> GroupSignal {
        let mut result = GroupSignal::default();
        let mut after = wwr::session::ConnectionId(0);
        loop {
            let member = self.server.hub().members_after(group, after).next();
            let Some(member) = member else { return result };
            after = member;
            let sent = match self.server.socket_of(member) {
                Some(id) => {
                    self.signal_by(now, id, |machine, out| machine.signal_prepared(signal, out))
                }
                None => Err(SignalError::Misuse(Misuse::Closed)),
            };
            *match sent {
                Ok(()) => &mut result.sent,
                Err(SignalError::TooSlow) => &mut result.too_slow,
                Err(SignalError::Misuse(_)) => &mut result.refused,
            } += 1;
        }
    }

    fn signal_by(
        &mut self,
        now: Instant,
        id: SocketId,
        signal: impl FnOnce(&mut Connection, &mut Actions<Action>) -> Result<(), Misuse>,
    ) -> Result<(), SignalError> {
        let most = self.server.config().limits.max_write_backlog;
        if self.sockets.find(id).is_some_and(|place| place.socket.backlog() >= most) {
            return Err(SignalError::TooSlow);
        }
        self.connection(now, id, signal).unwrap_or(Err(Misuse::Closed)).map_err(SignalError::Misuse)
    }

    /// Creates a session for a connection, with 48 bytes of a random source for its key. The event
    /// [`Created`](wwr::server::SessionEvent::Created) follows; reply to the request only after that.
    ///
    /// # Errors
    ///
    /// [`Misuse`]; see [`Connection::create_session`].
    pub fn create_session(
        &mut self,
        now: Instant,
        id: SocketId,
        entropy: [u8; 48],
        info: SessionInfo,
    ) -> Result<wwr::server::CreationId, Misuse> {
        let unix_now = self.unix_now(now);
        self.connection(now, id, |machine, out| {
            machine.create_session(SessionKey::from_entropy(entropy), unix_now, info, out)
        })
        .unwrap_or(Err(Misuse::Closed))
    }

    /// Calls a connection, and does what it wants. `None` if it is not open. The whole interface of the
    /// [`Connection`] may be used, except for what it receives.
    #[inline]
    pub fn connection<T>(
        &mut self,
        now: Instant,
        id: SocketId,
        call: impl FnOnce(&mut Connection, &mut Actions<Action>) -> T,
    ) -> Option<T> {
        let place = self.sockets.get(id)?;
        let result = place.socket.connection(now, &mut self.server, call)?;
        // One whose input is being handled is looked at when that is done.
        if place.is_ready {
            self.is_unsettled = true;
        } else {
            self.make_ready(id);
            self.settle(id);
        }
        Some(result)
    }

    /// Returns a socket, for what it knows.
    pub fn socket(&self, id: SocketId) -> Option<&ServerSocket> {
        self.sockets.find(id).map(|place| &place.socket)
    }

    /// Returns the hub, for what it knows: numbers of connections and sessions, groups, counters.
    pub const fn hub(&self) -> &Hub {
        self.server.hub()
    }

    /// Puts a connection into a group. See [`Hub::join`]. `None` if it is not open.
    pub fn join(&mut self, id: SocketId, group: &str) -> Option<bool> {
        let connection = self.sockets.find(id)?.socket.connection_id()?;
        self.server.groups().join(connection, group).ok()
    }

    /// Takes a connection out of a group. Returns whether it was a member.
    pub fn leave(&mut self, id: SocketId, group: &str) -> bool {
        let connection = self.sockets.find(id).and_then(|place| place.socket.connection_id());
        connection.is_some_and(|connection| self.server.groups().leave(connection, group))
    }

    /// Closes a connection once its handlers have ended and their replies are sent.
    pub fn close(&mut self, now: Instant, id: SocketId) {
        self.connection(now, id, |machine, out| machine.close(now, out));
    }

    /// Closes a session for all its connections, and destroys it; with `disconnect`, also closes the
    /// connections. Ends with [`HostEvent::SessionClosed`].
    pub fn close_session(&mut self, now: Instant, key: SessionKey, disconnect: bool) -> WaiterId {
        let waiter = self.server.close_session(now, key, disconnect);
        self.route(now);
        waiter
    }

    /// Hands over the answer of an external store.
    pub fn answered(&mut self, now: Instant, job: JobId, answer: StoreAnswer) {
        self.server.answered(now, job, answer);
        self.route(now);
    }

    /// Shuts the server down (protocol §5.10). Requests that run may be answered `within` that time. Ends
    /// with [`HostEvent::Stopped`].
    pub fn shut_down(&mut self, now: Instant, within: Duration) {
        self.server.shut_down(now, within);
        self.route(now);
    }

    /// Drops a connection or a socket, whatever it is doing.
    pub fn abort(&mut self, now: Instant, id: SocketId) {
        self.with(id, |socket, server| socket.abort(now, server));
    }
}

/// The work between the machines.
impl Host {
    fn unix_now(&self, now: Instant) -> UnixTime {
        let (then, unix) = self.wall_clock;
        let passed = now.saturating_since(then);
        let seconds = i64::try_from(passed.as_secs()).unwrap_or(i64::MAX);
        UnixTime::from_seconds(unix.seconds().saturating_add(seconds))
    }

    /// Closes a socket for others.
    fn evict(&mut self, now: Instant, id: SocketId) {
        let event = Event::Refused(Refusal::Evicted);
        self.events.push_back(HostEvent::Socket { id, event });
        self.with(id, |socket, server| socket.abort(now, server));
    }

    /// Calls a socket, and looks what has become of it.
    fn with(&mut self, id: SocketId, call: impl FnOnce(&mut ServerSocket, &mut Server)) {
        if let Some(place) = self.sockets.get(id) {
            call(&mut place.socket, &mut self.server);
            self.settle(id);
        }
    }

    /// Lets the input of a socket be handled.
    #[inline]
    fn make_ready(&mut self, id: SocketId) {
        if let Some(place) = self.sockets.get(id)
            && !place.is_ready
        {
            place.is_ready = true;
            self.ready.push_back(id);
        }
    }

    /// Notes what has become of a socket after a call.
    #[inline]
    fn settle(&mut self, id: SocketId) {
        let Some(Place { socket, is_dirty, is_read, .. }) = self.sockets.get(id) else { return };
        let reads = socket.wants_input();
        let is_due = !socket.output().is_empty() && !socket.is_stalled()
            || socket.disposition() != Disposition::Keep
            || reads && !*is_read;
        *is_read = reads;
        if is_due && !*is_dirty {
            *is_dirty = true;
            self.dirty.push_back(id);
        }
        self.sockets.schedule(id);
    }

    /// Does what the hub wants.
    #[inline]
    fn route(&mut self, now: Instant) {
        while let Some(control) = self.server.poll_control() {
            let action = match control {
                Control::Socket(id, action) => {
                    self.with(id, |socket, server| socket.control(now, action, server));
                    // What waited for it may go on.
                    self.make_ready(id);
                    continue;
                }
                Control::Host(action) => action,
            };
            match action {
                HubAction::Store(job) => {
                    let unix_now = self.unix_now(now);
                    match &mut self.store {
                        Some(store) => {
                            if !self.told_of_growth
                                && matches!(job.work, Work::Create(_))
                                && self.server.config().hub.expiry.is_none()
                            {
                                self.told_of_growth = true;
                                self.events.push_back(HostEvent::SessionsNeverExpire);
                            }
                            let answer = store.carry_out(job.work, unix_now);
                            self.server.answered(now, job.id, answer);
                        }
                        None => {
                            let event = HostEvent::Store { job: job.id, work: job.work };
                            self.events.push_back(event);
                        }
                    }
                }
                HubAction::StoreTimedOut { job } => {
                    self.events.push_back(HostEvent::StoreTimedOut { job });
                }
                HubAction::ExpirySkipped => self.events.push_back(HostEvent::ExpirySkipped),
                HubAction::Done { waiter, told, result } => {
                    self.events.push_back(HostEvent::SessionClosed { waiter, told, result });
                }
                HubAction::Stopped => {
                    // Those that never became connections.
                    for id in self.sockets.ids() {
                        self.with(id, |socket, server| socket.abort(now, server));
                    }
                    self.events.push_back(HostEvent::Stopped);
                }
                HubAction::Deliver { .. }
                | HubAction::ShutDown { .. }
                | HubAction::Close { .. }
                | HubAction::MoveAway { .. }
                | HubAction::Abort { .. }
                // This hub is of no cluster.
                | HubAction::Cluster(_) => {}
            }
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("sockets", &self.sockets.len()).finish_non_exhaustive()
    }
}
