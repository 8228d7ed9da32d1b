//! Conducts a recorded conversation with our server in place of the reference's.

use core::num::{NonZeroU16, NonZeroUsize};
use core::time::Duration;

use data_encoding::HEXLOWER;
use serde_json::Value;
use wwr::server::{CloseReason, Config, HubConfig, Observed, Protocol, Sessions};
use wwr::{Dialect, Instant, KeyFormat, Name, Payload, SessionInfo, SessionKey};

use crate::difference::Differences;
use crate::host::{Host, Sent};
use crate::transcript::{Direction, Event, Reference, Transcript, What};
use crate::words::{shortened, words};

/// What a server advertises that is not set otherwise.
const ACCEPT_CONF: &str = "17020060ea000000200000";

/// A request that any server answers, its reply, and what the application is told of it.
const ECHO: &[u8] = b"\x80STILLUP?\x04echohere";
const ECHOED: &str = "c05354494c4c55503f68657265";
const ECHO_TOLD: &str = r#"OnRequest(name "echo")"#;

/// How much earlier than recorded something may be due: the recording's own delay.
const JITTER: Duration = Duration::from_millis(5);

/// Why the reference closes connections, where its application did not ask for it.
const CLOSES_FOR: &[(&str, CloseReason)] = &[
    ("buffer-overflow", CloseReason::TooLarge),
    ("buffer-overflow-by-client", CloseReason::TooLarge),
    ("empty-message", CloseReason::Unreadable),
    ("malformed", CloseReason::Unreadable),
    ("read-timeout", CloseReason::Silent),
    ("read-timeout-pings", CloseReason::Silent),
    ("read-timeout-slow-handler", CloseReason::Silent),
    ("refused-name", CloseReason::Unreadable),
    ("refused-request-name", CloseReason::Unreadable),
    ("session-restore-odd-keys", CloseReason::Unreadable),
    ("signal-utf16-without-payload", CloseReason::Unreadable),
    ("text-frames", CloseReason::Text),
    ("unknown-types", CloseReason::Unreadable),
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
    "Signal failed ",
    "Signal(",
    "handler calls ",
    "handler of ",
    "handler panics",
];

/// What our server is set to, beside what the recording says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode {
    pub(crate) reference: Reference,
    pub(crate) protocol: Protocol,
    pub(crate) strict: bool,
}

/// A scenario being replayed.
pub(crate) struct Replay<'a> {
    mode: Mode,
    transcript: &'a Transcript,
    differences: &'a Differences,
    host: Host,
    keys: Vec<SessionKey>,
    /// When the event at hand was recorded, if that is known.
    recorded_at: Option<Instant>,
    /// The connections on which a heartbeat came.
    heartbeats: Vec<u64>,
}

impl<'a> Replay<'a> {
    pub(crate) fn new(
        mode: Mode,
        transcript: &'a Transcript,
        differences: &'a Differences,
    ) -> Self {
        let options = &transcript.server_options;
        let generated = options.session_keys.contains("default generator");
        let keys = if generated { recorded_keys(transcript) } else { numbered_keys() };
        let mut hub = HubConfig::default();
        hub.sessions.max_connections = NonZeroUsize::new(options.max_session_connections);
        let hub = hub.validate().expect("valid");
        let config = config(mode, transcript, generated).validate().expect("valid");
        let mut host = Host::new(mode.reference, config, &hub, keys.clone());
        host.store.fails = transcript.scenario == "session-restore-lookup-error";
        let (recorded_at, heartbeats) = (None, Vec::new());
        Self { mode, transcript, differences, host, keys, recorded_at, heartbeats }
    }

    /// Plays all events.
    pub(crate) fn run(mut self) {
        let events = &self.transcript.events;
        for (at, event) in events.iter().enumerate() {
            self.pass_time(event.ms);
            self.step(&event.what, &events[at..]);
        }
        self.end();
    }

