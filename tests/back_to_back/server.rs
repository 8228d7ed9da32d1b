//! The server node: a machine for each connection, one registry, the store, and the application,
//! whose handlers are in `handlers`.

mod handlers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use wwr::preflight::{Answer, ProbeFailed};
use wwr::server::{
    Action, CloseReason, Config, Connection, IdleConnections, Preflights, Protocol, RequestId,
};
use wwr::session::{Change, ConnectionId, Effect, Registry, RegistryConfig, Ticket};
use wwr::{Actions, Dialect, Instant, SessionKey};

use crate::application::{Record, Token, Work, deed, token};
use crate::fabric::{ClientId, Event, Fabric, Packet, SocketId, Way};
use crate::store::{Answer as Stored, Habits, Store};

/// Whether the server serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Up,
    /// Shutting down, or shut down: it answers, but lets nobody in.
    Draining,
    /// Another server has taken its place, of a version that no client of ours speaks.
    Foreign,
    /// Crashed: there is nobody to answer.
    Down,
}

/// The settings of a server.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) connection: Config,
    pub(crate) registry: RegistryConfig,
    pub(crate) habits: Habits,
}

pub(crate) struct Server {
    settings: Settings,
    pub(crate) state: State,
    pub(crate) connections: BTreeMap<SocketId, Served>,
    pub(crate) registry: Registry,
    pub(crate) store: Store,
    pub(crate) record: Record,
    preflights: Preflights<ClientId>,
    /// By which of the servers in this place, one after the other, each client was last answered.
    answered: BTreeMap<ClientId, u64>,
    /// Counts the servers that took this place.
    servers: u64,
    /// How many replies were larger than their peer reads.
    pub(crate) too_large: u64,
    /// How many pings were sent.
    pub(crate) pings: u64,
    /// Every key that was ever made.
    pub(crate) keys: Vec<SessionKey>,
    /// Why connections were closed by the server.
    pub(crate) closed: Vec<(SocketId, CloseReason)>,
    /// Counts the crashes: what was under way before one is nobody's business after it.
    epoch: u64,
    out: Actions<Action>,
    effects: Actions<Effect>,
    /// What is to be carried out, in order, and for which connection.
    actions: VecDeque<(SocketId, Action)>,
}

/// A connection, as its task has it.
pub(crate) struct Served {
    pub(crate) machine: Connection,
    /// The client was told of another version by the server that was here before.
    misled: bool,
    /// What came while the machine wanted no input.
    unread: VecDeque<Bytes>,
    /// Handlers that wait for their session to be created, or closed.
    creating: Option<(RequestId, Token)>,
    closing: Option<(RequestId, Token)>,
    signals_sent: u64,
    /// The last request and the last signal that came.
    last: [u64; 2],
}

/// The work of a handler: from when a signal is there until it is handled.
const SIGNAL_WORK: Duration = Duration::from_millis(3);

