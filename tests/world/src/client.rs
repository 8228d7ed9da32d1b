//! A client: the machine, its host, and an application that knows what it asked for.

mod acts;
mod checks;
mod silence;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use wwr::client::{Action, Client, Config, Event as Told, Pings, QuestionId, RequestId, Status};
use wwr::preflight::{Answer, ProbeFailed, is_unavailable};
use wwr::wire::{Kind, Message, decode};
use wwr::{Actions, CloseFrame, Dialect, Instant, SessionKey};

pub(crate) use self::acts::{REQUEST_TIMEOUT, any_key};
use crate::application::STATES;
use crate::clock::Clock;
use crate::coverage::{Effect, Fact, LinkState};
use crate::event::{ClientId, Event, ServerId};
use crate::faults::Fault;
use crate::invariants::Invariant;
use crate::ledger::Token;
use crate::network::{Packet, Peer, SocketId, Way};
use crate::stage::Stage;
use crate::trace::{Actor, describe, is_reply};

/// What the host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    Nothing,
    Probing(u64),
    Dialing(SocketId),
    Open(SocketId),
}

/// What the application asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Request(Token),
    Restore(SessionKey),
    CloseSession,
}

/// A call without an outcome.
#[derive(Debug)]
struct Open {
    call: Call,
    deadline: Instant,
    sent: bool,
    cancelled: bool,
}

/// The settings of a client that are checked from outside.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) max_pending: usize,
    pub(crate) max_queued_bytes: usize,
    /// How long a request takes at most that names no time of its own.
    pub(crate) request_timeout: Duration,
    /// The shortest and the longest pause before it tries again, if these are checked.
    pub(crate) backoff: Option<(Duration, Duration)>,
    pub(crate) pings: Option<Pings>,
    /// Finds its way to every server, and back.
    pub(crate) is_versatile: bool,
    /// Uses the timeouts of these worlds, not the usual ones.
    pub(crate) hurries: bool,
}

pub(crate) struct Node {
    id: ClientId,
    pub(crate) settings: Settings,
    pub(crate) machine: Client,
    pub(crate) clock: Clock,
    /// Until then, no timer comes.
    pub(crate) timers_rest_until: Instant,
    /// The server it usually goes to.
    pub(crate) home: ServerId,
    /// Always goes there.
    pub(crate) is_settled: bool,
    /// The server of the latest preflight.
    target: ServerId,
    servers: usize,
    out: Actions<Action>,
    host: Host,
    attempts: u64,
    open: BTreeMap<RequestId, Open>,
    /// How many signals came, and went, on the socket there is.
    pub(crate) signals: u64,
    /// The last signal of each of the names that may be dropped.
    pub(crate) states: [Option<u64>; STATES.len()],
    signals_sent: u64,
    /// The questions of the server that are not answered.
    questions: BTreeSet<QuestionId>,
    /// Asked for its session on the socket there is.
    resumes: bool,
    /// How often it did.
    resumptions: u32,
    /// The longest message that the server on the socket there is has said to read.
    reads_at_most: usize,
    /// The request that went out last.
    sent_last: Option<Token>,
    /// What the server has sent as its last word, while that is handled.
    close_frame: Option<CloseFrame>,
    /// How often connecting has failed in a row, and how often a connection was lost since one has
    /// lasted.
    failures: u32,
    /// How long the server that has just refused wants it to wait.
    asked_to_wait: Duration,
    /// Until when it must not come back, by its own clock.
    unwanted_until: Instant,
    losses: u32,
    connected_since: Instant,
    /// When something came on the socket there is, and whether a pong ever has.
    heard: Instant,
    ponged: bool,
    /// The socket that was hung up last.
    left: Option<SocketId>,
    /// How many requests that were sent since then have run out of time, with those for the session
    /// that is resumed.
    unheard: u32,
    link: LinkState,
    /// Since when it is there.
    link_since: Instant,
    /// How the latest restoration ended.
    pub(crate) restored: Option<wwr::client::Outcome>,
}

