//! One socket of a server: HTTP, the WebSocket on it, and its connection.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::num::NonZeroU16;

use wwr::server::gate::{Accept, Answer, Refusal};
use wwr::server::{
    Action, CloseReason, Connection, Detection, HubAction, Misuse, Observed, RequestError,
    RequestId,
};
use wwr::session::ConnectionId;
use wwr::{Actions, Dialect, Instant, Name, Payload, Session};

use super::event::{Ended, Event, SocketId};
use super::http::{Asking, Http};
use super::{Endpoint, Limits, Server};
use crate::websocket::{Incoming, Role, WebSocket, WebSocketLimits};

/// One socket of a [`Server`]: received bytes in, bytes to send out.
///
/// * [`received`](Self::received) takes bytes, cut anywhere. Then call [`poll`](Self::poll), and again after
///   each event of this socket was handled, until it returns false.
/// * [`output`](Self::output) is what to send next; tell with [`sent`](Self::sent) how much was accepted.
/// * [`disposition`](Self::disposition) says when to close the socket. Then call [`closed`](Self::closed).
/// * [`handle_timeout`](Self::handle_timeout) is due at [`next_timeout`](Self::next_timeout).
///
/// Each call may cause [events](Server::poll_event) and [work for the hub](Server::poll_control).
/// [`Host`](crate::Host) is the loop around all of that.
pub struct ServerSocket {
    pub(super) id: SocketId,
    pub(super) from: IpAddr,
    pub(super) socket: WebSocket,
    pub(super) phase: Phase,
    /// Whether the client sends nothing more.
    end_of_input: bool,
}

pub(super) enum Phase {
    Http(Box<Http>),
    /// The application decides on a request.
    Asking(Box<Asking>),
    Detecting(Box<Detecting>),
    Open(Box<Open>),
    /// The server has sent a close frame, and waits for that of the client.
    Closing {
        id: ConnectionId,
        until: Instant,
    },
    /// Only output is left.
    Ending {
        id: Option<ConnectionId>,
        until: Instant,
        /// Whether the client may still send something, so that closing the socket at once could lose the
        /// last output (RFC 9112 section 9.6).
        lingers: bool,
    },
    Ended,
}

/// A WebSocket that is open, and whose client has not shown yet what it speaks.
pub(super) struct Detecting {
    id: ConnectionId,
    endpoint: usize,
    concurrency: Option<NonZeroU16>,
    arrived: Instant,
    until: Instant,
}

/// A connection.
pub(super) struct Open {
    id: ConnectionId,
    machine: Connection,
    /// The endpoint, if the client was presumed to be 1.x there.
    presumed: Option<usize>,
    /// Whether input waits until the machine or the client takes something.
    blocked: bool,
}

/// What has to be done with the socket itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Nothing: it stays open.
    Keep,
    /// Nothing more is sent: shut down the side that writes. What the client sends is dropped.
    ShutDownWrite,
    /// Close it, then call [`ServerSocket::closed`].
    Close,
}

/// What the application adds to the answer that opens a WebSocket.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HandshakeOptions {
    /// Headers of the answer, for example cookies.
    pub headers: Vec<(String, String)>,
    /// The sub-protocol to select, one of those that the client offers.
    pub sub_protocol: Option<String>,
    /// How many handlers may run at once on the connection, if not as many as the settings say.
    pub concurrency: Option<NonZeroU16>,
}

/// Bytes and time.
impl ServerSocket {
    /// Begins on a socket that was just accepted. `from` is the address of the client; for sockets without
    /// one, use the loopback address.
    pub fn new(id: SocketId, from: IpAddr, now: Instant, server: &Server) -> Self {
        let Limits { max_write_backlog: max_backlog, stall_timeout, .. } = server.limits;
        let limits = WebSocketLimits { max_message: 0, max_backlog, stall_timeout };
        Self {
            id,
            from: from.to_canonical(),
            socket: WebSocket::new(Role::Server, limits),
            phase: Phase::Http(Box::new(Http::new(now, &server.limits))),
            end_of_input: false,
        }
    }

