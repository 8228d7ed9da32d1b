//! Signals that wait for a peer, and those that are dropped or replaced meanwhile; and questions, which do
//! not wait.

use core::time::Duration;

use wwr::{Backlog, Name, NoRoom, Payload, SlowReader};

use super::Server;
use super::questions::ask;
use crate::application::{STATES, signal_payload};
use crate::coverage::Fact;
use crate::invariants::Invariant;
use crate::network::{SocketId, Way};
use crate::stage::Stage;

/// How many bytes may wait for a peer.
const MOST: usize = 150;

/// While a peer has this many bytes to read, signals wait, and changes of its session.
pub(super) const BUSY: usize = 100;

/// How many signals a member is sent at a time.
const BURST: usize = 18;

/// What happens to the signals of each name.
const POLICIES: [SlowReader; STATES.len()] =
    [SlowReader::Refuse, SlowReader::DropOldest, SlowReader::Coalesce, SlowReader::Coalesce];

/// What a question counts.
const QUESTION: usize = 20;

#[derive(Clone, Copy, Debug)]
enum Waiting {
    /// The index of its name, and its number.
    Signal(usize, u64),
    Question(Asked),
}

/// A question to the client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) number: u64,
    pub(super) timeout: Duration,
}

/// What waits for a peer, and what became of the rest.
#[derive(Debug)]
pub(crate) struct States {
    backlog: Backlog<Waiting>,
    /// How many signals were offered.
    offered: u64,
    accepted: u64,
    dropped: u64,
    taken: u64,
    /// How many questions are among those that wait.
    questions: u64,
    /// The last number of each name that was accepted, and that was taken.
    last_accepted: [Option<u64>; STATES.len()],
    pub(crate) last_taken: [Option<u64>; STATES.len()],
}

impl States {
    pub(crate) const fn new() -> Self {
        Self {
            backlog: Backlog::new(MOST),
            offered: 0,
            accepted: 0,
            dropped: 0,
            taken: 0,
            questions: 0,
            last_accepted: [None; STATES.len()],
            last_taken: [None; STATES.len()],
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.backlog.is_empty()
    }

    /// Offers the next signal. Names take turns, and not all are as long as each other.
    fn offer(&mut self) -> Result<usize, NoRoom> {
        let number = self.offered;
        let index = number as usize % STATES.len();
        self.offered += 1;
        let bytes = 16 + number as usize * 7 % 23;
        let name = STATES[index].as_bytes();
        let result =
            self.backlog.push_signal(Waiting::Signal(index, number), bytes, name, POLICIES[index]);
        if let Ok(dropped) = result {
            self.accepted += 1;
            self.dropped += dropped as u64;
            self.last_accepted[index] = Some(number);
        }
        result
    }

    fn ask(&mut self, asked: Asked) -> Result<(), NoRoom> {
        self.backlog.push(Waiting::Question(asked), QUESTION)?;
        self.accepted += 1;
        self.questions += 1;
        Ok(())
    }

    fn take(&mut self) -> Option<Waiting> {
        let waiting = self.backlog.pop()?;
        self.taken += 1;
        match waiting {
            Waiting::Signal(index, number) => self.last_taken[index] = Some(number),
            Waiting::Question(_) => self.questions -= 1,
        }
        Some(waiting)
    }

    /// Whether something has to be taken even while the peer does not read.
    fn is_urgent(&self) -> bool {
        self.questions > 0 && !self.backlog.can_wait()
    }

    /// Whether nothing got lost without being counted.
    fn adds_up(&self) -> bool {
        let there = self.taken + self.backlog.len() as u64 + self.dropped;
        self.accepted == there && self.backlog.dropped() == self.dropped
    }

    /// Whether the last signal of each name that was accepted is never the one that gets lost.
    fn keeps_the_last(&self) -> bool {
        !self.is_empty() || self.last_accepted == self.last_taken
    }
}

impl Server {
    /// Sends some signals to a peer, of which some are dropped or replaced if it reads too slowly.
    pub(super) fn send_states(&mut self, socket: SocketId, stage: &mut Stage) {
        let actor = self.actor(socket);
        let Some(served) = self.connections.get_mut(&socket) else { return };
        if !served.machine.is_open() {
            return;
        }
        for _ in 0..BURST {
            let fact = match served.states.offer() {
                Ok(0) => "signal waits",
                Ok(_) => "signal waits, another was dropped",
                Err(_) => "signal refused",
            };
            stage.count(Fact::Hub(fact));
            let bytes = served.states.backlog.waiting_bytes();
            stage.check(bytes <= MOST, Invariant::QueuesBounded, || {
                format!("{actor}: {bytes} bytes of signals wait")
            });
        }
        self.ask_client(socket, stage);
        self.drain_states(socket, stage);
    }

    /// Asks the client something, after the signals that wait.
    pub(super) fn ask_in_turn(&mut self, socket: SocketId, asked: Asked, stage: &mut Stage) {
        let Some(served) = self.connections.get_mut(&socket) else { return };
        if served.states.ask(asked).is_err() {
            stage.count(Fact::Hub("question refused"));
        }
        self.drain_states(socket, stage);
    }

    /// Hands waiting signals to the machine while the peer reads, and questions at once.
    pub(super) fn drain_states(&mut self, socket: SocketId, stage: &mut Stage) {
        let (actor, now) = (self.actor(socket), self.clock.latest());
        let Some(served) = self.connections.get_mut(&socket) else { return };
        let mut room = BUSY.saturating_sub(stage.network.outstanding(socket, Way::Down));
        while (room > 0 || served.states.is_urgent())
            && let Some(waiting) = served.states.take()
        {
            let (index, number) = match waiting {
                Waiting::Signal(index, number) => (index, number),
                Waiting::Question(asked) => {
                    if room == 0 {
                        stage.count(Fact::Hub("question while the peer does not read"));
                    }
                    ask(&actor, now, asked, served, &mut self.out, stage);
                    continue;
                }
            };
            let (Ok(name), payload) = (Name::new(STATES[index]), signal_payload(socket, number))
            else {
                return;
            };
            room = room.saturating_sub(name.len() + payload.len());
            send(&name, &payload, served, &mut self.out);
        }
        let states = &served.states;
        stage.check(states.questions == 0, Invariant::QuestionsEndOnce, || {
            format!("{actor}: a question waits, and its time does not run: {states:?}")
        });
        stage.check(states.adds_up(), Invariant::DroppedIsCounted, || {
            format!("{actor}: {states:?}")
        });
        stage.check(states.keeps_the_last(), Invariant::LastValueWins, || {
            format!("{actor}: {states:?}")
        });
        self.collect(socket, stage);
    }
}

fn send(
    name: &Name,
    payload: &Payload,
    served: &mut super::Served,
    out: &mut wwr::Actions<wwr::server::Action>,
) {
    // A connection that closes sends nothing any more.
    let _ = served.machine.signal(name, payload, out);
}
