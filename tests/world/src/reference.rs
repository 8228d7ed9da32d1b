//! Clients made by hand, which do what those of the references do where that differs from ours
//! (protocol §4, §6.2, §6.3, §6.4).

mod inbound;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use wwr::preflight::{Answer, ProbeFailed};
use wwr::wire::{Encoder, Identifier, Message};
use wwr::{CloseFrame, Content, Dialect, Instant};

use crate::adversary::HEARTBEAT;
use crate::application::{request_payload, signal_payload};
use crate::event::{Event, ServerId};
use crate::invariants::Invariant;
use crate::network::{Packet, Peer, SocketId, Way};
use crate::stage::Stage;
use crate::trace::Actor;

/// The server that they go to.
const SERVER: ServerId = 0;

/// How long all of them wait until they try again.
const PAUSE: Duration = Duration::from_secs(2);

/// How long opening the WebSocket and the first message may take together.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// The message buffer of the strict client, in bytes.
const BUFFER: usize = 8192;

/// A client made by hand, by its place in the world.
pub type ReferenceId = usize;

/// After which reference a client is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Go 1.4: asks for the metadata, knows 1.4 and nothing else, never sends anything by itself,
    /// ignores what it does not know.
    Plain,
    /// Go 2.0: wants accept-conf as the first message and a buffer of its own size, sends
    /// heartbeats, stops for ever at a message it cannot read (Q20-01).
    Strict,
    /// JavaScript 2.0: wants a message of the right type first, then sends a heartbeat each
    /// millisecond (QJS-02).
    Storm,
}

/// Why one has given up for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Death {
    /// The metadata name another version.
    OtherVersion,
    /// The answer is no metadata.
    NoMetadata,
    /// The first message, or what it says, is not what it has to be.
    Unacceptable,
    /// A message that cannot be read came. Its first bytes.
    Unreadable(Vec<u8>),
}

/// What the application of a client made by hand is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It is connected.
    Connected,
    /// It is not, and tries again later.
    Failed,
    /// It was connected, and tries again later.
    Disconnected,
    /// It gives up for good.
    Died(Death),
    /// It has a new session.
    SessionCreated,
    /// It has its session again.
    SessionRestored,
    /// Its session is closed.
    SessionClosed,
    /// A reply to a request: the byte of its type.
    Replied(u8),
}

/// What the application of a client made by hand does. All but the first has no effect while it is not
/// connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Connects.
    Connect,
    /// Makes the request of this name.
    Request(&'static str),
    /// Sends a signal.
    Signal,
    /// Closes the session.
    CloseSession,
    /// Sends bytes that are perhaps no message.
    Send(Bytes),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    Nothing,
    Probing(u64),
    Dialing(SocketId),
    /// Open; the first message has to come.
    Waiting(SocketId),
    Ready(SocketId),
    /// Given up for good, with a socket that nobody reads.
    Dead(Option<SocketId>),
}

/// What an answer is awaited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Request,
    Restore,
    CloseSession,
}

/// A client made by hand.
pub struct Reference {
    id: ReferenceId,
    kind: Kind,
    host: Host,
    attempts: u64,
    numbers: u64,
    encoder: Encoder,
    asked: BTreeMap<Identifier, Asked>,
    pub(crate) told: Vec<Notice>,
    /// How many signals were sent on the socket there is.
    signals: u64,
    /// The key of the session that is held.
    key: Option<Bytes>,
    /// When connecting has taken too long, or is tried again.
    deadline: Option<Instant>,
    /// The pause between heartbeats, and when the next is due.
    heartbeat: Option<(Duration, Instant)>,
    heartbeats: u64,
}

/// The application.
impl Reference {
    pub(crate) const fn new(id: ReferenceId, kind: Kind) -> Self {
        Self {
            id,
            kind,
            host: Host::Nothing,
            attempts: 0,
            numbers: 0,
            encoder: Encoder::new(),
            asked: BTreeMap::new(),
            told: Vec::new(),
            signals: 0,
            key: None,
            deadline: None,
            heartbeat: None,
            heartbeats: 0,
        }
    }

