//! Connections that carry bytes: two pipes that delay, hold a limited number of bytes, and end.

use std::collections::VecDeque;
use std::time::Duration;

use wwr::Instant;
use wwr_socket::server::SocketId;

use super::HostMistake;
use crate::dice::Dice;
use crate::event::millis;

/// How many bytes a pipe holds.
const CAPACITIES: [u64; 4] = [50, 300, 5000, 64 * 1024];

/// Pipes that hold fewer bytes are fast, or nothing large would ever get through.
const LONG: usize = 1000;

/// How many bytes are read or written at once, at most.
const PIECES: [u64; 4] = [1, 30, 3000, 64 * 1024];

/// In how many pieces of a thousand a mistake is made.
const MISTAKES: u64 = 10;

/// How many bytes go at once.
pub(super) fn piece_length(dice: &mut Dice) -> usize {
    let most = dice.choose(&PIECES);
    1 + dice.below(most) as usize
}

/// A direction of a connection.
#[derive(Debug)]
pub(super) struct Pipe {
    capacity: usize,
    latency: Duration,
    under_way: VecDeque<(Instant, Vec<u8>)>,
    arrived: VecDeque<u8>,
    /// How many bytes are in it.
    held: usize,
    /// When what was written last arrives.
    last: Instant,
    /// When the end of it arrives.
    end: Option<Instant>,
    end_is_told: bool,
    /// Nothing arrives any more.
    pub(super) is_silent: bool,
    /// Its writer was told that it takes nothing, and is to be told when it does again.
    pub(super) is_full: bool,
}

impl Pipe {
    fn new(now: Instant, dice: &mut Dice) -> Self {
        let capacity = dice.choose(&CAPACITIES) as usize;
        let latency = dice.choose(&[0, 1, 20, 200]);
        Self {
            capacity,
            latency: millis(if capacity < LONG { latency.min(1) } else { latency }),
            under_way: VecDeque::new(),
            arrived: VecDeque::new(),
            held: 0,
            last: now,
            end: None,
            end_is_told: false,
            is_silent: false,
            is_full: false,
        }
    }

    fn arrives_at(&mut self, now: Instant, dice: &mut Dice) -> Instant {
        self.last = self.last.max(now + dice.up_to(self.latency));
        self.last
    }

    pub(super) const fn room(&self) -> usize {
        self.capacity - self.held
    }

    /// Takes some of these bytes. Returns how many.
    pub(super) fn write(&mut self, now: Instant, bytes: &[u8], dice: &mut Dice) -> usize {
        let length = bytes.len().min(self.room()).min(piece_length(dice));
        if length > 0 {
            let at = self.arrives_at(now, dice);
            self.under_way.push_back((at, bytes[..length].to_vec()));
            self.held += length;
        }
        length
    }

    /// Nothing more is written.
    pub(super) fn close(&mut self, now: Instant, dice: &mut Dice) {
        if self.end.is_none() {
            self.end = Some(self.arrives_at(now, dice));
        }
    }

    /// When something arrives next.
    pub(super) fn next(&self) -> Option<Instant> {
        let end = self.end.filter(|_| !self.end_is_told);
        let next = self.under_way.front().map(|(at, _)| *at).or(end);
        next.filter(|_| !self.is_silent)
    }

    /// Lets arrive what is due. Returns whether there was something.
    pub(super) fn deliver(&mut self, now: Instant) -> bool {
        let mut any = false;
        while self.next().is_some_and(|at| at <= now) {
            any = true;
            match self.under_way.pop_front() {
                Some((_, bytes)) => self.arrived.extend(bytes),
                None => self.end_is_told = true,
            }
        }
        any
    }

    pub(super) fn has_arrived(&self) -> bool {
        !self.arrived.is_empty()
    }

    /// Whether everything is read, and nothing follows.
    pub(super) fn has_ended(&self) -> bool {
        self.end_is_told && self.arrived.is_empty()
    }

    pub(super) fn read(&mut self, dice: &mut Dice, mistake: Option<HostMistake>) -> Vec<u8> {
        let length = self.arrived.len().min(piece_length(dice));
        let mut piece: Vec<u8> = self.arrived.drain(..length).collect();
        self.held -= length;
        if !piece.is_empty() && mistake.is_some() && dice.below(1000) < MISTAKES {
            let at = dice.index(piece.len()).unwrap_or_default();
            match mistake {
                Some(HostMistake::ByteLost) => drop(piece.remove(at)),
                Some(HostMistake::PiecesSwapped) => piece.rotate_left(at),
                _ => {}
            }
        }
        piece
    }

    /// Nobody reads it: what arrives is gone.
    pub(super) fn discard(&mut self) {
        self.held -= self.arrived.len();
        self.arrived.clear();
    }
}

/// A connection between a peer and the server.
#[derive(Debug)]
pub(super) struct Link {
    /// The client, or none for a peer that only says what it was told to.
    pub(super) client: Option<usize>,
    /// Whether the client has it open still.
    pub(super) is_open: bool,
    /// As the server knows it, as long as it does.
    pub(super) id: Option<SocketId>,
    pub(super) up: Pipe,
    pub(super) down: Pipe,
}

impl Link {
    pub(super) fn new(now: Instant, client: Option<usize>, id: SocketId, dice: &mut Dice) -> Self {
        let (up, down) = (Pipe::new(now, dice), Pipe::new(now, dice));
        Self { client, is_open: true, id: Some(id), up, down }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        [self.up.next(), self.down.next()].into_iter().flatten().min()
    }
}
