//! What all actors of a world share: time, chance, the network, the store, the record.

use wwr::Instant;

use crate::coverage::{Coverage, Fact};
use crate::dice::Dice;
use crate::event::{Event, Queue};
use crate::invariants::{Invariant, Violation};
use crate::ledger::Ledger;
use crate::network::{Network, Packet, SocketId, Way};
use crate::record::{Record, Sent};
use crate::store::Store;
use crate::trace::{Actor, Trace, describe};

pub(crate) struct Stage {
    pub(crate) now: Instant,
    pub(crate) dice: Dice,
    /// For what was added to the worlds later, and only some of them have.
    pub(crate) aside: Dice,
    pub(crate) queue: Queue,
    pub(crate) network: Network,
    pub(crate) store: Store,
    pub(crate) ledger: Ledger,
    pub(crate) trace: Trace,
    pub(crate) coverage: Coverage,
    /// What scripts want to know afterwards.
    pub(crate) record: Option<Record>,
    /// Sessions are durable on all servers.
    pub(crate) durable: bool,
    /// There are several servers.
    pub(crate) is_cluster: bool,
    /// Whether a live peer may be taken for gone: a clock has jumped, or a server does not
    /// know what its peers speak.
    pub(crate) is_deceptive: bool,
    /// A clock has jumped.
    pub(crate) time_is_torn: bool,
    /// The first thing that did not hold.
    pub(crate) violation: Option<Violation>,
}

impl Stage {
    /// Sees that something holds.
    pub(crate) fn check(
        &mut self,
        holds: bool,
        invariant: Invariant,
        text: impl FnOnce() -> String,
    ) {
        if !holds && self.violation.is_none() {
            let text = text();
            self.trace
                .note(self.now, Actor::World, 0, b"", || format!("VIOLATION {invariant}: {text}"));
            self.violation = Some(Violation { invariant, text });
        }
    }

    pub(crate) fn count(&mut self, fact: Fact) {
        self.coverage.count(fact);
    }

    pub(crate) fn after(&mut self, delay: std::time::Duration, event: Event) {
        self.queue.schedule(self.now + delay, event);
    }

    pub(crate) fn note(&mut self, actor: Actor, what: u64, text: impl FnOnce() -> String) {
        self.trace.note(self.now, actor, what, b"", text);
    }

    pub(crate) fn send(&mut self, actor: Actor, socket: SocketId, way: Way, packet: Packet) {
        match &packet {
            Packet::Frame(frame) => {
                if let Some(record) = &mut self.record {
                    record.frames.push(Sent { socket, way, frame: frame.clone() });
                }
                self.trace.note(self.now, actor, 100, frame, || {
                    format!("#{socket} {way:?}: {}", describe(frame))
                });
            }
            other => self
                .trace
                .note(self.now, actor, 101, b"", || format!("#{socket} {way:?}: {other:?}")),
        }
        let Self { now, network, dice, queue, .. } = self;
        network.send(*now, socket, way, packet, dice, queue);
    }

    /// Breaks a socket.
    pub(crate) fn cut(&mut self, socket: SocketId, late: std::time::Duration) {
        let Self { now, network, dice, queue, .. } = self;
        network.cut(*now, socket, late, dice, queue);
    }
}
