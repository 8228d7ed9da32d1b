//! A world of several nodes that share an engine: real hubs over the real `MemoryEngine`, with a network between that
//! delays, loses and repeats. Connections are modelled: they hold, restore, create, close and change sessions, and check
//! what they are told. Clocks run at different rates; processes stop for a while, and go on with old plans.

mod checks;
mod histories;
mod life;
mod net;
mod node;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use wwr::cluster::MemoryEngine;
use wwr::{Instant, SessionKey};

use crate::Lines;
use crate::dice::Dice;
use crate::event::millis;
use crate::invariants::{Invariant, Violation};
use histories::Signals;
use net::{Event, Net};
use node::Node;

/// What nodes, the engine or what is between them does wrong, on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeMistake {
    /// The engine takes all runs of a node for the same one.
    EpochIgnored,
    /// A node buries others whose lease still runs.
    BurialWithoutClock,
    /// The lease is counted from when the answer comes.
    CountedFromAnswer,
    /// A late change brings a closed session back.
    NoTombstone,
    /// What a hint says counts as seen.
    HintTakenForState,
    /// A place that is given up is freed twice.
    FreedTwice,
    /// A place that is given up is not freed.
    NotFreed,
    /// A request that may be lost is repeated with a new number.
    RepeatedAsNew,
    /// Nodes do not confirm what they have, neither after a failover nor in each lease.
    NotConfirmed,
    /// The last connection that closes a session is told that others have it.
    LastIsDetached,
    /// A fenced node goes on with its sessions.
    FencedGoesOn,
    /// A restoration while the session is being closed does not wait for what comes of that.
    NotFoundTooEarly,
    /// A message is sent again if it may be lost.
    MessageRepeated,
    /// The engine does not ask whether there is room.
    LimitIgnored,
    /// After a failover with loss, the offsets of signals that are lost are given to others.
    OffsetsReused,
    /// All histories have the same incarnation.
    SameIncarnation,
    /// A signal that may not have been appended is appended again.
    AppendRepeated,
    /// A gap is not told.
    GapNotTold,
    /// What a node has read of a history counts as all that there is.
    ReadTakenForAll,
    /// The engine forgets the first signal that was missed, and does not say so.
    FirstMissedForgotten,
    /// A signal comes to connections without offsets again when the next one does.
    LiveTwice,
    /// For a connection that comes to hold a session, the history begins where it ends when the node hears of that.
    BeginsLate,
}

impl NodeMistake {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::EpochIgnored,
        Self::BurialWithoutClock,
        Self::CountedFromAnswer,
        Self::NoTombstone,
        Self::HintTakenForState,
        Self::FreedTwice,
        Self::NotFreed,
        Self::RepeatedAsNew,
        Self::NotConfirmed,
        Self::LastIsDetached,
        Self::FencedGoesOn,
        Self::NotFoundTooEarly,
        Self::MessageRepeated,
        Self::LimitIgnored,
        Self::OffsetsReused,
        Self::SameIncarnation,
        Self::AppendRepeated,
        Self::GapNotTold,
        Self::ReadTakenForAll,
        Self::FirstMissedForgotten,
        Self::LiveTwice,
        Self::BeginsLate,
    ];
}

/// What became of a world of nodes.
#[derive(Clone, Debug)]
pub struct NodesReport {
    /// How much time passed in it.
    pub simulated: Duration,
    /// How many requests the engine has carried out.
    pub requests: u64,
    /// How many commands connections have given, and how many of those that ask for a session got it.
    pub commands: (u64, u64),
    /// How often nodes have lost their part.
    pub lost: u64,
    /// What has happened how often, by name.
    pub seen: BTreeMap<&'static str, u64>,
    /// Of everything that happened.
    pub fingerprint: u64,
    /// What did not hold, if anything.
    pub violation: Option<Violation>,
    /// What happened, if that was asked for: a line each.
    pub trace: Vec<String>,
}

/// The lease of all nodes.
const LEASE: Duration = millis(10_000);

/// How long nodes wait for the engine.
const REQUEST_TIMEOUT: Duration = millis(2_500);

/// After so long without faults, nothing of them is left: leases have run out, all is confirmed twice.
const RECOVERY: Duration = millis(70_000);

/// More events than any world has.
const MANY: u64 = 2_000_000;

/// More requests than a node asks in a second, whatever happens.
const STORM: u64 = 400;

pub(crate) struct Nodes {
    now: Instant,
    dice: Dice,
    engine: MemoryEngine,
    net: Net,
    nodes: Vec<Node>,
    events: BTreeMap<(Instant, u64), Event>,
    event_count: u64,
    truth: BTreeMap<SessionKey, Truth>,
    /// Whether signals to sessions have histories.
    keeps_histories: bool,
    signals: Signals,
    /// How many connections a session may have.
    limit: usize,
    /// Whether only the weaker rules hold: the engine has lost something that it had acknowledged, or nodes keep
    /// sessions while it is away. What is left is that all is right again when all is quiet, that commands have
    /// one outcome, and that no message comes twice.
    lossy: bool,
    has_failed_over: bool,
    is_settled: bool,
    numbers: u64,
    keys: u64,
    mistake: Option<NodeMistake>,
    requests: u64,
    commands: (u64, u64),
    lost: u64,
    seen: BTreeMap<&'static str, u64>,
    fingerprint: u64,
    violation: Option<Violation>,
    shown: bool,
    lines: Vec<String>,
}

/// What is true of a session.
#[derive(Debug, Default)]
struct Truth {
    /// Whether a client was told of it.
    is_known: bool,
    /// When the engine has closed it.
    closed: Option<Instant>,
    /// The revision of each info that it had.
    revisions: BTreeMap<u64, u64>,
}