impl Node {
    pub(crate) fn new(
        id: ClientId,
        settings: Settings,
        seed: u64,
        home: ServerId,
        servers: usize,
    ) -> Self {
        Self {
            id,
            machine: Client::new(
                &settings.config.clone().validate().expect("settings that are valid"),
                seed,
            ),
            settings,
            clock: Clock::default(),
            timers_rest_until: Instant::EPOCH,
            home,
            is_settled: false,
            target: home,
            servers,
            out: Actions::new(),
            host: Host::Nothing,
            attempts: 0,
            open: BTreeMap::new(),
            signals: 0,
            states: [None; STATES.len()],
            signals_sent: 0,
            questions: BTreeSet::new(),
            resumes: false,
            resumptions: 0,
            reads_at_most: usize::MAX,
            sent_last: None,
            close_frame: None,
            failures: 0,
            asked_to_wait: Duration::ZERO,
            unwanted_until: Instant::EPOCH,
            losses: 0,
            connected_since: Instant::EPOCH,
            heard: Instant::EPOCH,
            ponged: false,
            left: None,
            unheard: 0,
            link: LinkState::Idle,
            link_since: Instant::EPOCH,
            restored: None,
        }
    }

    const fn actor(&self) -> Actor {
        Actor::Client(self.id)
    }

    /// The socket, open or about to be.
    pub(crate) const fn socket(&self) -> Option<SocketId> {
        match self.host {
            Host::Dialing(socket) | Host::Open(socket) => Some(socket),
            Host::Nothing | Host::Probing(_) => None,
        }
    }

    /// Whether something will come of it by itself, other than heartbeats.
    pub(crate) fn is_busy(&self) -> bool {
        match self.machine.status() {
            Status::Connecting | Status::Waiting => true,
            Status::Idle | Status::Connected | Status::Closed => !self.open.is_empty(),
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.machine.status() == Status::Connected
    }

    /// When something is due, by the world's clock.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let next = self.machine.next_timeout()?;
        Some(self.clock.when(next).max(self.timers_rest_until))
    }

    fn pick(&mut self, stage: &mut Stage) -> ServerId {
        if !self.is_settled && stage.dice.chance(10) {
            stage.count(Fact::Fault(Fault::Rebalance));
            return stage.dice.index(self.servers).unwrap_or(self.home);
        }
        self.home
    }
}

/// The host.
impl Node {
    /// Whether it offers `wwr.1`.
    pub(crate) fn offers(&self) -> bool {
        self.machine.offers().is_some()
    }

    pub(crate) fn probed(
        &mut self,
        attempt: u64,
        answer: Result<Answer, ProbeFailed>,
        stage: &mut Stage,
    ) {
        if self.host == Host::Probing(attempt) {
            self.host = Host::Nothing;
            let now = self.clock.read(stage.now);
            if let Ok(answer) = &answer
                && is_unavailable(answer.status)
            {
                self.sent_away(answer.retry_after, stage);
            }
            self.machine.handle_probed(now, answer, &mut self.out);
            self.carry_out(stage);
        }
    }

    pub(crate) fn receive(&mut self, socket: SocketId, packet: Packet, stage: &mut Stage) {
        if self.socket() != Some(socket) {
            if matches!(packet, Packet::Close(_) | Packet::Refused(_)) {
                stage.network.forget(socket);
            }
            return;
        }
        self.hears(stage);
        match packet {
            Packet::Opened => {
                self.host = Host::Open(socket);
                self.ponged = false;
                (self.signals, self.signals_sent, self.resumes) = (0, 0, false);
                self.states = [None; STATES.len()];
                (self.reads_at_most, self.resumptions) = (usize::MAX, 0);
                let now = self.clock.read(stage.now);
                let has_agreed = stage.network.get(socket).is_some_and(|socket| socket.agreed);
                let agreed = self.machine.offers().filter(|_| has_agreed);
                self.machine.handle_opened(now, agreed, &mut self.out);
            }
            Packet::Frame(frame) | Packet::Text(frame) => return self.read(socket, frame, stage),
            Packet::Ping => {
                let now = self.clock.read(stage.now);
                self.machine.handle_activity(now);
                stage.send(self.actor(), socket, Way::Up, Packet::Pong);
            }
            Packet::Pong => {
                self.ponged = true;
                let now = self.clock.read(stage.now);
                self.machine.handle_pong(now);
            }
            Packet::Refused(Some((status, retry_after))) => {
                stage.network.forget(socket);
                self.host = Host::Nothing;
                let now = self.clock.read(stage.now);
                self.sent_away(retry_after, stage);
                self.machine.handle_refused(now, status, retry_after, &mut self.out);
            }
            Packet::Refused(None) => {
                stage.network.forget(socket);
                return self.lose(socket, stage);
            }
            Packet::Close(frame) => {
                stage.network.forget(socket);
                self.host = Host::Nothing;
                let now = self.clock.read(stage.now);
                self.close_frame = stage.ledger.close_frames.get(&socket).cloned();
                self.machine.handle_closed(now, frame, &mut self.out);
                self.carry_out(stage);
                self.close_frame = None;
                return;
            }
            Packet::Open => {}
        }
        self.carry_out(stage);
    }

