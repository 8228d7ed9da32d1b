//! Recorded conversations between the reference's client and server, protocol 1.4, with our server
//! in place of theirs: given the same messages and the same application, it sends the same
//! messages, except where [`DIFFERENCES`] says otherwise.
//!
//! Session objects are compared as JSON, without their times. Numbers in them are compared as
//! floating point, which is what the reference makes of them.

mod support;

use core::num::NonZeroUsize;
use std::collections::BTreeSet;

use data_encoding::HEXLOWER;
use serde_json::Value;
use wwr::server::{CloseReason, Config, Sessions};
use wwr::session::RegistryConfig;
use wwr::{Dialect, KeyFormat, Name, Payload, SessionInfo, SessionKey};

use support::host::{Host, Sent};
use support::transcript::{Direction, Event, Transcript};

/// Scenarios that have nothing for this test, and why.
const NOT_REPLAYED: &[(&str, &str)] =
    &[("http-endpoint", "there is no WebSocket"), ("connect-refused", "there is no WebSocket")];

/// Something the reference did and ours does differently.
struct Difference {
    scenario: &'static str,
    /// What was recorded, as [`Replay`] words it; or how it begins, if it ends in `..`.
    recorded: &'static str,
    /// What ours does instead.
    ours: &'static [&'static str],
    why: &'static str,
}

const fn differs(
    scenario: &'static str,
    recorded: &'static str,
    ours: &'static [&'static str],
    why: &'static str,
) -> Difference {
    Difference { scenario, recorded, ours, why }
}

const INTERNAL_ERROR: &[&str] = &["1: 020100000000000000"];
const COMPOSED: &str = "Q14-16: what cannot be composed is an internal error of its request";
const OWN_CLOSE: &str = "closing by key destroys the session and tells each connection";
const KEY_FORMAT: &str = "Q14-08: only keys the generator could have made reach the store";
const NO_PAYLOAD: &str = "Q14-27: signals that no client reads are refused where they are sent";
const SHUT_DOWN: &str = "shutting down closes the connections, the idle ones at once";