    const fn actor(&self) -> Actor {
        Actor::Reference(self.id)
    }

    pub(crate) fn act(&mut self, act: Act, stage: &mut Stage) {
        match act {
            Act::Connect => self.connect(stage),
            Act::Request(name) => self.request(name, stage),
            Act::Signal => self.signal(stage),
            Act::CloseSession => {
                let id = self.identifier(Asked::CloseSession);
                self.send(&Message::CloseSession { id }, stage);
            }
            Act::Send(frame) => self.send_bytes(frame, stage),
        }
    }

    fn connect(&mut self, stage: &mut Stage) {
        self.attempts += 1;
        match self.kind {
            Kind::Plain => {
                self.host = Host::Probing(self.attempts);
                let (from, attempt) = (Peer::Reference(self.id), self.attempts);
                let delay = stage.network.delay(&mut stage.dice);
                stage.after(delay, Event::Probe { from, attempt, server: SERVER });
            }
            Kind::Strict | Kind::Storm => self.dial(stage),
        }
    }

    fn request(&mut self, name: &str, stage: &mut Stage) {
        let Host::Ready(socket) = self.host else { return };
        let token = stage.ledger.next_token();
        stage.ledger.sends(token, socket);
        let content = Content::new(name.as_bytes(), &request_payload(name, token));
        let Ok(content) = content else { return };
        let id = self.identifier(Asked::Request);
        self.send(&Message::Request { id, content }, stage);
    }

    fn signal(&mut self, stage: &mut Stage) {
        let Host::Ready(socket) = self.host else { return };
        let content = Content::new(b"note", &signal_payload(socket, self.signals));
        let Ok(content) = content else { return };
        self.signals += 1;
        self.send(&Message::Signal(content), stage);
    }

    fn send_bytes(&self, frame: Bytes, stage: &mut Stage) {
        if let Host::Ready(socket) = self.host {
            stage.send(self.actor(), socket, Way::Up, Packet::Frame(frame));
        }
    }

    /// Whether it is connected.
    pub const fn is_ready(&self) -> bool {
        matches!(self.host, Host::Ready(_))
    }

    /// Its socket, open or about to be; also that of one that has given up and reads nothing.
    pub const fn socket(&self) -> Option<SocketId> {
        match self.host {
            Host::Dialing(socket) | Host::Waiting(socket) | Host::Ready(socket) => Some(socket),
            Host::Dead(socket) => socket,
            Host::Nothing | Host::Probing(_) => None,
        }
    }

    /// How many heartbeats it has sent.
    pub const fn heartbeats(&self) -> u64 {
        self.heartbeats
    }

    fn identifier(&mut self, asked: Asked) -> Identifier {
        self.numbers += 1;
        let id = Identifier::from_counter(self.numbers);
        if self.is_ready() {
            self.asked.insert(id, asked);
        }
        id
    }

    fn send(&mut self, message: &Message, stage: &mut Stage) {
        let frame = self.encoder.encode(Dialect::V1_4, message).unwrap_or_default();
        self.send_bytes(frame, stage);
        if let (Kind::Strict, Some((pause, due))) = (self.kind, &mut self.heartbeat) {
            *due = stage.now + *pause;
        }
    }

    fn restore(&mut self, stage: &mut Stage) {
        if let Some(key) = self.key.clone() {
            let id = self.identifier(Asked::Restore);
            self.send(&Message::RestoreSession { id, key }, stage);
        }
    }
}

/// The host.
impl Reference {
    fn dial(&mut self, stage: &mut Stage) {
        self.deadline = match self.kind {
            Kind::Plain | Kind::Strict => Some(stage.now + DIAL_TIMEOUT),
            // Waits for as long as it takes.
            Kind::Storm => None,
        };
        let socket = stage.network.open(stage.now, Peer::Reference(self.id), SERVER);
        self.host = Host::Dialing(socket);
        stage.send(self.actor(), socket, Way::Up, Packet::Open);
    }

