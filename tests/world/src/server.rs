//! A server: a machine for each connection, the hub of all of them, and the application, whose
//! handlers are in `handlers`. `tasks` carries out what the machines want, `control` what the hub
//! does.

mod backlog;
mod checks;
mod control;
mod groups;
mod handlers;
mod questions;
mod served;
mod sessions;
mod shutdown;
mod tasks;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use wwr::preflight::{Answer, ProbeFailed};
use wwr::server::{Action, Config, Connection, HubConfig, Observed, Preflights, Protocol};
use wwr::{Actions, Instant, SessionKey};

use self::control::Control;
use self::served::Served;
pub(crate) use self::served::identifier;
use crate::clock::Clock;
use crate::coverage::EntryState;
use crate::event::{Event, ServerId};
use crate::invariants::Invariant;
use crate::network::{Packet, Peer, SocketId, Way};
use crate::stage::Stage;
use crate::store;
use crate::trace::Actor;

/// Whether the server serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Up,
    /// Shutting down: it answers, but admits no client.
    Draining,
    /// Another server has taken its place, of a version that no client speaks.
    Foreign,
    /// No server answers.
    Down,
}

/// The settings of a server.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) connection: Config,
    pub(crate) hub: HubConfig,
    /// The most that a handshake takes after it was admitted.
    pub(crate) handshake: Duration,
    /// The most that it takes until nothing is left of a connection that is over.
    pub(crate) linger: Duration,
    /// The most that news of the hub take to the task of a connection; zero for at once.
    pub(crate) inbox_delay: Duration,
    /// All clients have the same address.
    pub(crate) one_address: bool,
    /// The longest time after which it wants clients back that it refuses, if it says so.
    pub(crate) retry_after: Option<Duration>,
    /// Answers no pings, as the reference of 1.5 and 2.0 (protocol §4.4).
    pub(crate) ignores_pings: bool,
}

impl Settings {
    /// The reference of 1.4 does, and clients of 1.4 rely on that.
    pub(crate) const fn answers_pings(&self) -> bool {
        let speaks_1_4 = !matches!(self.connection.protocol, Protocol::V1_5 | Protocol::V2_0);
        speaks_1_4 || !self.ignores_pings
    }
}

pub(crate) struct Server {
    id: ServerId,
    pub(crate) settings: Settings,
    pub(crate) state: State,
    /// Does not admit any client for now, without an answer.
    pub(crate) refuses: bool,
    pub(crate) clock: Clock,
    /// Until then, no timer comes.
    pub(crate) timers_rest_until: Instant,
    pub(crate) connections: BTreeMap<SocketId, Served>,
    control: Control,
    preflights: Preflights<u64>,
    /// The addresses of the preflights that were answered and not followed by a connection.
    asked: Vec<u64>,
    /// Counts the lives: what was under way in an earlier one does not matter.
    pub(crate) epoch: u64,
    out: Actions<Action>,
    /// The pending actions, in order, and their connections.
    actions: VecDeque<(SocketId, Action)>,
    /// What the hub knows of sessions, for coverage.
    entries: BTreeMap<SessionKey, EntryState>,
    /// The sessions that this step had to do with.
    touched: BTreeSet<SessionKey>,
}

/// The network's side.
impl Server {
    pub(crate) fn new(id: ServerId, settings: Settings) -> Self {
        Self {
            id,
            state: State::Up,
            refuses: false,
            clock: Clock::default(),
            timers_rest_until: Instant::EPOCH,
            connections: BTreeMap::new(),
            control: Control::new(settings.hub),
            preflights: Preflights::default(),
            asked: Vec::new(),
            epoch: 0,
            out: Actions::new(),
            actions: VecDeque::new(),
            entries: BTreeMap::new(),
            touched: BTreeSet::new(),
            settings,
        }
    }

    const fn actor(&self, socket: SocketId) -> Actor {
        Actor::Server(self.id, socket)
    }

    /// What the server sees of where a peer is.
    const fn address(&self, peer: Peer) -> u64 {
        match peer {
            _ if self.settings.one_address => 0,
            Peer::Client(id) => id as u64,
            Peer::Adversary(id) => 1000 + id as u64,
            Peer::Modest(id) => 2000 + id as u64,
            Peer::Reference(id) => 3000 + id as u64,
        }
    }

    /// Whether it selects `wwr.1`. A server that answers no pings stands for one of the reference.
    const fn speaks_wwr1(&self) -> bool {
        self.settings.connection.selects_wwr1() && !self.settings.ignores_pings
    }