const DIFFERENCES: &[Difference] = &[
    differs("odd-utf16-reply", "1: closed", INTERNAL_ERROR, COMPOSED),
    differs("error-reply-empty-code", "1: closed", INTERNAL_ERROR, COMPOSED),
    differs("error-reply-long-code", "1: closed", INTERNAL_ERROR, COMPOSED),
    differs("error-reply-non-ascii-code", "1: closed", INTERNAL_ERROR, COMPOSED),
    differs(
        "handler-panic",
        "1: closed",
        INTERNAL_ERROR,
        "Q14-04: a handler that panics fails its request and nothing else",
    ),
    differs("signals-without-payload", "1: 40046e6f7465", &[], NO_PAYLOAD),
    differs("signals-without-payload", "1: 41036f646400", &[], NO_PAYLOAD),
    differs("signals-without-payload", "1: 3f00", &[], NO_PAYLOAD),
    differs(
        "session-create-generic-info",
        r#"1: 15 {"i":{"":null,"b":2.0},"k":"session-key-0002"}"#,
        &[r#"1: 15 {"i":{"a":1.0,"b":2.0,"c":3.0},"k":"session-key-0002"}"#],
        "Q14-20: the info is complete",
    ),
    differs(
        "session-restore-lookup-error",
        "1: closed",
        &[],
        "Q14-04: the connection survives an error of the store",
    ),
    differs("session-restore-odd-keys", r#"OnSessionLookup("\x00\x00").."#, &[], KEY_FORMAT),
    differs("session-restore-odd-keys", r#"OnSessionLookup("kkkkkk.."#, &[], KEY_FORMAT),
    differs("session-restore-odd-keys", r#"OnSessionLookup("\xff\xfe").."#, &[], KEY_FORMAT),
    differs(
        "session-restore-over-active",
        r#"1: c00200000000000000 {"i":{"second":true},"k":"session-key-0002"}"#,
        &["1: 060200000000000000"],
        "Q14-05: a session is not replaced by restoring another",
    ),
    differs(
        "session-restore-over-active",
        r#"OnSessionLookup("session-key-0002"): found"#,
        &[],
        "Q14-05: a session is not replaced by restoring another",
    ),
    differs(
        "session-restore-over-active",
        "1: c0030000000000000073657373696f6e2d6b65792d30303032",
        &["1: c0030000000000000073657373696f6e2d6b65792d30303031"],
        "Q14-05: the connection still has its first session",
    ),
    differs(
        "session-restore-over-active",
        "SessionConnectionsNum first 1, second 2",
        &["SessionConnectionsNum first 1, second 1"],
        "Q14-05: nothing leaks",
    ),
    differs(
        "session-restore-over-active",
        "SessionConnectionsNum first 1, second 1",
        &["SessionConnectionsNum first 0, second 1"],
        "Q14-05: nothing leaks",
    ),
    differs("session-close-by-key", "1: closed", &["1: 16", "1: closed, SessionClosed"], OWN_CLOSE),
    differs("session-close-by-key", "2: closed", &["2: 16", "2: closed, SessionClosed"], OWN_CLOSE),
    differs(
        "session-close-by-key",
        "CloseSession of the same key again returned -1",
        &["CloseSession of the same key again returned 0"],
        "no connection was told, whether the session is unknown or unused",
    ),
    differs(
        "session-close-by-key-3",
        "1: closed",
        &["1: 16", "1: closed, SessionClosed"],
        OWN_CLOSE,
    ),
    differs(
        "session-close-by-key-3",
        "3: closed",
        &["3: 16", "3: closed, SessionClosed"],
        OWN_CLOSE,
    ),
    differs(
        "session-close-by-key-3",
        r#"OnRequest(name "whoami")"#,
        &[],
        "Q14-03: no connection is forgotten",
    ),
    differs(
        "session-close-by-key-3",
        "2: c0020000000000000073657373696f6e2d6b65792d30303031",
        &["2: 16", "2: closed, SessionClosed"],
        "Q14-03: no connection is forgotten",
    ),
    differs("shutdown", "2: 010100000000000000", &["2: closed, Shutdown"], SHUT_DOWN),
    differs("shutdown", "2: 010200000000000000", &[], SHUT_DOWN),
    differs("shutdown", "1: 010200000000000000", &["1: closed, Shutdown"], SHUT_DOWN),
];

/// Events of the server's application that say nothing about the machines, or that another event
/// says too.
const PASSED_OVER: &[&str] = &[
    "BeforeUpgrade ",
    "CreateSession failed ",
    "OnClientConnected",
    "OnClientDisconnected",
    "OnOptions",
    "Shutdown returned",
    "Signal(",
    "handler calls ",
    "handler of ",
    "handler panics",
];

/// A scenario being replayed.
struct Replay<'a> {
    transcript: &'a Transcript,
    host: Host,
    keys: Vec<SessionKey>,
    /// Of the [`DIFFERENCES`], those that were met.
    met: BTreeSet<usize>,
}

impl<'a> Replay<'a> {
    fn new(transcript: &'a Transcript) -> Self {
        let options = &transcript.server_options;
        let generated = options.session_keys.contains("default generator");
        let keys = if generated { recorded_keys(transcript) } else { numbered_keys() };
        let sessions = match (&*options.sessions, generated) {
            ("disabled", _) => Sessions::Disabled,
            (_, true) => Sessions::Enabled(KeyFormat::Generated),
            (_, false) => Sessions::Enabled(KeyFormat::Custom(|key| {
                key.len() <= 64 && key.bytes().all(|byte| byte.is_ascii_graphic())
            })),
        };
        let max_connections = NonZeroUsize::new(options.max_session_connections);
        let registry = RegistryConfig { max_connections, durable: false };
        let config = Config { sessions, ..Config::default() };
        let mut host = Host::new(config, registry, keys.clone());
        host.store.fails = transcript.scenario == "session-restore-lookup-error";
        Self { transcript, host, keys, met: BTreeSet::new() }
    }

    /// Plays all events; gives which of the [`DIFFERENCES`] were met.
    fn run(mut self) -> BTreeSet<usize> {
        let events = &self.transcript.events;
        for (at, event) in events.iter().enumerate() {
            self.step(event, &events[at..]);
        }
        for id in self.host.ids() {
            let more = self.host.next_sent(id);
            assert!(more.is_none(), "{id}: more was sent: {more:?}");
        }
        if self.transcript.server_options.session_manager == "in memory" {
            assert!(self.host.told.is_empty(), "more happened: {:?}", self.host.told);
        }
        for id in self.host.ids() {
            self.host.disconnect(id);
        }
        assert!(self.host.registry.is_idle());
        self.met
    }

    fn step(&mut self, event: &Event, rest: &[Event]) {
        match event {
            Event::Http { direction: Direction::FromClient, connection: Some(id), .. } => {
                if upgraded(*id, rest) {
                    self.host.accept(*id, Dialect::V1_4);
                    self.on_connect(*id);
                }
            }
            Event::Message { direction: Direction::FromClient, connection, frame } => {
                self.host.receive(*connection, frame.clone());
            }
            Event::Message { direction: Direction::FromServer, connection, frame } => {
                self.sent(*connection, &words(frame));
            }
            Event::Closed { by: Some(Direction::FromServer), connection } => {
                // There the client's close frame ended it, and the server only lets go of TCP.
                if self.transcript.scenario != "close-frame" {
                    self.sent(*connection, "closed");
                }
            }
            Event::Closed { connection, .. } => self.host.disconnect(*connection),
            Event::Control { direction: Direction::FromClient, connection, kind } => {
                if kind == "close" {
                    self.host.disconnect(*connection);
                }
            }
            Event::Application(text) => {
                if let Some(text) = text.strip_prefix("server: ") {
                    self.application(text);
                }
            }
            // HTTP, and control frames of the server, are the adapter's.
            Event::Http { .. } | Event::Control { .. } | Event::Injected => {}
        }
    }

    /// What the application does when a client connects.
    fn on_connect(&mut self, id: u64) {
        match &*self.transcript.scenario {
            "signal-on-connect" => {
                let name = Name::from_static("welcome").expect("printable");
                self.host.signal(id, &name, &Payload::utf8_static("welcome"));
            }
            "session-create-on-connect" => {
                self.host.create_session(id, SessionInfo::new().public("guest", true));
            }
            _ => {}
        }
    }

    /// The server sent something, or closed the connection.
    fn sent(&mut self, id: u64, recorded: &str) {
        let recorded = format!("{id}: {recorded}");
        let expected = match self.difference(&recorded) {
            Some(ours) => ours.iter().map(|line| (*line).to_owned()).collect(),
            None => vec![recorded],
        };
        for line in expected {
            let sent = match self.host.next_sent(id) {
                Some(Sent::Frame(frame)) => words(&frame),
                Some(Sent::Closed(CloseReason::Requested)) => "closed".to_owned(),
                Some(Sent::Closed(reason)) => format!("closed, {reason:?}"),
                None => "nothing".to_owned(),
            };
            assert_eq!(format!("{id}: {sent}"), line);
        }
    }

    /// The server's application did something, or was told something.
    fn application(&mut self, text: &str) {
        let key = |number: usize| &self.keys[number - 1];
        match text {
            "Close on the client" => self.host.close(1),
            "Shutdown" => self.host.shut_down(),
            "slow handler may go on" => self.host.permit(),
            "the session is removed from storage" => self.host.store.clear(),
            "CloseSession by key" => {
                let closed = self.host.close_key(&key(1).clone());
                assert!(!self.host.store.holds(key(1)));
                self.host.told.push_back(format!("CloseSession returned {closed}"));
            }
            // Once when the application starts to, once when the session manager is told.
            "CreateSession" => {}
            _ if PASSED_OVER.iter().any(|begin| text.starts_with(begin)) => {}
            _ => {
                let count = |number| self.host.registry.connection_count(key(number));
                let told = if text.starts_with("SessionConnectionsNum first") {
                    Some(format!("SessionConnectionsNum first {}, second {}", count(1), count(2)))
                } else if text.starts_with("SessionConnectionsNum") {
                    let active = self.host.registry.active_sessions();
                    Some(format!("SessionConnectionsNum {}, ActiveSessionsNum {active}", count(1)))
                } else if text.starts_with("CloseSession of the same key again") {
                    let closed = self.host.close_key(&key(1).clone());
                    Some(format!("CloseSession of the same key again returned {closed}"))
                } else {
                    None
                };
                self.told(&shortened(text), told);
            }
        }
    }

    /// The server's application was told something; `now` if that was just found out.
    fn told(&mut self, recorded: &str, now: Option<String>) {
        let ours = self.difference(recorded);
        if ours.is_some_and(<[_]>::is_empty) {
            return;
        }
        let expected = ours.and_then(|ours| ours.first()).map_or(recorded, |ours| ours);
        let told = now.or_else(|| self.host.told.pop_front());
        let told = told.map(|told| shortened(&told));
        assert_eq!(told.as_deref(), Some(expected));
    }

    fn difference(&mut self, recorded: &str) -> Option<&'static [&'static str]> {
        let fits = |row: &Difference| {
            row.scenario == self.transcript.scenario
                && match row.recorded.strip_suffix("..") {
                    Some(begin) => recorded.starts_with(begin),
                    None => recorded == row.recorded,
                }
        };
        let index = DIFFERENCES.iter().position(fits)?;
        assert!(self.met.insert(index), "met twice: {recorded}");
        println!("  {recorded} => {:?}: {}", DIFFERENCES[index].ours, DIFFERENCES[index].why);
        Some(DIFFERENCES[index].ours)
    }
}

/// Whether the server agreed to the upgrade that was asked for last.
fn upgraded(id: u64, rest: &[Event]) -> bool {
    rest.iter().any(|event| {
        matches!(event, Event::Http { direction: Direction::FromServer, connection, text }
            if *connection == Some(id) && text.starts_with("HTTP/1.1 101 "))
    })
}

fn numbered_keys() -> Vec<SessionKey> {
    let key = |number| SessionKey::new(format!("session-key-{number:04}")).expect("not empty");
    (1..=9).map(key).collect()
}

/// The keys that the reference's generator made.
fn recorded_keys(transcript: &Transcript) -> Vec<SessionKey> {
    let keys = transcript.events.iter().filter_map(|event| match event {
        Event::Message { frame, .. } if frame.first() == Some(&0x15) => {
            let object: Value = serde_json::from_slice(&frame[1..]).expect("JSON");
            Some(SessionKey::new(object["k"].as_str().expect("a key")).expect("not empty"))
        }
        _ => None,
    });
    keys.collect()
}

/// A message in words that can be compared: hex, and the JSON of sessions without its times.
fn words(frame: &[u8]) -> String {
    let header = match frame.first() {
        Some(0x15) => 1,
        Some(0xc0) => 9,
        _ => frame.len(),
    };
    match serde_json::from_slice(&frame[header..]) {
        Ok(Value::Object(mut session)) if session.contains_key("k") => {
            for time in ["c", "l"] {
                let time = session.remove(time).expect("a time");
                time.as_str().expect("text").parse::<wwr::UnixTime>().expect("RFC 3339");
            }
            let session = as_floats(Value::Object(session));
            format!("{} {session}", HEXLOWER.encode(&frame[..header]))
        }
        _ => HEXLOWER.encode(frame),
    }
}

fn as_floats(value: Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().into(),
        Value::Array(values) => values.into_iter().map(as_floats).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, value)| (name, as_floats(value))).collect()
        }
        other => other,
    }
}

