//! A small world of its own: clients and a server of `wwr_socket` whole, with HTTP, WebSocket, deadlines, sessions,
//! and the loops around them, over connections that carry bytes. Loops do what is said of them and no more: they
//! read and write where the system or the host has named a socket. What is not named is forgotten, and found.

mod client;
mod link;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use wwr::Instant;
use wwr::client::Status;

use crate::Lines;
use crate::dice::Dice;
use crate::event::millis;
use crate::invariants::{Invariant, Violation};
use crate::setup::PROTOCOLS;
use client::Client;
use link::Link;
use server::Server;

/// What a loop does wrong, on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostMistake {
    /// It loses a byte that it has read.
    ByteLost,
    /// It turns two pieces around.
    PiecesSwapped,
    /// It says that more was sent than was.
    SentTooMuch,
    /// It does not write again when a socket takes output again.
    ForgetsToWrite,
    /// It does not read a socket again that is to be read again.
    ForgetsToRead,
    /// It does not tell the host that time has passed.
    NoTimeouts,
}

impl HostMistake {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::ByteLost,
        Self::PiecesSwapped,
        Self::SentTooMuch,
        Self::ForgetsToWrite,
        Self::ForgetsToRead,
        Self::NoTimeouts,
    ];
}

/// What became of a world of hosts.
#[derive(Clone, Debug)]
pub struct HostReport {
    /// How much time passed in it.
    pub simulated: Duration,
    /// How many requests were made, and how many of them had a reply.
    pub requests: (u64, u64),
    /// Of everything that happened.
    pub fingerprint: u64,
    /// What did not hold, if anything.
    pub violation: Option<Violation>,
    /// What happened, if that was asked for: a line each.
    pub trace: Vec<String>,
}

/// How often somebody does something.
const STEPS: u64 = 60;

/// More turns than any run takes.
const MANY: u64 = 200_000;

/// How long it takes at most until all are connected again after all faults: the server has to notice, and clients
/// wait longer from failure to failure.
const RECOVERY: Duration = millis(200_000);

/// What peers say that are none of ours.
const STRANGE: [&[u8]; 6] = [
    b"",
    b"GET / HTTP/1.1\r\nHost: ",
    b"GET /status HTTP/1.1\r\nHost: host\r\n\r\n",
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc",
    b"GET / HTTP/1.1\r\nHost: host\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
      Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: host\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
      Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x82\x01x",
];

pub(crate) struct Hosts {
    now: Instant,
    dice: Dice,
    server: Server,
    clients: Vec<Client>,
    links: BTreeMap<u64, Link>,
    link_count: u64,
    mistake: Option<HostMistake>,
    /// Nothing goes wrong any more.
    is_settled: bool,
    /// The last request that was made, by its number.
    tokens: u64,
    /// How often each request has come to the server.
    arrivals: BTreeMap<u64, u64>,
    never_sent: BTreeSet<u64>,
    requests: u64,
    replies: u64,
    turns: u64,
    fingerprint: u64,
    violation: Option<Violation>,
    shown: bool,
    lines: Vec<String>,
}

/// Runs a world of hosts. A panic is a [`Violation`] of [`Invariant::NoPanic`].
pub fn run_hosts(dice: Dice, lines: Lines, mistake: Option<HostMistake>) -> HostReport {
    let mut hosts = Hosts::new(dice, lines == Lines::Kept, mistake);
    if catch_unwind(AssertUnwindSafe(|| hosts.run())).is_err() {
        hosts.check(false, Invariant::NoPanic, || "a panic".into());
    }
    HostReport {
        simulated: hosts.now.saturating_since(Instant::EPOCH),
        requests: (hosts.requests, hosts.replies),
        fingerprint: hosts.fingerprint,
        violation: hosts.violation,
        trace: hosts.lines,
    }
}

/// The number of a request, which its payload begins with.
fn token_of(payload: &[u8]) -> Option<u64> {
    std::str::from_utf8(payload).ok()?.split(' ').next()?.parse().ok()
}

