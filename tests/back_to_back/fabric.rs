//! What the nodes are woven into: time, what is going to happen, and the network.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use wwr::Instant;
use wwr::preflight::{Answer, ProbeFailed};
use wwr::session::Ticket;
use wwr::wire::Kind;

use crate::application::Work;
use crate::dice::Dice;
use crate::reference;

/// A client, by its place in the world.
pub(crate) type ClientId = usize;

/// A connection between a client and the server. Never used twice, so it also names what the server
/// has on its side.
pub(crate) type SocketId = u64;

/// What goes over a socket, in order.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    /// The client opens it.
    Open,
    /// The server has accepted.
    Opened,
    /// The server has not: with this HTTP status, or without a word.
    Refused(Option<u16>),
    /// A WebSocket message.
    Frame(Bytes),
    /// A WebSocket ping, and the answer to it.
    Ping,
    Pong,
    /// The sender has closed it.
    Close,
}

/// A direction of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To the server.
    Up,
    /// To the client.
    Down,
}

/// What is going to happen.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A preflight arrives at the server.
    Probe { client: ClientId, attempt: u64 },
    /// Its answer arrives at the client.
    Probed { client: ClientId, attempt: u64, answer: Result<Answer, ProbeFailed> },
    /// Something arrives on a socket.
    Packet { socket: SocketId, way: Way, packet: Packet },
    /// The receiving end of a direction learns that the socket is broken.
    Broken { client: ClientId, socket: SocketId, way: Way },
    /// The store is done.
    Stored { epoch: u64, ticket: Ticket },
    /// A handler of the server gets further.
    Work { socket: SocketId, work: Work },
}

impl Event {
    /// Whether this is nothing but care: a heartbeat, a ping, a pong. The two sides of a connection
    /// exchange those for ever, and are at rest all the same.
    fn is_care(&self) -> bool {
        let Self::Packet { packet, .. } = self else { return false };
        match packet {
            Packet::Ping | Packet::Pong => true,
            Packet::Frame(frame) => **frame == [Kind::Heartbeat.as_byte()],
            Packet::Open | Packet::Opened | Packet::Refused(_) | Packet::Close => false,
        }
    }
}

/// How the network behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions {
    pub(crate) latency: Duration,
    /// The latency is up to this much more.
    pub(crate) jitter: Duration,
}

#[derive(Debug)]
struct Socket {
    client: ClientId,
    /// When the last packet of each direction arrives: none overtakes it.
    last: [Instant; 2],
    /// Which directions lose everything without a word.
    silent: [bool; 2],
}

pub(crate) struct Fabric {
    pub(crate) now: Instant,
    pub(crate) dice: Dice,
    pub(crate) conditions: Conditions,
    /// Every message that was sent, if somebody wants to know.
    pub(crate) recording: Option<Vec<(SocketId, Way, Bytes)>>,
    queue: BTreeMap<(Instant, u64), Event>,
    sockets: BTreeMap<SocketId, Socket>,
    /// How much of the queue is more than care.
    business: usize,
    events: u64,
    last_socket: SocketId,
}

impl Fabric {
    pub(crate) fn new(seed: u64, conditions: Conditions) -> Self {
        Self {
            now: Instant::EPOCH,
            dice: Dice::new(seed),
            conditions,
            recording: None,
            queue: BTreeMap::new(),
            sockets: BTreeMap::new(),
            business: 0,
            events: 0,
            last_socket: 0,
        }
    }

    pub(crate) fn schedule(&mut self, at: Instant, event: Event) {
        self.events += 1;
        self.business += usize::from(!event.is_care());
        self.queue.insert((at, self.events), event);
    }

    pub(crate) fn after(&mut self, delay: Duration, event: Event) {
        self.schedule(self.now + delay, event);
    }

    /// When the next thing happens.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    /// What happens next, if it does so by now and the network lets it.
    pub(crate) fn pop(&mut self) -> Option<Event> {
        while self.next().is_some_and(|at| at <= self.now) {
            let (_, event) = self.queue.pop_first()?;
            self.business -= usize::from(!event.is_care());
            match &event {
                Event::Packet { socket, way, .. } if !self.carries(*socket, *way) => {}
                _ => return Some(event),
            }
        }
        None
    }

    /// Whether nothing is on its way, or under way, but care.
    pub(crate) const fn is_at_rest(&self) -> bool {
        self.business == 0
    }

    /// Whether a direction of a socket works.
    pub(crate) fn carries(&self, socket: SocketId, way: Way) -> bool {
        self.sockets.get(&socket).is_some_and(|socket| !socket.silent[way as usize])
    }

    /// Whether both directions of a socket work, and the client behind it does what it should:
    /// those made by hand may stop to read.
    pub(crate) fn is_healthy(&self, socket: SocketId) -> bool {
        [Way::Up, Way::Down].iter().all(|way| self.carries(socket, *way))
            && reference::index(self.owner(socket)).is_none()
    }

    pub(crate) fn delay(&mut self) -> Duration {
        self.conditions.latency + self.dice.up_to(self.conditions.jitter)
    }

    /// A new socket of a client.
    pub(crate) fn open(&mut self, client: ClientId) -> SocketId {
        self.last_socket += 1;
        let socket = Socket { client, last: [self.now; 2], silent: [false; 2] };
        self.sockets.insert(self.last_socket, socket);
        self.send(self.last_socket, Way::Up, Packet::Open);
        self.last_socket
    }

    pub(crate) fn send(&mut self, socket: SocketId, way: Way, packet: Packet) {
        let at = self.now + self.delay();
        if let (Some(recording), Packet::Frame(frame)) = (&mut self.recording, &packet) {
            recording.push((socket, way, frame.clone()));
        }
        let Some(found) = self.sockets.get_mut(&socket) else { return };
        let last = &mut found.last[way as usize];
        *last = at.max(*last);
        let at = *last;
        self.schedule(at, Event::Packet { socket, way, packet });
    }

    /// Whose socket it is.
    pub(crate) fn owner(&self, socket: SocketId) -> ClientId {
        self.sockets[&socket].client
    }

    pub(crate) fn sockets(&self) -> Vec<SocketId> {
        self.sockets.keys().copied().collect()
    }

    /// Both sides are done with a socket.
    pub(crate) fn forget(&mut self, socket: SocketId) {
        self.sockets.remove(&socket);
    }

    /// Breaks a socket: what is on its way is lost, and both sides learn of it.
    pub(crate) fn cut(&mut self, socket: SocketId) {
        let Some(Socket { client, .. }) = self.sockets.remove(&socket) else { return };
        for way in [Way::Up, Way::Down] {
            let delay = self.delay();
            self.after(delay, Event::Broken { client, socket, way });
        }
    }

    /// From now on a socket loses what is sent in a direction, and nobody is told.
    pub(crate) fn silence(&mut self, socket: SocketId, way: Way) {
        if let Some(socket) = self.sockets.get_mut(&socket) {
            socket.silent[way as usize] = true;
        }
    }

    /// Breaks the sockets that had fallen silent, as the hosts do after long enough.
    pub(crate) fn cut_silent(&mut self) {
        let silent = self.sockets.iter().filter(|(_, socket)| socket.silent != [false; 2]);
        let silent: Vec<_> = silent.map(|(id, _)| *id).collect();
        silent.into_iter().for_each(|socket| self.cut(socket));
    }
}
