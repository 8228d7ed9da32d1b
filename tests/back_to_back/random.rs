//! Worlds by chance: whatever the applications, the network, the store and the server do, what
//! `checks` says holds.

use std::num::{NonZeroU16, NonZeroUsize};
use std::time::Duration;

use wwr::SessionKey;
use wwr::client::{Config, Status};
use wwr::server::{Announcement, CloseReason, Pings, Protocol};
use wwr::session::RegistryConfig;

use crate::application::DEEDS;
use crate::dice::Dice;
use crate::fabric::{Conditions, Fabric, SocketId, Way};
use crate::reference::{Kind, Reference};
use crate::server::{Settings, State};
use crate::store::Habits;
use crate::world::World;

const SEEDS: u64 = 3000;

/// Names the seed of a world that is to be run alone, and shown.
const VARIABLE: &str = "WORLD_SEED";

const PROTOCOLS: [Protocol; 7] = [
    Protocol::Any,
    Protocol::Any,
    Protocol::Any,
    Protocol::AnyAs1_5,
    Protocol::V1_4,
    Protocol::V1_5,
    Protocol::V2_0,
];

const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// Longer than it takes a server to find out that a peer is gone, whatever it speaks: up to two
/// read timeouts after the last handler has ended, of those for the messages that wait.
const NOTICED: Duration = Duration::from_secs(30);

/// Longer than it takes to connect, to resume a session and to have all requests answered.
const SETTLED: Duration = Duration::from_secs(10);

/// Says how to repeat a run that fails.
struct Repeat(u64);

impl Drop for Repeat {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "to repeat it: {VARIABLE}={} cargo test -p wwr --test back_to_back random -- \
                 --nocapture",
                self.0
            );
        }
    }
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn settings(dice: &mut Dice) -> Settings {
    let pings = Pings::new(millis(600), millis(300)).expect("times long enough");
    let announced = Announcement::default()
        .read_timeout(READ_TIMEOUT)
        .and_then(|announced| announced.message_buffer(dice.choose(&[8192, 8192, 8192, 300, 100])))
        .expect("values that can be announced");
    let connection = wwr::server::Config {
        protocol: dice.choose(&PROTOCOLS),
        announced,
        pings: Some(pings),
        strict: dice.chance(30),
        concurrency: dice.choose(&[NonZeroU16::MIN, NonZeroU16::MIN.saturating_add(3)]),
        max_waiting_messages: NonZeroU16::MIN.saturating_add(dice.below(3) as u16),
        drain_timeout: millis(500),
        ..Default::default()
    };
    let max_connections = NonZeroUsize::new(dice.choose(&[0, 1, 1, 2]));
    let registry = RegistryConfig { max_connections, durable: dice.chance(30) };
    let slowness = dice.choose(&[millis(0), millis(20), millis(3000)]);
    let failures = dice.choose(&[0, 0, 10, 50]);
    Settings { connection, registry, habits: Habits { slowness, failures, varies: true } }
}

fn config(dice: &mut Dice) -> Config {
    use wwr::client::Protocol::{Auto, V1_4, V1_5, V2_0};
    Config::builder()
        .protocol(dice.choose(&[Auto, Auto, Auto, Auto, Auto, V1_4, V1_5, V2_0]))
        .reconnect(dice.chance(80))
        .request_timeout(millis(2000))
        .probe_timeout(millis(300))
        .dial_timeout(millis(300))
        .backoff(millis(10), millis(400))
        .max_pending_requests(8)
        .max_queued_bytes(dice.choose(&[100, 20_000]))
        .resume_attempts(2)
        .resume_timeout(millis(400))
        .build()
        .expect("settings within their ranges")
}

impl Reference {
    /// What a client made by hand does.
    fn act(&mut self, dice: &mut Dice, fabric: &mut Fabric) {
        match dice.below(8) {
            0..=3 if self.is_ready() => self.request(dice.choose(&DEEDS).0, fabric),
            4 if self.is_ready() => self.signal(fabric),
            5 if self.is_ready() => self.close_session(fabric),
            6 if self.socket().is_none() => self.connect(fabric),
            _ => self.close(fabric),
        }
    }
}

struct Life {
    world: World,
    dice: Dice,
}

