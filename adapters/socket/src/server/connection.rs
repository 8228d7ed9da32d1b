//! The connection on a WebSocket: what its client speaks, its machine, its end.

use alloc::boxed::Box;
use core::num::NonZeroU16;

use wwr::Instant;
use wwr::server::gate::Accept;
use wwr::server::{Action, CloseReason, Connection, Detection, Observed};
use wwr::session::ConnectionId;

use super::event::{Ended, Event};
use super::socket::{Phase, ServerSocket};
use super::{Endpoint, Server};
use crate::websocket::Incoming;

/// A WebSocket that is open, and whose client has not shown yet what it speaks.
pub(super) struct Detecting {
    pub(super) id: ConnectionId,
    pub(super) endpoint: usize,
    concurrency: Option<NonZeroU16>,
    pub(super) arrived: Instant,
    pub(super) until: Instant,
}

/// A connection.
pub(super) struct Open {
    pub(super) id: ConnectionId,
    pub(super) machine: Connection,
    /// The endpoint, if the client was presumed to be 1.x there.
    presumed: Option<usize>,
    /// Whether input waits until the machine or the client takes something.
    pub(super) blocked: bool,
}

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
        let shown = accept.observed();
        let detection = if machine.protocol.tells_peers_apart() {
            preflights.arrived(now, &self.from, shown)
        } else {
            Detection::Known(shown)
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

    pub(super) fn poll_detecting(&mut self, now: Instant, server: &mut Server) -> bool {
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
    pub(super) fn open(
        &mut self,
        now: Instant,
        observed: Observed,
        presumed: bool,
        server: &mut Server,
    ) {
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
    pub(super) fn poll_open(&mut self, now: Instant, server: &mut Server) -> bool {
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
    pub(super) fn carry_out(&mut self, now: Instant, server: &mut Server) {
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
                Action::Recover(command) => {
                    server.hub.recover(now, open.id, *command, &mut server.control);
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
    pub(super) fn disconnect(&mut self, now: Instant, why: Ended, server: &mut Server) {
        let Phase::Open(open) = &mut self.phase else { return };
        let id = open.id;
        server.hub.ended(id);
        open.machine.handle_disconnect(&mut server.out);
        while let Some(action) = server.out.pop() {
            match action {
                Action::Session(command) => {
                    server.hub.handle(now, id, command, &mut server.control);
                }
                Action::Recover(command) => {
                    server.hub.recover(now, id, *command, &mut server.control);
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

    pub(super) fn poll_closing(&mut self, server: &mut Server) -> bool {
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
    pub(super) fn give_up(&mut self, now: Instant, server: &mut Server) {
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
    pub(super) fn finish(&mut self, now: Instant, server: &mut Server) {
        self.give_up(now, server);
        let id = self.connection_id();
        self.phase = Phase::Ended;
        if let Some(id) = id {
            server.hub.left(now, id, &mut server.control);
            server.sockets.remove(&id);
        }
    }
}
