//! Peers that keep to nothing.

use bytes::Bytes;
use wwr::wire::{Encoder, Identifier, Kind, Message};
use wwr::{CloseFrame, Content, Dialect, Payload};

use crate::application::{DEEDS, LARGE};
use crate::client;
use crate::coverage::Fact;
use crate::event::millis;
use crate::faults::Fault;
use crate::network::{Packet, Peer, SocketId, Way};
use crate::stage::Stage;
use crate::trace::Actor;

/// The message that keeps a connection alive.
pub(crate) const HEARTBEAT: &[u8] = &[Kind::Heartbeat.as_byte()];

pub(crate) struct Adversary {
    id: usize,
    socket: Option<SocketId>,
    is_open: bool,
    answers_pings: bool,
    encoder: Encoder,
    numbers: u64,
}

impl Adversary {
    pub(crate) const fn new(id: usize, answers_pings: bool) -> Self {
        let encoder = Encoder::new();
        Self { id, socket: None, is_open: false, answers_pings, encoder, numbers: 0 }
    }

    const fn actor(&self) -> Actor {
        Actor::Adversary(self.id)
    }

    pub(crate) fn receive(&mut self, socket: SocketId, packet: Packet, stage: &mut Stage) {
        match packet {
            Packet::Opened => self.is_open = self.socket == Some(socket),
            Packet::Ping if self.answers_pings => {
                stage.send(self.actor(), socket, Way::Up, Packet::Pong);
            }
            Packet::Close(_) | Packet::Refused(_) => {
                stage.network.forget(socket);
                self.lose(socket);
            }
            _ => {}
        }
    }

    pub(crate) fn lose(&mut self, socket: SocketId) {
        if self.socket == Some(socket) {
            self.socket = None;
            self.is_open = false;
        }
    }

    /// Ends what it began.
    pub(crate) fn stop(&mut self, stage: &mut Stage) {
        if let Some(socket) = self.socket.take() {
            stage.send(self.actor(), socket, Way::Up, Packet::Close(CloseFrame::NORMAL));
            self.is_open = false;
        }
    }

    /// Does something, whatever it is.
    pub(crate) fn act(&mut self, servers: usize, stage: &mut Stage) {
        let Some(socket) = self.socket else {
            let server = stage.dice.index(servers).unwrap_or_default();
            let socket = stage.network.open(stage.now, Peer::Adversary(self.id), server);
            self.socket = Some(socket);
            return stage.send(self.actor(), socket, Way::Up, Packet::Open);
        };
        if !self.is_open {
            return;
        }
        match stage.dice.below(16) {
            0 => self.many(Fault::HeartbeatStorm, 200, stage, |_, _| Bytes::from_static(HEARTBEAT)),
            1 => self.many(Fault::Malformed, 6, stage, Self::malformed),
            2 => self.many(Fault::UnknownType, 6, stage, |_, stage| {
                let frames: [&[u8]; 4] = [b"", b"\x07hello", b"\xff", b"\x64\0"];
                Bytes::from_static(stage.dice.choose(&frames))
            }),
            3 => self.many(Fault::ServerOnly, 4, stage, Self::server_only),
            4 => {
                self.many(Fault::Flood, 100, stage, |adversary, _| adversary.request("echo", false))
            }
            5 => self.many(Fault::KeyGuess, 5, stage, Self::guess),
            6 => self.many(Fault::StolenKey, 2, stage, |_, stage| {
                let key = client::any_key(stage);
                restore(1, key.as_str().as_bytes())
            }),
            7 => {
                self.many(Fault::Oversize, 1, stage, |adversary, _| adversary.request("echo", true))
            }
            8 => {
                stage.count(Fact::Fault(Fault::TextFrame));
                let frame = self.request("echo", false);
                stage.send(self.actor(), socket, Way::Up, Packet::Text(frame));
            }
            9 => {
                stage.count(Fact::Fault(Fault::NeverReads));
                stage.network.drag(socket, Way::Down, millis(400));
            }
            10 => {
                stage.count(Fact::Fault(Fault::Vanished));
                stage.network.silence(socket, Way::Up);
                stage.network.silence(socket, Way::Down);
                self.lose(socket);
            }
            11 => self.stop(stage),
            12 => {
                let frame = self.close_session();
                stage.send(self.actor(), socket, Way::Up, Packet::Frame(frame));
            }
            _ => {
                let (name, _, _) = stage.dice.choose(&DEEDS);
                let frame = self.request(name, false);
                stage.send(self.actor(), socket, Way::Up, Packet::Frame(frame));
            }
        }
    }

    fn many(
        &mut self,
        fault: Fault,
        most: u64,
        stage: &mut Stage,
        make: impl Fn(&mut Self, &mut Stage) -> Bytes,
    ) {
        let Some(socket) = self.socket else { return };
        stage.count(Fact::Fault(fault));
        stage.note(self.actor(), most, || format!("{fault:?} on #{socket}"));
        for _ in 0..=stage.dice.below(most) {
            let frame = make(self, stage);
            stage.send(self.actor(), socket, Way::Up, Packet::Frame(frame));
        }
    }

    /// A request; identifiers repeat.
    fn request(&mut self, name: &str, is_large: bool) -> Bytes {
        self.numbers += 1;
        let length = if is_large { LARGE } else { 1 };
        let payload = Payload::binary(vec![b'y'; length]);
        let Ok(content) = Content::new(name.as_bytes(), &payload) else { return Bytes::new() };
        let id = Identifier::from_counter(self.numbers % 4);
        self.encode(&Message::Request { id, content })
    }

    fn close_session(&mut self) -> Bytes {
        self.numbers += 1;
        self.encode(&Message::CloseSession { id: Identifier::from_counter(self.numbers % 4) })
    }

    fn encode(&mut self, message: &Message) -> Bytes {
        self.encoder.encode(Dialect::Unknown, message).unwrap_or_default()
    }

    fn malformed(&mut self, stage: &mut Stage) -> Bytes {
        let mut frame = self.request("malformed", false).to_vec();
        match stage.dice.below(4) {
            0 => frame.truncate(1 + stage.dice.below(10) as usize),
            1 => frame[9] = 255,
            2 => frame[0] = stage.dice.choose(&[0x81, 0x41, 0x1f, 0x20, 0x21]),
            _ => frame = vec![stage.dice.choose(&[0x3f, 0x40, 0x7f, 0x80, 0x1f, 0x20])],
        }
        frame.into()
    }

    fn server_only(&mut self, stage: &mut Stage) -> Bytes {
        let frames: [&[u8]; 6] = [
            b"\xbf\x01\0\0\0\0\0\0\0yes",
            b"\0\x01\0\0\0\0\0\0\0\x01CM",
            b"\x03\x01\0\0\0\0\0\0\0",
            b"\x15{\"k\":\"key\"}",
            b"\x16",
            b"\x17\x02\0\x60\xea\0\0\0\x20\0\0",
        ];
        Bytes::from_static(stage.dice.choose(&frames))
    }

    fn guess(&mut self, stage: &mut Stage) -> Bytes {
        let keys: [&[u8]; 5] = [b"k", b"../../etc/passwd", b"\xff\xfe", &[b'A'; 64], &[b'/'; 64]];
        restore(2, stage.dice.choose(&keys))
    }
}

/// A request to restore the session of whatever key.
fn restore(id: u8, key: &[u8]) -> Bytes {
    let head = [Kind::RestoreSession.as_byte(), id, 0, 0, 0, 0, 0, 0, 0];
    [&head[..], key].concat().into()
}
