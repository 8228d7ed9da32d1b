//! Clients of both versions behind one address, through slow and lossy networks, with health checks
//! between them. No client may get a message that would end it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::*;
use crate::Valid;
use crate::actions::Actions;
use crate::server::{Action, Config, Connection, RequestError};
use crate::wire::{Encoder, Identifier, Kind, Name, Payload};

/// The size of the message buffer that 2.0 clients have.
const BUFFER: usize = 8192;

/// A reply that is too large for them.
const LARGE: usize = 20_000;

/// All clients have it.
const ADDRESS: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kindred {
    /// Asks, connects, and speaks at once.
    Talking1x,
    /// Asks, connects, and has nothing to say for a while.
    Silent1x,
    /// Connects, waits for accept-conf, then speaks.
    Newer,
    /// Asks and never connects.
    HealthCheck,
}

#[derive(Debug)]
enum Event {
    /// The client begins.
    Start,
    /// The preflight has reached the server.
    Asked,
    /// The handshake has reached the server.
    Arrived,
    /// The server has waited long enough.
    Silent,
    /// The client sees that the WebSocket is open.
    Opened,
    /// The client has something to say.
    Speaks,
    ToServer(Bytes),
    ToClient(Bytes),
}

struct Client {
    kind: Kindred,
    /// How long a packet is under way, in milliseconds.
    delay: u64,
    /// When the last packet of either way arrives: they do not overtake each other.
    arrival: [u64; 2],
    opened: u64,
    advertised: Option<u64>,
    server: Option<Connection>,
    replies: Vec<Bytes>,
}

struct Crowd {
    preflights: Preflights<u8>,
    config: Valid<Config>,
    clients: Vec<Client>,
    events: BTreeMap<(u64, u64), (usize, Event)>,
    count: u64,
    now: u64,
    dice: u64,
    loss: u64,
}

/// What the clients of a kind got.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    clients: usize,
    large: usize,
    internal_errors: usize,
}

