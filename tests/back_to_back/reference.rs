//! Clients made by hand, which do what those of the references do where that differs from ours
//! (protocol §4, §6.2, §6.3, §6.4).

mod inbound;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use wwr::preflight::{Answer, ProbeFailed};
use wwr::wire::{Encoder, Identifier, Message};
use wwr::{Content, Dialect, Instant};

use crate::application;
use crate::fabric::{self, ClientId, Fabric, Packet, SocketId, Way};

/// Where the numbers of such clients begin among those of all clients.
const FIRST: ClientId = 1000;

/// How long all of them wait until they try again.
const PAUSE: Duration = Duration::from_secs(2);

/// How long opening the WebSocket and the first message may take together.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// The message buffer of the strict client, in bytes.
const BUFFER: usize = 8192;

/// The place of a client among those made by hand, if it is one.
pub(crate) const fn index(client: ClientId) -> Option<usize> {
    client.checked_sub(FIRST)
}

/// After which reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
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
pub(crate) enum Death {
    /// The metadata name another version.
    OtherVersion,
    /// The answer is no metadata.
    NoMetadata,
    /// The first message, or what it says, is not what it has to be.
    Unacceptable,
    /// A message that cannot be read came. Its first bytes.
    Unreadable(Vec<u8>),
}

/// What happened, as the application sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Connected,
    /// Trying again later.
    Failed,
    Disconnected,
    Died(Death),
    SessionCreated,
    SessionRestored,
    SessionClosed,
    /// A reply to a request: the byte of its type.
    Replied(u8),
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

pub(crate) struct Reference {
    id: ClientId,
    kind: Kind,
    host: Host,
    attempts: u64,
    numbers: u64,
    encoder: Encoder,
    asked: BTreeMap<Identifier, Asked>,
    pub(crate) told: Vec<Told>,
    /// The key of the session that is held.
    pub(crate) key: Option<Bytes>,
    /// When connecting has taken too long, or is tried again.
    deadline: Option<Instant>,
    /// The pause between heartbeats, and when the next is due.
    heartbeat: Option<(Duration, Instant)>,
    /// Heartbeats that were sent.
    pub(crate) heartbeats: u64,
}

/// The application.
impl Reference {
    pub(crate) fn new(index: usize, kind: Kind) -> Self {
        Self {
            id: FIRST + index,
            kind,
            host: Host::Nothing,
            attempts: 0,
            numbers: 0,
            encoder: Encoder::new(),
            asked: BTreeMap::new(),
            told: Vec::new(),
            key: None,
            deadline: None,
            heartbeat: None,
            heartbeats: 0,
        }
    }

    pub(crate) fn connect(&mut self, fabric: &mut Fabric) {
        self.attempts += 1;
        match self.kind {
            Kind::Plain => {
                self.host = Host::Probing(self.attempts);
                let (client, attempt, delay) = (self.id, self.attempts, fabric.delay());
                fabric.after(delay, fabric::Event::Probe { client, attempt });
            }
            Kind::Strict | Kind::Storm => self.dial(fabric),
        }
    }

    /// Makes a request, if connected.
    pub(crate) fn request(&mut self, name: &str, fabric: &mut Fabric) {
        let payload = application::request_payload(name, self.token());
        let content = Content::new(name.as_bytes(), &payload).expect("a short name");
        let id = self.identifier(Asked::Request);
        self.send(&Message::Request { id, content }, fabric);
    }

    pub(crate) fn signal(&mut self, fabric: &mut Fabric) {
        let payload = application::payload(self.token());
        let content = Content::new(b"signal", &payload).expect("a short name");
        self.send(&Message::Signal(content), fabric);
    }

    pub(crate) fn close_session(&mut self, fabric: &mut Fabric) {
        let id = self.identifier(Asked::CloseSession);
        self.send(&Message::CloseSession { id }, fabric);
    }

    /// Sends bytes that are perhaps no message.
    pub(crate) fn send_bytes(&mut self, frame: Bytes, fabric: &mut Fabric) {
        if let Host::Ready(socket) = self.host {
            fabric.send(socket, Way::Up, Packet::Frame(frame));
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.host, Host::Ready(_))
    }

    pub(crate) const fn socket(&self) -> Option<SocketId> {
        match self.host {
            Host::Dialing(socket) | Host::Waiting(socket) | Host::Ready(socket) => Some(socket),
            Host::Dead(socket) => socket,
            Host::Nothing | Host::Probing(_) => None,
        }
    }

    /// What was told since it was last looked at.
    pub(crate) fn told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    fn token(&mut self) -> application::Token {
        self.numbers += 1;
        (self.id, self.numbers)
    }