/// Runs a world of nodes. A panic is a [`Violation`] of [`Invariant::NoPanic`].
pub fn run_nodes(dice: Dice, lines: Lines, mistake: Option<NodeMistake>) -> NodesReport {
    let mut nodes = Nodes::new(dice, lines == Lines::Kept, mistake);
    if let Err(cause) = catch_unwind(AssertUnwindSafe(|| nodes.run())) {
        let text = cause.downcast_ref::<String>().cloned();
        let text = text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).into()));
        nodes.check(false, Invariant::NoPanic, || text.unwrap_or_default());
    }
    NodesReport {
        simulated: nodes.now.saturating_since(Instant::EPOCH),
        requests: nodes.requests,
        commands: nodes.commands,
        lost: nodes.lost,
        seen: nodes.seen,
        fingerprint: nodes.fingerprint,
        violation: nodes.violation,
        trace: nodes.lines,
    }
}

impl Nodes {
    fn new(mut dice: Dice, shown: bool, mistake: Option<NodeMistake>) -> Self {
        let count = 2 + dice.below(6) as usize;
        let net = Net::new(&mut dice);
        let limit = 1 + dice.below(4) as usize;
        let first = millis(dice.below(100_000));
        let mut world = Self {
            now: Instant::EPOCH + first,
            engine: MemoryEngine::new(),
            net,
            nodes: Vec::new(),
            events: BTreeMap::new(),
            event_count: 0,
            truth: BTreeMap::new(),
            keeps_histories: false,
            signals: Signals::default(),
            limit,
            lossy: false,
            has_failed_over: false,
            is_settled: false,
            numbers: 0,
            keys: 0,
            mistake,
            requests: 0,
            commands: (0, 0),
            lost: 0,
            seen: BTreeMap::new(),
            fingerprint: 0,
            violation: None,
            shown,
            lines: Vec::new(),
            dice,
        };
        // Then limits and closings are best effort while the engine is away.
        let availability_first = world.dice.chance(15);
        world.lossy = availability_first;
        world.keeps_histories = world.dice.chance(70);
        for id in 0..count {
            let node = Node::new(id, availability_first, &mut world.dice);
            world.nodes.push(node);
            world.start(id);
        }
        world
    }

    fn run(&mut self) {
        let calm = millis(5_000);
        self.run_for(calm);
        let until = self.now + millis(40_000 + self.dice.below(80_000));
        self.plan_life();
        while self.now < until && self.violation.is_none() {
            self.step(until);
        }
        self.end();
    }

    fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until && self.violation.is_none() {
            self.step(until);
        }
    }

    /// The next thing happens, at the latest then.
    fn step(&mut self, until: Instant) {
        self.event_count += 1;
        if self.event_count > MANY {
            return self.check(false, Invariant::Termination, || "it goes on and on".into());
        }
        let timers = self.nodes.iter().filter_map(|node| Some((node.next_timeout()?, node.id)));
        let timer = timers.min();
        let event = self.events.first_key_value().map(|(at, _)| *at);
        let next = [timer.map(|(at, _)| at), event.map(|(at, _)| at)].into_iter().flatten().min();
        let Some(next) = next.filter(|next| *next <= until) else {
            self.now = until;
            return;
        };
        self.now = self.now.max(next);
        match event {
            Some((at, number)) if at <= next => {
                if let Some(event) = self.events.remove(&(at, number)) {
                    self.happens(event);
                }
            }
            _ => {
                if let Some((_, id)) = timer {
                    self.timeout(id);
                }
            }
        }
        self.check_step();
    }

    fn later(&mut self, after: Duration, event: Event) {
        self.event_count += 1;
        self.events.insert((self.now + after, self.event_count), event);
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Perform { node, run, request, job } => self.perform(node, run, request, job),
            Event::Answer { node, run, job, answer } => self.answer(node, run, job, answer),
            Event::News { node, run, epoch, news } => self.news(node, run, epoch, news),
            Event::Interrupted { node, run, epoch } => {
                self.news(node, run, epoch, wwr::cluster::News::Interrupted);
            }
            Event::Act => self.act(),
            Event::Fault => self.fault(),
            Event::Split { node } => self.nodes[node].is_split = !self.is_settled,
            Event::Heal { node } => self.nodes[node].is_split = false,
            Event::EngineUp => self.net.engine_is_down = false,
            Event::Start { node } => self.start(node),
            Event::Wake { node } => self.wake(node),
            Event::Snapshot => self.snapshot(),
            Event::Read { node, run, conn } => {
                if self.nodes[node].run == run {
                    self.read(node, conn);
                }
            }
        }
    }

    fn check(&mut self, holds: bool, invariant: Invariant, text: impl FnOnce() -> String) {
        if !holds && self.violation.is_none() {
            let violation = Violation { invariant, text: text() };
            self.note(|| format!("{violation}"));
            self.violation = Some(violation);
        }
    }

    fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if self.shown && self.violation.is_none() {
            let now = self.now.saturating_since(Instant::EPOCH).as_secs_f64();
            self.lines.push(format!("{now:10.4} {}", line()));
        }
    }

    /// What happened counts for the fingerprint.
    fn mix(&mut self, number: u64) {
        let mixed = self.fingerprint ^ number ^ self.now.as_nanos();
        self.fingerprint = mixed.wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    }

    /// The keys that clients know.
    fn known_keys(&self) -> Vec<SessionKey> {
        let known = self.truth.iter().filter(|(_, truth)| truth.is_known);
        known.map(|(key, _)| key.clone()).collect()
    }

    fn running(&self) -> Vec<usize> {
        let running = self.nodes.iter().filter(|node| node.hub.is_some() && !node.is_paused);
        running.map(|node| node.id).collect()
    }
}
