//! The loop around a client, and its application.

use std::collections::BTreeMap;
use std::time::Duration;

use wwr::client::{Config, Outcome, RequestError, RequestId};
use wwr::{Instant, Name, Payload, Valid};
use wwr_socket::client::{ClientEvent, ClientSocket, Target};

use super::Hosts;
use super::link::Link;
use crate::event::millis;
use crate::invariants::Invariant;

/// What clients ask for.
const NAMES: [&str; 8] = ["echo", "echo", "echo", "echo", "large", "login", "late", "signals"];

/// How long the payload of a large request is.
const LARGE: usize = 20_000;

pub(super) struct Client {
    pub(super) socket: ClientSocket,
    /// The connection that it has open.
    pub(super) link: Option<u64>,
    /// When one that it has asked for is open.
    connecting: Option<Instant>,
    pub(super) open: BTreeMap<RequestId, Call>,
    entropy: u8,
}

/// A request without an outcome.
pub(super) struct Call {
    token: u64,
    payload: Payload,
    deadline: Instant,
}

impl Client {
    pub(super) fn new(seed: u64) -> Self {
        let (config, target) = (Valid::<Config>::default(), Target::parse("ws://host/"));
        let Ok(target) = target else { unreachable!("it is a URL") };
        let socket = ClientSocket::new(&config, target, seed);
        Self { socket, link: None, connecting: None, open: BTreeMap::new(), entropy: 0 }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        let deadline = self.open.values().map(|call| call.deadline).min();
        [self.socket.next_timeout(), self.connecting, deadline].into_iter().flatten().min()
    }
}

impl Hosts {
    /// Makes a request, whatever it is.
    pub(super) fn request(&mut self, client: usize) {
        let name = self.dice.choose(&NAMES);
        let within = millis(self.dice.choose(&[100, 5000, 30_000, 30_000]));
        self.request_within(client, name, within);
    }

    pub(super) fn request_within(&mut self, client: usize, name: &str, within: Duration) {
        self.tokens += 1;
        let (token, now) = (self.tokens, self.now);
        let length = if name == "large" { 1 + self.dice.below(LARGE as u64) as usize } else { 9 };
        let payload = Payload::from(format!("{token} {}", "x".repeat(length)));
        let request = Name::new(name).unwrap_or_default();
        let party = &mut self.clients[client];
        let made = party.socket.request(now, request, payload.clone(), Some(within));
        // Too many may wait.
        if let Ok(id) = made {
            party.open.insert(id, Call { token, payload, deadline: now + within });
            self.requests += 1;
            self.note(format_args!("client {client}: {id:?}: {name} {token}"));
        }
    }

    /// One turn of the loop. Returns whether there was something to do.
    pub(super) fn client_turn(&mut self, client: usize) -> bool {
        let (now, mistake) = (self.now, self.mistake);
        let Self { clients, links, dice, server, .. } = self;
        let party = &mut clients[client];
        let mut any = false;
        if let Some(link) = party.link.and_then(|link| links.get_mut(&link))
            && party.socket.wants_input()
        {
            if link.down.has_arrived() {
                party.socket.received(now, &link.down.read(dice, mistake));
                any = true;
                if let (true, Some(id)) = (std::mem::take(&mut link.down.is_full), link.id)
                    && mistake != Some(super::HostMistake::ForgetsToWrite)
                {
                    server.is_writable(id);
                }
            } else if link.down.has_ended() {
                party.socket.ended(now);
            }
        }
        while let Some(event) = self.clients[client].socket.poll_event(now) {
            any = true;
            self.told(client, event);
        }
        let party = &mut self.clients[client];
        let dice = &mut self.dice;
        party.socket.mask(|| (dice.below(1 << 32) as u32).to_be_bytes());
        if let Some(link) = party.link.and_then(|link| self.links.get_mut(&link)) {
            any |= write(now, party, link, dice);
        }
        any
    }

