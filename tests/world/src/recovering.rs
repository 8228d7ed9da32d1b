//! A small world of its own, of clients that are to lose nothing: one server that keeps histories and outcomes in
//! memory, clients that resume signals and repeat requests, and connections that are cut. What they are told is
//! compared with what happened.

mod client;
mod server;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bytes::Bytes;
use wwr::Instant;
use wwr::client::Status;
use wwr::server::{RequestId, StoreAnswer};

use crate::Lines;
use crate::dice::Dice;
use crate::event::millis;
use crate::invariants::{Invariant, Violation};
use client::Node;
use server::Server;

/// What is done wrong on purpose, between the machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryMistake {
    /// What is read from a history begins one signal too late.
    ReadsOneTooLate,
    /// What is read from a history begins one signal too early.
    ReadsOneTooEarly,
    /// That something is missing is not said.
    GapNotSaid,
    /// The history does not say that it has grown.
    NewsLost,
    /// A history of another run of the server has the same incarnation.
    SameIncarnation,
    /// Requests that run when their connection ends are forgotten.
    TokenForgottenAtDisconnect,
    /// The server does not tell clients that it has forgotten them.
    SameScope,
    /// The outcome of one request is told as that of another one.
    OutcomesMixedUp,
}

impl RecoveryMistake {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::ReadsOneTooLate,
        Self::ReadsOneTooEarly,
        Self::GapNotSaid,
        Self::NewsLost,
        Self::SameIncarnation,
        Self::TokenForgottenAtDisconnect,
        Self::SameScope,
        Self::OutcomesMixedUp,
    ];
}

/// What became of such a world.
#[derive(Clone, Debug, Default)]
pub struct RecoveryReport {
    /// How many signals were sent to sessions, and how many of them clients were told.
    pub signals: (u64, u64),
    /// How often clients had got all that they had missed, how many signals that was, and how often something was
    /// missing.
    pub resumed: (u64, u64, u64),
    /// How many idempotent requests were made, how many had an outcome of the server, and how many of those came twice
    /// to a server.
    pub requests: (u64, u64, u64),
    /// Of everything that happened.
    pub fingerprint: u64,
    /// What did not hold, if anything.
    pub violation: Option<Violation>,
    /// What happened, if that was asked for: a line each.
    pub trace: Vec<String>,
}

/// How often somebody does something.
const STEPS: u64 = 250;

/// How many clients there are.
const CLIENTS: usize = 4;

/// More events than any run has.
const MANY: u64 = 500_000;

/// How long it takes at most until all is told, once nothing goes wrong any more.
const RECOVERY: Duration = millis(120_000);

/// Something that happens at its time.
#[derive(Debug)]
enum Event {
    /// The next message of a link arrives at the server, or at the client.
    Up(u64),
    Down(u64),
    /// One side learns that a link is cut.
    ServerLoses(u64),
    ClientLoses(u64),
    Opened(u64),
    /// A connection takes the next news of the hub.
    Inbox(u64),
    Store {
        run: u64,
        job: wwr::server::JobId,
        answer: StoreAnswer,
    },
    /// A handler ends.
    Handled {
        run: u64,
        link: u64,
        request: RequestId,
        reply: String,
    },
}

/// A connection, as long as either side has it.
#[derive(Debug, Default)]
struct Link {
    client: usize,
    up: std::collections::VecDeque<Bytes>,
    down: std::collections::VecDeque<Bytes>,
    /// When the last message of a direction arrives: none overtakes another.
    up_until: Instant,
    down_until: Instant,
    is_cut: bool,
}

/// What is there beside the machines.
struct Stage {
    now: Instant,
    dice: Dice,
    mistake: Option<RecoveryMistake>,
    events: BTreeMap<(Instant, u64), Event>,
    last_event: u64,
    links: BTreeMap<u64, Link>,
    last_link: u64,
    /// How many signals each session was sent, by its number.
    signals: BTreeMap<u64, u64>,
    /// How each idempotent request was executed: as what.
    executed: BTreeMap<u64, Vec<String>>,
    /// How often each came to a server.
    arrivals: BTreeMap<u64, u64>,
    report: RecoveryReport,
    shown: bool,
}

