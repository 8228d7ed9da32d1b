//! A client on byte streams.

mod dial;
mod target;
#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;
use alloc::string::String;
use core::fmt;
use core::time::Duration;

use wwr::client::{Action, Client, Config, Event, Misuse, Outcome, RequestId};
use wwr::handshake::Key as HandshakeKey;
use wwr::{Actions, CloseFrame, Instant, Name, Payload, Valid};

pub use target::{InvalidTarget, Target};

use crate::memory::Memory;
use crate::websocket::{Incoming, Key, Role, WebSocket, WebSocketLimits};

/// A client: bytes of one stream at a time in, bytes to send out, and word of when to open and to close
/// that stream. It reconnects, and resumes its session.
///
/// * [`ClientEvent::Connect`] asks for a stream to the server. Then call [`connected`](Self::connected), or
///   [`ended`](Self::ended) if that failed.
/// * [`received`](Self::received) takes bytes, cut anywhere; [`poll_event`](Self::poll_event) until it returns
///   `None` after that, and after every other call.
/// * [`mask`](Self::mask), then send what [`output`](Self::output) has, and tell [`sent`](Self::sent).
/// * [`ClientEvent::Disconnect`] asks to close the stream, once the output is sent.
/// * [`handle_timeout`](Self::handle_timeout) is due at [`next_timeout`](Self::next_timeout).
///
/// ```
/// use wwr::client::Config;
/// use wwr::{Instant, Valid};
/// use wwr_socket::client::{ClientEvent, ClientSocket, Target};
///
/// let (now, target) = (Instant::EPOCH, Target::parse("ws://localhost:7777/")?);
/// let mut client = ClientSocket::new(&Valid::<Config>::default(), target, 7);
/// client.connect(now);
/// assert_eq!(client.poll_event(now), Some(ClientEvent::Connect));
/// client.connected(now, [1; 16]); // from a random source, really
/// assert!(client.output().starts_with(b"WEBWIRE / HTTP/1.1\r\nHost: localhost:7777\r\n"));
/// # Ok::<(), wwr_socket::client::InvalidTarget>(())
/// ```
pub struct ClientSocket {
    client: Client,
    out: Actions<Action>,
    events: VecDeque<ClientEvent>,
    target: Target,
    phase: Phase,
    socket: WebSocket,
    memory: Memory,
    max_message: usize,
    max_backlog: usize,
    end_of_input: bool,
}

/// What the stream is for.
#[derive(Clone, Debug)]
enum Phase {
    /// The client has no stream, or one that only has to be closed.
    Idle,
    /// It was asked for.
    Connecting(Purpose),
    /// The request for metadata is sent.
    Probing,
    /// The handshake is sent.
    Dialing(HandshakeKey),
    /// The WebSocket is open.
    Open {
        /// Whether what has come with the handshake is handled.
        settled: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Probe,
    Dial,
}

/// Something to do, or to know.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// Open a stream to the [target](ClientSocket::target), then call [`ClientSocket::connected`] or
    /// [`ClientSocket::ended`]. A stream that there was is closed.
    Connect,
    /// Send the output, then close the stream, or give up opening it. Report nothing more about it.
    Disconnect,
    /// The outcome of a request. There is exactly one for each.
    Done {
        /// The request.
        id: RequestId,
        /// How it ended.
        outcome: Outcome,
    },
    /// The connection, the session, a signal of the server.
    Event(Event),
    /// The server wants the client to connect elsewhere. It counts as a refusal; to follow it, make a client
    /// for that URL.
    Redirected {
        /// The status code.
        status: u16,
        /// The header `Location`.
        location: String,
    },
}

/// How long the peer may take nothing of what is sent.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How much may wait to be sent until the server is not read any more.
pub(crate) const MAX_BACKLOG: usize = 128 * 1024;

/// Bytes and time.
impl ClientSocket {
    /// Makes a client that does nothing yet. `seed` spreads the attempts of many clients over time; it only
    /// has to differ between them.
    pub fn new(config: &Valid<Config>, target: Target, seed: u64) -> Self {
        let max_message = usize::try_from(config.max_message_size).unwrap_or(usize::MAX);
        Self {
            client: Client::new(config, seed),
            out: Actions::new(),
            events: VecDeque::new(),
            target,
            phase: Phase::Idle,
            socket: Self::stream(max_message, MAX_BACKLOG),
            memory: Memory::new(),
            max_message,
            max_backlog: MAX_BACKLOG,
            end_of_input: false,
        }
    }