    /// Takes bytes of the client.
    pub fn received(&mut self, now: Instant, bytes: &[u8], server: &mut Server) {
        match &mut self.phase {
            Phase::Ending { .. } | Phase::Ended => return,
            Phase::Http(http) => http.heard(),
            Phase::Open(open) => open.machine.handle_activity(now),
            Phase::Asking(_) | Phase::Detecting(_) | Phase::Closing { .. } => {}
        }
        self.socket.receive(bytes, &mut server.memory);
    }

    /// Takes the end of what the client sends: reading has returned zero bytes. What came before is handled
    /// first.
    pub const fn end_of_input(&mut self) {
        self.end_of_input = true;
    }

    /// Handles what was received, up to the next event. Returns whether there is more to handle: then handle
    /// the events of the server and call this again.
    pub fn poll(&mut self, now: Instant, server: &mut Server) -> bool {
        loop {
            if !server.events.is_empty() {
                return true;
            }
            let goes_on = match &mut self.phase {
                Phase::Http(_) => self.poll_http(now, server),
                Phase::Asking(_) => return false,
                Phase::Detecting(_) => self.poll_detecting(now, server),
                Phase::Open(_) => self.poll_open(now, server),
                Phase::Closing { .. } => self.poll_closing(server),
                Phase::Ending { .. } | Phase::Ended => false,
            };
            if !goes_on {
                return self.take_end(now, server);
            }
        }
    }

    /// Handles the end of input, if everything before it was.
    fn take_end(&mut self, now: Instant, server: &mut Server) -> bool {
        if !self.end_of_input {
            return false;
        }
        match &self.phase {
            Phase::Open(open) if open.blocked => {}
            Phase::Open(_) => self.disconnect(now, Ended::Lost, server),
            Phase::Http(_) => self.end(now, None, false, server),
            Phase::Detecting(detecting) => {
                let id = detecting.id;
                self.give_up(now, server);
                self.end(now, Some(id), false, server);
            }
            Phase::Closing { id, .. } => {
                let id = *id;
                self.end(now, Some(id), false, server);
            }
            Phase::Ending { lingers: true, .. } => self.finish(now, server),
            Phase::Asking(_) | Phase::Ending { .. } | Phase::Ended => {}
        }
        !server.events.is_empty()
    }

    /// Returns the bytes to send next.
    #[inline]
    pub fn output(&self) -> &[u8] {
        self.socket.output()
    }

    /// Records that the socket has accepted so many bytes of the output. Call it after each write, with 0 if
    /// the socket accepts nothing now.
    #[inline]
    pub fn sent(&mut self, now: Instant, bytes: usize, server: &mut Server) {
        let was_stalled = self.socket.is_stalled();
        let was_writable = self.socket.is_writable();
        self.socket.sent(now, bytes, &mut server.memory);
        let Phase::Open(open) = &mut self.phase else { return };
        if was_stalled && bytes > 0 {
            // The client's system takes what was sent.
            open.machine.handle_activity(now);
        }
        if !was_writable && self.socket.is_writable() {
            open.machine.handle_writable(true, &mut server.out);
            self.carry_out(now, server);
        }
    }

    /// Returns whether to read the socket. False while what was received before waits.
    pub fn wants_input(&self) -> bool {
        match &self.phase {
            Phase::Open(open) => {
                !open.blocked && open.machine.wants_input() && self.socket.is_writable()
            }
            Phase::Asking(_) => false,
            Phase::Http(_) | Phase::Detecting(_) => self.socket.is_writable(),
            Phase::Closing { .. } | Phase::Ending { .. } => true,
            Phase::Ended => false,
        }
    }

    /// Returns what has to be done with the socket.
    pub fn disposition(&self) -> Disposition {
        if matches!(self.phase, Phase::Ended) {
            return Disposition::Close;
        }
        if !self.output().is_empty() {
            return Disposition::Keep;
        }
        match &self.phase {
            Phase::Ending { lingers: true, .. } => Disposition::ShutDownWrite,
            Phase::Ending { lingers: false, .. } => Disposition::Close,
            Phase::Closing { .. } if self.socket.has_ended() => Disposition::Close,
            _ => Disposition::Keep,
        }
    }

