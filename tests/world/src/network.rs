//! The network: sockets whose every direction delays, loses, chokes or falls silent.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use wwr::{CloseFrame, Instant};

use crate::bytes::{Bytes as Carrier, Link};
use crate::dice::Dice;
use crate::event::{ClientId, Event, Queue, ServerId};

/// A connection between a peer and a server. Never used twice.
pub type SocketId = u64;

/// What goes over a socket, in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Packet {
    /// The client opens it.
    Open,
    /// The server has accepted.
    Opened,
    /// The server has not: with this HTTP status and the time after which it wants to be asked
    /// again, or silently.
    Refused(Option<(u16, Option<Duration>)>),
    /// A binary WebSocket message.
    Frame(Bytes),
    /// A text message.
    Text(Bytes),
    Ping,
    Pong,
    /// The sender has closed it, with this close frame.
    Close(CloseFrame),
}

impl Packet {
    fn size(&self) -> usize {
        let content = match self {
            Self::Frame(frame) | Self::Text(frame) => frame.len(),
            Self::Open
            | Self::Opened
            | Self::Refused(_)
            | Self::Ping
            | Self::Pong
            | Self::Close(_) => 0,
        };
        content + 8
    }
}

/// A direction of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the server.
    Up,
    /// To the client.
    Down,
}

/// The party at the client's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Client(ClientId),
    Adversary(usize),
    Modest(usize),
    Reference(usize),
}

impl Peer {
    /// Whether it does what peers should.
    pub(crate) const fn keeps_to_rules(self) -> bool {
        match self {
            Self::Client(_) | Self::Modest(_) => true,
            // Scripts may let references send what they like.
            Self::Adversary(_) | Self::Reference(_) => false,
        }
    }
}

/// How the network behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions {
    pub(crate) latency: Duration,
    /// The latency is up to this much more.
    pub(crate) jitter: Duration,
    /// How long a KiB takes on top of that.
    pub(crate) per_kib: Duration,
}

/// A direction of a socket.
#[derive(Clone, Copy, Debug)]
struct Lane {
    /// When the last packet arrives: none overtakes it.
    last: Instant,
    /// Everything is lost silently.
    silent: bool,
    /// How long the receiver takes for each packet.
    drag: Duration,
    /// What was sent and has not arrived, in bytes.
    outstanding: usize,
}

#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) peer: Peer,
    pub(crate) server: ServerId,
    lanes: [Lane; 2],
    /// A peer reads slowly, or did.
    slow: bool,
    /// Messages that make no sense were put on it.
    pub(crate) noisy: bool,
    /// The handshake offers `wwr.1`, and has agreed on it.
    pub(crate) offers: bool,
    pub(crate) agreed: bool,
    /// In worlds whose links carry bytes.
    link: Option<Box<Link>>,
}

#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) conditions: Conditions,
    sockets: BTreeMap<SocketId, Socket>,
    last: SocketId,
    /// What the links have in common, if they carry bytes.
    carrier: Option<Carrier>,
}

impl Network {
    pub(crate) const fn new(conditions: Conditions, carrier: Option<Carrier>) -> Self {
        Self { conditions, sockets: BTreeMap::new(), last: 0, carrier }
    }

    pub(crate) fn delay(&self, dice: &mut Dice) -> Duration {
        self.conditions.latency + dice.up_to(self.conditions.jitter)
    }

    /// A new socket of a peer.
    pub(crate) fn open(&mut self, now: Instant, peer: Peer, server: ServerId) -> SocketId {
        self.last += 1;
        let lane = Lane { last: now, silent: false, drag: Duration::ZERO, outstanding: 0 };
        self.sockets.insert(
            self.last,
            Socket {
                peer,
                server,
                lanes: [lane; 2],
                slow: false,
                noisy: false,
                offers: false,
                agreed: false,
                link: self.carrier.as_mut().map(|carrier| Box::new(Link::new(carrier))),
            },
        );
        self.last
    }

    pub(crate) fn send(
        &mut self,
        now: Instant,
        socket: SocketId,
        way: Way,
        packet: Packet,
        dice: &mut Dice,
        queue: &mut Queue,
    ) {
        let delay = self.delay(dice);
        let per_kib = self.conditions.per_kib;
        let Some(found) = self.sockets.get_mut(&socket) else { return };
        let lane = &mut found.lanes[way as usize];
        let cost = packet.size();
        lane.outstanding += cost;
        let free = lane.last + per_kib * (cost as u32) / 1024 + lane.drag;
        lane.last = free.max(now + delay);
        if let (Some(link), Some(carrier)) = (&mut found.link, &mut self.carrier) {
            link.send(way, &packet, carrier);
        }
        queue.schedule(lane.last, Event::Packet { socket, way, packet, cost });
    }