    /// Does what is due.
    pub(super) fn client_due(&mut self, client: usize) {
        let now = self.now;
        if self.clients[client].connecting.take_if(|at| *at <= now).is_some() {
            self.connect(client);
        }
        let party = &mut self.clients[client];
        if party.socket.next_timeout().is_some_and(|due| due <= now) {
            party.socket.handle_timeout(now);
        }
        while self.client_turn(client) {}
        let next = self.clients[client].socket.next_timeout();
        self.check(next.is_none_or(|next| next > now), Invariant::DeadlinesForward, || {
            format!("client {client} is due at {next:?}, and it is {now:?}")
        });
        let late = self.clients[client].open.values().any(|call| call.deadline <= now);
        self.check(!late, Invariant::OneOutcome, || format!("client {client} has a late request"));
    }

    fn connect(&mut self, client: usize) {
        let party = &mut self.clients[client];
        // The server may be gone for the moment.
        if !self.is_settled && self.dice.chance(5) {
            return party.socket.ended(self.now);
        }
        let link = self.accept(Some(client));
        let party = &mut self.clients[client];
        party.link = Some(link);
        party.entropy = party.entropy.wrapping_add(1);
        party.socket.connected(self.now, [party.entropy; 16]);
    }

    fn told(&mut self, client: usize, event: ClientEvent) {
        match event {
            ClientEvent::Connect => {
                self.hang_up(client);
                let delay = self.dice.up_to(millis(50));
                self.clients[client].connecting = Some(self.now + delay);
            }
            ClientEvent::Disconnect => self.hang_up(client),
            ClientEvent::Done { id, outcome } => self.done(client, id, outcome),
            ClientEvent::Event(event) => self.note(format_args!("client {client}: {event:?}")),
            _ => {}
        }
    }

    /// Sends what there is, and closes the connection.
    fn hang_up(&mut self, client: usize) {
        let (now, party) = (self.now, &mut self.clients[client]);
        party.connecting = None;
        let Some(link) = party.link.and_then(|link| self.links.get_mut(&link)) else { return };
        let dice = &mut self.dice;
        party.socket.mask(|| [0; 4]);
        write(now, party, link, dice);
        party.link = None;
        link.is_open = false;
        link.up.close(now, dice);
    }

    /// The network has failed.
    pub(super) fn client_loses(&mut self, client: usize) {
        self.clients[client].link = None;
        self.clients[client].socket.ended(self.now);
    }

    fn done(&mut self, client: usize, id: RequestId, outcome: Outcome) {
        let short = outcome.as_ref().map(|payload| payload.as_bytes().len());
        self.note(format_args!("client {client}: {id:?}: {short:?}"));
        let call = self.clients[client].open.remove(&id);
        self.check(call.is_some(), Invariant::OneOutcome, || {
            format!("client {client}: {id:?} has no outcome to come: {outcome:?}")
        });
        let Some(call) = call else { return };
        let arrivals = self.arrivals(call.token);
        match &outcome {
            Ok(payload) => {
                let is_true = *payload == call.payload && arrivals == 1;
                self.replies += 1;
                self.check(is_true, Invariant::TrueOutcome, || {
                    format!("client {client}: {} came {arrivals} times: {payload:?}", call.token)
                });
            }
            Err(RequestError::NotSent | RequestError::TimedOut { sent: false }) => {
                self.never_sent.insert(call.token);
                self.check(arrivals == 0, Invariant::TrueOutcome, || {
                    format!("client {client}: {} was sent: {outcome:?}", call.token)
                });
            }
            Err(RequestError::ServerShutdown) => {
                self.check(arrivals == 0, Invariant::TrueOutcome, || {
                    format!("client {client}: {} was handled: {outcome:?}", call.token)
                });
            }
            Err(
                RequestError::ConnectionLost
                | RequestError::TimedOut { sent: true }
                | RequestError::Cancelled,
            ) => {}
            Err(other) => self.check(false, Invariant::TrueOutcome, || {
                format!("client {client}: {} has ended with {other:?}", call.token)
            }),
        }
    }
}

/// Writes as much as the pipe takes. Returns whether it has taken something.
fn write(now: Instant, party: &mut Client, link: &mut Link, dice: &mut crate::dice::Dice) -> bool {
    let mut any = false;
    while !party.socket.output().is_empty() && !link.up.is_full {
        let sent = link.up.write(now, party.socket.output(), dice);
        party.socket.sent(now, sent);
        link.up.is_full = sent == 0;
        any |= sent > 0;
    }
    any
}
