//! A client on the board: the loop between TCP and the machine, which blocks until something happens.

use core::time::Duration;

use smoltcp::iface::SocketHandle;
use wwr::client::{Config, Misuse, RequestId};
use wwr::{Instant, Name, Payload, Valid};
use wwr_socket::client::{ClientEvent, ClientSocket, Target};

use crate::network::{BUFFER, Buffers, Network};
use crate::random::Random;

static mut BUFFERS: Buffers = [[0; BUFFER]; 2];

/// How much may wait to be sent until the server is not read any more, in bytes.
const MAX_BACKLOG: usize = 8 * 1024;

/// How much is allocated at once for what the server sends, in bytes. A reply that is kept keeps that.
const CHUNK: usize = 2 * 1024;

/// A client.
pub struct Client {
    network: Network,
    random: Random,
    machine: ClientSocket,
    socket: SocketHandle,
    stream: Stream,
    port: u16,
    /// When everything that had arrived was received.
    received_at: Instant,
}

/// What the TCP socket is used for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    None,
    Connecting,
    Open,
    /// Its end was reported.
    Ended,
    /// Only the output is still to be sent.
    Closing,
}

impl Client {
    /// Makes a client of the server at this port of the host, and begins to connect.
    pub fn new(
        mut network: Network,
        mut random: Random,
        config: &Valid<Config>,
        target: Target,
        port: u16,
    ) -> Self {
        let mut machine = ClientSocket::new(config, target, random.number())
            .with_max_backlog(MAX_BACKLOG)
            .with_receive_chunk(CHUNK);
        let received_at = network.instant();
        machine.connect(received_at);
        let buffers = &raw mut BUFFERS;
        // SAFETY: there is one network, and it was given to this call: nothing else refers to the buffers.
        let socket = network.socket(unsafe { &mut *buffers });
        Self { network, random, machine, socket, stream: Stream::None, port, received_at }
    }

    /// The machine, for what it knows.
    pub const fn machine(&self) -> &ClientSocket {
        &self.machine
    }

    /// The time since the start.
    pub fn now(&mut self) -> Instant {
        self.network.instant()
    }

    /// Sends a request, with the timeout of the settings. It goes out with the next call of
    /// [`event`](Self::event), where its outcome comes as well.
    ///
    /// # Errors
    ///
    /// The request cannot be sent at all.
    pub fn request(&mut self, name: Name, payload: Payload) -> Result<RequestId, Misuse> {
        let now = self.network.instant();
        self.machine.request(now, name, payload, None)
    }

    /// Closes the connection for good. Call [`event`](Self::event) until it returns `None`.
    pub fn close(&mut self) {
        let now = self.network.instant();
        self.machine.close(now);
    }

    /// Waits for the next event, for so long. Those for the stream never come out of here.
    pub fn event(&mut self, timeout: Duration) -> Option<ClientEvent> {
        let deadline = self.network.instant() + timeout;
        loop {
            // What was received is handled before more is, so it does not pile up.
            while let Some(event) = self.machine.poll_event(self.received_at) {
                match event {
                    ClientEvent::Connect => self.connect(self.received_at),
                    ClientEvent::Disconnect => self.stream = Stream::Closing,
                    event => return Some(event),
                }
            }
            // Nor does a server that sends without end stop the time.
            if self.machine.next_timeout().is_some_and(|due| due <= self.received_at) {
                self.machine.handle_timeout(self.received_at);
                continue;
            }
            if self.received_at >= deadline {
                return None;
            }
            let now = self.network.instant();
            let sent = self.send(now);
            self.network.poll();
            self.received_at = self.network.instant();
            if !self.receive(self.received_at) && !sent {
                let due = self.machine.next_timeout();
                self.network.wait(Some(due.map_or(deadline, |due| due.min(deadline))));
            }
        }
    }

    fn connect(&mut self, now: Instant) {
        // There may be a former connection whose last packets are still under way.
        self.network.tcp(self.socket).abort();
        self.network.poll();
        self.stream = Stream::Connecting;
        if self.network.connect(self.socket, self.port).is_err() {
            self.stream = Stream::None;
            self.machine.ended(now);
        }
    }

    /// Hands over what has arrived. Returns whether that was anything.
    fn receive(&mut self, now: Instant) -> bool {
        let tcp = self.network.tcp(self.socket);
        match self.stream {
            Stream::None | Stream::Ended => return false,
            Stream::Connecting if tcp.may_send() => {
                self.machine.connected(now, self.random.bytes());
                self.stream = Stream::Open;
            }
            Stream::Connecting if !tcp.is_active() => {
                self.stream = Stream::None;
                self.machine.ended(now);
            }
            Stream::Connecting => return false,
            Stream::Open => {
                let mut received = false;
                // A server that does not read the answers to its pings is not read.
                while self.machine.wants_input() && tcp.can_recv() {
                    let machine = &mut self.machine;
                    let _ = tcp.recv(|bytes| {
                        machine.received(now, bytes);
                        (bytes.len(), ())
                    });
                    received = true;
                }
                // The end comes behind what is still to be read.
                if !tcp.may_recv() && !tcp.can_recv() {
                    self.stream = Stream::Ended;
                    self.machine.ended(now);
                    received = true;
                }
                return received;
            }
            Stream::Closing => {
                let _ = tcp.recv(|bytes| (bytes.len(), ()));
                return false;
            }
        }
        true
    }

    /// Sends what there is. Returns whether that was anything.
    fn send(&mut self, now: Instant) -> bool {
        if self.stream == Stream::None || self.stream == Stream::Connecting {
            return false;
        }
        self.machine.mask(|| self.random.bytes());
        let tcp = self.network.tcp(self.socket);
        let mut sent = false;
        while !self.machine.output().is_empty() {
            let bytes = tcp.send_slice(self.machine.output()).unwrap_or(0);
            self.machine.sent(now, bytes);
            if bytes == 0 {
                break;
            }
            sent = true;
        }
        if self.stream == Stream::Closing && (self.machine.output().is_empty() || !tcp.may_send()) {
            tcp.close();
            self.stream = Stream::None;
            sent = true;
        }
        sent
    }
}