/// An event of the application, without what the messages show anyway.
fn shortened(text: &str) -> String {
    let text = text.strip_prefix("session manager ").unwrap_or(text);
    for event in ["OnRequest(", "OnSignal("] {
        if let Some((_, named)) = text.strip_prefix(event).and_then(|rest| rest.split_once("name "))
        {
            let name = named.split("; ").next().unwrap_or(named).trim_end_matches(')');
            return format!("{event}name {name})");
        }
    }
    text.to_owned()
}

#[test]
fn conversations_of_the_reference_go_the_same_way_with_our_server() {
    let transcripts = Transcript::all(include_str!("vectors/transcripts-1.4.jsonl"));
    let mut met = BTreeSet::new();
    let mut left_out = 0;
    for transcript in &transcripts {
        println!("{}", transcript.scenario);
        if NOT_REPLAYED.iter().any(|(scenario, _)| *scenario == transcript.scenario) {
            let mut events = transcript.events.iter();
            assert!(!events.any(|event| matches!(event, Event::Message { .. })));
            left_out += 1;
        } else {
            met.extend(Replay::new(transcript).run());
        }
    }
    assert_eq!((transcripts.len(), left_out), (56, NOT_REPLAYED.len()));
    let unmet: Vec<_> = (0..DIFFERENCES.len()).filter(|index| !met.contains(index)).collect();
    let unmet: Vec<_> = unmet.iter().map(|&index| DIFFERENCES[index].recorded).collect();
    assert!(unmet.is_empty(), "differences that are none: {unmet:?}");
}