    /// Records that the socket is closed, by this side or by an error. Everything of it ends.
    pub fn closed(&mut self, now: Instant, server: &mut Server) {
        if matches!(self.phase, Phase::Open(_)) {
            self.disconnect(now, Ended::Lost, server);
        }
        self.finish(now, server);
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout).
    #[inline]
    pub fn next_timeout(&self) -> Option<Instant> {
        let due = match &self.phase {
            Phase::Http(http) => Some(http.next_timeout()),
            Phase::Asking(asking) => Some(asking.until()),
            Phase::Detecting(detecting) => Some(detecting.until),
            Phase::Open(open) => open.machine.next_timeout(),
            Phase::Closing { until, .. } | Phase::Ending { until, .. } => Some(*until),
            Phase::Ended => return None,
        };
        match self.socket.next_timeout() {
            None => due,
            stalled => [due, stalled].into_iter().flatten().min(),
        }
    }

    /// Does what is due. Hand over what the socket has ready before this call: what was not received yet
    /// counts as not sent.
    pub fn handle_timeout(&mut self, now: Instant, server: &mut Server) {
        if self.socket.next_timeout().is_some_and(|due| due <= now) {
            if matches!(self.phase, Phase::Open(_)) {
                self.disconnect(now, Ended::Stalled, server);
            }
            return self.finish(now, server);
        }
        match &mut self.phase {
            Phase::Http(http) if http.next_timeout() <= now => {
                if let Some(refusal) = http.refusal_at(now) {
                    server.events.push_back((self.id, Event::Refused(refusal)));
                }
                self.finish(now, server);
            }
            Phase::Asking(asking) if asking.until() <= now => {
                let refusal = Refusal::HandshakeTimeout;
                server.events.push_back((self.id, Event::Refused(refusal)));
                self.finish(now, server);
            }
            Phase::Detecting(detecting) if detecting.until <= now => {
                let preflights = &mut server.endpoints[detecting.endpoint].preflights;
                let observed = preflights.silent(now, detecting.arrived, &self.from);
                self.open(now, observed, observed == Observed::Preflight, server);
            }
            Phase::Open(open) => {
                if open.blocked || !self.socket.is_writable() {
                    // What is not read does not count as silence.
                    open.machine.handle_activity(now);
                }
                open.machine.handle_timeout(now, &mut server.out);
                self.carry_out(now, server);
            }
            Phase::Closing { until, .. } | Phase::Ending { until, .. } if *until <= now => {
                self.finish(now, server);
            }
            _ => {}
        }
    }
}

/// What the application does.
impl ServerSocket {
    /// Decides on a request about which the application was [asked](Event::Handshake): opens the WebSocket,
    /// or sends an answer of the application. A refusal of the server stays one. Ignored if nothing was
    /// asked, if it was answered before, and if the handshake [has ended](Event::HandshakeEnded) meanwhile.
    ///
    /// An answer of 500 is sent in place of options that HTTP does not allow: headers of the handshake, or a
    /// sub-protocol that the client does not offer; and in place of an answer whose status is none of a last
    /// answer, such as 101. How long an answer is and whether it is the last on its socket does not come from its
    /// headers, except for `Connection: close`. Those of 204, 205 and 304 have no body.
    pub fn answer(
        &mut self,
        now: Instant,
        decision: Result<HandshakeOptions, Answer>,
        server: &mut Server,
    ) {
        self.answer_handshake(now, decision, server);
    }

    /// Calls the connection, and does what it wants. `None` if the WebSocket is not open, or closes. The
    /// whole interface of the [`Connection`] may be used, except for what it receives.
    pub fn connection<T>(
        &mut self,
        now: Instant,
        server: &mut Server,
        call: impl FnOnce(&mut Connection, &mut Actions<Action>) -> T,
    ) -> Option<T> {
        let Phase::Open(open) = &mut self.phase else { return None };
        let result = call(&mut open.machine, &mut server.out);
        self.carry_out(now, server);
        Some(result)
    }

