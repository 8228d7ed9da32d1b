//! Links that carry bytes: what a side sends becomes frames of a WebSocket, goes through a bounded pipe in pieces,
//! and becomes messages again on the other side. All of it by the machines of `wwr_socket`.
//!
//! When a message arrives is decided before, as in worlds whose links carry messages. So the world of a seed is the
//! same over both, to its fingerprint: only its bytes are cut elsewhere.

use std::collections::VecDeque;
use std::time::Duration;

use wwr::Instant;
use wwr_socket::Memory;
use wwr_socket::websocket::{Incoming, Role, WebSocket, WebSocketLimits};

use crate::dice::Dice;
use crate::network::{Packet, Way};

/// What goes wrong with the bytes of a link, on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// A byte is lost.
    ByteLost,
    /// A byte is another one.
    ByteChanged,
    /// Two pieces are in the wrong order.
    PiecesSwapped,
    /// A piece comes twice.
    PieceTwice,
    /// The end of a piece is lost.
    CutShort,
}

impl Mistake {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::ByteLost, Self::ByteChanged, Self::PiecesSwapped, Self::PieceTwice, Self::CutShort];

    /// Makes it with a piece that is not empty.
    fn make(self, piece: &mut Vec<u8>, dice: &mut Dice) {
        let at = dice.index(piece.len()).unwrap_or_default();
        match self {
            Self::ByteLost => drop(piece.remove(at)),
            Self::ByteChanged => piece[at] ^= 1 << dice.below(8),
            Self::PiecesSwapped => piece.rotate_left(at),
            Self::PieceTwice => piece.extend_from_within(..),
            Self::CutShort => piece.truncate(at),
        }
    }
}

/// In how many pieces of a thousand the mistake is made.
const MISTAKES: u64 = 20;

/// No message is refused, and no side ever waits: that is up to the world.
const LIMITS: WebSocketLimits = WebSocketLimits {
    max_message: 1 << 24,
    max_backlog: 1 << 24,
    stall_timeout: Duration::from_secs(1 << 24),
};

/// How many bytes a pipe holds.
const CAPACITIES: [u64; 4] = [1, 16, 500, 64 * 1024];

/// How many bytes go at once, at most.
const PIECES: [u64; 5] = [1, 3, 20, 2000, 64 * 1024];

/// What the links of a world have in common.
#[derive(Debug)]
pub(crate) struct Bytes {
    dice: Dice,
    memory: Memory,
    mistake: Option<Mistake>,
}

impl Bytes {
    pub(crate) fn new(dice: Dice, mistake: Option<Mistake>) -> Self {
        Self { dice, memory: Memory::new(), mistake }
    }
}

/// Both sides of a link, and the pipes between them.
#[derive(Debug)]
pub(crate) struct Link {
    ends: [End; 2],
    pipes: [Pipe; 2],
}

/// A side of a link.
#[derive(Debug)]
struct End {
    socket: WebSocket,
    /// Pongs that have come before the world has expected them: the machine answers a ping at once.
    pongs: usize,
    /// It has sent its close frame, and takes nothing but that of the other side.
    is_closing: bool,
}

#[derive(Debug)]
struct Pipe {
    bytes: VecDeque<u8>,
    capacity: usize,
}

impl Link {
    pub(crate) fn new(bytes: &mut Bytes) -> Self {
        let end = |role| End { socket: WebSocket::new(role, LIMITS), pongs: 0, is_closing: false };
        let mut pipe = || {
            let capacity = bytes.dice.choose(&CAPACITIES) as usize;
            Pipe { bytes: VecDeque::new(), capacity }
        };
        Self { ends: [end(Role::Client), end(Role::Server)], pipes: [pipe(), pipe()] }
    }

    /// The side that sends in a direction, its pipe, and the side that receives.
    const fn parts(&mut self, way: Way) -> (&mut End, &mut Pipe, &mut End) {
        let [client, server] = &mut self.ends;
        let [up, down] = &mut self.pipes;
        match way {
            Way::Up => (client, up, server),
            Way::Down => (server, down, client),
        }
    }