impl Stage {
    fn at(&mut self, delay: Duration, event: Event) {
        self.last_event += 1;
        self.events.insert((self.now + delay, self.last_event), event);
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        let line = line();
        for byte in line.bytes() {
            let mixed = self.report.fingerprint ^ u64::from(byte);
            self.report.fingerprint = mixed.wrapping_mul(0x0100_0000_01b3);
        }
        if self.shown {
            let at = self.now.saturating_since(Instant::EPOCH).as_millis();
            self.report.trace.push(format!("{at:>7} {line}"));
        }
    }

    fn check(&mut self, holds: bool, invariant: Invariant, text: impl FnOnce() -> String) {
        if !holds && self.report.violation.is_none() {
            self.report.violation = Some(Violation { invariant, text: text() });
        }
    }

    fn does(&self, mistake: RecoveryMistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// Sends a message: up or down.
    fn send(&mut self, id: u64, is_up: bool, frame: Bytes) {
        let (now, delay) = (self.now, Duration::from_millis(1 + self.dice.below(20)));
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.is_cut) else { return };
        let (queue, until) = match is_up {
            true => (&mut link.up, &mut link.up_until),
            false => (&mut link.down, &mut link.down_until),
        };
        queue.push_back(frame);
        *until = (*until).max(now + delay);
        let delay = until.saturating_since(now);
        self.at(delay, if is_up { Event::Up(id) } else { Event::Down(id) });
    }

    /// Cuts a link: what is on its way is lost. Each side learns of it at its time.
    fn cut(&mut self, id: u64) {
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.is_cut) else { return };
        link.is_cut = true;
        link.up.clear();
        link.down.clear();
        let (one, other) = (self.dice.below(3000), self.dice.below(3000));
        self.note(|| format!("#{id} is cut"));
        self.at(Duration::from_millis(one), Event::ServerLoses(id));
        self.at(Duration::from_millis(other), Event::ClientLoses(id));
    }
}

struct World {
    stage: Stage,
    server: Server,
    clients: Vec<Node>,
}

/// Runs such a world. A panic is a [`Violation`] of [`Invariant::NoPanic`].
pub fn run_recovery(dice: Dice, lines: Lines, mistake: Option<RecoveryMistake>) -> RecoveryReport {
    let mut world = World::new(dice, lines == Lines::Kept, mistake);
    if catch_unwind(AssertUnwindSafe(|| world.run())).is_err() {
        world.stage.check(false, Invariant::NoPanic, || "a panic".into());
    }
    world.stage.report
}

impl World {
    fn new(dice: Dice, shown: bool, mistake: Option<RecoveryMistake>) -> Self {
        let mut stage = Stage {
            now: Instant::from_millis(1),
            dice,
            mistake,
            events: BTreeMap::new(),
            last_event: 0,
            links: BTreeMap::new(),
            last_link: 0,
            signals: BTreeMap::new(),
            executed: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            report: RecoveryReport::default(),
            shown,
        };
        let server = Server::new(&mut stage);
        let clients = (0..CLIENTS).map(|id| Node::new(id, &mut stage)).collect();
        Self { stage, server, clients }
    }