    /// A server is about to tell it when to come back.
    fn sent_away(&mut self, retry_after: Option<Duration>, stage: &mut Stage) {
        self.asked_to_wait = retry_after.unwrap_or_default();
        self.unwanted_until = self.clock.latest() + self.asked_to_wait;
        if retry_after.is_some() {
            stage.count(Fact::Fault(Fault::SentAway));
        }
    }

    fn read(&mut self, socket: SocketId, frame: Bytes, stage: &mut Stage) {
        let now = self.clock.read(stage.now);
        if let Ok(Message::AcceptConf(conf)) = decode(Dialect::V2_0, frame.clone()) {
            self.reads_at_most = usize::try_from(conf.message_buffer_size).unwrap_or(usize::MAX);
        }
        let kind = frame.first().and_then(|byte| Kind::from_byte(*byte));
        let answered = kind.filter(|kind| is_reply(*kind)).and_then(|_| self.call_of(&frame));
        let is_connected = self.is_connected();
        self.machine.handle_message(now, frame.clone(), &mut self.out);
        let seen = self.out.iter().next().map_or(Effect::Nothing, effect_of);
        stage.count(Fact::ToClient(kind.map_or(256, |kind| u16::from(kind.as_byte())), seen));
        self.carry_out(stage);
        if let Some(id) = answered
            && is_connected
        {
            let (actor, ended) = (self.actor(), !self.open.contains_key(&id));
            stage.check(ended, Invariant::TrueOutcome, || {
                format!("{actor}: {id} goes on after its answer on #{socket}: {}", describe(&frame))
            });
        }
    }

    /// The socket is gone.
    pub(crate) fn lose(&mut self, socket: SocketId, stage: &mut Stage) {
        if self.socket() == Some(socket) {
            self.host = Host::Nothing;
            let now = self.clock.read(stage.now);
            self.machine.handle_disconnect(now, &mut self.out);
            self.carry_out(stage);
        }
    }

    pub(crate) fn due(&mut self, stage: &mut Stage) {
        if stage.now < self.timers_rest_until {
            return;
        }
        let now = self.clock.shown(stage.now);
        if self.machine.next_timeout().is_some_and(|next| next <= now) {
            let now = self.clock.read(stage.now);
            self.machine.handle_timeout(now, &mut self.out);
            let (next, latest, actor) =
                (self.machine.next_timeout(), self.clock.latest(), self.actor());
            stage.check(next.is_none_or(|next| next > latest), Invariant::DeadlinesForward, || {
                format!("{actor}: {next:?} is not after {latest:?}")
            });
            self.carry_out(stage);
        }
        self.check_deadlines(now, stage);
        self.check_liveness_timeout(stage);
        self.check_silence(stage);
    }

    /// The host calls too early: nothing comes of it.
    pub(crate) fn call_early(&mut self, stage: &mut Stage) {
        let now = self.clock.read(stage.now);
        if self.machine.next_timeout().is_some_and(|next| next <= self.clock.latest()) {
            return;
        }
        self.machine.handle_timeout(now, &mut self.out);
        let (actor, silent) = (self.actor(), self.out.is_empty());
        stage.check(silent, Invariant::DeadlinesForward, || {
            format!("{actor}: a timeout too early does something")
        });
        self.carry_out(stage);
    }

    fn carry_out(&mut self, stage: &mut Stage) {
        while let Some(action) = self.out.pop() {
            match action {
                Action::Probe => self.probe(stage),
                Action::Dial => self.dial(stage),
                Action::Send(frame) => self.send(frame, stage),
                Action::Ping => self.ping(stage),
                Action::Hangup => self.hang_up(stage),
                Action::Done { id, outcome } => self.done(id, outcome, stage),
                Action::Event(event) => self.told(event, stage),
            }
        }
        self.look_at(stage);
    }