    /// Answers a request.
    ///
    /// # Errors
    ///
    /// [`Misuse::UnknownHandler`] if it was answered before, [`Misuse::Closed`] if the connection has ended.
    pub fn reply(
        &mut self,
        now: Instant,
        request: RequestId,
        result: Result<Payload, RequestError>,
        server: &mut Server,
    ) -> Result<(), Misuse> {
        self.connection(now, server, |machine, out| machine.reply(request, result, out))
            .unwrap_or(Err(Misuse::Closed))
    }

    /// Sends a signal to the client. Do not send more while the socket [is not
    /// writable](Self::is_writable): it would wait in memory.
    ///
    /// # Errors
    ///
    /// See [`Connection::signal`].
    pub fn signal(
        &mut self,
        now: Instant,
        name: &Name,
        payload: &Payload,
        server: &mut Server,
    ) -> Result<(), Misuse> {
        self.connection(now, server, |machine, out| machine.signal(name, payload, out))
            .unwrap_or(Err(Misuse::Closed))
    }

    /// Drops the socket, whatever it is doing.
    pub fn abort(&mut self, now: Instant, server: &mut Server) {
        if matches!(self.phase, Phase::Open(_)) {
            self.disconnect(now, Ended::Aborted, server);
        }
        self.finish(now, server);
    }

    /// Hands over what the hub wants of the socket.
    pub fn control(&mut self, now: Instant, action: HubAction, server: &mut Server) {
        if let HubAction::Abort { .. } = action {
            return self.abort(now, server);
        }
        let writable = self.socket.is_writable();
        self.connection(now, server, |machine, out| match action {
            HubAction::Deliver { outcome, .. } => {
                machine.handle_writable(writable, out);
                machine.handle_session(now, outcome, out);
            }
            HubAction::ShutDown { deadline, idle, .. } => {
                machine.shut_down(now, deadline, idle, out);
            }
            HubAction::Close { .. } => machine.close(now, out),
            _ => {}
        });
    }

    /// Returns whether more may be sent: not while the client does not read what it was sent.
    pub fn is_writable(&self) -> bool {
        self.socket.is_writable()
    }

    /// Returns whether the socket did not accept everything in the last write.
    pub fn is_stalled(&self) -> bool {
        self.socket.is_stalled()
    }

    /// Returns how many bytes wait to be sent.
    pub fn backlog(&self) -> usize {
        self.socket.backlog()
    }

    /// Returns the connection of the hub, from the handshake to the end of the socket.
    pub fn connection_id(&self) -> Option<ConnectionId> {
        match &self.phase {
            Phase::Detecting(detecting) => Some(detecting.id),
            Phase::Open(open) => Some(open.id),
            Phase::Closing { id, .. } => Some(*id),
            Phase::Ending { id, .. } => *id,
            Phase::Http(_) | Phase::Asking(_) | Phase::Ended => None,
        }
    }

    /// Returns the session that the connection holds.
    pub fn session(&self) -> Option<&Session> {
        match &self.phase {
            Phase::Open(open) => open.machine.session(),
            _ => None,
        }
    }

    /// Returns what the client speaks. `None` unless the WebSocket is open.
    pub fn dialect(&self) -> Option<Dialect> {
        match &self.phase {
            Phase::Open(open) => Some(open.machine.dialect()),
            _ => None,
        }
    }

    /// Returns whether HTTP is spoken: no WebSocket was opened yet.
    pub const fn is_http(&self) -> bool {
        matches!(self.phase, Phase::Http(_) | Phase::Asking(_))
    }
}

/// The connection.
impl ServerSocket {
    /// Opens the WebSocket, after the answer that accepts it was queued.
    pub(super) fn upgraded(
        &mut self,
        now: Instant,
        id: ConnectionId,
        endpoint: usize,
        accept: &Accept,
        concurrency: Option<NonZeroU16>,
        server: &mut Server,
    ) {
        server.sockets.insert(id, self.id);
        let Endpoint { machine, preflights } = &mut server.endpoints[endpoint];
        let max_message = usize::try_from(machine.max_message_size).unwrap_or(usize::MAX);
        self.socket.set_max_message(max_message);
        let detection = match accept.observed() {
            Observed::Nothing if machine.protocol.tells_peers_apart() => {
                preflights.arrived(now, &self.from)
            }
            observed => Detection::Known(observed),
        };
        let (until, known) = match detection {
            Detection::Known(observed) => (now, Some(observed)),
            Detection::Wait { until } => (until, None),
        };
        let detecting = Detecting { id, endpoint, concurrency, arrived: now, until };
        self.phase = Phase::Detecting(Box::new(detecting));
        if let Some(observed) = known {
            self.open(now, observed, false, server);
        }
    }

