//! Conducts a recorded conversation with our client in place of the reference's.

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;
use wwr::client::{Action, Config, Protocol};
use wwr::{Dialect, Instant, Valid};

use crate::difference::Differences;
use crate::player::Player;
use crate::recording::{Recorded, Recording, Reference, of_client, unhex};
use crate::told::{Told, agrees};

/// What a 2.0 server answers to the preflight.
const NO_PREFLIGHT: (u16, &str) = (400, "Bad Request\nInternal Server Error\n");

/// How much earlier than recorded something may be sent: the recording's own delay.
const JITTER: Duration = Duration::from_millis(5);

/// What our client is set to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode {
    pub(crate) reference: Reference,
    pub(crate) protocol: Protocol,
}

/// A scenario being replayed.
pub(crate) struct Replay<'a> {
    mode: Mode,
    recording: &'a Recording,
    differences: &'a Differences,
    players: BTreeMap<String, Player>,
    /// How many clients there were, each to connect.
    attempts: usize,
}

impl<'a> Replay<'a> {
    pub(crate) fn new(mode: Mode, recording: &'a Recording, differences: &'a Differences) -> Self {
        Self { mode, recording, differences, players: BTreeMap::new(), attempts: 0 }
    }

    /// Plays all events.
    pub(crate) fn run(mut self) {
        for at in 0..self.recording.events.len() {
            self.step(at);
        }
        for (label, player) in &self.players {
            self.end(label, player);
        }
    }

    /// Nothing more has happened.
    fn end(&self, label: &str, player: &Player) {
        assert!(player.sent.is_empty(), "{label} sent more: {:?}", player.sent);
        assert!(player.results.is_empty(), "{label} has more results: {:?}", player.results);
        assert!(player.hooks.is_empty(), "{label} was told more: {:?}", player.hooks);
        assert_eq!(player.client.pending_requests(), 0, "{label}");
        let settled = [Dialect::Unknown, self.mode.reference.dialect()];
        let dialect = player.client.dialect();
        let excused = self.recording.scenario == "connect-wrong-version";
        assert!(settled.contains(&dialect) || excused, "{label}: {dialect}");
    }

    fn step(&mut self, at: usize) {
        let recording = self.recording;
        let event = &recording.events[at];
        if let Some(ms) = event.ms {
            let now = Instant::EPOCH + Duration::from_millis(ms);
            self.players.values_mut().for_each(|player| player.advance_to(now));
        }
        match (event.dir.as_str(), event) {
            (_, Recorded { app: Some(app), .. }) => {
                if let Some((label, what)) = of_client(app) {
                    self.app(at, label, what);
                }
            }
            ("c2s", Recorded { http: Some(_), conn: None, .. }) => {
                let player = self.connecting(at);
                assert_eq!(player.host.take(), Some(Action::Probe));
            }
            ("c2s", Recorded { http: Some(_), conn: Some(conn), .. }) => self.dials(at, *conn),
            ("s2c", Recorded { http: Some(http), conn, .. }) => {
                let status = http.split(' ').nth(1).unwrap().parse().unwrap();
                let body = http.split_once("\r\n\r\n").unwrap().1;
                let label = self.label(at);
                let player = self.players.get_mut(&label).unwrap();
                match conn {
                    None => player.answer_probe(status, body),
                    Some(_) => player.answer_dial(status),
                }
            }
            ("c2s", Recorded { hex: Some(hex), conn: Some(conn), .. }) => {
                self.sent(*conn, hex, event.ms);
            }
            ("s2c", Recorded { hex: Some(hex), conn: Some(conn), .. }) => {
                self.on(*conn).receive(unhex(hex).into());
            }
            ("c2s", Recorded { tcp: Some(_), .. }) => {}
            (_, Recorded { tcp: Some(_), conn: Some(conn), .. }) => self.on(*conn).disconnect(),
            _ => panic!("event {at} is of no known kind"),
        }
    }