    fn stream(max_message: usize, max_backlog: usize) -> WebSocket {
        let limits = WebSocketLimits { max_message, max_backlog, stall_timeout: STALL_TIMEOUT };
        WebSocket::new(Role::Client, limits)
    }

    /// Returns what it connects to.
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Records that the stream that was asked for is open. `entropy` is for the key of the handshake: new
    /// random bytes each time. Ignored unless a stream was asked for.
    pub fn connected(&mut self, now: Instant, entropy: [u8; HandshakeKey::ENTROPY]) {
        let Phase::Connecting(purpose) = self.phase else { return };
        self.socket = Self::stream(self.max_message, self.max_backlog);
        self.end_of_input = false;
        let (head, phase) = match purpose {
            Purpose::Probe => (dial::probe(&self.target, self.client.offers()), Phase::Probing),
            Purpose::Dial => {
                let key = HandshakeKey::from_entropy(entropy);
                let head = dial::handshake(&self.target, &key, self.client.offers());
                (head, Phase::Dialing(key))
            }
        };
        self.socket.send_raw(&mut self.memory, |out| out.extend_from_slice(&head));
        self.phase = phase;
        self.client.handle_activity(now);
    }

    /// Returns whether to read the stream. False while a server that pings does not read the answers: what it
    /// sends would only wait in memory. Look at it before each read.
    pub fn wants_input(&self) -> bool {
        self.socket.backlog() < self.max_backlog
    }

    /// Sets how many bytes may wait to be sent until the server is not read any more. Default: 128 KiB.
    #[must_use]
    pub fn with_max_backlog(mut self, bytes: usize) -> Self {
        self.max_backlog = bytes.max(1);
        self
    }

    /// Sets how many bytes are allocated at once for what the server sends. A payload that the program keeps holds
    /// all of that; a longer message has its own. Default: 16 KiB.
    #[must_use]
    pub fn with_receive_chunk(mut self, bytes: usize) -> Self {
        self.memory = Memory::with_chunk(bytes);
        self
    }

    /// Takes bytes of the server.
    pub fn received(&mut self, now: Instant, bytes: &[u8]) {
        if !matches!(self.phase, Phase::Idle | Phase::Connecting(_)) {
            self.client.handle_activity(now);
            self.socket.receive(bytes, &mut self.memory);
        }
    }

    /// Records that the stream has ended, or could not be opened. What came before is handled first.
    pub fn ended(&mut self, now: Instant) {
        match self.phase {
            Phase::Idle => {}
            Phase::Connecting(purpose) => {
                self.phase = Phase::Idle;
                match purpose {
                    Purpose::Probe => {
                        let failed = Err(wwr::preflight::ProbeFailed);
                        self.client.handle_probed(now, failed, &mut self.out);
                    }
                    Purpose::Dial => self.client.handle_disconnect(now, &mut self.out),
                }
                self.carry_out();
            }
            Phase::Probing | Phase::Dialing(_) | Phase::Open { .. } => self.end_of_input = true,
        }
    }

