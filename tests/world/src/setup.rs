//! What a world is like: drawn once, before anything happens.

use std::num::{NonZeroU16, NonZeroUsize};
use std::time::Duration;

use wwr::client::{self, Config};
use wwr::server::{Expiry, HubConfig, IdleConnections, Pings, Protocol, Sessions};

use crate::client::REQUEST_TIMEOUT;
use crate::client::Settings as ClientSettings;
use crate::dice::Dice;
use crate::event::millis;
use crate::network::Conditions;
use crate::server::Settings;
use crate::store::{Habits, Style};

/// Versions of servers, the usual one more often.
pub(crate) const PROTOCOLS: [Protocol; 7] = [
    Protocol::Any,
    Protocol::Any,
    Protocol::Any,
    Protocol::AnyAs1_5,
    Protocol::V1_4,
    Protocol::V1_5,
    Protocol::V2_0,
];

/// The read timeout that servers advertise, as a rule.
pub(crate) const READ_TIMEOUT: Duration = millis(2000);

/// The shortest that any advertises.
pub(crate) const SHORT_READ_TIMEOUT: Duration = millis(1000);

/// Clients do not come back by themselves after a close frame of this code.
pub(crate) const FINAL_CODE: u16 = 4003;

/// The shortest and the longest pause of a client that tries to connect.
pub(crate) const BACKOFF: (Duration, Duration) = (millis(10), millis(400));

/// How long a connection lasts until its loss counts as the first again.
pub(crate) const BACKOFF_RESET_AFTER: Duration = millis(700);

/// When clients ping their servers, and how long the answer may take: longer than a server that
/// leaves a socket unread takes to show that it is there.
const PINGS: (Duration, Duration) = (millis(700), millis(900));

/// How long a request takes at most if neither it nor the settings of the client say so.
const USUAL_REQUEST_TIMEOUT: Duration = millis(60_000);

/// How long clients wait for each step of connecting, and how often they ask for a session.
pub(crate) const STEP_TIMEOUT: Duration = millis(300);
pub(crate) const RESUME_TIMEOUT: Duration = millis(400);
pub(crate) const RESUME_ATTEMPTS: u32 = 2;

/// What only some worlds have. It is drawn aside: a world without any of it is not changed by it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extras {
    /// Timers of hosts come late at times.
    pub(crate) late_timers: bool,
    /// Each server advertises what it likes, and something else after a restart.
    pub(crate) reconfigures: bool,
    /// How many identifiers each client has used up before.
    pub(crate) used_identifiers: u64,
    /// How many peers do no more than they have to.
    pub(crate) modest: usize,
    /// The longest time after which servers want clients back that they refuse, if they say so.
    pub(crate) retry_after: Option<Duration>,
    /// The settings of the hubs, without those of sessions.
    pub(crate) hub: HubConfig,
    /// The store takes as long as it may, so that rounds of expiry take long.
    pub(crate) is_slow_store: bool,
    /// The most that a handshake takes after it was admitted.
    pub(crate) handshake: Duration,
    /// The most that it takes until nothing is left of a connection that is over.
    pub(crate) linger: Duration,
}

/// So many connections are more than come in any world.
pub(crate) const ENOUGH: usize = 1000;

impl Extras {
    fn draw(aside: &mut Dice) -> Self {
        let rarely = |aside: &mut Dice, percent| aside.chance(percent);
        Self {
            late_timers: rarely(aside, 15),
            reconfigures: rarely(aside, 15),
            used_identifiers: if rarely(aside, 5) { aside.choose(&[240, 65_520]) } else { 0 },
            modest: if rarely(aside, 15) { aside.choose(&[1, 2]) } else { 0 },
            retry_after: rarely(aside, 30).then(|| aside.choose(&[millis(50), millis(2000)])),
            hub: hub(aside),
            is_slow_store: rarely(aside, 15),
            handshake: aside.choose(&[Duration::ZERO, Duration::ZERO, millis(30)]),
            linger: aside.choose(&[Duration::ZERO, millis(30), millis(1500)]),
        }
    }
}

/// What a world is made of.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) conditions: Conditions,
    pub(crate) habits: Habits,
    pub(crate) style: Style,
    pub(crate) servers: Vec<Settings>,
    pub(crate) clients: Vec<ClientSettings>,
    pub(crate) adversaries: usize,
    pub(crate) durable: bool,
    /// How often something happens.
    pub(crate) steps: u64,
    /// How much of that goes wrong, of a hundred.
    pub(crate) faults: u64,
    pub(crate) extras: Extras,
    /// Servers that have stopped start again by themselves.
    pub(crate) restarts: bool,
}

