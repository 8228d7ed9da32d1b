//! What is going to happen, in the order in which it will.

use std::collections::BTreeMap;
use std::time::Duration;

use wwr::Instant;
use wwr::preflight::{Answer, ProbeFailed};
use wwr::session::ConnectionId;

use crate::application::Work;
use crate::network::{Packet, Peer, SocketId, Way};
use crate::store::OperationId;

/// A client, by its index in the world.
pub type ClientId = usize;

/// A server, by its index in the world.
pub(crate) type ServerId = usize;

/// What is going to happen.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A preflight arrives at a server.
    Probe { from: Peer, attempt: u64, server: ServerId },
    /// Its answer arrives at the client.
    Probed { to: Peer, attempt: u64, answer: Result<Answer, ProbeFailed> },
    /// Something arrives on a socket. `cost` is what of it the sender still had to keep.
    Packet { socket: SocketId, way: Way, packet: Packet, cost: usize },
    /// One end learns that a socket is broken: the server for [`Way::Up`].
    Broken { socket: SocketId, way: Way },
    /// The store does what it was asked for.
    Apply { operation: OperationId },
    /// The store answers.
    Answer { operation: OperationId },
    /// The handshake of a connection that was admitted ends.
    Opens { server: ServerId, epoch: u64, socket: SocketId },
    /// Nothing is left of a connection.
    Left { server: ServerId, epoch: u64, id: ConnectionId },
    /// The hub's news reach the task of a connection.
    Inbox { socket: SocketId },
    /// A handler gets further.
    Work { socket: SocketId, work: Work },
    /// A server that is down starts again.
    Restart { server: ServerId },
    /// A server that shuts down is told so once more.
    ShutDownAgain { server: ServerId, epoch: u64 },
    /// A server that shuts down ends its process.
    Exit { server: ServerId, epoch: u64 },
    /// A server accepts connections again.
    Accepts { server: ServerId },
    /// The store behaves as usual again.
    StoreRecovers,
}

/// All that is going to happen.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    events: BTreeMap<(Instant, u64), Event>,
    count: u64,
}

impl Queue {
    pub(crate) fn schedule(&mut self, at: Instant, event: Event) {
        self.count += 1;
        self.events.insert((at, self.count), event);
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.events.first_key_value().map(|((at, _), _)| *at)
    }

    /// What is due.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Event> {
        let first = self.events.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Event> {
        self.events.values()
    }

    /// How many events were scheduled so far.
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }
}

/// So many milliseconds.
pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