    fn run(&mut self) {
        for client in &mut self.clients {
            client.connect(&mut self.stage);
        }
        for _ in 0..STEPS {
            let pause = match self.stage.dice.below(20) {
                0 => self.stage.dice.below(20_000),
                1..=4 => self.stage.dice.below(1000),
                _ => self.stage.dice.below(30),
            };
            let until = self.stage.now + Duration::from_millis(pause);
            self.pass(until);
            if self.stage.report.violation.is_some() {
                return;
            }
            self.step();
        }
        // Nothing goes wrong any more.
        for client in &mut self.clients {
            client.wake(&mut self.stage);
        }
        let until = self.stage.now + RECOVERY;
        self.pass(until);
        for client in &self.clients {
            client.check_end(&mut self.stage);
        }
        let stage = &mut self.stage;
        let twice = stage.arrivals.values().filter(|count| **count > 1).count();
        stage.report.requests.2 = twice as u64;
    }

    /// Something happens by chance.
    fn step(&mut self) {
        let Self { stage, server, clients } = self;
        let client = stage.dice.below(CLIENTS as u64) as usize;
        match stage.dice.below(100) {
            0..40 => server.signal_session(stage),
            40..65 => clients[client].request(stage),
            65..78 => {
                let links: Vec<_> = stage.links.keys().copied().collect();
                if !links.is_empty() {
                    let link = links[stage.dice.below(links.len() as u64) as usize];
                    stage.cut(link);
                }
            }
            78..82 => server.rotate(stage),
            82..84 => server.end_session(stage),
            84..87 => {
                let key = server.any_key(stage);
                clients[client].take_over(key, stage);
            }
            87..89 => server.kill_task(stage),
            89..91 if stage.dice.below(3) == 0 => server.restart(stage),
            _ => clients[client].wake(stage),
        }
    }

    /// Lets time pass, with what happens in it.
    fn pass(&mut self, until: Instant) {
        for turn in 0.. {
            self.stage.check(turn < MANY, Invariant::Termination, || "it goes on and on".into());
            if self.stage.report.violation.is_some() {
                return;
            }
            let timeouts = self.clients.iter().filter_map(Node::next_timeout);
            let timeout = timeouts.chain(self.server.next_timeout()).min();
            let event = self.stage.events.first_key_value().map(|((at, _), _)| *at);
            let Some(next) = [timeout, event].into_iter().flatten().min() else { break };
            if next > until {
                break;
            }
            self.stage.now = self.stage.now.max(next);
            if event.is_some_and(|at| at <= self.stage.now) {
                if let Some((_, event)) = self.stage.events.pop_first() {
                    self.happens(event);
                }
                continue;
            }
            for client in &mut self.clients {
                client.due(&mut self.stage);
            }
            self.server.due(&mut self.stage);
        }
        self.stage.now = self.stage.now.max(until);
    }

    fn happens(&mut self, event: Event) {
        let Self { stage, server, clients } = self;
        match event {
            Event::Up(link) => {
                let frame = stage.links.get_mut(&link).and_then(|link| link.up.pop_front());
                if let Some(frame) = frame {
                    server.receive(link, frame, stage);
                }
            }
            Event::Down(id) => {
                let Some(link) = stage.links.get_mut(&id) else { return };
                let (client, frame) = (link.client, link.down.pop_front());
                if let Some(frame) = frame {
                    clients[client].receive(id, frame, stage);
                    server.sent(id, stage);
                }
            }
            Event::ServerLoses(link) => server.lose(link, stage),
            Event::ClientLoses(id) => {
                let Some(link) = stage.links.remove(&id) else { return };
                clients[link.client].lose(id, stage);
            }
            Event::Opened(id) => {
                let Some(link) = stage.links.get(&id).filter(|link| !link.is_cut) else { return };
                let client = link.client;
                if server.accept(id, stage) {
                    clients[client].opened(id, stage);
                } else {
                    stage.cut(id);
                }
            }
            Event::Inbox(link) => server.take_news(link, stage),
            Event::Store { run, job, answer } => server.stored(run, job, answer, stage),
            Event::Handled { run, link, request, reply } => {
                server.handled(run, link, request, reply, stage);
            }
        }
    }
}

/// Whether a client has a connection.
const fn is_connected(status: Status) -> bool {
    matches!(status, Status::Connected)
}
