//! What happened: a fingerprint always, lines to read on request.

use std::fmt;

use bytes::Bytes;
use wwr::wire::{Kind, decode};
use wwr::{Dialect, Instant};

/// The actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    World,
    Store,
    Client(usize),
    Adversary(usize),
    Modest(usize),
    Reference(usize),
    /// A server, and the socket of the connection.
    Server(usize, u64),
}

impl Actor {
    const fn word(self) -> u64 {
        match self {
            Self::World => 1,
            Self::Store => 2,
            Self::Client(id) => (id as u64) << 8 | 3,
            Self::Adversary(id) => (id as u64) << 8 | 4,
            Self::Modest(id) => (id as u64) << 8 | 6,
            Self::Reference(id) => (id as u64) << 8 | 7,
            Self::Server(id, socket) => socket << 16 | (id as u64) << 8 | 5,
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::World => f.pad("world"),
            Self::Store => f.pad("store"),
            Self::Client(id) => f.pad(&format!("client {id}")),
            Self::Adversary(id) => f.pad(&format!("adversary {id}")),
            Self::Modest(id) => f.pad(&format!("modest peer {id}")),
            Self::Reference(id) => f.pad(&format!("reference {id}")),
            Self::Server(id, socket) => f.pad(&format!("server {id} on #{socket}")),
        }
    }
}

/// The trace of one world.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    shown: bool,
    pub(crate) lines: Vec<String>,
}

impl Trace {
    pub(crate) const fn new(shown: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, shown, lines: Vec::new() }
    }

    pub(crate) const fn fingerprint(&self) -> u64 {
        self.hash
    }

    const fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    /// Takes note. `what` and `bytes` go into the fingerprint, `text` is for people.
    pub(crate) fn note(
        &mut self,
        now: Instant,
        actor: Actor,
        what: u64,
        bytes: &[u8],
        text: impl FnOnce() -> String,
    ) {
        self.mix(now.as_nanos());
        self.mix(actor.word());
        self.mix(what);
        for chunk in bytes.chunks(8) {
            let word =
                chunk.iter().fold(chunk.len() as u64, |word, byte| word << 8 | u64::from(*byte));
            self.mix(word);
        }
        if self.shown {
            let micros = now.as_nanos() / 1000;
            let time = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
            self.lines.push(format!("{time:>12} {actor:<18} {}", text()));
        }
    }
}

/// A message, for people.
pub(crate) fn describe(frame: &Bytes) -> String {
    let kind = frame.first().and_then(|byte| Kind::from_byte(*byte));
    let Some(kind) = kind else { return format!("{} bytes of no known type", frame.len()) };
    let identifier = match frame.get(1..9) {
        Some(bytes) if kind.requires_reply() || is_reply(kind) => {
            format!(" {}", bytes.iter().rev().fold(0, |id, byte| id << 8 | u64::from(*byte)))
        }
        Some(_) | None => String::new(),
    };
    let rest = match decode(Dialect::Wwr1, frame.clone()) {
        Ok(_) => frame.get(if identifier.is_empty() { 1 } else { 9 }..).unwrap_or_default(),
        Err(_) => return format!("{kind:?}{identifier}, malformed"),
    };
    let shown = rest.get(..48).unwrap_or(rest);
    format!("{kind:?}{identifier} \"{}\"", shown.escape_ascii())
}

/// Whether messages of this kind answer a request.
pub(crate) const fn is_reply(kind: Kind) -> bool {
    kind.as_byte() <= 6 || kind.as_byte() >= Kind::ReplyBinary.as_byte()
}
