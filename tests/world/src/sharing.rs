//! A world of clients that repeat requests on several nodes: real clients, connections and hubs over the real
//! `MemoryEngine`. Connections are cut, processes are killed or stand still, the engine is away, loses what it had
//! acknowledged, or is reached late. What clients are told is compared with what was executed.

mod client;
mod engine;
mod node;

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bytes::Bytes;
use wwr::Instant;
use wwr::client::Status;
use wwr::cluster::{Answer, EngineFailed, EngineJobId, Epoch, Request};
use wwr::server::RequestId;

use crate::Lines;
use crate::dice::Dice;
use crate::event::millis;
use crate::invariants::{Invariant, Violation};
use client::Caller;
use engine::Engine;
use node::Node;

/// What is done wrong on purpose, between the machines or by the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharingMistake {
    /// What a dead node may have executed is executed again.
    UnknownIsFresh,
    /// What another node executes is executed here, too.
    RunningIsFresh,
    /// A record that was lost comes back with the same scope.
    SameScope,
    /// Nobody notices that the engine has lost changes.
    LossNotNoticed,
    /// What has ended counts as not executed.
    FinishedIsUndone,
    /// The outcome of one request is told as that of another one.
    OutcomesMixedUp,
    /// What cannot be recorded is executed all the same.
    RefusedIsExecuted,
}

impl SharingMistake {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::UnknownIsFresh,
        Self::RunningIsFresh,
        Self::SameScope,
        Self::LossNotNoticed,
        Self::FinishedIsUndone,
        Self::OutcomesMixedUp,
        Self::RefusedIsExecuted,
    ];
}

/// What became of such a world.
#[derive(Clone, Debug, Default)]
pub struct SharingReport {
    /// How many requests were made, how many had an outcome of the server, how many were not executed as far as the
    /// client was told, and how many came to more than one node.
    pub requests: (u64, u64, u64, u64),
    /// What has happened how often, by name.
    pub seen: BTreeMap<&'static str, u64>,
    /// Of everything that happened.
    pub fingerprint: u64,
    /// What did not hold, if anything.
    pub violation: Option<Violation>,
    /// What happened, if that was asked for: a line each.
    pub trace: Vec<String>,
}

/// How often somebody does something.
const STEPS: u64 = 300;

/// How many clients there are.
const CLIENTS: usize = 4;

/// More events than any run has.
const MANY: u64 = 500_000;

/// How long it takes at most until all is told, once nothing goes wrong any more.
const RECOVERY: Duration = millis(120_000);

/// Something that happens at its time.
#[derive(Debug)]
enum Event {
    /// The next message of a link arrives at the node, or at the client.
    Up(u64),
    Down(u64),
    /// One side learns that a link is cut.
    ServerLoses(u64),
    ClientLoses(u64),
    Opened(u64),
    /// Something for a node.
    Node {
        node: usize,
        run: u64,
        what: ForNode,
    },
    /// A request reaches the engine.
    Perform {
        node: usize,
        run: u64,
        job: Option<EngineJobId>,
        request: Request,
    },
    Start(usize),
    Wake(usize),
    Heal(usize),
    EngineUp,
    Snapshot,
}

/// What comes to a node. While its process stands still, it waits.
#[derive(Debug)]
enum ForNode {
    /// A connection takes the next news of the hub.
    Inbox(u64),
    /// A connection is to close.
    Close(u64),
    /// A handler ends.
    Handled {
        link: u64,
        request: RequestId,
        reply: String,
    },
    Answer {
        job: EngineJobId,
        answer: Result<Answer, EngineFailed>,
    },
    Interrupted(Epoch),
    Message {
        link: u64,
        frame: Bytes,
    },
    Loses(u64),
}

/// A connection, as long as either side has it.
#[derive(Debug)]
struct Link {
    client: usize,
    node: usize,
    run: u64,
    up: VecDeque<Bytes>,
    down: VecDeque<Bytes>,
    /// When the last message of a direction arrives: none overtakes another.
    up_until: Instant,
    down_until: Instant,
    is_cut: bool,
}

/// What is known of a request.
#[derive(Debug, Default)]
struct Truth {
    /// As what it was executed.
    executed: Vec<String>,
    /// To which nodes it came.
    came_to: std::collections::BTreeSet<usize>,
    /// Whether the client was told that it was not executed.
    is_refused: bool,
}