    /// Returns the next thing to do or to know, and handles what was received up to it.
    pub fn poll_event(&mut self, now: Instant) -> Option<ClientEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if !self.advance(now) {
                return None;
            }
            self.carry_out();
        }
    }

    /// Handles the next thing that was received. Returns whether there was something.
    fn advance(&mut self, now: Instant) -> bool {
        match self.phase {
            Phase::Idle | Phase::Connecting(_) => false,
            Phase::Probing | Phase::Dialing(_) => self.read_answer(now),
            Phase::Open { settled } => match self.socket.poll(&mut self.memory) {
                Some(incoming) => {
                    self.take(now, incoming);
                    true
                }
                None if self.end_of_input => {
                    self.lose();
                    self.client.handle_disconnect(now, &mut self.out);
                    true
                }
                None if !settled => {
                    self.phase = Phase::Open { settled: true };
                    self.client.handle_timeout(now, &mut self.out);
                    true
                }
                None => false,
            },
        }
    }

    fn take(&mut self, now: Instant, incoming: Incoming) {
        match incoming {
            Incoming::Message(frame) | Incoming::Text(frame) => {
                self.client.handle_message(now, frame, &mut self.out);
            }
            Incoming::Ping => self.client.handle_activity(now),
            Incoming::Pong => self.client.handle_pong(now),
            Incoming::Closed(frame) => {
                self.lose();
                self.client.handle_closed(now, frame, &mut self.out);
            }
            Incoming::Violated(_) => {
                self.lose();
                self.client.handle_disconnect(now, &mut self.out);
            }
        }
    }

    /// Gives the stream up.
    fn lose(&mut self) {
        self.phase = Phase::Idle;
        self.end_of_input = false;
        self.events.push_back(ClientEvent::Disconnect);
    }

    /// Carries out the actions of the machine.
    fn carry_out(&mut self) {
        while let Some(action) = self.out.pop() {
            match action {
                Action::Probe => self.ask_for_stream(Purpose::Probe),
                Action::Dial => self.ask_for_stream(Purpose::Dial),
                Action::Send(frame) => self.socket.send(&frame, &mut self.memory),
                Action::Ping => self.socket.ping(&mut self.memory),
                Action::Hangup => {
                    if matches!(self.phase, Phase::Open { .. }) {
                        self.socket.close(&CloseFrame::NORMAL, &mut self.memory);
                    }
                    self.lose();
                }
                Action::Done { id, outcome } => {
                    self.events.push_back(ClientEvent::Done { id, outcome });
                }
                Action::Event(event) => self.events.push_back(ClientEvent::Event(event)),
            }
        }
    }

    fn ask_for_stream(&mut self, purpose: Purpose) {
        self.phase = Phase::Connecting(purpose);
        self.events.push_back(ClientEvent::Connect);
    }

    /// Masks what was queued since the last call, each frame with a key of its own: four unpredictable
    /// bytes (RFC 6455 section 10.3). Nothing is in the [`output`](Self::output) before that.
    pub fn mask(&mut self, key: impl FnMut() -> Key) {
        self.socket.mask(key);
    }

    /// Returns the bytes to send next.
    pub fn output(&self) -> &[u8] {
        self.socket.output()
    }

    /// Records that the stream has accepted so many bytes of the output. Call it after each write, with 0
    /// if it accepts nothing now.
    pub fn sent(&mut self, now: Instant, bytes: usize) {
        let was_stalled = self.socket.is_stalled();
        self.socket.sent(now, bytes, &mut self.memory);
        if was_stalled && bytes > 0 {
            self.client.handle_activity(now);
        }
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout).
    pub fn next_timeout(&self) -> Option<Instant> {
        let stalled = match self.phase {
            Phase::Open { .. } => self.socket.next_timeout(),
            _ => None,
        };
        [self.client.next_timeout(), stalled].into_iter().flatten().min()
    }

    /// Does what is due. Hand over what the stream has ready before this call, and take the events: what was
    /// not received yet counts as not sent.
    pub fn handle_timeout(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Open { .. })
            && self.socket.next_timeout().is_some_and(|due| due <= now)
        {
            self.lose();
            self.client.handle_disconnect(now, &mut self.out);
        }
        self.client.handle_timeout(now, &mut self.out);
        self.carry_out();
    }
}

/// What the application does.
impl ClientSocket {
    /// Connects, and stays connected. Ignored if it does that already.
    pub fn connect(&mut self, now: Instant) {
        self.call(|client, out| client.connect(now, out));
    }

    /// Sends a request, or queues it until there is a connection. Ends with [`ClientEvent::Done`].
    ///
    /// # Errors
    ///
    /// [`Misuse`]; see [`Client::request`].
    pub fn request(
        &mut self,
        now: Instant,
        name: Name,
        payload: Payload,
        timeout: Option<Duration>,
    ) -> Result<RequestId, Misuse> {
        self.call(|client, out| client.request(now, name, payload, timeout, out))
    }

    /// Calls the machine, and does what it wants. The whole interface of the [`Client`] may be used, except
    /// for what it receives.
    pub fn call<T>(&mut self, call: impl FnOnce(&mut Client, &mut Actions<Action>) -> T) -> T {
        let result = call(&mut self.client, &mut self.out);
        self.carry_out();
        result
    }

    /// Closes the connection, and does not connect again.
    pub fn close(&mut self, now: Instant) {
        self.call(|client, out| client.close(now, out));
    }

    /// Returns the machine, for what it knows: status, session, what the server speaks.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Returns how many bytes wait to be sent.
    pub fn backlog(&self) -> usize {
        self.socket.backlog()
    }
}

impl fmt::Debug for ClientSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSocket")
            .field("target", &self.target)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}