impl Crowd {
    fn new(seed: u64, loss: u64) -> Self {
        Self {
            preflights: Preflights::default(),
            config: Config { pings: None, ..Config::default() }.validate().unwrap(),
            clients: Vec::new(),
            events: BTreeMap::new(),
            count: 0,
            now: 0,
            dice: seed,
            loss,
        }
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.dice >> 33) % sides
    }

    fn add(&mut self, kind: Kindred, start: u64, delay: u64) {
        let client = Client {
            kind,
            delay,
            arrival: [0; 2],
            opened: 0,
            advertised: None,
            server: None,
            replies: Vec::new(),
        };
        self.clients.push(client);
        self.at(start, self.clients.len() - 1, Event::Start);
    }

    fn at(&mut self, time: u64, client: usize, event: Event) {
        self.count += 1;
        self.events.insert((time, self.count), (client, event));
    }

    /// A packet that may be lost, and is sent again then.
    fn send(&mut self, client: usize, up: bool, rto: u64, event: Event) {
        let mut time = self.now + self.clients[client].delay;
        let mut again = rto;
        while self.roll(100) < self.loss && again < 4 * rto {
            time += again;
            again *= 2;
        }
        let last = &mut self.clients[client].arrival[usize::from(up)];
        *last = time.max(*last);
        let time = *last;
        self.at(time, client, event);
    }

    fn run(&mut self) {
        while let Some(((time, _), (client, event))) = self.events.pop_first() {
            self.now = time;
            self.happens(client, event);
        }
    }

    fn happens(&mut self, id: usize, event: Event) {
        let now = at(self.now);
        let kind = self.clients[id].kind;
        let round_trip = 2 * self.clients[id].delay;
        match event {
            Event::Start if kind == Kindred::Newer => self.dial(id),
            Event::Start => self.send(id, true, 1000, Event::Asked),
            Event::Asked => {
                let brief = kind == Kindred::HealthCheck && self.roll(2) == 0;
                if brief {
                    self.preflights.asked_briefly(now, ADDRESS);
                } else {
                    self.preflights.asked(now, ADDRESS);
                }
                if kind != Kindred::HealthCheck {
                    // The answer, then a handshake of TCP.
                    self.now += self.clients[id].delay + 1;
                    self.dial(id);
                }
            }
            Event::Arrived => {
                self.clients[id].opened = self.now;
                self.send(id, false, 200 + round_trip, Event::Opened);
                let detection = self.preflights.arrived(now, &ADDRESS, PLAIN);
                self.detect(id, detection);
            }
            Event::Silent => {
                if self.clients[id].server.is_none() {
                    let arrived = at(self.clients[id].opened);
                    let observed = self.preflights.silent(now, arrived, &ADDRESS);
                    self.serve(id, observed);
                }
            }
            Event::Opened => match kind {
                Kindred::Talking1x => self.at(self.now + 1, id, Event::Speaks),
                Kindred::Silent1x => {
                    let pause = 1 + self.roll(2000);
                    self.at(self.now + pause, id, Event::Speaks);
                }
                Kindred::Newer | Kindred::HealthCheck => {}
            },
            Event::Speaks => {
                for name in ["large", "odd"] {
                    let name = Name::new(name).unwrap();
                    let id_ = Identifier::from_counter(1);
                    let frame = Encoder::new().request(id_, &name, &Payload::utf8("x"));
                    self.send(id, true, 200 + round_trip, Event::ToServer(frame));
                }
            }
            Event::ToServer(frame) => {
                if self.clients[id].server.is_none() {
                    let observed = self.preflights.spoke(now, &ADDRESS, &frame);
                    self.serve(id, observed);
                }
                let mut out = Actions::new();
                let server = self.clients[id].server.as_mut().unwrap();
                server.handle_message(now, frame, &mut out);
                self.carry_out(id, out);
            }
            Event::ToClient(frame) => self.receive(id, frame),
        }
    }

    /// Opens a connection: a round trip of TCP, then the request.
    fn dial(&mut self, id: usize) {
        self.now += 2 * self.clients[id].delay;
        self.send(id, true, 1000, Event::Arrived);
    }

    fn detect(&mut self, id: usize, detection: Detection) {
        match detection {
            Detection::Known(observed) => self.serve(id, observed),
            Detection::Wait { until } => {
                let time = until.saturating_since(Instant::EPOCH).as_millis() as u64;
                self.at(time, id, Event::Silent);
            }
        }
    }

    fn serve(&mut self, id: usize, observed: Observed) {
        let mut out = Actions::new();
        let server = Connection::accept(&self.config, observed, at(self.now), &mut out);
        self.clients[id].server = Some(server);
        self.carry_out(id, out);
    }

    fn carry_out(&mut self, id: usize, mut out: Actions<Action>) {
        while let Some(action) = out.pop() {
            match action {
                Action::Send(frame) => {
                    let rto = 200 + 2 * self.clients[id].delay;
                    self.send(id, false, rto, Event::ToClient(frame));
                }
                Action::Request(request) => {
                    let answer = match request.content.name() {
                        b"large" => Ok(Payload::binary("x".repeat(LARGE))),
                        _ => Err(RequestError::Protocol),
                    };
                    let server = self.clients[id].server.as_mut().unwrap();
                    server.reply(request.id, answer, &mut out).unwrap();
                }
                Action::ReplyTooLarge { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn receive(&mut self, id: usize, frame: Bytes) {
        let client = &mut self.clients[id];
        let first = Kind::from_byte(frame[0]).unwrap();
        if client.kind == Kindred::Newer {
            assert!(frame.len() <= BUFFER, "{} bytes end a client of 2.0", frame.len());
            assert_ne!(first, Kind::ReplyProtocolError, "ends a client of 2.0");
        }
        if first != Kind::AcceptConf {
            return client.replies.push(frame);
        }
        assert!(client.advertised.is_none());
        client.advertised = Some(self.now);
        if client.kind == Kindred::Newer {
            self.happens(id, Event::Speaks);
        }
    }

    fn tally(&self, kind: Kindred) -> Tally {
        let mut tally = Tally::default();
        for client in self.clients.iter().filter(|client| client.kind == kind) {
            tally.clients += 1;
            assert!(client.advertised.is_some(), "accept-conf is for all");
            assert_eq!(client.replies.len(), 2, "nobody is lost");
            tally.large += usize::from(client.replies[0].len() == 9 + LARGE);
            tally.internal_errors += usize::from(client.replies[0][..1] == [2]);
        }
        assert_eq!(tally.large + tally.internal_errors, tally.clients);
        tally
    }
}

#[test]
fn all_clients_of_a_shared_address_survive_and_those_that_speak_first_get_everything() {
    let mut clients = 0;
    for (seed, loss) in [(1, 0), (2, 1), (3, 5), (4, 20)] {
        let mut crowd = Crowd::new(seed, loss);
        // The address has shown both kinds.
        crowd.add(Kindred::Newer, 0, 1);
        crowd.add(Kindred::Talking1x, 500, 1);
        for _ in 0..3_000 {
            let kind = match crowd.roll(9) {
                0..3 => Kindred::Talking1x,
                3 => Kindred::Silent1x,
                4..8 => Kindred::Newer,
                _ => Kindred::HealthCheck,
            };
            let (start, delay) = (1000 + crowd.roll(60_000), 1 + crowd.roll(90));
            crowd.add(kind, start, delay);
        }
        crowd.run();
        for client in crowd.clients.iter().filter(|client| client.kind == Kindred::Newer) {
            let waited = client.advertised.unwrap() - client.opened;
            assert!(loss > 0 || waited <= 200 + 90, "a client of 2.0 waited for {waited} ms");
        }
        let talking = crowd.tally(Kindred::Talking1x);
        if loss == 0 {
            assert_eq!((talking.large, talking.internal_errors), (talking.clients, 0));
        }
        let newer = crowd.tally(Kindred::Newer);
        assert_eq!((newer.large, newer.internal_errors), (0, newer.clients));
        let silent = crowd.tally(Kindred::Silent1x);
        clients += talking.clients + newer.clients + silent.clients;
    }
    assert!(clients > 10_000, "{clients}");
}

#[test]
fn all_clients_survive_when_both_kinds_come_at_once_to_a_new_address() {
    for seed in 0..500 {
        let mut crowd = Crowd::new(seed, 0);
        for _ in 0..10 {
            let kind = [Kindred::Talking1x, Kindred::Silent1x, Kindred::Newer];
            let kind = kind[crowd.roll(3) as usize];
            let (start, delay) = (crowd.roll(20), 1 + crowd.roll(10));
            crowd.add(kind, start, delay);
        }
        crowd.run();
        let talking = crowd.tally(Kindred::Talking1x);
        assert_eq!(talking.large, talking.clients, "{seed}");
        crowd.tally(Kindred::Newer);
    }
}

#[test]
fn clients_of_1_x_alone_get_everything_also_if_they_are_silent() {
    for seed in 0..50 {
        let mut crowd = Crowd::new(seed, 0);
        for number in 0..20 {
            // One after the other.
            let (start, delay) = (3_000 * number + crowd.roll(1_000), 1 + crowd.roll(100));
            let kind = [Kindred::Talking1x, Kindred::Silent1x][crowd.roll(2) as usize];
            crowd.add(kind, start, delay);
        }
        crowd.run();
        for kind in [Kindred::Talking1x, Kindred::Silent1x] {
            let tally = crowd.tally(kind);
            assert_eq!(tally.large, tally.clients, "{seed} {kind:?}");
        }
    }
}