/// The network's side.
impl Server {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            state: State::Up,
            connections: BTreeMap::new(),
            registry: Registry::new(settings.registry),
            store: Store::new(settings.habits),
            record: Record::default(),
            preflights: Preflights::default(),
            answered: BTreeMap::new(),
            servers: 0,
            too_large: 0,
            pings: 0,
            keys: Vec::new(),
            closed: Vec::new(),
            epoch: 0,
            out: Actions::new(),
            effects: Actions::new(),
            actions: VecDeque::new(),
            settings,
        }
    }

    pub(crate) fn probe(&mut self, client: ClientId, attempt: u64, fabric: &mut Fabric) {
        let answer = match self.state {
            State::Up => Ok(match self.settings.connection.metadata() {
                Some(metadata) => {
                    self.preflights.asked(fabric.now, client);
                    self.answered.insert(client, self.servers);
                    Answer { status: 200, body: metadata.to_body(), retry_after: None }
                }
                None => {
                    let body = Bytes::from_static(b"Bad Request\n");
                    Answer { status: 400, body, retry_after: None }
                }
            }),
            State::Foreign => {
                let body = Bytes::from_static(b"{\"protocol-version\":\"9.9\"}");
                Ok(Answer { status: 200, body, retry_after: None })
            }
            State::Draining => Ok(Answer { status: 503, body: Bytes::new(), retry_after: None }),
            State::Down => Err(ProbeFailed),
        };
        let delay = fabric.delay();
        fabric.after(delay, Event::Probed { client, attempt, answer });
    }

    pub(crate) fn receive(&mut self, socket: SocketId, packet: Packet, fabric: &mut Fabric) {
        match packet {
            Packet::Open if self.state == State::Up => {
                fabric.send(socket, Way::Down, Packet::Opened);
                let (now, from) = (fabric.now, fabric.owner(socket));
                let observed = self.preflights.connected(now, &from);
                let config = self.settings.connection.clone().validate();
                let config = &config.expect("usual settings");
                let machine = Connection::accept(config, observed, now, &mut self.out);
                let misled = self.answered.get(&from).is_some_and(|by| *by != self.servers);
                self.connections.insert(socket, Served::new(machine, misled));
            }
            Packet::Open => {
                let status = match self.state {
                    State::Draining => Some(503),
                    State::Foreign => Some(400),
                    State::Up | State::Down => None,
                };
                fabric.send(socket, Way::Down, Packet::Refused(status));
            }
            Packet::Frame(frame) => {
                if let Some(served) = self.connections.get_mut(&socket) {
                    served.unread.push_back(frame);
                }
            }
            Packet::Close => {
                fabric.forget(socket);
                return self.lose(socket, fabric);
            }
            Packet::Ping | Packet::Pong => {
                if let Some(served) = self.connections.get_mut(&socket) {
                    served.machine.handle_activity(fabric.now);
                    // What comes behind a message that is not read is not read either.
                    if matches!(packet, Packet::Ping) && served.unread.is_empty() {
                        fabric.send(socket, Way::Down, Packet::Pong);
                    }
                }
            }
            Packet::Opened | Packet::Refused(_) => panic!("a client only opens"),
        }
        self.work_off(socket, fabric);
    }

    /// The socket is gone.
    pub(crate) fn lose(&mut self, socket: SocketId, fabric: &mut Fabric) {
        if let Some(served) = self.connections.get_mut(&socket) {
            served.machine.handle_disconnect(&mut self.out);
            self.work_off(socket, fabric);
            self.connections.remove(&socket);
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.connections.values().filter_map(|served| served.machine.next_timeout()).min()
    }

    pub(crate) fn due(&mut self, fabric: &mut Fabric) {
        let now = fabric.now;
        let is_due =
            |served: &Served| served.machine.next_timeout().is_some_and(|next| next <= now);
        let due = self.connections.iter().filter(|(_, served)| is_due(served));
        for socket in due.map(|(socket, _)| *socket).collect::<Vec<_>>() {
            if let Some(served) = self.connections.get_mut(&socket) {
                served.machine.handle_timeout(now, &mut self.out);
                assert!(!is_due(served), "after a timeout the next lies ahead");
                self.work_off(socket, fabric);
            }
        }
    }

    /// The store has answered.
    pub(crate) fn stored(&mut self, epoch: u64, ticket: Ticket, fabric: &mut Fabric) {
        if epoch != self.epoch {
            return;
        }
        match self.store.finish(ticket, &mut fabric.dice) {
            Stored::LookedUp(answer) => self.registry.looked_up(ticket, answer, &mut self.effects),
            Stored::Stored(answer) => self.registry.stored(ticket, answer, &mut self.effects),
            Stored::Destroyed(answer) => {
                self.registry.destroyed(ticket, answer, &mut self.effects);
            }
        }
        self.carry_out(fabric);
    }
}

/// The operator's side.
impl Server {
    /// Shuts down gracefully.
    pub(crate) fn shut_down(&mut self, within: Duration, fabric: &mut Fabric) {
        self.state = State::Draining;
        for socket in self.connections.keys().copied().collect::<Vec<_>>() {
            if let Some(served) = self.connections.get_mut(&socket) {
                served.machine.shut_down(
                    fabric.now,
                    fabric.now + within,
                    IdleConnections::Close,
                    &mut self.out,
                );
                self.work_off(socket, fabric);
            }
        }
    }

    /// Stops without a word. What the store was doing is done, or not.
    pub(crate) fn crash(&mut self, fabric: &mut Fabric) {
        self.state = State::Down;
        self.epoch += 1;
        self.connections.clear();
        self.registry = Registry::new(self.settings.registry);
        self.store.abandon(&mut fabric.dice);
        fabric.sockets().into_iter().for_each(|socket| fabric.cut(socket));
    }

    pub(crate) fn start(&mut self) {
        self.state = State::Up;
    }

    /// Stops, and another server takes its place.
    pub(crate) fn give_way(&mut self, fabric: &mut Fabric) {
        self.crash(fabric);
        self.state = State::Foreign;
    }

    /// Stops, and one of another version takes its place, over the same store.
    pub(crate) fn replace(&mut self, protocol: Protocol, fabric: &mut Fabric) {
        self.crash(fabric);
        self.settings.connection.protocol = protocol;
        self.servers += 1;
        self.start();
    }

    pub(crate) fn close_key(
        &mut self,
        key: &SessionKey,
        disconnect: bool,
        fabric: &mut Fabric,
    ) -> usize {
        let told = self.registry.close_key(key.clone(), disconnect, &mut self.effects);
        self.carry_out(fabric);
        told
    }
}

/// What the machines want.
impl Server {
    /// Carries out what a call to the machine of a connection caused.
    fn work_off(&mut self, socket: SocketId, fabric: &mut Fabric) {
        self.actions.extend(self.out.drain().map(|action| (socket, action)));
        self.carry_out(fabric);
    }

    fn carry_out(&mut self, fabric: &mut Fabric) {
        loop {
            while let Some(effect) = self.effects.pop() {
                self.effect(effect, fabric);
            }
            if let Some((socket, action)) = self.actions.pop_front() {
                self.act(socket, action, fabric);
            } else if !self.read(fabric) {
                break;
            }
        }
        self.check_limit();
    }