    /// `offers`: the preflight says that its client offers `wwr.1`.
    pub(crate) fn probe(&mut self, from: Peer, attempt: u64, offers: bool, stage: &mut Stage) {
        let now = self.clock.read(stage.now);
        let retry_after = self.draw_retry_after(stage);
        let answer = match self.state {
            State::Up if self.refuses => match retry_after {
                Some(_) => Ok(Answer { status: 429, body: Bytes::new(), retry_after }),
                None => Err(ProbeFailed),
            },
            State::Up => Ok(match self.settings.connection.metadata() {
                Some(metadata) => {
                    let address = self.address(from);
                    if !(offers && self.speaks_wwr1()) {
                        self.asked.push(address);
                        self.preflights.asked(now, address);
                    }
                    Answer { status: 200, body: metadata.to_body(), retry_after: None }
                }
                None => {
                    let body = Bytes::from_static(b"Bad Request\n");
                    Answer { status: 400, body, retry_after: None }
                }
            }),
            State::Draining => Ok(Answer { status: 503, body: Bytes::new(), retry_after }),
            State::Foreign => {
                let body = Bytes::from_static(b"{\"protocol-version\":\"9.9\"}");
                Ok(Answer { status: 200, body, retry_after: None })
            }
            State::Down => Err(ProbeFailed),
        };
        let delay = stage.network.delay(&mut stage.dice);
        stage.after(delay, Event::Probed { to: from, attempt, answer });
    }

    pub(crate) fn receive(&mut self, socket: SocketId, packet: Packet, stage: &mut Stage) {
        let now = self.clock.read(stage.now);
        match packet {
            Packet::Open => self.accept(now, socket, stage),
            Packet::Frame(frame) => self.queue(socket, served::Input::Binary(frame)),
            Packet::Text(frame) => self.queue(socket, served::Input::Text(frame)),
            Packet::Close(_) => {
                stage.network.forget(socket);
                return self.lose(socket, stage);
            }
            Packet::Ping => self.queue(socket, served::Input::Ping),
            Packet::Pong => {
                if let Some(served) = self.connections.get_mut(&socket) {
                    served.machine.handle_activity(now);
                }
            }
            Packet::Opened | Packet::Refused(_) => {}
        }
        self.work_off(socket, stage);
    }

    /// After what time a client that is refused now is to come back.
    fn draw_retry_after(&self, stage: &mut Stage) -> Option<Duration> {
        let longest = self.settings.retry_after?;
        Some(stage.aside.up_to(longest))
    }

    fn queue(&mut self, socket: SocketId, input: served::Input) {
        if let Some(served) = self.connections.get_mut(&socket) {
            served.unread.push_back(input);
        }
    }

    fn accept(&mut self, now: Instant, socket: SocketId, stage: &mut Stage) {
        let status = match self.state {
            State::Up if self.refuses => self.draw_retry_after(stage).map(|wait| (429, Some(wait))),
            State::Up | State::Draining => match self.admit(now, socket, stage) {
                Ok(()) => return self.shake_hands(socket, stage),
                Err(_) => Some((503, self.draw_retry_after(stage))),
            },
            State::Foreign => Some((400, None)),
            State::Down => None,
        };
        stage.send(self.actor(socket), socket, Way::Down, Packet::Refused(status));
    }

    /// The handshake of a connection takes its time.
    fn shake_hands(&mut self, socket: SocketId, stage: &mut Stage) {
        let delay = stage.aside.up_to(self.settings.handshake);
        if delay.is_zero() {
            return self.open(socket, stage);
        }
        stage.after(delay, Event::Opens { server: self.id, epoch: self.epoch, socket });
    }

    /// The handshake of a connection is done, or has failed.
    pub(crate) fn open(&mut self, socket: SocketId, stage: &mut Stage) {
        if !self.control.ids.contains_key(&socket) {
            return;
        }
        let now = self.clock.read(stage.now);
        match stage.network.get(socket).map(|socket| socket.peer) {
            Some(peer) => {
                stage.send(self.actor(socket), socket, Way::Down, Packet::Opened);
                let speaks = self.speaks_wwr1();
                let shown = if stage.network.agree(socket, speaks) {
                    Observed::SubProtocol
                } else {
                    Observed::Nothing
                };
                let observed = self.preflights.connected(now, &self.address(peer), shown);
                self.check_observed(socket, self.address(peer), observed, stage);
                let config =
                    self.settings.connection.clone().validate().expect("settings that are valid");
                let machine = Connection::accept(&config, observed, now, &mut self.out);
                self.connections.insert(socket, Served::new(machine, peer));
                self.collect(socket, stage);
                self.tell_opened(now, socket);
            }
            None => self.departs(socket, stage),
        }
        self.carry_out(stage);
    }

    /// The socket is gone.
    pub(crate) fn lose(&mut self, socket: SocketId, stage: &mut Stage) {
        if self.connections.contains_key(&socket) && stage.aside.chance(10) {
            return self.lose_task(socket, stage);
        }
        if let Some(served) = self.connections.get_mut(&socket) {
            served.machine.handle_disconnect(&mut self.out);
            self.collect(socket, stage);
            self.check_end(socket, stage);
            self.connections.remove(&socket);
            self.carry_out(stage);
            self.departs(socket, stage);
            self.carry_out(stage);
        } else if self.is_handshaking(socket) {
            self.departs(socket, stage);
            self.carry_out(stage);
        }
    }

