//! Which versions meet, and what becomes of it: each client with each server in each situation.
//!
//! * `ours`: our client, set to one version or to find out.
//! * `by_hand`: clients after those of the references.
//! * `changes`: a server of one version takes the place of one of another.
//! * `frames`: what our client and each server say, to the byte.
//!
//! Run with `--nocapture`, the tables are printed.

mod by_hand;
mod changes;
mod frames;
mod ours;

use std::fmt;
use std::num::NonZeroU16;
use std::time::Duration;

use wwr::server::{Config, HubConfig, IdleConnections, Pings, Protocol};
use wwr_world::{Script, SocketId, Way, with};

const SERVERS: [Protocol; 5] =
    [Protocol::V1_4, Protocol::V1_5, Protocol::V2_0, Protocol::Any, Protocol::AnyAs1_5];

/// Longer than a 2.0 client waits in silence for accept-conf, so that this is what ends it.
const READ_TIMEOUT: Duration = Duration::from_secs(8);

/// Three read timeouts: more than any server bears from a peer that is gone.
const IDLE: Duration = Duration::from_secs(24);

const MINUTE: Duration = Duration::from_secs(60);

/// Several handlers may run, and silence is soon noticed. `wwr.1` has rows of its own.
fn settings(protocol: Protocol) -> Config {
    let mut config = Config::default();
    config.protocol = protocol;
    config.concurrency = NonZeroU16::MIN.saturating_add(3);
    config.pings = Some(Pings::new(READ_TIMEOUT, Duration::from_secs(1)));
    config.advertised.read_timeout = READ_TIMEOUT;
    config.wwr1 = false;
    config
}

/// A shutdown closes idle connections at once.
fn hub() -> HubConfig {
    with(HubConfig::default(), |hub| hub.idle_connections = IdleConnections::Close)
}

fn script(protocol: Protocol) -> Script {
    Script::new(settings(protocol), hub())
}

fn name(server: Protocol) -> &'static str {
    match server {
        Protocol::V1_4 => "1.4",
        Protocol::V1_5 => "1.5",
        Protocol::V2_0 => "2.0",
        Protocol::Any => "any",
        Protocol::AnyAs1_5 => "any, as 1.5",
        other => panic!("{other:?} is not in the table"),
    }
}

/// Says which cell it was, if a check in it fails.
struct Cell<'a> {
    situation: &'a str,
    client: &'a str,
    server: Protocol,
}

impl Drop for Cell<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { situation, client, server } = self;
            eprintln!("in the cell {situation}: client {client}, server {}", name(*server));
        }
    }
}

/// Fills a table and prints it.
fn table<C: fmt::Display, R: fmt::Display>(
    situation: &str,
    clients: impl IntoIterator<Item = C>,
    mut cell: impl FnMut(usize, usize) -> R,
) {
    let mut lines = format!("\n{situation:<24}");
    for server in SERVERS {
        lines += &format!("{:<22}", name(server));
    }
    for (row, client) in clients.into_iter().enumerate() {
        let client = client.to_string();
        lines += &format!("\n  {client:<22}");
        for (column, server) in SERVERS.into_iter().enumerate() {
            let _cell = Cell { situation, client: &client, server };
            lines += &format!("{:<22}", cell(row, column).to_string());
        }
    }
    println!("{lines}");
}

/// The types of the messages that go down a socket while `what` is done.
fn types_of(script: &mut Script, socket: SocketId, what: impl FnOnce(&mut Script)) -> Vec<u8> {
    let sent = script.frames(what);
    let down = sent.iter().filter(|sent| (sent.socket, sent.way) == (socket, Way::Down));
    down.map(|sent| sent.frame[0]).collect()
}

/// What goes down for a request to close the session.
const fn closing_types(told: bool) -> &'static [u8] {
    if told { &[0x16, 0xbf] } else { &[0xbf] }
}

const fn closing_text(told: bool) -> &'static str {
    if told { "16 bf" } else { "bf" }
}
