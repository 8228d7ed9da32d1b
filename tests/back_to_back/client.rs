//! A client node: the machine, its host, and an application that keeps a record.

use std::collections::BTreeMap;
use std::time::Duration;

use wwr::client::{Action, Client, Config, Event, Misuse, Outcome, RequestId, Status};
use wwr::preflight::{Answer, ProbeFailed};
use wwr::{Actions, Instant, SessionKey, Valid};

use crate::application::{self, Token};
use crate::fabric::{self, ClientId, Fabric, Packet, SocketId, Way};

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

pub(crate) struct Node {
    id: ClientId,
    pub(crate) machine: Client,
    out: Actions<Action>,
    host: Host,
    attempts: u64,
    numbers: u64,
    pub(crate) calls: BTreeMap<RequestId, Call>,
    pub(crate) outcomes: BTreeMap<RequestId, Outcome>,
    /// Everything told, but for signals, since it was last looked at.
    pub(crate) told: Vec<Event>,
    /// How many signals came on the socket there is.
    signals: u64,
}

impl Node {
    pub(crate) fn new(id: ClientId, config: &Valid<Config>, seed: u64) -> Self {
        Self {
            id,
            machine: Client::new(config, seed),
            out: Actions::new(),
            host: Host::Nothing,
            attempts: 0,
            numbers: 0,
            calls: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            told: Vec::new(),
            signals: 0,
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.machine.status() == Status::Connected
    }

    /// Whether something will come of it by itself, other than heartbeats.
    pub(crate) fn is_busy(&self) -> bool {
        match self.machine.status() {
            Status::Connecting | Status::Waiting => true,
            Status::Idle | Status::Connected | Status::Closed => {
                self.machine.pending_requests() > 0
            }
        }
    }

    /// The socket, open or about to be.
    pub(crate) const fn socket(&self) -> Option<SocketId> {
        match self.host {
            Host::Dialing(socket) | Host::Open(socket) => Some(socket),
            Host::Nothing | Host::Probing(_) => None,
        }
    }

    /// How many signals came on the socket there is.
    pub(crate) const fn signals(&self) -> u64 {
        self.signals
    }

    pub(crate) fn open_calls(&self) -> Vec<RequestId> {
        self.calls.keys().filter(|id| !self.outcomes.contains_key(id)).copied().collect()
    }
}

/// The application.
impl Node {
    pub(crate) fn connect(&mut self, fabric: &mut Fabric) {
        self.machine.connect(fabric.now, &mut self.out);
        self.carry_out(fabric);
    }

    pub(crate) fn close(&mut self, fabric: &mut Fabric) {
        self.machine.close(fabric.now, &mut self.out);
        self.carry_out(fabric);
    }

    pub(crate) fn request(
        &mut self,
        name: &str,
        timeout: Option<Duration>,
        fabric: &mut Fabric,
    ) -> Result<RequestId, Misuse> {
        let token = self.token();
        let payload = application::request_payload(name, token);
        let name = name.parse().expect("a name");
        let made = self.machine.request(fabric.now, name, payload, timeout, &mut self.out);
        self.made(made, Call::Request(token), fabric)
    }

    pub(crate) fn restore(
        &mut self,
        key: &SessionKey,
        fabric: &mut Fabric,
    ) -> Result<RequestId, Misuse> {
        let made = self.machine.restore_session(fabric.now, key.clone(), None, &mut self.out);
        self.made(made, Call::Restore(key.clone()), fabric)
    }

    pub(crate) fn close_session(&mut self, fabric: &mut Fabric) -> Result<RequestId, Misuse> {
        let made = self.machine.close_session(fabric.now, None, &mut self.out);
        self.made(made, Call::CloseSession, fabric)
    }

    pub(crate) fn signal(&mut self, fabric: &mut Fabric) -> Result<(), Misuse> {
        let payload = application::payload(self.token());
        let name = "signal".parse().expect("a name");
        let sent = self.machine.signal(fabric.now, &name, &payload, &mut self.out);
        self.carry_out(fabric);
        sent
    }

    pub(crate) fn cancel(&mut self, id: RequestId, fabric: &mut Fabric) {
        self.machine.cancel(id, &mut self.out);
        self.carry_out(fabric);
    }

    fn token(&mut self) -> Token {
        self.numbers += 1;
        (self.id, self.numbers)
    }