    fn expect_host(&self, expected: Host, stage: &mut Stage) {
        let (actor, host) = (self.actor(), self.host);
        stage.check(host == expected, Invariant::CallsAreHonoured, || {
            format!("{actor}: has {host:?}, not {expected:?}")
        });
    }

    fn probe(&mut self, stage: &mut Stage) {
        self.expect_host(Host::Nothing, stage);
        self.check_wanted(stage);
        self.asked_to_wait = Duration::ZERO;
        self.attempts += 1;
        let attempt = self.attempts;
        self.host = Host::Probing(attempt);
        self.target = self.pick(stage);
        let server = self.target;
        stage.note(self.actor(), attempt, || format!("asks server {server} for its version"));
        if !self.is_settled && stage.dice.chance(2) {
            stage.is_deceptive = true;
            return stage.count(Fact::Fault(Fault::ProbeLost));
        }
        let delay = stage.network.delay(&mut stage.dice);
        let from = Peer::Client(self.id);
        stage.after(delay, Event::Probe { from, attempt, server });
    }

    fn dial(&mut self, stage: &mut Stage) {
        self.expect_host(Host::Nothing, stage);
        self.check_wanted(stage);
        self.asked_to_wait = Duration::ZERO;
        if self.machine.dialect() == Dialect::Unknown && self.is_settled {
            self.target = self.home;
        } else if stage.dice.chance(10) {
            self.target = self.pick(stage);
        }
        let socket = stage.network.open(stage.now, Peer::Client(self.id), self.target);
        if self.offers() {
            stage.network.offer(socket);
        }
        let target = self.target;
        stage.note(self.actor(), socket, || format!("opens #{socket} to server {target}"));
        self.host = Host::Dialing(socket);
        stage.send(self.actor(), socket, Way::Up, Packet::Open);
    }

    fn send(&mut self, frame: Bytes, stage: &mut Stage) {
        let Host::Open(socket) = self.host else {
            let actor = self.actor();
            return stage.check(false, Invariant::SilentAfterClose, || {
                format!("{actor}: sends without a socket: {}", describe(&frame))
            });
        };
        self.check_length(socket, frame.len(), stage);
        let kind = frame.first().and_then(|byte| Kind::from_byte(*byte));
        if kind.is_some_and(Kind::requires_reply) {
            self.sends(socket, &frame, stage);
        }
        if kind == Some(Kind::RestoreSession) && !self.is_connected() {
            self.resumes = true;
            self.resumptions += 1;
            self.unheard += 1;
        }
        stage.send(self.actor(), socket, Way::Up, Packet::Frame(frame));
    }

    fn ping(&mut self, stage: &mut Stage) {
        let Host::Open(socket) = self.host else {
            let actor = self.actor();
            return stage.check(false, Invariant::SilentAfterClose, || {
                format!("{actor}: pings without a socket")
            });
        };
        stage.send(self.actor(), socket, Way::Up, Packet::Ping);
    }

    fn hang_up(&mut self, stage: &mut Stage) {
        let (actor, has_any) = (self.actor(), self.host != Host::Nothing);
        stage
            .check(has_any, Invariant::CallsAreHonoured, || format!("{actor}: nothing to hang up"));
        self.left = self.socket();
        if let Some(socket) = self.left {
            stage.send(actor, socket, Way::Up, Packet::Close(CloseFrame::NORMAL));
        }
        self.host = Host::Nothing;
    }

    /// Which call a message is about.
    fn call_of(&self, frame: &[u8]) -> Option<RequestId> {
        let bytes = frame.get(1..9)?;
        self.open.keys().find(|id| id.identifier().as_bytes()[..] == *bytes).copied()
    }
}

const fn effect_of(action: &Action) -> Effect {
    match action {
        Action::Probe | Action::Dial => Effect::Nothing,
        Action::Send(_) | Action::Ping => Effect::Sent,
        Action::Hangup => Effect::Hangup,
        Action::Done { outcome: Ok(_), .. } => Effect::Done,
        Action::Done { outcome: Err(_), .. } => Effect::Failed,
        Action::Event(Told::Anomaly(_)) => Effect::Anomaly,
        Action::Event(_) => Effect::Event,
    }
}