    fn poll_detecting(&mut self, now: Instant, server: &mut Server) -> bool {
        let Phase::Detecting(detecting) = &self.phase else { return true };
        let Some(incoming) = self.socket.poll(&mut server.memory) else { return false };
        let preflights = &mut server.endpoints[detecting.endpoint].preflights;
        let observed = match &incoming {
            Incoming::Message(frame) | Incoming::Text(frame) => {
                preflights.spoke(now, &self.from, frame)
            }
            Incoming::Ping | Incoming::Pong => return true,
            Incoming::Closed(_) | Incoming::Violated(_) => {
                preflights.silent(now, detecting.arrived, &self.from)
            }
        };
        self.open(now, observed, false, server);
        self.take(now, incoming, server);
        true
    }

    /// Begins to serve a client of which this is known.
    fn open(&mut self, now: Instant, observed: Observed, presumed: bool, server: &mut Server) {
        let Phase::Detecting(detecting) = &self.phase else { return };
        let Detecting { id, endpoint, concurrency, .. } = **detecting;
        let settings = &server.endpoints[endpoint].machine;
        let machine = match concurrency {
            None => Connection::accept(settings, observed, now, &mut server.out),
            Some(concurrency) => {
                let settings = settings.clone().with_concurrency(concurrency);
                Connection::accept(&settings, observed, now, &mut server.out)
            }
        };
        let presumed = presumed.then_some(endpoint);
        self.phase = Phase::Open(Box::new(Open { id, machine, presumed, blocked: false }));
        server.events.push_back((self.id, Event::Connected));
        server.hub.opened(now, id, &mut server.control);
        self.carry_out(now, server);
    }

    #[inline]
    fn poll_open(&mut self, now: Instant, server: &mut Server) -> bool {
        let Phase::Open(open) = &mut self.phase else { return true };
        if !open.machine.wants_input() || !self.socket.is_writable() {
            open.blocked = self.socket.has_input() || self.end_of_input;
            return false;
        }
        open.blocked = false;
        match self.socket.poll(&mut server.memory) {
            None => false,
            Some(incoming) => {
                self.take(now, incoming, server);
                true
            }
        }
    }

    /// Hands what came to the machine.
    #[inline]
    fn take(&mut self, now: Instant, incoming: Incoming, server: &mut Server) {
        let Phase::Open(open) = &mut self.phase else { return };
        match incoming {
            Incoming::Message(frame) => open.machine.handle_message(now, frame, &mut server.out),
            Incoming::Text(frame) => open.machine.handle_text(now, frame, &mut server.out),
            Incoming::Ping | Incoming::Pong => open.machine.handle_activity(now),
            Incoming::Closed(frame) => {
                return self.disconnect(now, Ended::ByClient(frame), server);
            }
            Incoming::Violated(violation) => {
                return self.disconnect(now, Ended::Violated(violation), server);
            }
        }
        self.carry_out(now, server);
    }

