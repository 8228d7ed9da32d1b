//! The client machine: every state, every message, every outcome.

mod browser;
mod discovery;
mod drain;
mod limits;
mod link;
mod memory;
mod messages;
mod questions;
mod recovery;
mod requests;
mod retry;
mod session;
mod silence;
mod walk;
mod wwr1;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::link::Link;
use super::*;
use crate::preflight::{Answer, Metadata, ProbeFailed};
use crate::wire::{Identifier, Name, Payload};
use crate::{Actions, Instant, Session, SessionKey};

/// A client, its actions and its clock.
struct Fixture {
    client: Client,
    out: Actions<Action>,
    now: Instant,
}

const SESSION: &str = r#"{"k":"KEY1","c":"2018-06-13T08:20:30Z","l":"2018-06-13T08:20:30Z"}"#;

fn session() -> Session {
    Session::from_json(SESSION.as_bytes()).unwrap()
}

fn other_session() -> (String, Session) {
    let json = SESSION.replace("KEY1", "KEY2").replace("2018-06-13", "2019-06-13");
    let session = Session::from_json(json.as_bytes()).unwrap();
    (json, session)
}

fn key(text: &str) -> SessionKey {
    SessionKey::new(text).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn answer_of(metadata: Metadata) -> Answer {
    Answer { status: 200, body: metadata.to_body(), retry_after: None }
}

fn answer(status: u16, body: &'static str) -> Answer {
    Answer { status, body: Bytes::from_static(body.as_bytes()), retry_after: None }
}

/// A frame: type, identifier, the rest.
fn frame(kind: u8, id: u64, rest: &[u8]) -> Bytes {
    let mut frame = alloc::vec![kind];
    frame.extend_from_slice(Identifier::from_counter(id).as_bytes());
    frame.extend_from_slice(rest);
    frame.into()
}

/// An accept-conf; the read timeout is in milliseconds.
fn conf(major: u8, read_timeout: u32, buffer: u32, sub_protocol: &[u8]) -> Vec<u8> {
    let (timeout, buffer) = (read_timeout.to_le_bytes(), buffer.to_le_bytes());
    [&[0x17, major, 0], &timeout[..], &buffer, sub_protocol].concat()
}

/// Settings of a client of 1.4 alone, for what has nothing to do with versions.
fn v1_4() -> Config {
    Config { protocol: Protocol::V1_4, ..quiet() }
}

/// The default but for the pings, which have tests of their own.
fn quiet() -> Config {
    Config { pings: None, ..Config::default() }
}

fn client(config: Config, seed: u64) -> Client {
    Client::new(&config.validate().unwrap(), seed)
}

/// Both times are in milliseconds.
fn pings(after: u64, timeout: u64) -> Option<Pings> {
    Some(Pings::new(Duration::from_millis(after), Duration::from_millis(timeout)))
}

impl Fixture {
    fn new(config: Config) -> Self {
        Self { client: client(config, 1), out: Actions::new(), now: Instant::from_millis(1000) }
    }

    /// A client whose connection is ready.
    fn ready(config: Config) -> Self {
        let mut fixture = Self::new(config);
        fixture.connect();
        fixture.dialing();
        fixture.opened();
        assert_eq!(fixture.labels(), ["Probe", "Dial", "Connected"]);
        fixture
    }

    /// A client that lost its connection and waits, with a session or without.
    fn waiting(config: Config) -> Self {
        let mut fixture = Self::ready(config);
        fixture.lost();
        fixture.labels();
        fixture
    }

    /// A client that has asked for its session on a new connection. The identifier is 1.
    fn resuming(config: Config) -> Self {
        let mut fixture = Self::ready(config);
        fixture.receive(b"\x15".iter().chain(SESSION.as_bytes()).copied().collect::<Vec<_>>());
        fixture.lost();
        fixture.reopen();
        assert_eq!(fixture.labels().last().unwrap(), "Send 20 1");
        fixture
    }

    fn connect(&mut self) {
        self.client.connect(self.now, &mut self.out);
    }

    fn dialing(&mut self) {
        self.probed(Ok(answer_of(Metadata::V1_4)));
    }

    fn probed(&mut self, answer: Result<Answer, ProbeFailed>) {
        self.client.handle_probed(self.now, answer, &mut self.out);
    }

    fn refused(&mut self, status: u16) {
        self.client.handle_refused(self.now, status, None, &mut self.out);
    }

    fn opened(&mut self) {
        self.client.handle_opened(self.now, None, &mut self.out);
    }

    fn lost(&mut self) {
        self.client.handle_disconnect(self.now, &mut self.out);
    }

    /// From waiting to the open socket.
    fn reopen(&mut self) {
        self.due();
        self.dialing();
        self.opened();
    }

    fn close(&mut self) {
        self.client.close(self.now, &mut self.out);
    }

    fn receive(&mut self, frame: impl Into<Bytes>) {
        self.client.handle_message(self.now, frame.into(), &mut self.out);
    }

    fn timeout(&mut self) {
        self.client.handle_timeout(self.now, &mut self.out);
        assert!(self.client.next_timeout().is_none_or(|next| next > self.now));
    }

    /// Lets time pass until something is due, and does it.
    fn due(&mut self) {
        self.now = self.client.next_timeout().unwrap();
        self.timeout();
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.timeout();
    }

    fn request(&mut self, text: &'static str) -> Result<RequestId, Misuse> {
        self.client.request(self.now, name(text), Payload::EMPTY, None, &mut self.out)
    }

    fn restore(&mut self, text: &str) -> Result<RequestId, Misuse> {
        self.client.restore_session(self.now, key(text), None, &mut self.out)
    }

    fn close_session(&mut self) -> Result<RequestId, Misuse> {
        self.client.close_session(self.now, None, &mut self.out)
    }

    fn signal(&mut self, text: &str, payload: &Payload) -> Result<(), Misuse> {
        self.client.signal(self.now, &name(text), payload, &mut self.out)
    }

    fn take(&mut self) -> Vec<Action> {
        self.out.drain().collect()
    }

    /// The actions so far, each as one short text.
    fn labels(&mut self) -> Vec<String> {
        self.take().iter().map(label).collect()
    }

    /// The outcomes among the actions so far.
    fn outcomes(&mut self) -> Vec<(RequestId, Outcome)> {
        let outcomes = self.take().into_iter().filter_map(|action| match action {
            Action::Done { id, outcome } => Some((id, outcome)),
            _ => None,
        });
        outcomes.collect()
    }
}

fn label(action: &Action) -> String {
    match action {
        Action::Probe | Action::Dial | Action::Ping | Action::Hangup => format!("{action:?}"),
        Action::Send(frame) if frame.len() > 8 && (25..63).contains(&frame[0]) => {
            format!("Send {:02x} {}", frame[0], u64::from_le_bytes(frame[1..9].try_into().unwrap()))
        }
        Action::Send(frame) => format!("Send {:02x}", frame[0]),
        Action::Done { id, outcome: Ok(_) } => format!("Done {id}"),
        Action::Done { id, outcome: Err(error) } => format!("Done {id} {error:?}"),
        Action::Event(event) => {
            let text = format!("{event:?}");
            text.split([' ', '(']).next().unwrap().into()
        }
    }
}

/// The name of the link's state; that of a resumption tells its step.
fn state(client: &Client) -> String {
    let text = format!("{:?}", client.link);
    match &client.link {
        Link::Resuming(_) if text.contains("Asked") => "Asked".into(),
        Link::Resuming(_) => "Pausing".into(),
        _ => text.split(' ').next().unwrap().into(),
    }
}

// On 64-bit targets.
#[cfg(target_pointer_width = "64")]
#[test]
fn sizes_do_not_grow_unnoticed() {
    for (what, size, most) in [
        ("Client", size_of::<Client>(), 1160),
        ("Action", size_of::<Action>(), 80),
        ("RequestError", size_of::<RequestError>(), 48),
    ] {
        assert!(size <= most, "{what} takes {size} bytes, at most {most} are meant");
    }
}