    /// The task of a connection ends with it, and has no time to say anything.
    fn lose_task(&mut self, socket: SocketId, stage: &mut Stage) {
        if let Some(served) = self.connections.remove(&socket) {
            self.touched.extend(served.machine.session().map(|session| session.key.clone()));
        }
        if let Some(&id) = self.control.ids.get(&socket) {
            self.left(id, stage);
        }
        self.carry_out(stage);
    }

    /// When something is due, by the world's clock.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let timeouts = self.connections.values().filter_map(|served| served.machine.next_timeout());
        let of_hub = if self.runs() { self.control.hub.next_timeout() } else { None };
        let next = timeouts.chain(of_hub).min();
        next.map(|next| self.clock.when(next).max(self.timers_rest_until))
    }

    const fn runs(&self) -> bool {
        matches!(self.state, State::Up | State::Draining)
    }

    pub(crate) fn due(&mut self, stage: &mut Stage) {
        if stage.now < self.timers_rest_until {
            return;
        }
        let now = self.clock.read(stage.now);
        let is_due =
            |served: &Served| served.machine.next_timeout().is_some_and(|next| next <= now);
        let due = self.connections.iter().filter(|(_, served)| is_due(served));
        for socket in due.map(|(socket, _)| *socket).collect::<Vec<_>>() {
            let Some(served) = self.connections.get_mut(&socket) else { continue };
            served.machine.handle_timeout(now, &mut self.out);
            let next = served.machine.next_timeout();
            stage.check(next.is_none_or(|next| next > now), Invariant::DeadlinesForward, || {
                format!("{}: {next:?} is not after {now:?}", Actor::Server(self.id, socket))
            });
            self.work_off(socket, stage);
        }
        if self.runs() && self.control.hub.next_timeout().is_some_and(|next| next <= now) {
            self.control.hub.handle_timeout(now, &mut self.control.out);
            let next = self.control.hub.next_timeout();
            stage.check(next.is_none_or(|next| next > now), Invariant::DeadlinesForward, || {
                format!("the hub of server {}: {next:?} is not after {now:?}", self.id)
            });
            self.carry_out(stage);
        }
        self.check_drains(now, stage);
        self.check_jobs(now, stage);
        self.check_stops(now, stage);
    }

    /// A host calls too early: nothing comes of it.
    pub(crate) fn call_early(&mut self, stage: &mut Stage) {
        let now = self.clock.read(stage.now);
        let actor = Actor::Server(self.id, 0);
        for served in self.connections.values_mut() {
            if served.machine.next_timeout().is_some_and(|next| next <= self.clock.latest()) {
                continue;
            }
            served.machine.handle_timeout(now, &mut self.out);
            stage.check(self.out.is_empty(), Invariant::DeadlinesForward, || {
                format!("{actor}: a timeout too early does something")
            });
        }
        while self.out.pop().is_some() {}
        let next = self.control.hub.next_timeout();
        if self.runs() && next.is_none_or(|next| next > self.clock.latest()) {
            self.control.hub.handle_timeout(now, &mut self.control.out);
            let silent = self.control.out.is_empty();
            stage.check(silent, Invariant::DeadlinesForward, || {
                format!("{actor}: a timeout of the hub too early does something")
            });
        }
    }
}

/// The operator's side.
impl Server {
    /// Stops silently. What the store was doing is done, or not.
    pub(crate) fn crash(&mut self, stage: &mut Stage) {
        self.state = State::Down;
        self.epoch += 1;
        self.connections.clear();
        self.actions.clear();
        self.control = Control::new(self.settings.hub);
        self.entries.clear();
        self.touched.clear();
        self.preflights = Preflights::default();
        self.asked.clear();
        store::abandon(stage, self.id);
        for socket in stage.network.of_server(self.id) {
            stage.cut(socket, Duration::ZERO);
        }
    }

    /// Stops, and another server takes its place.
    pub(crate) fn give_way(&mut self, stage: &mut Stage) {
        self.crash(stage);
        self.state = State::Foreign;
    }

    pub(crate) fn start(&mut self, protocol: Option<Protocol>) {
        if matches!(self.state, State::Down | State::Foreign) {
            self.state = State::Up;
            self.settings.connection.protocol =
                protocol.unwrap_or(self.settings.connection.protocol);
        }
    }

    /// Closes a session everywhere, if the server runs. Returns how many connections are told.
    pub(crate) fn close_key(
        &mut self,
        key: &SessionKey,
        disconnect: bool,
        stage: &mut Stage,
    ) -> usize {
        if !self.runs() {
            return 0;
        }
        let told = self.close_everywhere(key, disconnect, None, stage);
        self.carry_out(stage);
        told
    }

    /// Closes one connection when its handlers are done.
    pub(crate) fn close(&mut self, socket: SocketId, stage: &mut Stage) {
        let now = self.clock.read(stage.now);
        if let Some(served) = self.connections.get_mut(&socket) {
            served.may_close = true;
            match handlers::close_frame(stage) {
                Some(frame) => served.machine.close_with(now, frame, &mut self.out),
                None => served.machine.close(now, &mut self.out),
            }
            self.work_off(socket, stage);
        }
    }
}