/// What is there beside the machines.
struct Stage {
    now: Instant,
    dice: Dice,
    mistake: Option<SharingMistake>,
    events: BTreeMap<(Instant, u64), Event>,
    last_event: u64,
    links: BTreeMap<u64, Link>,
    last_link: u64,
    requests: BTreeMap<String, Truth>,
    executions: u64,
    is_settled: bool,
    report: SharingReport,
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
        if self.shown && self.report.violation.is_none() {
            let at = self.now.saturating_since(Instant::EPOCH).as_millis();
            self.report.trace.push(format!("{at:>7} {line}"));
        }
    }

    fn saw(&mut self, what: &'static str) {
        *self.report.seen.entry(what).or_default() += 1;
    }

    fn check(&mut self, holds: bool, invariant: Invariant, text: impl FnOnce() -> String) {
        if !holds && self.report.violation.is_none() {
            self.report.violation = Some(Violation { invariant, text: text() });
        }
    }

    fn does(&self, mistake: SharingMistake) -> bool {
        self.mistake == Some(mistake)
    }

    fn delay(&mut self, most: u64) -> Duration {
        Duration::from_millis(1 + self.dice.below(most))
    }

    /// Sends a message: up or down.
    fn send(&mut self, id: u64, is_up: bool, frame: Bytes) {
        let (now, delay) = (self.now, self.delay(20));
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
        let (one, other) = (self.delay(3000), self.delay(3000));
        self.note(|| format!("#{id} is cut"));
        self.at(one, Event::ServerLoses(id));
        self.at(other, Event::ClientLoses(id));
    }

    /// The server closes a link: what it has sent arrives before that.
    fn close(&mut self, id: u64) {
        let now = self.now;
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.is_cut) else { return };
        link.is_cut = true;
        link.up.clear();
        let arrives = link.down_until.saturating_since(now) + millis(1);
        self.note(|| format!("#{id} is closed"));
        self.at(millis(1), Event::ServerLoses(id));
        self.at(arrives, Event::ClientLoses(id));
    }

    /// A request is executed. Returns the reply.
    fn execute(&mut self, node: usize, token: &str) -> String {
        self.executions += 1;
        let reply = format!("{token} is execution {}", self.executions);
        self.note(|| format!("node {node} executes {reply}"));
        let truth = self.requests.entry(token.into()).or_default();
        truth.executed.push(reply.clone());
        let (times, is_refused) = (truth.executed.len(), truth.is_refused);
        self.check(times == 1, Invariant::ExecutedOnce, || {
            format!("{token} is executed {times} times")
        });
        self.check(!is_refused, Invariant::TrueOutcome, || {
            format!("{token} is executed, and the client was told that it is not")
        });
        reply
    }
}

struct World {
    stage: Stage,
    engine: Engine,
    nodes: Vec<Node>,
    clients: Vec<Caller>,
}

/// Runs such a world. A panic is a [`Violation`] of [`Invariant::NoPanic`].
pub fn run_sharing(dice: Dice, lines: Lines, mistake: Option<SharingMistake>) -> SharingReport {
    let mut world = World::new(dice, lines == Lines::Kept, mistake);
    if let Err(cause) = catch_unwind(AssertUnwindSafe(|| world.run())) {
        let text = cause.downcast_ref::<String>().cloned();
        let text = text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).into()));
        world.stage.check(false, Invariant::NoPanic, || text.unwrap_or_default());
    }
    world.stage.report
}

impl World {
    fn new(dice: Dice, shown: bool, mistake: Option<SharingMistake>) -> Self {
        let mut stage = Stage {
            now: Instant::from_millis(1),
            dice,
            mistake,
            events: BTreeMap::new(),
            last_event: 0,
            links: BTreeMap::new(),
            last_link: 0,
            requests: BTreeMap::new(),
            executions: 0,
            is_settled: false,
            report: SharingReport::default(),
            shown,
        };
        let engine = Engine::new(&mut stage);
        let count = 2 + stage.dice.below(6) as usize;
        let nodes = (0..count).map(|id| Node::new(id, &mut stage)).collect();
        let clients = (0..CLIENTS).map(|id| Caller::new(id, &mut stage)).collect();
        Self { stage, engine, nodes, clients }
    }

    fn run(&mut self) {
        for node in &mut self.nodes {
            node.start(&mut self.stage);
        }
        self.stage.at(millis(500), Event::Snapshot);
        self.pass(self.stage.now + millis(1000));
        for client in &mut self.clients {
            client.connect(self.nodes.len(), &mut self.stage);
        }
        for _ in 0..STEPS {
            let pause = match self.stage.dice.below(20) {
                0 => self.stage.dice.below(10_000),
                1..=4 => self.stage.dice.below(1000),
                _ => self.stage.dice.below(40),
            };
            self.pass(self.stage.now + Duration::from_millis(pause));
            if self.stage.report.violation.is_some() {
                return;
            }
            self.step();
        }
        self.end();
    }

    /// Nothing goes wrong any more.
    fn end(&mut self) {
        self.stage.is_settled = true;
        self.engine.is_down = false;
        self.stage.events.retain(|_, event| !matches!(event, Event::Snapshot));
        for id in 0..self.nodes.len() {
            self.nodes[id].is_split = false;
            self.wake(id);
            self.nodes[id].start(&mut self.stage);
        }
        self.pass(self.stage.now + millis(30_000));
        for client in &mut self.clients {
            client.wake(self.nodes.len(), &mut self.stage);
        }
        self.pass(self.stage.now + RECOVERY);
        // A connection whose scope is gone is closed when it is used.
        let mut answered = 0;
        for _ in 0..2 {
            answered = self.stage.report.requests.1;
            for client in &mut self.clients {
                client.check_end(&mut self.stage);
                client.request(self.nodes.len(), &mut self.stage);
            }
            self.pass(self.stage.now + millis(30_000));
        }
        let all = self.stage.report.requests.1 == answered + CLIENTS as u64;
        self.stage.check(all, Invariant::Recovery, || "a request has no reply".into());
        for link in self.stage.links.keys().copied().collect::<Vec<_>>() {
            self.stage.cut(link);
        }
        for client in &mut self.clients {
            client.check_end(&mut self.stage);
            client.close(&mut self.stage);
        }
        self.pass(self.stage.now + millis(20_000));
        for node in &self.nodes {
            node.check_end(&mut self.stage);
        }
        let stage = &mut self.stage;
        let truths = stage.requests.values();
        let several = truths.filter(|truth| truth.came_to.len() > 1).count();
        stage.report.requests.3 = several as u64;
    }