    fn on(&mut self, conn: u64) -> &mut Player {
        self.players.values_mut().find(|player| player.conn == conn).unwrap()
    }

    /// Which client is connecting at an event: the one that is next told of the result. A client
    /// that reconnects by itself is not, but it is alone.
    fn label(&self, at: usize) -> String {
        let apps = self.recording.events[at..].iter().filter_map(|event| event.app.as_deref());
        let mut results = apps
            .filter_map(of_client)
            .filter(|(_, what)| *what == "connected" || what.starts_with("Connect failed"));
        results.next().map_or("client", |(label, _)| label).into()
    }

    /// The client that begins to connect at an event: a new one, or of its own accord if it
    /// reconnects.
    fn connecting(&mut self, at: usize) -> &mut Player {
        let label = self.label(at);
        if let Some(player) = self.players.get_mut(&label)
            && self.recording.reconnects()
        {
            player.wait_until(|player| player.host.is_some());
        } else {
            self.attempts += 1;
            let player = Player::new(self.mode.reference, &self.config(), Instant::EPOCH);
            if let Some(before) = self.players.insert(label.clone(), player) {
                self.end(&label, &before);
            }
            self.players.get_mut(&label).unwrap().connect();
        }
        self.players.get_mut(&label).unwrap()
    }

    fn config(&self) -> Valid<Config> {
        let mut config = Config::default();
        config.protocol = self.mode.protocol;
        config.reconnect = self.recording.reconnects();
        config.sub_protocol = self.recording.client_sub_protocol().map(Into::into);
        config.validate().unwrap()
    }

    /// The reference opens a WebSocket. In 2.0 it has not asked for the metadata before; if ours
    /// does, it learns that there are none.
    fn dials(&mut self, at: usize, conn: u64) {
        let player = match self.mode.reference {
            Reference::V1_4 => {
                let label = self.label(at);
                self.players.get_mut(&label).unwrap()
            }
            Reference::V2_0 => self.connecting(at),
        };
        if player.host == Some(Action::Probe) {
            let (status, body) = NO_PREFLIGHT;
            player.answer_probe(status, body);
        }
        assert_eq!(player.host.take(), Some(Action::Dial));
        player.conn = conn;
    }

    /// The reference sent a frame; ours must have, too.
    fn sent(&mut self, conn: u64, hex: &str, ms: Option<u64>) {
        let instead = self.instead_of(&format!("sent {hex}"));
        let player = self.on(conn);
        if let Some(ours) = instead {
            assert!(ours.is_empty() && player.sent.is_empty(), "ours sends nothing");
            return;
        }
        // A client that has found the connection again may first wait for the server to say more.
        player.wait_until(|player| player.is_connected() || !player.sent.is_empty());
        let sent = player.sent.pop_front();
        let (at, frame) = sent.unwrap_or_else(|| panic!("the reference sent: {hex}"));
        assert_eq!(frame, unhex(hex));
        if let Some(ms) = ms {
            let recorded = Instant::EPOCH + Duration::from_millis(ms);
            assert!(at <= recorded && recorded <= at + JITTER, "sent at {at:?}, not {recorded:?}");
        }
    }

    /// The next frame of the reference on a connection.
    fn frame_after(&self, at: usize, conn: u64) -> Option<Bytes> {
        let mut frames = self.recording.events[at..]
            .iter()
            .filter(|event| event.dir == "c2s" && event.conn == Some(conn))
            .filter_map(|event| event.hex.as_deref());
        frames.next().map(|hex| unhex(hex).into())
    }