    pub(crate) fn probed(
        &mut self,
        attempt: u64,
        answer: Result<Answer, ProbeFailed>,
        stage: &mut Stage,
    ) {
        if self.host != Host::Probing(attempt) {
            return;
        }
        let Ok(answer) = answer else { return self.fail(stage) };
        let text = String::from_utf8_lossy(&answer.body);
        match &*text {
            _ if answer.status == 503 => self.fail(stage),
            "{\"protocol-version\":\"1.4\"}\n" => self.dial(stage),
            json if json.starts_with('{') => self.die(Death::OtherVersion),
            _ => self.die(Death::NoMetadata),
        }
    }

    pub(crate) fn receive(&mut self, socket: SocketId, packet: Packet, stage: &mut Stage) {
        if self.socket() != Some(socket) {
            if matches!(packet, Packet::Close(_) | Packet::Refused(_)) {
                stage.network.forget(socket);
            }
            return;
        }
        match packet {
            Packet::Close(_) if matches!(self.host, Host::Dead(_)) => {
                stage.network.forget(socket);
                self.host = Host::Dead(None);
            }
            _ if matches!(self.host, Host::Dead(_)) => {}
            Packet::Ping => stage.send(self.actor(), socket, Way::Up, Packet::Pong),
            Packet::Opened if self.kind == Kind::Plain => self.ready(socket, stage),
            Packet::Opened => self.host = Host::Waiting(socket),
            Packet::Frame(frame) => self.frame(socket, frame, stage),
            Packet::Refused(_) | Packet::Close(_) => {
                stage.network.forget(socket);
                self.lose(socket, stage);
            }
            // A server opens nothing, is not pinged, and sends no text.
            Packet::Open | Packet::Pong | Packet::Text(_) => {
                let actor = self.actor();
                stage.check(false, Invariant::OnlyReadable, || format!("{actor}: got {packet:?}"));
            }
        }
    }

    /// The socket is gone.
    pub(crate) fn lose(&mut self, socket: SocketId, stage: &mut Stage) {
        if self.socket() != Some(socket) {
            return;
        }
        if let Host::Dead(_) = self.host {
            self.host = Host::Dead(None);
            return;
        }
        let was_ready = self.is_ready();
        self.fail(stage);
        if was_ready {
            self.told.pop();
            self.told.push(Notice::Disconnected);
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let heartbeat = self.heartbeat.map(|(_, due)| due);
        [self.deadline, heartbeat].into_iter().flatten().min()
    }

    /// Whether something will come of it by itself, other than heartbeats.
    pub(crate) fn is_busy(&self) -> bool {
        self.deadline.is_some() || matches!(self.host, Host::Probing(_))
    }

    pub(crate) fn due(&mut self, stage: &mut Stage) {
        let now = stage.now;
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            match self.socket() {
                Some(socket) => {
                    stage.send(self.actor(), socket, Way::Up, Packet::Close(CloseFrame::NORMAL));
                    self.fail(stage);
                }
                None => self.connect(stage),
            }
        }
        if let (Host::Ready(_), Some((pause, due))) = (self.host, self.heartbeat)
            && due <= now
        {
            self.heartbeats += 1;
            self.heartbeat = Some((pause, now + pause));
            self.send_bytes(Bytes::from_static(HEARTBEAT), stage);
        }
    }

    fn ready(&mut self, socket: SocketId, stage: &mut Stage) {
        self.host = Host::Ready(socket);
        self.signals = 0;
        self.deadline = None;
        self.told.push(Notice::Connected);
        self.restore(stage);
    }

    /// Nothing came of it, or it is over: again later.
    fn fail(&mut self, stage: &Stage) {
        self.forget();
        self.deadline = Some(stage.now + PAUSE);
        self.told.push(Notice::Failed);
    }

    /// For good. The socket, if there is one, stays as it is, and nobody reads it.
    fn die(&mut self, death: Death) {
        let socket = self.socket();
        self.forget();
        self.host = Host::Dead(socket);
        self.told.push(Notice::Died(death));
    }

    fn forget(&mut self) {
        self.host = Host::Nothing;
        self.deadline = None;
        self.heartbeat = None;
        self.asked.clear();
    }
}