    /// Something happens by chance.
    fn step(&mut self) {
        let count = self.nodes.len();
        let client = self.stage.dice.below(CLIENTS as u64) as usize;
        let node = self.stage.dice.below(count as u64) as usize;
        let long = millis(200 + self.stage.dice.below(8000));
        let stage = &mut self.stage;
        match stage.dice.below(100) {
            0..62 => self.clients[client].request(count, stage),
            62..80 => {
                let links: Vec<_> = stage.links.keys().copied().collect();
                if let Some(index) = stage.dice.index(links.len()) {
                    stage.cut(links[index]);
                }
            }
            80 => {
                self.nodes[node].kill(stage);
                stage.at(long, Event::Start(node));
            }
            81 => {
                stage.note(|| format!("node {node} is split off"));
                self.nodes[node].is_split = true;
                stage.at(long, Event::Heal(node));
            }
            82 => {
                stage.note(|| format!("node {node} stands still"));
                self.nodes[node].is_paused = true;
                stage.at(long, Event::Wake(node));
            }
            83 => {
                stage.note(|| "the engine is down".into());
                self.engine.is_down = true;
                stage.at(long / 2, Event::EngineUp);
            }
            84 => self.engine.fail_over(stage),
            85 => self.nodes[node].kill_task(stage),
            _ => self.clients[client].wake(count, stage),
        }
    }

    fn wake(&mut self, id: usize) {
        if !std::mem::take(&mut self.nodes[id].is_paused) {
            return;
        }
        self.stage.note(|| format!("node {id} goes on"));
        let run = self.nodes[id].run;
        for what in std::mem::take(&mut self.nodes[id].missed) {
            self.nodes[id].take(run, what, &mut self.stage);
        }
    }

    /// Lets time pass, with what happens in it.
    fn pass(&mut self, until: Instant) {
        for turn in 0.. {
            self.stage.check(turn < MANY, Invariant::Termination, || "it goes on and on".into());
            if self.stage.report.violation.is_some() {
                return;
            }
            let timeouts = self.clients.iter().filter_map(Caller::next_timeout);
            let timeout = timeouts.chain(self.nodes.iter().filter_map(Node::next_timeout)).min();
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
            let count = self.nodes.len();
            for client in &mut self.clients {
                client.due(count, &mut self.stage);
            }
            for node in &mut self.nodes {
                node.due(&mut self.stage);
            }
        }
        self.stage.now = self.stage.now.max(until);
    }

    fn happens(&mut self, event: Event) {
        let count = self.nodes.len();
        let Self { stage, engine, nodes, clients } = self;
        match event {
            Event::Up(id) => {
                let Some(link) = stage.links.get_mut(&id) else { return };
                let (node, run) = (link.node, link.run);
                if let Some(frame) = link.up.pop_front() {
                    nodes[node].take(run, ForNode::Message { link: id, frame }, stage);
                }
            }
            Event::Down(id) => {
                let Some(link) = stage.links.get_mut(&id) else { return };
                let client = link.client;
                if let Some(frame) = link.down.pop_front() {
                    clients[client].receive(id, frame, count, stage);
                }
            }
            Event::ServerLoses(id) => {
                let Some(link) = stage.links.get(&id) else { return };
                let (node, run) = (link.node, link.run);
                nodes[node].take(run, ForNode::Loses(id), stage);
            }
            Event::ClientLoses(id) => {
                let Some(client) = stage.links.get(&id).map(|link| link.client) else { return };
                clients[client].lose(id, count, stage);
            }
            Event::Opened(id) => {
                let Some(link) = stage.links.get_mut(&id).filter(|link| !link.is_cut) else {
                    return;
                };
                let (client, node) = (link.client, &mut nodes[link.node]);
                link.run = node.run;
                if node.accept(id, stage) {
                    clients[client].opened(id, count, stage);
                } else {
                    stage.cut(id);
                }
            }
            Event::Node { node, run, what } => nodes[node].take(run, what, stage),
            Event::Perform { node, run, job, request } => {
                engine.perform((node, run, job), request, stage);
            }
            Event::Start(node) => nodes[node].start(stage),
            Event::Wake(node) => self.wake(node),
            Event::Heal(node) => nodes[node].is_split = false,
            Event::EngineUp => engine.is_down = false,
            Event::Snapshot => engine.snapshot(stage),
        }
    }
}

/// Whether a client has a connection.
const fn is_connected(status: Status) -> bool {
    matches!(status, Status::Connected)
}