    fn app(&mut self, at: usize, label: &str, what: &str) {
        let conn = self.players[label].conn;
        let frame = self.frame_after(at, conn);
        let player = self.players.get_mut(label).unwrap();
        let kind = what.split(['(', ' ']).next().unwrap();
        match kind {
            // If the server may be one of several versions, ours waits for it to say so.
            "connected" => player.wait_until(Player::is_connected),
            "Close" => {
                let connected = player.is_connected();
                player.call(what, None);
                assert_eq!(player.host.take() == Some(Action::Hangup), connected);
            }
            "session" if what == "session is none" => assert_eq!(player.client.session(), None),
            "session" if what.starts_with("session is key") => {
                let held = Told::Restored(player.client.session().unwrap().clone());
                let what = what.replacen("is key", "is now key", 1);
                assert!(agrees(self.mode.reference, &what, &held), "{what}: {held:?}");
            }
            "Signal" if !what.starts_with("Signal failed (") => {
                player.call(what, None);
                if !self.fails(at, label)
                    && let Some(refused) = self.players.get_mut(label).unwrap().results.pop_back()
                {
                    self.compare(what, self.instead_of(what), &refused);
                }
            }
            "Request" | "TimedRequest" | "RestoreSession" if !what.contains(" failed (") => {
                player.call(what, frame.as_ref());
            }
            _ => self.told(label, what),
        }
    }

    /// Whether the reference refused the signal that its application sends at an event.
    fn fails(&self, at: usize, label: &str) -> bool {
        let later = self.recording.events[at + 1..].iter();
        let mut apps = later.filter_map(|event| of_client(event.app.as_deref()?));
        let next = apps.find(|(of, what)| *of == label && !what.starts_with("On"));
        next.is_some_and(|(_, what)| what.starts_with("Signal failed ("))
    }

    /// The reference told its application something; ours has, or will when time has passed.
    fn told(&mut self, label: &str, what: &str) {
        let conn = self.players[label].conn;
        if what == "OnDisconnected" && !self.recording.ends(conn) {
            return self.stopped_reading(label);
        }
        let ours = match what.starts_with("Connect failed") {
            true => self.instead_of(&format!("{}: {what}", self.attempts)),
            false => self.instead_of(what),
        };
        if ours.as_ref().is_some_and(Vec::is_empty) {
            return;
        }
        let player = self.players.get_mut(label).unwrap();
        let told = if what.starts_with("On") {
            player.hooks.pop_front()
        } else if what.starts_with("Connect failed") {
            Some(connected(player))
        } else {
            player.wait_until(|player| !player.results.is_empty());
            player.results.pop_front()
        };
        let told = told.unwrap_or_else(|| panic!("the reference told: {what}"));
        self.compare(what, ours, &told);
    }

    /// The reference calls itself disconnected, reads no more, and leaves the socket open.
    fn stopped_reading(&mut self, label: &str) {
        let ours = self.instead_of("stops reading");
        assert_eq!(ours, Some(Vec::new()), "ours does not");
        let player = self.players.get_mut(label).unwrap();
        assert!(player.is_connected() && player.hooks.is_empty());
        player.is_alive();
    }

    fn instead_of(&self, what: &str) -> Option<Vec<String>> {
        self.differences.instead_of(&self.recording.scenario, what)
    }

    /// Ours must have told what the reference did, or what it is to tell instead: in the words of
    /// the reference, or in its own.
    fn compare(&self, what: &str, ours: Option<Vec<String>>, told: &Told) {
        let agrees = |words: &str| agrees(self.mode.reference, words, told);
        let as_expected = match ours.as_deref() {
            None => agrees(what),
            Some([ours]) => agrees(ours) || format!("{told:?}") == *ours,
            Some(_) => false,
        };
        assert!(as_expected, "ours tells {told:?} instead of: {what}");
    }
}

/// What becomes of connecting, where the reference failed. If ours still dials, the WebSocket opens
/// and stays silent.
fn connected(player: &mut Player) -> Told {
    if player.host == Some(Action::Dial) {
        player.host = None;
        player.answer_dial(101);
    }
    player.wait_until(|player| player.is_connected() || !player.results.is_empty());
    player.results.pop_front().unwrap_or(Told::Connected)
}
