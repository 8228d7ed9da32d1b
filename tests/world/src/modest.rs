//! Peers that keep to the rules of 1.5 and 2.0, and do no more than these ask for.

use std::time::Duration;

use bytes::Bytes;
use wwr::wire::{Encoder, Identifier, Message, decode};
use wwr::{CloseFrame, Content, Dialect, Instant, Payload};

use crate::adversary::HEARTBEAT;
use crate::event::{ServerId, millis};
use crate::network::{Packet, Peer, SocketId, Way};
use crate::server::identifier;
use crate::setup::SHORT_READ_TIMEOUT;
use crate::stage::Stage;
use crate::trace::{Actor, is_reply};

/// What it asks for: handlers that take up to several read timeouts.
const NAMES: [&str; 4] = ["echo soon", "stall", "stall", "slow"];

/// How long it waits before it connects again.
const PAUSE: Duration = millis(300);

/// A peer that makes one request at a time and is silent while that is handled: the time of a
/// handler does not count as silence of its client (protocol §4.6). Before and after, it lets three
/// quarters of the read timeout pass at most. It answers pings.
pub(crate) struct Modest {
    id: usize,
    server: ServerId,
    socket: Option<SocketId>,
    /// When it does something of its own accord.
    wakes: Option<Instant>,
    /// The request that has no answer yet.
    waits_for: Option<Identifier>,
    read_timeout: Duration,
    requests: u64,
}

impl Modest {
    pub(crate) const fn new(id: usize, server: ServerId, now: Instant) -> Self {
        Self {
            id,
            server,
            socket: None,
            wakes: Some(now),
            waits_for: None,
            read_timeout: SHORT_READ_TIMEOUT,
            requests: 0,
        }
    }

    const fn actor(&self) -> Actor {
        Actor::Modest(self.id)
    }

    pub(crate) const fn next_timeout(&self) -> Option<Instant> {
        self.wakes
    }

    pub(crate) fn due(&mut self, stage: &mut Stage) {
        if self.wakes.is_none_or(|wakes| wakes > stage.now) {
            return;
        }
        self.wakes = None;
        match self.socket {
            None => {
                let socket = stage.network.open(stage.now, Peer::Modest(self.id), self.server);
                self.socket = Some(socket);
                self.read_timeout = SHORT_READ_TIMEOUT;
                stage.send(self.actor(), socket, Way::Up, Packet::Open);
            }
            Some(socket) if stage.aside.chance(40) => self.beat(socket, stage),
            Some(socket) => self.request(socket, stage),
        }
    }

    pub(crate) fn receive(&mut self, socket: SocketId, packet: Packet, stage: &mut Stage) {
        if self.socket != Some(socket) {
            if matches!(packet, Packet::Close(_) | Packet::Refused(_)) {
                stage.network.forget(socket);
            }
            return;
        }
        match packet {
            // Shows the server that it does not speak 1.4.
            Packet::Opened => self.beat(socket, stage),
            Packet::Ping => stage.send(self.actor(), socket, Way::Up, Packet::Pong),
            Packet::Frame(frame) => self.read(&frame, stage),
            Packet::Close(_) | Packet::Refused(_) => {
                stage.network.forget(socket);
                self.lose(socket, stage);
            }
            Packet::Text(_) | Packet::Open | Packet::Pong => {}
        }
    }

    fn read(&mut self, frame: &Bytes, stage: &mut Stage) {
        match decode(Dialect::Unknown, frame.clone()) {
            Ok(Message::AcceptConf(conf)) => self.read_timeout = conf.read_timeout(),
            Ok(message) if is_reply(message.kind()) && identifier(frame) == self.waits_for => {
                self.waits_for = None;
                self.wake_in_time(stage);
            }
            Ok(_) | Err(_) => {}
        }
    }

    fn wake_in_time(&mut self, stage: &mut Stage) {
        let most = self.read_timeout / 4 * 3;
        let pause = if stage.aside.chance(50) { most } else { stage.aside.up_to(most) };
        self.wakes = Some(stage.now + pause);
    }

    fn beat(&mut self, socket: SocketId, stage: &mut Stage) {
        stage.send(self.actor(), socket, Way::Up, Packet::Frame(Bytes::from_static(HEARTBEAT)));
        self.wake_in_time(stage);
    }

    fn request(&mut self, socket: SocketId, stage: &mut Stage) {
        let name = stage.aside.choose(&NAMES);
        let Ok(content) = Content::new(name.as_bytes(), &Payload::binary(b"m".to_vec())) else {
            return;
        };
        self.requests += 1;
        let id = Identifier::from_counter(self.requests);
        self.waits_for = Some(id);
        let message = Message::Request { id, content };
        let frame = Encoder::new().encode(Dialect::Unknown, &message).unwrap_or_default();
        stage.send(self.actor(), socket, Way::Up, Packet::Frame(frame));
    }

    pub(crate) fn lose(&mut self, socket: SocketId, stage: &Stage) {
        if self.socket == Some(socket) {
            (self.socket, self.waits_for) = (None, None);
            self.wakes = Some(stage.now + PAUSE);
        }
    }

    /// Leaves for good.
    pub(crate) fn stop(&mut self, stage: &mut Stage) {
        if let Some(socket) = self.socket.take() {
            stage.send(self.actor(), socket, Way::Up, Packet::Close(CloseFrame::NORMAL));
        }
        (self.wakes, self.waits_for) = (None, None);
    }
}