impl Hosts {
    fn new(mut dice: Dice, shown: bool, mistake: Option<HostMistake>) -> Self {
        let now = Instant::EPOCH;
        let server = Server::new(now, dice.choose(&PROTOCOLS));
        let count = 1 + dice.below(4);
        let clients = (0..count).map(|_| Client::new(dice.number())).collect();
        Self {
            now,
            dice,
            server,
            clients,
            links: BTreeMap::new(),
            link_count: 0,
            mistake,
            is_settled: false,
            tokens: 0,
            arrivals: BTreeMap::new(),
            never_sent: BTreeSet::new(),
            requests: 0,
            replies: 0,
            turns: 0,
            fingerprint: 0xcbf2_9ce4_8422_2325,
            violation: None,
            shown,
            lines: Vec::new(),
        }
    }

    fn check(&mut self, holds: bool, invariant: Invariant, text: impl FnOnce() -> String) {
        if !holds && self.violation.is_none() {
            let text = format!("at {:?}: {}", self.now.saturating_since(Instant::EPOCH), text());
            self.violation = Some(Violation { invariant, text });
        }
    }

    fn note(&mut self, what: fmt::Arguments<'_>) {
        let line = format!("{:?} {what}", self.now.saturating_since(Instant::EPOCH));
        for byte in line.bytes() {
            self.fingerprint = (self.fingerprint ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.shown {
            self.lines.push(line);
        }
    }

    /// A request has come to the server.
    fn arrived(&mut self, token: u64) {
        let count = self.arrivals.entry(token).or_default();
        *count += 1;
        let is_true = *count == 1 && !self.never_sent.contains(&token);
        self.check(is_true, Invariant::TrueOutcome, || {
            format!("request {token} comes twice, or was never sent")
        });
        self.note(format_args!("request {token}"));
    }

    fn arrivals(&self, token: u64) -> u64 {
        self.arrivals.get(&token).copied().unwrap_or_default()
    }

    /// The server accepts a connection.
    fn accept(&mut self, client: Option<usize>) -> u64 {
        self.link_count += 1;
        let host = client.map_or(200, |client| client as u8);
        let (id, _) =
            self.server.host.accepted(self.now, IpAddr::V4(Ipv4Addr::new(10, 0, 0, host)));
        self.links.insert(self.link_count, Link::new(self.now, client, id, &mut self.dice));
        self.server.accepted(id, self.link_count);
        self.link_count
    }

    fn run(&mut self) {
        for client in 0..self.clients.len() {
            self.clients[client].socket.connect(self.now);
        }
        for _ in 0..STEPS {
            self.act();
            let most = self.dice.choose(&[0, 10, 300, 5000, 40_000]);
            let pause = self.dice.up_to(millis(most));
            self.run_for(pause);
            if self.violation.is_some() {
                return;
            }
        }
        self.end();
    }

    /// Something happens.
    fn act(&mut self) {
        let client = self.dice.index(self.clients.len()).unwrap_or_default();
        let links: Vec<_> = self.links.keys().copied().collect();
        let link = self.dice.index(links.len()).map(|index| links[index]);
        match (self.dice.below(40), link) {
            (0, Some(link)) => self.cut(link),
            (1, Some(link)) => {
                if let Some(link) = self.links.get_mut(&link) {
                    link.up.is_silent |= self.dice.chance(60);
                    link.down.is_silent |= self.dice.chance(60);
                }
            }
            (2, _) => self.restart(),
            (3, _) => {
                let within = self.dice.up_to(millis(5000));
                self.server.host.shut_down(self.now, within);
            }
            (4, _) => {
                self.clients[client].socket.close(self.now);
                self.settle();
                self.clients[client].socket.connect(self.now);
            }
            (5..=8, _) => {
                let link = self.accept(None);
                let words = self.dice.choose(&STRANGE);
                if let Some(link) = self.links.get_mut(&link) {
                    link.up.write(self.now, words, &mut self.dice);
                    if self.dice.chance(30) {
                        link.is_open = false;
                        link.up.close(self.now, &mut self.dice);
                    }
                }
            }
            (9, _) => self.request_within(client, "leave", millis(5000)),
            (10..=13, _) => (0..30).for_each(|_| self.request(client)),
            _ => self.request(client),
        }
    }

    /// A connection breaks, for both sides.
    fn cut(&mut self, link: u64) {
        let Some(link) = self.links.remove(&link) else { return };
        if let Some(id) = link.id {
            self.server_loses(id);
        }
        if let Some(client) = link.client.filter(|_| link.is_open) {
            self.client_loses(client);
        }
    }

    /// Lets time pass.
    fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.settle();
        while self.violation.is_none() {
            let clients = self.clients.iter().filter_map(Client::next);
            let links = self.links.values().filter_map(Link::next);
            let next = clients.chain(links).chain(self.server.next()).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.turns += 1;
            let goes_on = self.turns < MANY;
            self.check(goes_on, Invariant::Termination, || "it goes on for ever".into());
            self.now = next.max(self.now);
            self.deliver();
            // What has come counts before time does.
            self.settle();
            (0..self.clients.len()).for_each(|client| self.client_due(client));
            self.server_due();
            self.settle();
        }
        self.now = end.max(self.now);
    }

    /// Lets arrive what is due.
    fn deliver(&mut self) {
        let mut refused = Vec::new();
        for (number, link) in &mut self.links {
            if link.up.deliver(self.now) {
                match link.id {
                    Some(id) => self.server.is_readable(id),
                    None if link.up.has_arrived() => refused.push(*number),
                    None => {}
                }
            }
            if link.down.deliver(self.now) && !link.is_open && link.down.has_arrived() {
                refused.push(*number);
            }
            // Peers that are none of ours read everything.
            if link.client.is_none() && link.down.has_arrived() {
                link.down.discard();
                if let (true, Some(id)) = (std::mem::take(&mut link.down.is_full), link.id) {
                    self.server.is_writable(id);
                }
            }
        }
        // What comes to a socket that was closed is answered with a reset.
        refused.into_iter().for_each(|link| self.cut(link));
        self.links.retain(|_, link| link.id.is_some() || link.is_open);
    }

    /// Lets everybody do what there is to do.
    fn settle(&mut self) {
        loop {
            let mut any = self.serve();
            for client in 0..self.clients.len() {
                any |= self.client_turn(client);
            }
            if !any || self.violation.is_some() {
                break;
            }
        }
        self.check_nothing_forgotten();
    }

    /// All faults are over: all recover. Then all leave, and nothing is left.
    fn end(&mut self) {
        self.is_settled = true;
        // Also what was silent comes to an end.
        let broken =
            |link: &Link| link.up.is_silent || link.down.is_silent || link.client.is_none();
        let broken: Vec<_> =
            self.links.iter().filter(|(_, link)| broken(link)).map(|(id, _)| *id).collect();
        broken.into_iter().for_each(|link| self.cut(link));
        self.run_for(RECOVERY);
        for client in 0..self.clients.len() {
            let status = self.clients[client].socket.client().status();
            self.check(status == Status::Connected, Invariant::Recovery, || {
                format!("client {client} is {status:?}")
            });
            self.check_session(client);
            self.request_within(client, "echo", millis(30_000));
        }
        let before = self.replies;
        self.run_for(millis(30_000));
        let replies = self.replies - before;
        let all = replies == self.clients.len() as u64;
        self.check(all, Invariant::Recovery, || format!("only {replies} have a reply"));
        self.clients.iter_mut().for_each(|client| client.socket.close(self.now));
        self.run_for(RECOVERY);
        let open = self.clients.iter().map(|client| client.open.len()).sum::<usize>();
        let host = &self.server.host;
        let left = (host.socket_count(), host.hub().connection_count(), self.links.len(), open);
        let connected = self.server.connected.len();
        self.check(left == (0, 0, 0, 0) && connected == 0, Invariant::MemoryFloor, || {
            format!("{left:?} sockets, connections, links, requests, {connected} connected")
        });
    }

    /// A client and the server have the same session.
    fn check_session(&mut self, client: usize) {
        let party = &self.clients[client];
        let ours = party.socket.client().session().map(|session| session.key.clone());
        let link = party.link.and_then(|link| self.links.get(&link));
        let socket = link.and_then(|link| self.server.host.socket(link.id?));
        let theirs = socket.and_then(|socket| Some(socket.session()?.key.clone()));
        self.check(ours == theirs, Invariant::SessionsAgree, || {
            format!("client {client} holds {ours:?}, and its connection {theirs:?}")
        });
    }
}
