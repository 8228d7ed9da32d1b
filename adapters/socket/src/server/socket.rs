//! One socket of a server: HTTP, the WebSocket on it, and its connection.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::num::NonZeroU16;

use wwr::server::gate::{Answer, Refusal};
use wwr::server::{Action, Connection, HubAction, Misuse, Observed, RequestError, RequestId};
use wwr::session::ConnectionId;
use wwr::{Actions, Dialect, Instant, Name, Payload, Session};

use super::connection::{Detecting, Open};
use super::event::{Ended, Event, SocketId};
use super::http::{Asking, Http};
use super::{Limits, Server};
use crate::websocket::{Role, WebSocket, WebSocketLimits};

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
    pub(super) end_of_input: bool,
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
                // What was handed over before came in time.
                while matches!(self.phase, Phase::Http(_)) && self.poll_http(now, server) {}
                let Phase::Http(http) = &mut self.phase else { return };
                if http.next_timeout() > now {
                    return;
                }
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
                if self.socket.has_input() {
                    while matches!(self.phase, Phase::Detecting(_))
                        && self.poll_detecting(now, server)
                    {}
                }
                let Phase::Detecting(detecting) = &self.phase else { return };
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
            HubAction::MoveAway { .. } => machine.move_away(now, out),
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