    /// Something arrives; whether it really does.
    pub(crate) fn arrives(&mut self, socket: SocketId, way: Way, cost: usize) -> bool {
        let Some(found) = self.sockets.get_mut(&socket) else { return false };
        let lane = &mut found.lanes[way as usize];
        if lane.silent {
            return false;
        }
        lane.outstanding = lane.outstanding.saturating_sub(cost);
        true
    }

    /// What arrives in place of a packet: the same, if its bytes were carried well. The error says what else it is.
    pub(crate) fn carried(
        &mut self,
        now: Instant,
        socket: SocketId,
        way: Way,
        packet: Packet,
    ) -> Result<Packet, String> {
        let link = self.sockets.get_mut(&socket).and_then(|found| found.link.as_mut());
        match (link, &mut self.carrier) {
            (Some(link), Some(carrier)) => link.arrive(now, way, packet, carrier),
            _ => Ok(packet),
        }
    }

    /// How many bytes a sender has sent that have not arrived.
    pub(crate) fn outstanding(&self, socket: SocketId, way: Way) -> usize {
        self.sockets.get(&socket).map_or(0, |found| found.lanes[way as usize].outstanding)
    }

    /// The handshake of a client offers `wwr.1`.
    pub(crate) fn offer(&mut self, socket: SocketId) {
        if let Some(socket) = self.sockets.get_mut(&socket) {
            socket.offers = true;
        }
    }

    /// A server answers a handshake, and agrees on `wwr.1` if it speaks that. Returns whether it
    /// does.
    pub(crate) fn agree(&mut self, socket: SocketId, speaks: bool) -> bool {
        self.sockets.get_mut(&socket).is_some_and(|socket| {
            socket.agreed = socket.offers && speaks;
            socket.agreed
        })
    }

    pub(crate) fn get(&self, socket: SocketId) -> Option<&Socket> {
        self.sockets.get(&socket)
    }

    /// Whether both directions work, and have done so well.
    pub(crate) fn is_healthy(&self, socket: SocketId) -> bool {
        self.get(socket).is_some_and(|found| !found.slow) && !self.is_silent(socket)
    }

    pub(crate) fn is_silent(&self, socket: SocketId) -> bool {
        self.get(socket).is_some_and(|found| found.lanes.iter().any(|lane| lane.silent))
    }

    /// Whether nothing reaches the server any more.
    pub(crate) fn is_mute(&self, socket: SocketId) -> bool {
        self.get(socket).is_some_and(|found| found.lanes[Way::Up as usize].silent)
    }

    pub(crate) fn is_noisy(&self, socket: SocketId) -> bool {
        self.get(socket).is_some_and(|found| found.noisy)
    }

    pub(crate) fn make_noisy(&mut self, socket: SocketId) {
        if let Some(found) = self.sockets.get_mut(&socket) {
            found.noisy = true;
        }
    }

    pub(crate) fn ids(&self) -> Vec<SocketId> {
        self.sockets.keys().copied().collect()
    }

    pub(crate) fn of_server(&self, server: ServerId) -> Vec<SocketId> {
        let of_server = self.sockets.iter().filter(|(_, socket)| socket.server == server);
        of_server.map(|(id, _)| *id).collect()
    }

    /// Both sides are done with a socket.
    pub(crate) fn forget(&mut self, socket: SocketId) {
        self.sockets.remove(&socket);
    }

    /// From now on a socket silently loses what is sent in a direction.
    pub(crate) fn silence(&mut self, socket: SocketId, way: Way) {
        if let Some(found) = self.sockets.get_mut(&socket) {
            found.lanes[way as usize].silent = true;
        }
    }

    /// The receiver of a direction takes so long for each packet from now on.
    pub(crate) fn drag(&mut self, socket: SocketId, way: Way, drag: Duration) {
        if let Some(found) = self.sockets.get_mut(&socket) {
            found.lanes[way as usize].drag = drag;
            found.slow = true;
        }
    }

    /// No peer is slow any more.
    pub(crate) fn hurry(&mut self) {
        for socket in self.sockets.values_mut() {
            socket.lanes.iter_mut().for_each(|lane| lane.drag = Duration::ZERO);
        }
    }

    /// Breaks a socket: what is on its way is lost, and each side learns of it in its time.
    pub(crate) fn cut(
        &mut self,
        now: Instant,
        socket: SocketId,
        late: Duration,
        dice: &mut Dice,
        queue: &mut Queue,
    ) {
        if self.sockets.remove(&socket).is_none() {
            return;
        }
        for way in [Way::Up, Way::Down] {
            let delay = self.delay(dice) + dice.up_to(late);
            queue.schedule(now + delay, Event::Broken { socket, way });
        }
    }
}