impl Life {
    fn new(seed: u64, shown: bool) -> Self {
        let mut dice = Dice::new(seed);
        let conditions = Conditions { latency: millis(1 + dice.below(40)), jitter: millis(30) };
        let mut world = World::new(seed, conditions, settings(&mut dice));
        world.fabric.trace.shown = shown;
        for _ in 0..2 + dice.below(4) {
            let client = world.client(config(&mut dice));
            world.connect(client);
        }
        if dice.chance(10) {
            world.reference(dice.choose(&[Kind::Plain, Kind::Strict, Kind::Storm]));
        }
        Self { world, dice }
    }

    /// What some client does. Refusals are part of it.
    fn client(&mut self) {
        let (world, dice) = (&mut self.world, &mut self.dice);
        if let Some(guest) = world.references.first_mut()
            && dice.chance(25)
        {
            return guest.act(dice, &mut world.fabric);
        }
        let client = dice.below(world.clients.len() as u64) as usize;
        let (node, fabric) = (&mut world.clients[client], &mut world.fabric);
        match dice.below(20) {
            0..=8 => {
                let (name, _, _) = dice.choose(&DEEDS);
                let timeout = dice.chance(20).then(|| millis(dice.below(200)));
                let _ = node.request(name, timeout, fabric);
            }
            9 | 10 => {
                let _ = node.request("login", None, fabric);
            }
            11 | 12 => {
                let _ = node.signal(fabric);
            }
            13 | 14 => {
                let known = world.server.keys.len() as u64;
                let key = match dice.below(known + 1) {
                    0 if dice.chance(50) => SessionKey::from_entropy([255; SessionKey::ENTROPY]),
                    _ if known > 0 && dice.chance(50) => {
                        world.server.keys[known as usize - 1].clone()
                    }
                    0 => SessionKey::from_entropy([255; SessionKey::ENTROPY]),
                    number => world.server.keys[number as usize - 1].clone(),
                };
                let _ = node.restore(&key, fabric);
            }
            15 => {
                let _ = node.close_session(fabric);
            }
            16 => {
                let open = node.open_calls();
                if !open.is_empty() {
                    node.cancel(dice.choose(&open), fabric);
                }
            }
            17 => node.close(fabric),
            _ => node.connect(fabric),
        }
    }

    /// What goes wrong, or what an operator does.
    fn fate(&mut self) {
        let (world, dice) = (&mut self.world, &mut self.dice);
        let sockets = world.fabric.sockets();
        let fabric = &mut world.fabric;
        match dice.below(20) {
            0..=4 if !sockets.is_empty() => fabric.cut(dice.choose(&sockets)),
            5 | 6 if !sockets.is_empty() => {
                let (socket, ways) = (dice.choose(&sockets), [Way::Up, Way::Down]);
                let silent = if dice.chance(50) { &ways[..] } else { &ways[1..] };
                silent.iter().for_each(|way| fabric.silence(socket, *way));
            }
            7 | 8 => fabric.cut_silent(),
            9 if !sockets.is_empty() => world.server.close(dice.choose(&sockets), fabric),
            10 | 11 if !world.server.keys.is_empty() => {
                let key = dice.choose(&(0..world.server.keys.len()).collect::<Vec<_>>());
                let key = world.server.keys[key].clone();
                world.server.close_key(&key, dice.chance(50), fabric);
            }
            12 if dice.chance(70) => world.server.shut_down(millis(dice.below(600)), fabric),
            13 => world.server.crash(fabric),
            14 => world.server.give_way(fabric),
            15 => world.server.replace(dice.choose(&PROTOCOLS), fabric),
            _ => world.server.start(),
        }
    }

    fn live(mut self) -> World {
        let steps = 20 + self.dice.below(60);
        for _ in 0..steps {
            if self.dice.chance(80) {
                self.client()
            } else {
                self.fate()
            }
            let most = self.dice.choose(&[0, 5, 50, 300]);
            self.world.run_for(self.dice.up_to(millis(most)));
        }
        // A storm of heartbeats would take all day from here on.
        for guest in &mut self.world.references {
            guest.close(&mut self.world.fabric);
        }
        // All is well again, and comes to rest.
        self.world.server.start();
        self.world.server.store.habits.failures = 0;
        self.world.check_that_silence_is_noticed();
        self.world.fabric.cut_silent();
        self.world.settle();
        self.world.check_that_health_lasts();
        self.world
    }
}

impl World {
    /// Runs until all is at rest, or only clients are left that find no server for them.
    fn settle(&mut self) {
        self.run_for(SETTLED);
        for client in 0..self.clients.len() {
            if self.clients[client].machine.status() != Status::Connected {
                self.close(client);
            }
        }
        self.run();
    }