impl Setup {
    pub(crate) fn draw(dice: &mut Dice, aside: &mut Dice) -> Self {
        let conditions = Conditions {
            latency: millis(1 + dice.below(40)),
            jitter: dice.choose(&[millis(0), millis(5), millis(30)]),
            per_kib: dice.choose(&[Duration::ZERO, Duration::ZERO, millis(4)]),
        };
        let mut habits = Habits {
            slowness: dice.choose(&[Duration::ZERO, millis(20), millis(20), millis(1500)]),
            failures: dice.choose(&[0, 0, 0, 10, 50]),
            lost_answers: dice.choose(&[0, 0, 10]),
            silences: dice.choose(&[0, 0, 0, 10]),
        };
        let count = dice.choose(&[1, 1, 2, 3]);
        let style = match count {
            1 => dice.choose(&[Style::ReadThenWrite, Style::Atomic]),
            _ => Style::Atomic,
        };
        let durable = dice.chance(40);
        let first = server(dice, durable);
        let is_mixed = dice.chance(25);
        let servers = (0..count).map(|_| {
            let mut settings = first.clone();
            if is_mixed {
                settings.connection.protocol = dice.choose(&PROTOCOLS);
            }
            settings
        });
        let mut servers: Vec<_> = servers.collect();
        let ignores_pings = aside.chance(30);
        servers.iter_mut().for_each(|server| server.ignores_pings = ignores_pings);
        let extras = Extras::draw(aside);
        servers.iter_mut().for_each(|server| server.retry_after = extras.retry_after);
        let hub = extras.hub;
        if extras.is_slow_store {
            habits.slowness = hub.store_timeout / 2;
        }
        servers.iter_mut().for_each(|server| {
            let sessions = std::mem::replace(&mut server.hub, hub).sessions;
            server.hub.sessions = sessions;
            (server.handshake, server.linger) = (extras.handshake, extras.linger);
        });
        if extras.reconfigures {
            servers.iter_mut().for_each(|server| reconfigure(server, aside));
        }
        let clients = (0..2 + dice.below(4)).map(|_| client(dice, aside)).collect();
        let adversaries = dice.choose(&[0, 0, 0, 1, 2]);
        let steps = 15 + dice.below(60);
        let faults = dice.choose(&[5, 20, 20, 40]);
        Self {
            conditions,
            habits,
            style,
            servers,
            clients,
            adversaries,
            durable,
            steps,
            faults,
            extras,
            restarts: true,
        }
    }
}

/// What a script begins with.
impl Setup {
    /// One server, and nothing that goes wrong by itself.
    pub(crate) fn scripted(
        connection: wwr::server::Config,
        hub: HubConfig,
        conditions: Conditions,
        habits: Habits,
    ) -> Self {
        let extras = Extras {
            late_timers: false,
            reconfigures: false,
            used_identifiers: 0,
            modest: 0,
            retry_after: None,
            hub,
            is_slow_store: false,
            handshake: Duration::ZERO,
            linger: Duration::ZERO,
        };
        let server = Settings {
            connection,
            hub,
            handshake: extras.handshake,
            linger: extras.linger,
            inbox_delay: Duration::ZERO,
            one_address: false,
            retry_after: None,
            ignores_pings: false,
        };
        Self {
            conditions,
            habits,
            style: Style::Atomic,
            servers: vec![server],
            clients: Vec::new(),
            adversaries: 0,
            durable: hub.sessions.durable,
            steps: 0,
            faults: 0,
            extras,
            restarts: false,
        }
    }
}

impl Setup {
    /// Whether a server may take a peer for gone that is not, because it cannot know what the peer
    /// speaks, or because the network is too slow for its timeout.
    pub(crate) fn is_deceptive(&self) -> bool {
        let is_slow = !self.conditions.per_kib.is_zero();
        is_slow || self.servers.len() > 1 || self.servers.iter().any(|server| server.one_address)
    }
}

/// Lets a server without connections advertise something else.
pub(crate) fn reconfigure(server: &mut Settings, aside: &mut Dice) {
    let read_timeout = aside.choose(&[READ_TIMEOUT, SHORT_READ_TIMEOUT]);
    server.connection.advertised.read_timeout = read_timeout;
    server.connection.advertised.message_buffer = aside.choose(&[8192, 300, 100]);
}

