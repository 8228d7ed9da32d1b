//! A server on the board: the loop between TCP and the host, which blocks until something happens.

use core::net::IpAddr;
use core::time::Duration;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;
use smoltcp::wire::IpAddress;
use wwr::Instant;
use wwr_socket::Host;
use wwr_socket::host::HostEvent;
use wwr_socket::server::{Disposition, SocketId};

use crate::network::{BUFFER, Buffers, Network, SOCKETS};

static mut BUFFERS: [Buffers; SOCKETS] = [[[0; BUFFER]; 2]; SOCKETS];

/// A server.
pub struct Server {
    network: Network,
    /// What is served.
    pub host: Host,
    places: [Place; SOCKETS],
    port: u16,
}

/// A TCP socket and what it is used for.
#[derive(Clone, Copy)]
struct Place {
    socket: SocketHandle,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Listening,
    Open {
        id: SocketId,
        /// Whether the host knows that nothing more comes.
        ended: bool,
    },
    /// The host is done with it, and the client is given some time to acknowledge what was sent.
    Closing {
        until: Instant,
    },
}

/// How long a client may take to acknowledge the end.
const CLOSING: Duration = Duration::from_secs(2);

impl Server {
    /// Serves as many connections as there are TCP sockets, at this port.
    #[must_use]
    pub fn new(mut network: Network, host: Host, port: u16) -> Self {
        let buffers = &raw mut BUFFERS;
        // SAFETY: there is one network, and it was given to this call: nothing else refers to the buffers.
        let buffers = unsafe { &mut *buffers }.each_mut();
        let places = buffers
            .map(|buffers| Place { socket: network.socket(buffers), state: State::Listening });
        Self { network, host, places, port }
    }

    /// The time since the start.
    pub fn now(&mut self) -> Instant {
        self.network.instant()
    }

    /// Waits for the next event.
    pub fn event(&mut self) -> HostEvent {
        loop {
            let now = self.network.instant();
            // What was received is handled before more is: a socket gets no further than the others do.
            if let Some(event) = self.host.poll_event(now) {
                return event;
            }
            let mut changed = self.send(now);
            self.network.poll();
            let now = self.network.instant();
            for place in &mut self.places {
                changed |= place.receive(now, &mut self.network, &mut self.host, self.port);
            }
            if self.host.next_timeout().is_some_and(|due| due <= now) {
                self.host.handle_timeout(now);
            } else if !changed {
                let closing = self.places.iter().filter_map(|place| match place.state {
                    State::Closing { until } => Some(until),
                    State::Listening | State::Open { .. } => None,
                });
                self.network.wait(closing.chain(self.host.next_timeout()).min());
            }
        }
    }

    /// Sends what there is. Returns whether anything has changed.
    fn send(&mut self, now: Instant) -> bool {
        // All of them are looked at below: they are few.
        while self.host.poll_output().is_some() {}
        let mut changed = false;
        for place in &mut self.places {
            changed |= place.send(now, &mut self.network, &mut self.host);
        }
        changed
    }
}

impl Place {
    /// Hands over what has arrived, and listens again if the last connection has ended. Returns whether the host
    /// has something to do.
    fn receive(&mut self, now: Instant, network: &mut Network, host: &mut Host, port: u16) -> bool {
        let tcp = network.tcp(self.socket);
        match &mut self.state {
            State::Listening if tcp.may_send() => {
                let from = match tcp.remote_endpoint().map(|endpoint| endpoint.addr) {
                    Some(IpAddress::Ipv4(address)) => IpAddr::V4(address),
                    None => return false,
                };
                // If another one has to make room, the host says so by its disposition.
                let (id, _) = host.accepted(now, from);
                self.state = State::Open { id, ended: false };
                return true;
            }
            State::Listening if !tcp.is_open() => {
                // It fails for port 0 only.
                let _ = tcp.listen(port);
            }
            State::Listening => {}
            State::Open { id, ended } => {
                let mut received = false;
                while host.wants_input(*id) && tcp.can_recv() {
                    let _ = tcp.recv(|bytes| {
                        host.received(now, *id, bytes);
                        (bytes.len(), ())
                    });
                    received = true;
                }
                if !tcp.is_open() {
                    host.closed(now, *id);
                    self.state = State::Listening;
                    received = true;
                } else if !tcp.may_recv() && !tcp.can_recv() && !*ended {
                    *ended = true;
                    host.end_of_input(*id);
                    received = true;
                }
                return received;
            }
            State::Closing { until } => {
                let _ = tcp.recv(|bytes| (bytes.len(), ()));
                // There are too few of them to keep one for packets that come too late.
                if !tcp.is_open() || tcp.state() == tcp::State::TimeWait || now >= *until {
                    tcp.abort();
                    self.state = State::Listening;
                }
            }
        }
        false
    }

    /// Sends what there is, and closes what has ended. Returns whether anything has changed.
    fn send(&mut self, now: Instant, network: &mut Network, host: &mut Host) -> bool {
        let State::Open { id, .. } = self.state else { return false };
        let tcp = network.tcp(self.socket);
        let mut changed = false;
        while !host.output(id).is_empty() {
            let bytes = tcp.send_slice(host.output(id)).unwrap_or(0);
            host.sent(now, id, bytes);
            if bytes == 0 {
                return changed;
            }
            changed = true;
        }
        match host.disposition(id) {
            Disposition::Keep => {}
            Disposition::ShutDownWrite if tcp.may_send() => {
                tcp.close();
                changed = true;
            }
            Disposition::ShutDownWrite => {}
            Disposition::Close => {
                tcp.close();
                host.closed(now, id);
                self.state = State::Closing { until: now + CLOSING };
                changed = true;
            }
        }
        changed
    }
}