    /// A millisecond for each event, if the recording does not say how long it took.
    fn pass_time(&mut self, ms: Option<u64>) {
        self.recorded_at = ms.map(|ms| Instant::EPOCH + Duration::from_millis(ms));
        let later = self.host.now() + Duration::from_millis(1);
        self.host.advance_to(self.recorded_at.unwrap_or(later));
    }

    fn step(&mut self, event: &What, rest: &[Event]) {
        match event {
            What::Http { direction: Direction::FromClient, connection: None, text } => {
                if text.starts_with("WEBWIRE ") {
                    self.host.preflight();
                }
            }
            What::Http { direction: Direction::FromClient, connection: Some(id), .. } => {
                if upgraded(*id, rest) {
                    self.accept(*id, rest);
                }
            }
            What::Message { direction: Direction::FromClient, connection, frame, text } => {
                if frame == b"\x21" {
                    self.heartbeats.push(*connection);
                }
                self.host.receive(*connection, frame.clone(), *text);
                // What ours does at once and the reference does not at all.
                let sent = format!("{connection} sent {}", HEXLOWER.encode(frame));
                for line in self
                    .differences
                    .instead_of(&self.transcript.scenario, &sent)
                    .unwrap_or_default()
                {
                    self.expect(&line);
                }
            }
            What::Message { direction: Direction::FromServer, connection, frame, .. } => {
                self.sent(*connection, &words(frame));
            }
            What::Closed { by: Some(Direction::FromServer), connection } => {
                // There the client's close frame ended it, and the server only lets go of TCP.
                if self.transcript.scenario != "close-frame" {
                    self.sent(*connection, "closed");
                }
            }
            What::Closed { connection, .. } => self.host.disconnect(*connection),
            What::Control { direction: Direction::FromClient, connection, kind } => match &**kind {
                "close" => self.host.disconnect(*connection),
                _ => self.host.hear(*connection),
            },
            What::Application(text) => {
                if let Some(text) = text.strip_prefix("server: ") {
                    self.application(text);
                }
            }
            // HTTP, and control frames of the server, are the adapter's.
            What::Http { .. } | What::Control { .. } | What::Injected => {}
        }
    }