fn server(dice: &mut Dice, durable: bool) -> Settings {
    let mut connection = wwr::server::Config::default();
    connection.advertised.read_timeout = READ_TIMEOUT;
    connection.advertised.message_buffer = dice.choose(&[8192, 8192, 8192, 300, 100]);
    connection.protocol = dice.choose(&PROTOCOLS);
    connection.sessions =
        if dice.chance(3) { Sessions::Disabled } else { Sessions::Enabled(Default::default()) };
    connection.pings = Some(Pings::new(millis(600), millis(300)));
    connection.strict = dice.chance(30);
    connection.concurrency = dice.choose(&[NonZeroU16::MIN, NonZeroU16::MIN.saturating_add(3)]);
    connection.max_queued_messages = NonZeroU16::MIN.saturating_add(dice.below(4) as u16);
    connection.max_queued_bytes = dice.choose(&[64, 65_536]);
    connection.max_ignored_in_a_row =
        dice.choose(&[5, 1000]).try_into().unwrap_or(std::num::NonZeroU32::MIN);
    connection.drain_timeout = millis(500);
    let mut hub = HubConfig::default();
    hub.sessions.max_connections = NonZeroUsize::new(dice.choose(&[0, 1, 1, 2]));
    hub.sessions.durable = durable;
    Settings {
        connection,
        hub,
        handshake: Duration::ZERO,
        linger: Duration::ZERO,
        inbox_delay: dice.choose(&[Duration::ZERO, Duration::ZERO, millis(8)]),
        one_address: dice.chance(15),
        retry_after: None,
        ignores_pings: false,
    }
}

fn hub(aside: &mut Dice) -> HubConfig {
    let store_timeout = aside.choose(&[millis(6000), millis(1000)]);
    // A session is looked up in time only if the store does not take half of this time.
    let unused_for = 2 * store_timeout + aside.choose(&[millis(500), millis(4000)]);
    let expiry = Expiry::new(unused_for, millis(1000));
    let mut hub = HubConfig::default();
    hub.max_connections = if aside.chance(15) { aside.choose(&[1, 2, 3]) } else { ENOUGH };
    hub.store_timeout = store_timeout;
    hub.expiry = aside.chance(40).then_some(expiry);
    hub.idle_connections = aside.choose(&[IdleConnections::Stay, IdleConnections::Close]);
    hub.abort_after = aside.choose(&[Duration::ZERO, millis(50), millis(400)]);
    hub.max_groups = aside.choose(&[1, 2, 256]);
    hub
}

fn client(dice: &mut Dice, aside: &mut Dice) -> ClientSettings {
    use client::Protocol::{Auto, V1_4, V1_5, V2_0};
    let protocol = dice.choose(&[Auto, Auto, Auto, Auto, Auto, V1_4, V1_5, V2_0]);
    let (max_pending, max_queued_bytes) = (12, dice.choose(&[100, 20_000]));
    let reconnect = dice.chance(85);
    let pings = aside.chance(80).then(|| Pings::new(PINGS.0, PINGS.1));
    let mut config = reconnecting();
    config.protocol = protocol;
    config.reconnect = reconnect;
    config.request_timeout = REQUEST_TIMEOUT;
    config.probe_timeout = STEP_TIMEOUT;
    config.dial_timeout = STEP_TIMEOUT;
    config.pings = pings;
    config.max_pending_requests = max_pending;
    config.max_queued_bytes = max_queued_bytes;
    config.resume_attempts = RESUME_ATTEMPTS;
    config.resume_timeout = RESUME_TIMEOUT;
    config.wwr1 = aside.chance(40);
    let is_versatile = reconnect && protocol == Auto;
    ClientSettings {
        config,
        max_pending,
        max_queued_bytes,
        request_timeout: REQUEST_TIMEOUT,
        backoff: Some(BACKOFF),
        pings,
        is_versatile,
        hurries: true,
    }
}

/// What clients have in common.
fn reconnecting() -> Config {
    let mut config = Config::default();
    (config.initial_backoff, config.max_backoff) = BACKOFF;
    config.backoff_reset_after = BACKOFF_RESET_AFTER;
    config.final_close_codes = vec![FINAL_CODE];
    config
}

/// A client that finds its way to every server.
pub(crate) fn versatile() -> ClientSettings {
    let mut config = reconnecting();
    config.wwr1 = false;
    ClientSettings {
        pings: config.pings,
        config,
        max_pending: 65_536,
        max_queued_bytes: 1 << 20,
        request_timeout: USUAL_REQUEST_TIMEOUT,
        backoff: Some(BACKOFF),
        is_versatile: true,
        hurries: false,
    }
}

/// A client of a script. The settings are those of the script, so nothing but what holds for all of
/// them is checked from outside.
pub(crate) fn scripted_client(config: Config) -> ClientSettings {
    ClientSettings {
        pings: config.pings,
        config,
        max_pending: usize::MAX,
        max_queued_bytes: usize::MAX,
        request_timeout: USUAL_REQUEST_TIMEOUT,
        backoff: None,
        is_versatile: false,
        hurries: false,
    }
}
