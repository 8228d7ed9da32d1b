//! Random walks: whatever happens, in whatever order, the contract holds.

use alloc::collections::BTreeMap;

use super::*;
use crate::Dialect;

const SEEDS: u64 = 4000;
const STEPS: usize = 200;
const MAX_QUEUED: usize = 60;
const MAX_PENDING: usize = 6;

/// A linear congruential generator; its upper bits are random enough to choose by.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What the host has, as far as its actions and reports tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    Nothing,
    Probing,
    Dialing,
    Open,
}

/// The host and the application around a client; checks what they see.
struct World {
    fixture: Fixture,
    dice: Dice,
    host: Host,
    connected: bool,
    /// No message has come on the socket yet.
    silent: bool,
    /// The message buffer that the server advertised on the socket, to a client that listens to it.
    advertised: Option<usize>,
    protocol: Protocol,
    open_requests: BTreeMap<RequestId, ()>,
    last_id: u64,
    sent: Vec<u64>,
    trace: Vec<Action>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let protocol = [Protocol::Auto, Protocol::V1_4, Protocol::V1_5, Protocol::V2_0]
            [usize::from(dice.chance(60)) * dice.below(4) as usize];
        let config = Config {
            protocol,
            skip_preflight: protocol != Protocol::Auto && dice.chance(20),
            reconnect: dice.chance(70),
            pings: if dice.chance(50) { pings(100 + dice.below(2000), 500) } else { None },
            max_queued_bytes: MAX_QUEUED,
            max_pending_requests: MAX_PENDING,
            resume_attempts: 2,
            ..Config::default()
        };
        let fixture = Fixture { client: client(config.clone(), seed), ..Fixture::new(config) };
        Self {
            fixture,
            dice,
            host: Host::Nothing,
            connected: false,
            silent: false,
            advertised: None,
            protocol,
            open_requests: BTreeMap::new(),
            last_id: 0,
            sent: Vec::new(),
            trace: Vec::new(),
        }
    }

    fn made(&mut self, made: Result<RequestId, Misuse>) {
        let Ok(id) = made else { return };
        let counter = id.identifier().counter();
        assert!(counter > self.last_id, "identifiers rise");
        self.last_id = counter;
        assert!(self.open_requests.insert(id, ()).is_none());
    }

    fn carry_out(&mut self) {
        for action in self.fixture.take() {
            self.trace.push(action.clone());
            match action {
                Action::Probe => {
                    assert_eq!(self.host, Host::Nothing);
                    self.host = Host::Probing;
                }
                Action::Dial => {
                    assert_eq!(self.host, Host::Nothing);
                    self.host = Host::Dialing;
                }
                Action::Send(frame) => {
                    assert_eq!(self.host, Host::Open, "nothing is sent without a socket");
                    let kind = frame[0];
                    let early = [0x20, 0x21].contains(&kind);
                    assert!(self.connected || early, "only the session comes before ready");
                    match self.fixture.client.dialect() {
                        Dialect::V1_4 => assert_ne!(kind, 0x21),
                        Dialect::V1_5 => {}
                        Dialect::V2_0 => assert!(frame.len() <= self.advertised.unwrap()),
                        Dialect::Wwr1 => panic!("nobody has agreed on it"),
                        Dialect::Unknown => panic!("sent before the version was settled"),
                    }
                    if !(63..=65).contains(&kind) && kind != 0x21 {
                        self.sent.push(u64::from_le_bytes(frame[1..9].try_into().unwrap()));
                    }
                }
                Action::Ping => assert_eq!(self.host, Host::Open),
                Action::Hangup => {
                    assert_ne!(self.host, Host::Nothing);
                    self.host = Host::Nothing;
                }
                Action::Done { id, .. } => {
                    assert!(
                        self.open_requests.remove(&id).is_some(),
                        "one outcome for each request"
                    );
                }
                Action::Event(Event::Connected) => {
                    assert!(!self.connected);
                    self.connected = true;
                }
                Action::Event(Event::Disconnected { .. }) => {
                    assert!(self.connected);
                    self.connected = false;
                }
                Action::Event(_) => {}
            }
        }
        let client = &self.fixture.client;
        assert_eq!(client.pending_requests(), self.open_requests.len());
        assert!(client.pending_requests() <= MAX_PENDING && client.queued_bytes() <= MAX_QUEUED);
        assert_eq!(client.status() == Status::Connected, self.connected);
        assert!(
            !self.connected || (client.dialect() == Dialect::V2_0) == self.advertised.is_some()
        );
        // Without a connection, in sight or at hand, nothing is left to wait for.
        let settled = matches!(client.status(), Status::Idle | Status::Closed);
        assert!(!settled || client.pending_requests() == 0 && client.next_timeout().is_none());
    }

    /// One call, by chance. Most fit the state, some do not.
    fn step(&mut self) {
        let fixture = &mut self.fixture;
        let dice = &mut self.dice;
        match dice.below(24) {
            0 => fixture.connect(),
            1 if dice.chance(10) => fixture.close(),
            2 | 3 => {
                let text = ["", "a", "bb", "a name of some length"][dice.below(4) as usize];
                let timeout = dice.chance(30).then(|| Duration::from_millis(dice.below(400)));
                let now = fixture.now;
                let made = fixture.client.request(
                    now,
                    name(text),
                    Payload::EMPTY,
                    timeout,
                    &mut fixture.out,
                );
                self.made(made);
            }
            4 => {
                let made = fixture.restore("KEY1");
                self.made(made);
            }
            5 => {
                let made = fixture.close_session();
                self.made(made);
            }
            6 => {
                let id = RequestId::from_identifier(Identifier::from_counter(
                    dice.below(self.last_id + 2),
                ));
                fixture.client.cancel(id, &mut fixture.out);
            }
            7 => {
                let text = ["x", "some thirty bytes, or even more"][dice.below(2) as usize];
                let sent = fixture.signal("s", &Payload::utf8(text));
                let unready = fixture.client.status() != Status::Connected;
                assert_eq!(sent == Err(Misuse::NotConnected), unready);
                let fits = self.advertised.is_none_or(|buffer| text.len() + 3 <= buffer);
                assert_eq!(sent.is_ok(), !unready && fits);
            }
            8 => fixture.pass(Duration::from_millis(dice.below(3000))),
            9 if fixture.client.next_timeout().is_some() => fixture.due(),
            10 => fixture.timeout(),
            11 if self.host != Host::Probing => fixture.dialing(),
            12 if self.host == Host::Open => {
                self.host = Host::Nothing;
                fixture.lost();
            }
            13..=17 => self.server(),
            18 if self.host != Host::Dialing => fixture.refused(503),
            _ => self.progress(),
        }
        self.carry_out();
    }

    /// The host gets further with what it is doing.
    fn progress(&mut self) {
        let (fixture, succeeds) = (&mut self.fixture, self.dice.chance(80));
        match (self.host, succeeds) {
            (Host::Nothing | Host::Open, _) => {}
            (Host::Probing, true) => {
                self.host = Host::Nothing;
                match self.dice.below(10) {
                    0..=4 => fixture.dialing(),
                    5 => fixture.probed(Ok(answer(200, r#"{"protocol-version":"1.5"}"#))),
                    6 => fixture.probed(Ok(answer(200, "{}"))),
                    _ => fixture.probed(Ok(answer(400, "Bad Request\n"))),
                }
            }
            (Host::Probing, false) => {
                self.host = Host::Nothing;
                match self.dice.chance(70) {
                    true => fixture.probed(Err(ProbeFailed)),
                    false => fixture.probed(Ok(answer(503, ""))),
                }
            }
            (Host::Dialing, true) => {
                self.host = Host::Open;
                (self.silent, self.advertised) = (true, None);
                fixture.opened();
            }
            (Host::Dialing, false) => {
                self.host = Host::Nothing;
                match self.dice.below(8) {
                    0 => fixture.refused(404),
                    1 => fixture.refused(503),
                    _ => fixture.lost(),
                }
            }
        }
    }

    /// The server advertises itself, if it has not said anything else; rarely in a way that does not
    /// suit.
    fn advertise(&mut self) {
        let dice = &mut self.dice;
        let major = if dice.chance(95) { 2 } else { 3 };
        let sub_protocol = if dice.chance(98) { &b""[..] } else { b"other" };
        let read_timeout = [0, 100, 3000, u32::MAX][dice.below(4) as usize];
        let buffer = [9, 20, 8192, u32::MAX][dice.below(4) as usize];
        let listens = matches!(self.protocol, Protocol::Auto | Protocol::V2_0);
        if self.host == Host::Open && listens && major == 2 && sub_protocol.is_empty() {
            self.advertised = Some(buffer as usize);
        }
        self.silent = false;
        self.fixture.receive(conf(major, read_timeout, buffer, sub_protocol));
    }

    /// The server sends something; mostly a reply to something that was sent.
    fn server(&mut self) {
        if self.silent && self.dice.chance(80) {
            return self.advertise();
        }
        let dice = &mut self.dice;
        let id = match self.sent.len() as u64 {
            0 => dice.below(3),
            sent if dice.chance(30) => self.sent[dice.below(sent) as usize],
            sent => self.sent[sent as usize - 1],
        };
        let message = match dice.below(14) {
            0..=4 => frame(0xc0, id, SESSION.as_bytes()),
            5 => frame(0xbf, id, b""),
            6 => frame(0, id, b"\x01C"),
            7 => frame(1 + dice.below(6) as u8, id, b""),
            8 => [b"\x15", SESSION.as_bytes()].concat().into(),
            9 => [b"\x15", other_session().0.as_bytes()].concat().into(),
            10 => Bytes::from_static(b"\x16"),
            11 => Bytes::from_static(b"\x3f\x01ax"),
            12 => frame(4, id, b""),
            _ => {
                let noise = (0..dice.below(14)).map(|_| dice.below(256) as u8);
                noise.collect::<Vec<_>>().into()
            }
        };
        self.silent &= self.host != Host::Open;
        self.fixture.receive(message);
    }
}

fn walk(seed: u64) -> World {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world
}

#[test]
fn the_contract_holds_on_any_walk() {
    let (mut restored, mut replies, mut lost, mut advertised, mut too_large) = (0, 0, 0, 0, 0);
    let (mut heartbeats, mut unsuitable) = (0, 0);
    for seed in 0..SEEDS {
        let mut world = walk(seed);
        for action in &world.trace {
            match action {
                Action::Event(Event::SessionRestored(_)) => restored += 1,
                Action::Event(Event::SessionLost(_)) => lost += 1,
                Action::Done { outcome: Ok(_), .. } => replies += 1,
                Action::Done { outcome: Err(RequestError::TooLarge { .. }), .. } => too_large += 1,
                Action::Send(frame) if frame[..] == *b"\x21" => heartbeats += 1,
                Action::Event(Event::ConnectFailed { error, .. }) if error.is_definite() => {
                    unsuitable += 1;
                }
                _ => {}
            }
        }
        advertised += u64::from(world.advertised.is_some());
        world.fixture.close();
        world.carry_out();
        assert!(world.open_requests.is_empty(), "seed {seed}: each request has its outcome");
    }
    // The walks go where it is interesting.
    for (what, count, least) in [
        ("restored", restored, SEEDS / 4),
        ("replies", replies, SEEDS),
        ("lost", lost, SEEDS / 40),
        ("advertised", advertised, SEEDS / 4),
        ("too large", too_large, SEEDS / 40),
        ("heartbeats", heartbeats, SEEDS),
        ("unsuitable", unsuitable, SEEDS / 4),
    ] {
        assert!(count > least, "{what}: {count}");
    }
}

#[test]
fn the_same_calls_and_seed_return_the_same_actions() {
    for seed in 0..50 {
        assert_eq!(walk(seed).trace, walk(seed).trace);
    }
    assert_ne!(walk(1).trace, walk(2).trace);
}