    fn made(
        &mut self,
        made: Result<RequestId, Misuse>,
        call: Call,
        fabric: &mut Fabric,
    ) -> Result<RequestId, Misuse> {
        if let Ok(id) = made {
            assert!(self.calls.insert(id, call).is_none(), "{id} names two calls");
        } else {
            assert!(self.out.is_empty(), "a refused call does nothing");
        }
        self.carry_out(fabric);
        made
    }
}

/// The host.
impl Node {
    pub(crate) fn probed(
        &mut self,
        attempt: u64,
        answer: Result<Answer, ProbeFailed>,
        fabric: &mut Fabric,
    ) {
        if self.host == Host::Probing(attempt) {
            self.host = Host::Nothing;
            self.machine.handle_probed(fabric.now, answer, &mut self.out);
            self.carry_out(fabric);
        }
    }

    pub(crate) fn receive(&mut self, socket: SocketId, packet: Packet, fabric: &mut Fabric) {
        if self.socket() != Some(socket) {
            return;
        }
        let now = fabric.now;
        match packet {
            Packet::Opened => {
                self.host = Host::Open(socket);
                self.signals = 0;
                self.machine.handle_opened(now, None, &mut self.out);
            }
            Packet::Frame(frame) => self.machine.handle_message(now, frame, &mut self.out),
            Packet::Ping => {
                self.machine.handle_activity(now);
                fabric.send(socket, Way::Up, Packet::Pong);
            }
            Packet::Refused(Some(status)) => {
                fabric.forget(socket);
                self.host = Host::Nothing;
                self.machine.handle_refused(now, status, None, &mut self.out);
            }
            Packet::Refused(None) | Packet::Close => {
                fabric.forget(socket);
                return self.lose(socket, fabric);
            }
            Packet::Pong => self.machine.handle_pong(now),
            Packet::Open => panic!("a server opens nothing"),
        }
        self.carry_out(fabric);
    }

    /// The socket is gone.
    pub(crate) fn lose(&mut self, socket: SocketId, fabric: &mut Fabric) {
        if self.socket() == Some(socket) {
            self.host = Host::Nothing;
            self.machine.handle_disconnect(fabric.now, &mut self.out);
            self.carry_out(fabric);
        }
    }

    pub(crate) fn due(&mut self, fabric: &mut Fabric) {
        let is_due = |next: Option<Instant>| next.is_some_and(|next| next <= fabric.now);
        if is_due(self.machine.next_timeout()) {
            self.machine.handle_timeout(fabric.now, &mut self.out);
            assert!(!is_due(self.machine.next_timeout()), "after a timeout the next lies ahead");
            self.carry_out(fabric);
        }
    }

    fn carry_out(&mut self, fabric: &mut Fabric) {
        while let Some(action) = self.out.pop() {
            match action {
                Action::Probe => {
                    assert_eq!(self.host, Host::Nothing);
                    self.attempts += 1;
                    self.host = Host::Probing(self.attempts);
                    let delay = fabric.delay();
                    let (client, attempt) = (self.id, self.attempts);
                    fabric.after(delay, fabric::Event::Probe { client, attempt });
                }
                Action::Dial => {
                    assert_eq!(self.host, Host::Nothing);
                    self.host = Host::Dialing(fabric.open(self.id));
                }
                Action::Send(frame) => {
                    let Host::Open(socket) = self.host else { panic!("{:?}", self.host) };
                    fabric.send(socket, Way::Up, Packet::Frame(frame));
                }
                Action::Ping => {
                    let Host::Open(socket) = self.host else { panic!("{:?}", self.host) };
                    fabric.send(socket, Way::Up, Packet::Ping);
                }
                Action::Hangup => {
                    assert_ne!(self.host, Host::Nothing);
                    if let Some(socket) = self.socket() {
                        fabric.send(socket, Way::Up, Packet::Close);
                    }
                    self.host = Host::Nothing;
                }
                Action::Done { id, outcome } => {
                    assert!(self.calls.contains_key(&id), "{id} is no call");
                    assert_eq!(self.outcomes.insert(id, outcome), None, "{id} ends twice");
                }
                // The others are there to be heard, no matter in which order.
                Action::Event(Event::Signal(content)) if content.name() != b"news" => {}
                Action::Event(Event::Signal(content)) => {
                    let Host::Open(socket) = self.host else { panic!("{:?}", self.host) };
                    let expected = application::payload((socket as usize, self.signals));
                    assert_eq!(content.into_payload(), expected, "in order, none lost, none twice");
                    self.signals += 1;
                }
                Action::Event(event) => self.told.push(event),
            }
        }
    }
}