    fn identifier(&mut self, asked: Asked) -> Identifier {
        self.numbers += 1;
        let id = Identifier::from_counter(self.numbers);
        if self.is_ready() {
            self.asked.insert(id, asked);
        }
        id
    }

    fn send(&mut self, message: &Message, fabric: &mut Fabric) {
        let frame = self.encoder.encode(Dialect::V1_4, message).expect("a message of all versions");
        self.send_bytes(frame, fabric);
        if let (Kind::Strict, Some((pause, due))) = (self.kind, &mut self.heartbeat) {
            *due = fabric.now + *pause;
        }
    }

    fn restore(&mut self, fabric: &mut Fabric) {
        if let Some(key) = self.key.clone() {
            let id = self.identifier(Asked::Restore);
            self.send(&Message::RestoreSession { id, key }, fabric);
        }
    }
}

/// The host.
impl Reference {
    fn dial(&mut self, fabric: &mut Fabric) {
        self.deadline = match self.kind {
            Kind::Plain | Kind::Strict => Some(fabric.now + DIAL_TIMEOUT),
            // Waits for as long as it takes.
            Kind::Storm => None,
        };
        self.host = Host::Dialing(fabric.open(self.id));
    }

    pub(crate) fn probed(
        &mut self,
        attempt: u64,
        answer: Result<Answer, ProbeFailed>,
        fabric: &mut Fabric,
    ) {
        if self.host != Host::Probing(attempt) {
            return;
        }
        let Ok(answer) = answer else { return self.fail(fabric) };
        let text = String::from_utf8_lossy(&answer.body);
        match &*text {
            _ if answer.status == 503 => self.fail(fabric),
            "{\"protocol-version\":\"1.4\"}\n" => self.dial(fabric),
            json if json.starts_with('{') => self.die(Death::OtherVersion),
            _ => self.die(Death::NoMetadata),
        }
    }

    pub(crate) fn receive(&mut self, socket: SocketId, packet: Packet, fabric: &mut Fabric) {
        if self.socket() != Some(socket) {
            return;
        }
        match packet {
            Packet::Close if matches!(self.host, Host::Dead(_)) => {
                fabric.forget(socket);
                self.host = Host::Dead(None);
            }
            _ if matches!(self.host, Host::Dead(_)) => {}
            Packet::Ping => fabric.send(socket, Way::Up, Packet::Pong),
            Packet::Opened if self.kind == Kind::Plain => self.ready(socket, fabric),
            Packet::Opened => self.host = Host::Waiting(socket),
            Packet::Frame(frame) => self.frame(socket, frame, fabric),
            Packet::Refused(_) | Packet::Close => {
                fabric.forget(socket);
                self.lose(socket, fabric);
            }
            Packet::Open | Packet::Pong => panic!("a server opens nothing and is not pinged"),
        }
    }

    /// The socket is gone.
    pub(crate) fn lose(&mut self, socket: SocketId, fabric: &mut Fabric) {
        if self.socket() != Some(socket) {
            return;
        }
        if let Host::Dead(_) = self.host {
            self.host = Host::Dead(None);
            return;
        }
        let was_ready = self.is_ready();
        self.fail(fabric);
        if was_ready {
            self.told.pop();
            self.told.push(Told::Disconnected);
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

    pub(crate) fn due(&mut self, fabric: &mut Fabric) {
        let now = fabric.now;
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            match self.socket() {
                Some(socket) => {
                    fabric.send(socket, Way::Up, Packet::Close);
                    self.fail(fabric);
                }
                None => self.connect(fabric),
            }
        }
        if let (Host::Ready(_), Some((pause, due))) = (self.host, self.heartbeat)
            && due <= now
        {
            self.heartbeats += 1;
            self.heartbeat = Some((pause, now + pause));
            self.send_bytes(Bytes::from_static(&[0x21]), fabric);
        }
    }

    fn ready(&mut self, socket: SocketId, fabric: &mut Fabric) {
        self.host = Host::Ready(socket);
        self.deadline = None;
        self.told.push(Told::Connected);
        self.restore(fabric);
    }

    /// Nothing came of it, or it is over: again later.
    fn fail(&mut self, fabric: &Fabric) {
        self.forget();
        self.deadline = Some(fabric.now + PAUSE);
        self.told.push(Told::Failed);
    }

    /// For good. The socket, if there is one, stays as it is, and nobody reads it.
    fn die(&mut self, death: Death) {
        let socket = self.socket();
        self.forget();
        self.host = Host::Dead(socket);
        self.told.push(Told::Died(death));
    }

    fn forget(&mut self) {
        self.host = Host::Nothing;
        self.deadline = None;
        self.heartbeat = None;
        self.asked.clear();
    }
}