    /// Carries out the actions of the machine.
    #[inline]
    fn carry_out(&mut self, now: Instant, server: &mut Server) {
        let Phase::Open(open) = &mut self.phase else { return };
        while let Some(action) = server.out.pop() {
            let event = match action {
                Action::Send(frame) => {
                    self.socket.send(&frame, &mut server.memory);
                    continue;
                }
                Action::Request(request) => Event::Request(request),
                Action::Signal(signal) => {
                    server.events.push_back((self.id, Event::Signal(signal.content)));
                    // The application takes events one by one: the next one is not there before this one.
                    let handled = open.machine.signal_handled(signal.id, &mut server.out);
                    debug_assert_eq!(handled, Ok(()));
                    continue;
                }
                Action::Session(command) => {
                    server.hub.handle(now, open.id, command, &mut server.control);
                    continue;
                }
                Action::Ping => {
                    self.socket.ping(&mut server.memory);
                    continue;
                }
                Action::PeerReads(_) => continue,
                Action::Learned(dialect) => {
                    if let Some(endpoint) = open.presumed.take() {
                        let preflights = &mut server.endpoints[endpoint].preflights;
                        preflights.turned_out_newer(now, &self.from);
                    }
                    Event::Learned(dialect)
                }
                Action::ReplyTooLarge { length, buffer } => Event::ReplyTooLarge { length, buffer },
                Action::Answered { id, outcome } => Event::Answered { id, outcome },
                Action::SessionEvent(event) => Event::Session(event),
                Action::Drained => {
                    server.hub.drained(now, open.id, &mut server.control);
                    continue;
                }
                Action::Close(reason) => return self.close(now, reason, server),
            };
            server.events.push_back((self.id, event));
        }
    }

    /// Closes the WebSocket because the machine says so. It is its last action.
    fn close(&mut self, now: Instant, reason: CloseReason, server: &mut Server) {
        let Phase::Open(open) = &self.phase else { return };
        let id = open.id;
        self.socket.close(&reason.frame(), &mut server.memory);
        server.hub.ended(id);
        server.events.push_back((self.id, Event::Disconnected(Ended::ByServer(reason))));
        self.phase = Phase::Closing { id, until: now + server.limits.close_timeout };
    }

    /// Ends the connection for the application, because of the client or the network.
    fn disconnect(&mut self, now: Instant, why: Ended, server: &mut Server) {
        let Phase::Open(open) = &mut self.phase else { return };
        let id = open.id;
        server.hub.ended(id);
        open.machine.handle_disconnect(&mut server.out);
        while let Some(action) = server.out.pop() {
            match action {
                Action::Session(command) => {
                    server.hub.handle(now, id, command, &mut server.control);
                }
                Action::Answered { id, outcome } => {
                    server.events.push_back((self.id, Event::Answered { id, outcome }));
                }
                Action::SessionEvent(event) => {
                    server.events.push_back((self.id, Event::Session(event)));
                }
                _ => {}
            }
        }
        let lingers = matches!(why, Ended::Violated(_));
        server.events.push_back((self.id, Event::Disconnected(why)));
        self.end(now, Some(id), lingers, server);
    }

    fn poll_closing(&mut self, server: &mut Server) -> bool {
        // What else comes is of no use any more.
        while self.socket.poll(&mut server.memory).is_some() {}
        false
    }

    /// Lets the output be sent, and nothing else.
    pub(super) fn end(
        &mut self,
        now: Instant,
        id: Option<ConnectionId>,
        lingers: bool,
        server: &Server,
    ) {
        let until = now + server.limits.close_timeout;
        self.socket.take_raw();
        self.phase = Phase::Ending { id, until, lingers };
    }

    /// Tells those who wait for something of the socket that nothing comes.
    fn give_up(&mut self, now: Instant, server: &mut Server) {
        match &self.phase {
            Phase::Asking(_) => server.events.push_back((self.id, Event::HandshakeEnded)),
            Phase::Detecting(detecting) => {
                let preflights = &mut server.endpoints[detecting.endpoint].preflights;
                preflights.silent(now, detecting.arrived, &self.from);
            }
            _ => {}
        }
    }

    /// Ends everything.
    fn finish(&mut self, now: Instant, server: &mut Server) {
        self.give_up(now, server);
        let id = self.connection_id();
        self.phase = Phase::Ended;
        if let Some(id) = id {
            server.hub.left(now, id, &mut server.control);
            server.sockets.remove(&id);
        }
    }
}

impl fmt::Debug for ServerSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match self.phase {
            Phase::Http(_) => "http",
            Phase::Asking(_) => "asking",
            Phase::Detecting(_) => "detecting",
            Phase::Open(_) => "open",
            Phase::Closing { .. } => "closing",
            Phase::Ending { .. } => "ending",
            Phase::Ended => "ended",
        };
        f.debug_struct("ServerSocket").field("id", &self.id).field("phase", &phase).finish()
    }
}