    /// Hands one message that waited to a machine that wants it.
    fn read(&mut self, fabric: &Fabric) -> bool {
        for (socket, served) in &mut self.connections {
            if served.machine.wants_input()
                && let Some(frame) = served.unread.pop_front()
            {
                served.machine.handle_message(fabric.now, frame, &mut self.out);
                self.actions.extend(self.out.drain().map(|action| (*socket, action)));
                return true;
            }
        }
        false
    }

    fn act(&mut self, socket: SocketId, action: Action, fabric: &mut Fabric) {
        match action {
            Action::Send(frame) => {
                let buffer = self.settings.connection.advertised.message_buffer as usize;
                let fits = frame.len() <= buffer;
                let served = self.connections.get(&socket).expect("a connection that acts");
                let bounded = served.machine.dialect().rules().bounded_by_buffer;
                assert!(fits || !bounded, "{} bytes for a peer that reads {buffer}", frame.len());
                fabric.send(socket, Way::Down, Packet::Frame(frame));
            }
            Action::Ping => {
                self.pings += 1;
                fabric.send(socket, Way::Down, Packet::Ping);
            }
            Action::Learned(dialect) => assert_eq!(self.dialect(socket), Some(dialect)),
            Action::PeerReads(_) => unreachable!("nobody agrees on wwr.1"),
            Action::ReplyTooLarge { .. } => self.too_large += 1,
            Action::Request(request) => {
                let token = token(&request.content);
                self.arrived(socket, 0, token);
                self.record.reached(token);
                let (deed, takes) = deed(&request.content);
                let work = Work::Handle { id: request.id, deed, token };
                fabric.after(takes, Event::Work { socket, work });
            }
            Action::Signal(signal) => {
                self.arrived(socket, 1, token(&signal.content));
                let work = Work::SignalHandled(signal.id);
                fabric.after(SIGNAL_WORK, Event::Work { socket, work });
            }
            Action::Session(command) => {
                self.registry.handle(ConnectionId(socket), command, &mut self.effects);
            }
            Action::SessionEvent(event) => self.session_event(socket, event),
            Action::Drained => {}
            Action::Close(reason) => {
                let misled = self.connections.get(&socket).is_some_and(|served| served.misled);
                let healthy = fabric.is_healthy(socket) && !misled;
                assert!(!(healthy && reason == CloseReason::Silent), "{socket} was not silent");
                fabric.send(socket, Way::Down, Packet::Close);
                self.closed.push((socket, reason));
                let more = self.actions.iter().any(|(of, _)| *of == socket);
                assert!(!more, "closing is the last action");
                self.connections.remove(&socket);
            }
        }
    }

    /// Requests come in the order in which they were made, signals too.
    fn arrived(&mut self, socket: SocketId, what: usize, (_, number): Token) {
        let served = self.connections.get_mut(&socket).expect("a connection that acts");
        assert!(served.last[what] < number, "out of order");
        served.last[what] = number;
    }

    fn effect(&mut self, effect: Effect, fabric: &mut Fabric) {
        match effect {
            Effect::Deliver { connection: ConnectionId(socket), outcome } => {
                if let Change::Restored(session) = &outcome.change {
                    assert!(!self.store.deleted.contains(&session.key), "a closed session is back");
                }
                if let Some(served) = self.connections.get_mut(&socket) {
                    served.machine.handle_session(fabric.now, outcome, &mut self.out);
                    self.actions.extend(self.out.drain().map(|action| (socket, action)));
                }
            }
            Effect::Lookup { .. } | Effect::Store { .. } | Effect::Destroy { .. } => {
                let (ticket, takes) = self.store.begin(effect);
                fabric.after(takes, Event::Stored { epoch: self.epoch, ticket });
            }
        }
    }

    fn check_limit(&self) {
        let Some(most) = self.settings.registry.max_connections else { return };
        for key in &self.keys {
            assert!(self.registry.connection_count(key) <= most.get(), "more than {most}");
        }
    }
}

/// What is asked of the server by those who check it.
impl Server {
    /// The connections that hold a session, as they say themselves.
    pub(crate) fn holders(&self, key: &SessionKey) -> BTreeSet<SocketId> {
        let holds = |served: &Served| served.machine.session().is_some_and(|held| held.key == *key);
        self.connections.iter().filter(|(_, served)| holds(served)).map(|(id, _)| *id).collect()
    }

    /// What a peer speaks, as far as the server knows.
    pub(crate) fn dialect(&self, socket: SocketId) -> Option<Dialect> {
        self.connections.get(&socket).map(|served| served.machine.dialect())
    }

    /// Whether a connection is being closed.
    pub(crate) fn is_closing(&self) -> bool {
        self.connections.values().any(|served| !served.machine.is_open())
    }

    /// Whether a message waits to be read.
    pub(crate) fn has_unread(&self) -> bool {
        self.connections.values().any(|served| !served.unread.is_empty())
    }
}

impl Served {
    const fn new(machine: Connection, misled: bool) -> Self {
        Self {
            machine,
            misled,
            unread: VecDeque::new(),
            creating: None,
            closing: None,
            signals_sent: 0,
            last: [0; 2],
        }
    }
}