    /// A client connects. If the recording does not have what is advertised to it, because there
    /// was no such thing or it was kept from the client, that is looked at here.
    fn accept(&mut self, id: u64, rest: &[Event]) {
        self.host.accept(id);
        let recorded = rest.iter().any(|event| {
            matches!(&event.what, What::Message { direction: Direction::FromServer, connection, frame, .. }
                if *connection == id && frame.first() == Some(&0x17))
        });
        if self.sends_accept_conf() && !recorded {
            self.expect(&format!("{id}: {ACCEPT_CONF}"));
        }
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

    const fn sends_accept_conf(&self) -> bool {
        !matches!(self.mode.protocol, Protocol::V1_4 | Protocol::V1_5)
    }

    /// The server sent something, or closed the connection.
    fn sent(&mut self, id: u64, recorded: &str) {
        let what = format!("{id}: {recorded}");
        let Some(ours) = self.differences.instead_of(&self.transcript.scenario, &what) else {
            return self.expect(&what);
        };
        for line in &ours {
            self.expect(line);
        }
        let closes = ours.iter().any(|line| line.contains(": closed"));
        if recorded == "closed" && !closes {
            self.still_serves(id);
        }
    }

    /// The reference has closed the connection, ours has not: so it must be good for something.
    fn still_serves(&mut self, id: u64) {
        self.host.receive(id, ECHO, false);
        self.expect(ECHO_TOLD);
        self.expect(&format!("{id}: {ECHOED}"));
    }

    /// Ours must have done this next: sent something on a connection, or told the application.
    fn expect(&mut self, line: &str) {
        let connection = line.split_once(": ").and_then(|(id, _)| id.parse().ok());
        let done = match connection {
            Some(id) => self.next_sent(id, line.ends_with(" later")),
            None => self.host.told.pop_front().map(|told| shortened(&told)),
        };
        assert_eq!(done.as_deref(), Some(line));
    }

    /// What was sent next on a connection, in words; after some time, if it comes `later`.
    fn next_sent(&mut self, id: u64, later: bool) -> Option<String> {
        while later && !self.host.has_sent(id) {
            let due = self.host.next_timeout()?;
            self.host.advance_to(due);
        }
        let what = match self.host.next_sent(id)? {
            Sent::Frame(frame) => words(&frame),
            Sent::Ping => "ping".to_owned(),
            Sent::Closed(reason, at) => self.closed(reason, at),
        };
        Some(format!("{id}: {what}"))
    }

    fn closed(&self, reason: CloseReason, at: Instant) -> String {
        let reasons = CLOSES_FOR.iter().find(|(name, _)| *name == self.transcript.scenario);
        let expected = reasons.map_or(CloseReason::Requested, |(_, reason)| reason.clone());
        let mut what = "closed".to_owned();
        if reason != expected {
            what += &format!(", {reason:?}");
        }
        if let Some(recorded) = self.recorded_at {
            let (at, recorded) = (at.as_nanos() / 1_000_000, recorded.as_nanos() / 1_000_000);
            assert!(at + JITTER.as_millis() as u64 >= recorded, "closed too early, at {at} ms");
            if at > recorded {
                what += &format!(", {} ms later", at - recorded);
            }
        }
        what
    }

    /// The server's application did something, or was told something.
    fn application(&mut self, text: &str) {
        match text {
            "Close on the client" | "Close on the connection" => return self.host.close(1),
            "Shutdown" => return self.host.shut_down(),
            "slow handler may go on" => return self.host.permit(None),
            "the session is removed from storage" => return self.host.store.clear(),
            "CloseSession by key" => {
                let returned = self.close_key();
                assert!(!self.host.store.holds(&self.keys[0]));
                return self.host.told.push_back(format!("CloseSession returned {returned}"));
            }
            // Once when the application starts to, once when the session manager is told.
            "CreateSession" => return,
            _ => {}
        }
        if let Some(rest) = text.strip_prefix("slow handler ") {
            return self.host.permit(rest.strip_suffix(" may go on"));
        }
        if let Some(ours) = self.differences.instead_of(&self.transcript.scenario, &shortened(text))
        {
            self.find_out(text);
            return ours.iter().for_each(|line| self.expect(line));
        }
        if let Some(destroyed) = text.strip_prefix("session manager ")
            && destroyed.starts_with("OnSessionClosed(")
        {
            return assert_eq!(self.host.destroyed.pop_front().as_deref(), Some(destroyed));
        }
        if !PASSED_OVER.iter().any(|begin| text.starts_with(begin)) {
            self.find_out(text);
            self.expect(&shortened(text));
        }
    }

    /// If the application asked something: asks the same.
    fn find_out(&mut self, text: &str) {
        let count = |key: usize| self.host.hub.session_connections(&self.keys[key]).count();
        let told = if text.starts_with("SessionConnectionsNum first") {
            format!("SessionConnectionsNum first {}, second {}", count(0), count(1))
        } else if text.starts_with("SessionConnectionsNum") {
            let active = self.host.hub.active_sessions();
            format!("SessionConnectionsNum {}, ActiveSessionsNum {active}", count(0))
        } else if text.starts_with("CloseSession of the same key again") {
            format!("CloseSession of the same key again returned {}", self.close_key())
        } else {
            return;
        };
        self.host.told.push_front(told);
    }

    /// What closing the first session by its key returns.
    fn close_key(&mut self) -> String {
        let closed = self.host.close_key(&self.keys[0]);
        match self.mode.reference {
            Reference::V1_4 => closed.to_string(),
            Reference::V2_0 => format!("{closed} connections, error <nil>"),
        }
    }

    /// Nothing more has happened, and everything ends.
    fn end(mut self) {
        let mut more = Vec::new();
        for id in self.host.ids() {
            while let Some(sent) = self.next_sent(id, false) {
                more.push(sent);
            }
            self.knows_its_peer(id);
        }
        if self.transcript.server_options.session_manager == "in memory" {
            more.extend(self.host.told.drain(..));
        }
        more.extend(self.host.destroyed.drain(..));
        let expected = match &*more {
            [] => None,
            _ => self.differences.instead_of(&self.transcript.scenario, "nothing more"),
        };
        assert_eq!(more, expected.unwrap_or_default(), "more happened");
        for id in self.host.ids() {
            self.host.disconnect(id);
        }
        assert!(self.host.hub.is_idle());
    }

    /// What the peer of a connection was taken for follows from what it did.
    fn knows_its_peer(&mut self, id: u64) {
        let (observed, dialect) = self.host.knows(id);
        let expected = match (self.mode.protocol, observed) {
            (Protocol::V1_4, _) => Dialect::V1_4,
            (Protocol::V2_0, _) => Dialect::V2_0,
            _ if self.heartbeats.contains(&id) => Dialect::V2_0,
            (_, Observed::Preflight) => Dialect::V1_4,
            (_, Observed::SubProtocol) => Dialect::Wwr1,
            (_, Observed::Nothing) => Dialect::Unknown,
        };
        assert_eq!(dialect, expected, "{id}");
        let asked = observed == Observed::Preflight;
        assert_eq!(
            asked,
            self.mode.reference == Reference::V1_4 && self.transcript.is_by_library()
        );
    }
}

/// The settings that the recording's server had, as far as ours has them.
fn config(mode: Mode, transcript: &Transcript, generated: bool) -> Config {
    let options = &transcript.server_options;
    let sessions = match (&*options.sessions, generated) {
        ("disabled", _) => Sessions::Disabled,
        (_, true) => Sessions::Enabled(KeyFormat::Generated),
        (_, false) => Sessions::Enabled(KeyFormat::Custom(|key| {
            key.len() <= 64 && key.bytes().all(|byte| byte.is_ascii_graphic())
        })),
    };
    let mut config = Config::default();
    let advertised = &mut config.advertised;
    if let Some(millis) = options.read_timeout_ms {
        advertised.read_timeout = Duration::from_millis(millis);
    }
    if let Some(bytes) = options.message_buffer_size {
        advertised.message_buffer = bytes;
    }
    if !options.sub_protocol.is_empty() {
        advertised.sub_protocol = Some(options.sub_protocol.clone().into());
    }
    config.concurrency = match options.concurrency_limit {
        ..0 => NonZeroU16::MAX,
        limit => NonZeroU16::new(limit as u16).unwrap_or(NonZeroU16::MIN),
    };
    (config.protocol, config.strict, config.sessions) = (mode.protocol, mode.strict, sessions);
    config
}

/// Whether the server agreed to the upgrade that was asked for last.
fn upgraded(id: u64, rest: &[Event]) -> bool {
    rest.iter().any(|event| {
        matches!(&event.what, What::Http { direction: Direction::FromServer, connection, text }
            if *connection == Some(id) && text.starts_with("HTTP/1.1 101 "))
    })
}

fn numbered_keys() -> Vec<SessionKey> {
    let key = |number| SessionKey::new(format!("session-key-{number:04}")).expect("not empty");
    (1..=9).map(key).collect()
}

/// The keys that the reference's generator made.
fn recorded_keys(transcript: &Transcript) -> Vec<SessionKey> {
    let keys = transcript.events.iter().filter_map(|event| match &event.what {
        What::Message { frame, .. } if frame.first() == Some(&0x15) => {
            let object: Value = serde_json::from_slice(&frame[1..]).expect("JSON");
            Some(SessionKey::new(object["k"].as_str().expect("a key")).expect("not empty"))
        }
        _ => None,
    });
    keys.collect()
}