    /// A side sends something.
    pub(crate) fn send(&mut self, way: Way, packet: &Packet, bytes: &mut Bytes) {
        let Bytes { dice, memory, .. } = bytes;
        let (from, _, _) = self.parts(way);
        match packet {
            // HTTP.
            Packet::Open | Packet::Opened | Packet::Refused(_) => {}
            Packet::Frame(frame) => from.socket.send(frame, memory),
            Packet::Text(frame) => from.socket.send_text(&String::from_utf8_lossy(frame), memory),
            Packet::Ping => from.socket.ping(memory),
            // The machine has answered.
            Packet::Pong => {}
            Packet::Close(frame) => {
                from.socket.close(frame, memory);
                from.is_closing = true;
            }
        }
        from.socket.mask(|| (dice.below(1 << 32) as u32).to_be_bytes());
    }

    /// Something arrives. Returns what it is now; the error says what came in its place.
    pub(crate) fn arrive(
        &mut self,
        now: Instant,
        way: Way,
        packet: Packet,
        bytes: &mut Bytes,
    ) -> Result<Packet, String> {
        let is_close = matches!(packet, Packet::Close(_));
        let is_http = matches!(packet, Packet::Open | Packet::Opened | Packet::Refused(_));
        let (_, _, to) = self.parts(way);
        if is_http || to.is_closing && !is_close || to.socket.has_ended() {
            return Ok(packet);
        }
        let arrived = loop {
            let (_, _, to) = self.parts(way);
            if packet == Packet::Pong && to.pongs > 0 {
                to.pongs -= 1;
                return Ok(packet);
            }
            let Some(incoming) = to.socket.poll(&mut bytes.memory) else {
                if self.carry(now, way, bytes) {
                    continue;
                }
                return Err(format!("nothing came of {packet:?}"));
            };
            match incoming {
                Incoming::Pong => to.pongs += 1,
                // What has come before, and is of no use any more.
                Incoming::Ping if to.is_closing => {}
                Incoming::Message(frame) => break Packet::Frame(frame),
                Incoming::Text(frame) => break Packet::Text(frame),
                Incoming::Ping => break Packet::Ping,
                Incoming::Closed(frame) => break Packet::Close(frame),
                Incoming::Violated(violation) => {
                    return Err(format!("{violation} in place of {packet:?}"));
                }
            }
        };
        // A part of what follows comes with it.
        while bytes.dice.chance(30) && self.carry(now, way, bytes) {}
        // The answer to a ping.
        let (_, _, to) = self.parts(way);
        let dice = &mut bytes.dice;
        to.socket.mask(|| (dice.below(1 << 32) as u32).to_be_bytes());
        match arrived == packet {
            true => Ok(arrived),
            false => Err(format!("{arrived:?} in place of {packet:?}")),
        }
    }

    /// Carries a piece. Returns whether there was one.
    fn carry(&mut self, now: Instant, way: Way, bytes: &mut Bytes) -> bool {
        let Bytes { dice, memory, mistake } = bytes;
        let (from, pipe, to) = self.parts(way);
        let output = from.socket.output();
        if !output.is_empty() {
            let most = output.len().min(pipe.capacity - pipe.bytes.len());
            let taken = most.min(piece_length(dice));
            pipe.bytes.extend(&output[..taken]);
            from.socket.sent(now, taken, memory);
        }
        let length = pipe.bytes.len().min(piece_length(dice));
        let mut piece: Vec<u8> = pipe.bytes.drain(..length).collect();
        if piece.is_empty() {
            return false;
        }
        if let Some(mistake) = mistake
            && dice.below(1000) < MISTAKES
        {
            mistake.make(&mut piece, dice);
        }
        to.socket.receive(&piece, memory);
        true
    }
}

fn piece_length(dice: &mut Dice) -> usize {
    let most = dice.choose(&PIECES);
    1 + dice.below(most) as usize
}