    /// A peer that is gone without a word is given up, and so is its place in its session, unless a
    /// handler of it still runs.
    fn check_that_silence_is_noticed(&mut self) {
        let silent = |socket: &SocketId| !self.fabric.carries(*socket, Way::Up);
        let gone: Vec<_> = self.server.connections.keys().copied().filter(silent).collect();
        self.run_for(NOTICED);
        for socket in gone {
            if let Some(served) = self.server.connections.get(&socket) {
                assert!(served.machine.running_handlers() > 0, "{socket} was not noticed");
                continue;
            }
            for key in &self.server.keys {
                let mut holders = self.server.registry.connections(key);
                assert!(holders.all(|holder| holder.0 != socket), "{socket} holds a session");
            }
        }
    }

    /// Idle peers stay connected, each on the socket that it has.
    fn check_that_health_lasts(&mut self) {
        let sockets = |world: &Self| -> Vec<_> {
            let connected = world.clients.iter().filter(|client| client.is_connected());
            connected.map(|client| client.socket()).collect()
        };
        let before = sockets(self);
        let closed = self.server.closed.len();
        self.run_for(4 * READ_TIMEOUT);
        assert_eq!(sockets(self), before);
        assert_eq!(self.server.closed.len(), closed, "{:?}", self.server.closed);
    }
}

fn life(seed: u64, shown: bool) -> World {
    let _repeat = Repeat(seed);
    let mut world = Life::new(seed, shown).live();
    world.check_at_rest();
    world.finish();
    world
}

fn chosen() -> Option<u64> {
    std::env::var(VARIABLE).ok().map(|seed| seed.parse().expect("a number as the seed"))
}

#[test]
fn the_contract_holds_in_random_worlds() {
    if let Some(seed) = chosen() {
        life(seed, true);
        return;
    }
    let mut seen = Seen::default();
    for seed in 0..SEEDS {
        seen.look_at(&life(seed, false));
    }
    seen.check();
}

#[test]
fn the_same_random_world_is_the_same_bit_for_bit() {
    let fingerprint = |seed| life(seed, false).fabric.trace.fingerprint();
    for seed in 0..50 {
        assert_eq!(fingerprint(seed), fingerprint(seed), "seed {seed}");
    }
    assert_ne!(fingerprint(1), fingerprint(2));
}

/// What the worlds came across: each has to be seen often, or the worlds are too dull.
#[derive(Debug, Default)]
struct Seen {
    counts: std::collections::BTreeMap<String, u64>,
}

impl Seen {
    fn count(&mut self, what: &str) {
        *self.counts.entry(what.into()).or_default() += 1;
    }

    fn look_at(&mut self, world: &World) {
        for node in &world.clients {
            for outcome in node.outcomes.values() {
                let what =
                    outcome.as_ref().map_or_else(|error| format!("{error:?}"), |_| "ok".into());
                let name = what.split("(").next().unwrap_or_default();
                self.count(if name.starts_with("TooLarge") { "TooLarge" } else { name });
            }
            for event in &node.told {
                let what = format!("{event:?}");
                self.count(what.split(['(', ' ']).next().unwrap_or_default());
            }
        }
        for (_, reason) in &world.server.closed {
            self.count(&format!("{reason:?}"));
            let strict = [CloseReason::Text, CloseReason::Unreadable, CloseReason::TooLarge];
            assert!(!strict.contains(reason) || !world.references.is_empty(), "{reason:?}");
        }
        for (what, count) in [("ping", world.server.pings), ("too large", world.server.too_large)] {
            if count > 0 {
                self.count(what);
            }
        }
        assert_eq!(world.server.state, State::Up);
        assert!(!world.server.has_unread());
    }

    fn check(&self) {
        for what in [
            "ok",
            "Failed",
            "Internal",
            "ServerShutdown",
            "SessionNotFound",
            "MaxSessionConnections",
            "Protocol",
            "TimedOut { sent: true }",
            "TimedOut { sent: false }",
            "Cancelled",
            "NotSent",
            "ConnectionLost",
            "SessionCreated",
            "SessionRestored",
            "SessionClosed",
            "SessionLost",
            "Disconnected",
            "ConnectFailed",
            "Requested",
            "Shutdown",
            "Silent",
            "ping",
            "too large",
            "TooLarge",
        ] {
            let count = self.counts.get(what).copied().unwrap_or_default();
            assert!(count >= SEEDS / 50, "{what} was seen {count} times: {:#?}", self.counts);
        }
    }
}
