//! Recorded conversations between the reference's client and server, protocol 1.4, with our client
//! in place of theirs: given the same calls and the same messages, it sends the same bytes and
//! tells its application the same, except where [`DIFFERENCES`] says otherwise.

mod player;
mod recording;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use wwr::client::{Action, Status};
use wwr::{Dialect, preflight, wire};

use player::{Player, Told, agrees};
use recording::{Recorded, Recording, of_client, unhex};

/// Scenario, what the reference was recorded to do or to tell, what ours tells instead (empty:
/// nothing), and why.
const DIFFERENCES: &[(&str, &str, &str, &str)] = &[
    ("odd-utf16-reply", TIMED_OUT, CONNECTION_LOST, LOST_AT_ONCE),
    ("error-reply-empty-code", TIMED_OUT, CONNECTION_LOST, LOST_AT_ONCE),
    ("error-reply-long-code", TIMED_OUT, CONNECTION_LOST, LOST_AT_ONCE),
    ("error-reply-non-ascii-code", TIMED_OUT, CONNECTION_LOST, LOST_AT_ONCE),
    ("handler-panic", TIMED_OUT, CONNECTION_LOST, LOST_AT_ONCE),
    (
        "handler-special-errors",
        TIMED_OUT,
        "Failed(Protocol)",
        "Q14-12: the reference ignores the protocol-error reply",
    ),
    (
        "name-only-requests",
        "Request failed (webwire.ProtocolErr)",
        "Refused(EmptyRequest)",
        "a wrong call is no failed request here",
    ),
    ("signals-without-payload", r#"Signal(name "ack"; binary, empty)"#, NEEDS_PAYLOAD, UNREAD),
    ("signals-without-payload", r#"Signal(name "ack"; utf16, empty)"#, NEEDS_PAYLOAD, UNREAD),
    (
        "signals-without-payload",
        r#"Signal(name ""; binary, empty)"#,
        "Refused(UnreadableSignal(Empty))",
        UNREAD,
    ),
    (
        "client-gets-odd-messages",
        r#"OnSessionCreated(key ""; info null)"#,
        "",
        "a session without a key is none, it could never be restored",
    ),
    (
        "client-gets-odd-messages",
        "OnSessionClosed",
        "",
        "there is no session to close; the reference tells of it each time",
    ),
];

const TIMED_OUT: &str = "TimedRequest failed (webwire.ReqTimeoutErr)";
const CONNECTION_LOST: &str = "Failed(ConnectionLost)";
const LOST_AT_ONCE: &str = "Q14-13: the reference's requests outlive the connection";
const NEEDS_PAYLOAD: &str = "Refused(UnreadableSignal(NeedsPayload))";
const UNREAD: &str = "Q14-27: the reference sends signals that no peer reads";

/// A scenario being replayed.
struct Replay<'a> {
    recording: &'a Recording,
    players: BTreeMap<String, Player>,
    differences: BTreeSet<usize>,
}

impl<'a> Replay<'a> {
    fn new(recording: &'a Recording) -> Self {
        Self { recording, players: BTreeMap::new(), differences: BTreeSet::new() }
    }

    /// Plays all events and returns which of the [`DIFFERENCES`] were met.
    fn run(mut self) -> BTreeSet<usize> {
        for at in 0..self.recording.events.len() {
            self.step(at);
        }
        for (label, player) in &self.players {
            assert!(player.sent.is_empty(), "{label} sent more: {:?}", player.sent);
            assert!(player.results.is_empty(), "{label} has more results: {:?}", player.results);
            assert!(player.hooks.is_empty(), "{label} was told more: {:?}", player.hooks);
            assert_eq!(player.client.pending_requests(), 0, "{label}");
        }
        self.differences
    }

    fn step(&mut self, at: usize) {
        let event = &self.recording.events[at];
        match (event.dir.as_str(), event) {
            (_, Recorded { app: Some(app), .. }) => {
                if let Some((label, what)) = of_client(app) {
                    self.app(at, label, what);
                }
            }
            ("c2s", Recorded { http: Some(_), conn: None, .. }) => self.probed_by(at),
            ("c2s", Recorded { http: Some(_), conn: Some(conn), .. }) => {
                let player = self.players.get_mut(&self.connecting(at)).unwrap();
                assert_eq!(player.host.take(), Some(Action::Dial));
                player.conn = *conn;
            }
            ("s2c", Recorded { http: Some(http), conn, .. }) => {
                let player = self.players.get_mut(&self.connecting(at)).unwrap();
                let status = http.split(' ').nth(1).unwrap().parse().unwrap();
                let body = http.split_once("\r\n\r\n").unwrap().1;
                let now = player.now;
                match (conn, status) {
                    (None, _) => {
                        let body = Bytes::copy_from_slice(body.as_bytes());
                        let answer = preflight::Answer { status, body };
                        player.client.handle_probed(now, Ok(answer), &mut player.out);
                    }
                    (Some(_), 101) => player.client.handle_opened(now, &mut player.out),
                    (Some(_), _) => player.client.handle_disconnect(now, &mut player.out),
                }
                player.carry_out();
            }
            ("c2s", Recorded { hex: Some(hex), conn: Some(conn), .. }) => self.sent(*conn, hex),
            ("s2c", Recorded { hex: Some(hex), conn: Some(conn), .. }) => {
                let player = self.on(*conn);
                let (now, frame) = (player.now, Bytes::from(unhex(hex)));
                player.client.handle_message(now, frame, &mut player.out);
                player.carry_out();
            }
            ("c2s", Recorded { tcp: Some(_), .. }) => {}
            (_, Recorded { tcp: Some(_), conn: Some(conn), .. }) => {
                let player = self.on(*conn);
                player.client.handle_disconnect(player.now, &mut player.out);
                player.carry_out();
            }
            _ => panic!("event {at} is of no known kind"),
        }
    }

    fn on(&mut self, conn: u64) -> &mut Player {
        self.players.values_mut().find(|player| player.conn == conn).unwrap()
    }

    /// Which client is connecting at an event: the one that is next told of the result. A client
    /// that reconnects by itself is not, but it is alone.
    fn connecting(&self, at: usize) -> String {
        let apps = self.recording.events[at..].iter().filter_map(|event| event.app.as_deref());
        let mut results = apps
            .filter_map(of_client)
            .filter(|(_, what)| *what == "connected" || what.starts_with("Connect failed"));
        results.next().map_or("client", |(label, _)| label).into()
    }

    /// A client begins to connect, of its own accord if it waits.
    fn probed_by(&mut self, at: usize) {
        let reconnects = self.recording.scenario.contains("-auto");
        let label = self.connecting(at);
        let player = self.players.entry(label).or_insert_with(|| Player::new(reconnects));
        if player.client.next_timeout().is_some() {
            assert!(reconnects);
            player.due();
        } else {
            player.client.connect(player.now, &mut player.out);
            player.carry_out();
        }
        assert_eq!(player.host.take(), Some(Action::Probe));
    }

    /// The reference sent a frame; ours must have, unless it refused.
    fn sent(&mut self, conn: u64, hex: &str) {
        let unread = self.recording.scenario == "signals-without-payload";
        let player = self.on(conn);
        let expected = unhex(hex);
        if unread && wire::decode(Dialect::V1_4, expected.clone().into()).is_err() {
            return assert!(player.sent.is_empty(), "ours refuses what no peer reads");
        }
        assert_eq!(player.sent.pop_front().as_deref(), Some(&expected[..]));
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
            "connected" => assert_eq!(player.client.status(), Status::Connected),
            "Close" => {
                let connected = player.client.status() == Status::Connected;
                player.call(what, None);
                assert_eq!(player.host.take() == Some(Action::Hangup), connected);
            }
            "session" if what == "session is none" => assert_eq!(player.client.session(), None),
            "session" if what.starts_with("session is key") => {
                let held = Told::Restored(player.client.session().unwrap().clone());
                let what = what.replacen("is key", "is now key", 1);
                assert!(agrees(&what, &held), "{what}: {held:?}");
            }
            "Signal" => {
                player.call(what, None);
                if let Some(refused) = player.results.pop_back() {
                    self.compare(what, &refused);
                }
            }
            "Request" | "TimedRequest" | "RestoreSession" if !what.contains(" failed (") => {
                player.call(what, frame.as_ref());
            }
            _ => self.told(label, what),
        }
    }

    /// The reference told its application something; ours has, or will when time has passed.
    fn told(&mut self, label: &str, what: &str) {
        if self.difference(what).is_some_and(|ours| ours.is_empty()) {
            return;
        }
        let player = self.players.get_mut(label).unwrap();
        let told = if what.starts_with("On") {
            player.hooks.pop_front()
        } else {
            if player.results.is_empty() {
                player.due();
            }
            player.results.pop_front()
        };
        let told = told.unwrap_or_else(|| panic!("the reference told: {what}"));
        self.compare(what, &told);
    }

    fn difference(&mut self, what: &str) -> Option<&'static str> {
        let entry =
            |row: &(&str, &str, &str, &str)| (row.0, row.1) == (&self.recording.scenario, what);
        let index = DIFFERENCES.iter().position(entry)?;
        self.differences.insert(index);
        Some(DIFFERENCES[index].2)
    }

    fn compare(&mut self, what: &str, told: &Told) {
        match self.difference(what) {
            Some(ours) => assert_eq!(format!("{told:?}"), ours, "instead of: {what}"),
            None => assert!(agrees(what, told), "{what}: {told:?}"),
        }
    }
}

#[test]
fn conversations_of_the_reference_go_the_same_way_with_our_client() {
    let recordings = include_str!("../vectors/transcripts-1.4.jsonl").lines();
    let recordings: Vec<Recording> =
        recordings.map(|line| serde_json::from_str(line).unwrap()).collect();
    let (replayed, others): (Vec<_>, Vec<_>) =
        recordings.iter().partition(|recording| recording.client == "reference");
    assert!(
        others.iter().all(|recording| recording.client == "raw"),
        "these have no client of ours"
    );
    let mut met = BTreeSet::new();
    for recording in &replayed {
        println!("{}", recording.scenario);
        met.extend(Replay::new(recording).run());
    }
    assert_eq!((replayed.len(), others.len()), (45, 11), "no scenario is left out");
    let unmet = (0..DIFFERENCES.len()).filter(|index| !met.contains(index));
    let unmet: Vec<_> = unmet.map(|index| DIFFERENCES[index]).collect();
    assert!(unmet.is_empty(), "differences that are none: {unmet:?}");
}
