//! The server connection, one call and all its actions at a time.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::num::{NonZeroU16, NonZeroU32};
use core::time::Duration;

use bytes::Bytes;

use super::*;
use crate::actions::Actions;
use crate::dialect::Dialect;
use crate::session::{
    Change, Command, Edit, EditCommand, EditFailure, KeyFormat, NewKey, OtherConnections, Outcome,
    Session, SessionInfo, SessionKey,
};
use crate::time::{Instant, UnixTime};
use crate::wire::{Encoder, Encoding, Identifier, Kind, Name, Payload};

mod buffer;
mod closing;
mod edits;
mod kinds;
mod malformed;
mod order;
mod peers;
mod questions;
mod recovery;
mod replies;
mod session_states;
mod sessions;
mod signals;
mod silence;
mod sizes;
mod wwr1;

/// A connection and what became of it. Handlers are numbered from 1 in the order in which they
/// start, identifiers of the client are counters.
struct Script {
    connection: Connection,
    out: Actions<Action>,
    now: Instant,
    requests: Vec<RequestId>,
    signals: Vec<SignalId>,
}

fn config() -> Config {
    let sessions = Sessions::Enabled(KeyFormat::Custom(|key| key.starts_with('k')));
    Config { sessions, pings: None, ..Config::default() }
}

fn concurrent(handlers: u16) -> Config {
    Config { concurrency: NonZeroU16::new(handlers).unwrap(), ..config() }
}

fn key(text: &str) -> SessionKey {
    SessionKey::new(text).unwrap()
}

fn session(text: &str) -> Session {
    Session::new(key(text), UnixTime::from_seconds(0), SessionInfo::new())
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn request(id: u64, text: &str, payload: &'static str) -> Bytes {
    let id = Identifier::from_counter(id);
    Encoder::new().request(id, &name(text), &Payload::utf8_static(payload))
}

fn signal(text: &str, payload: &'static str) -> Bytes {
    Encoder::new().signal(&name(text), &Payload::utf8_static(payload))
}

fn restore(id: u64, key: &str) -> Bytes {
    Encoder::new().restore_session(Identifier::from_counter(id), key.as_bytes())
}

fn close_session(id: u64) -> Bytes {
    Encoder::new().close_session(Identifier::from_counter(id))
}

impl Script {
    fn new() -> Self {
        Self::with(Dialect::V1_4, &config())
    }

    /// A connection of a server for a version, or for all, that was just accepted.
    fn accept(dialect: Dialect, config: &Config) -> Self {
        let protocol = match dialect {
            Dialect::V1_4 => Protocol::V1_4,
            Dialect::V1_5 => Protocol::V1_5,
            Dialect::V2_0 => Protocol::V2_0,
            Dialect::Unknown | Dialect::Wwr1 => Protocol::Any,
        };
        let observed = match dialect {
            Dialect::Wwr1 => Observed::SubProtocol,
            _ => Observed::Nothing,
        };
        let script = Self::observed(&Config { protocol, ..config.clone() }, observed);
        assert_eq!(script.connection.dialect(), dialect);
        script
    }

    fn observed(config: &Config, observed: Observed) -> Self {
        let (now, mut out) = (Instant::EPOCH, Actions::new());
        let config = config.clone().validate().unwrap();
        let connection = Connection::accept(&config, observed, now, &mut out);
        Self { connection, out, now, requests: Vec::new(), signals: Vec::new() }
    }

    /// As [`accept`](Self::accept); what 2.0 peers are told first has been checked.
    fn with(dialect: Dialect, config: &Config) -> Self {
        let mut script = Self::accept(dialect, config);
        let advertised: &[&str] = match dialect {
            Dialect::V1_4 | Dialect::V1_5 => &[],
            Dialect::V2_0 | Dialect::Unknown => &["send 17 #020060ea000000200000"],
            Dialect::Wwr1 => &["send 17 #020060ea000000001000"],
        };
        script.expect(advertised);
        script
    }

    /// A connection that holds the session `k1`, which the store has.
    fn logged_in(dialect: Dialect, config: &Config) -> Self {
        let mut script = Self::with(dialect, config);
        script.client(restore(99, "k1"), &["ask Restore k1"]);
        let json = session("k1").to_json();
        let reply = format!("send c0 99 {json}");
        script.told("k1", restored("k1"), &[&reply, "event Restored"]);
        script
    }

    /// All actions, one line each:
    ///
    /// * `send`, the type in hex, the identifier as a counter (`-` if its bytes are not a small
    ///   number), the rest as text, or after `#` as hex;
    /// * `run`, the number of the handler, name and payload of the request or signal;
    /// * `ask` with what the registry is asked; `event` and `close`.
    #[track_caller]
    fn expect(&mut self, expected: &[&str]) {
        assert_eq!(self.lines(), expected);
    }

    fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(action) = self.out.pop() {
            lines.push(match action {
                Action::Send(frame) => format!("send {}", describe(&frame)),
                Action::Request(Request { id, content }) => {
                    self.requests.push(id);
                    let number = self.requests.len();
                    format!("run {number} {}", text(content.name(), content.payload()))
                }
                Action::Signal(Signal { id, content }) => {
                    self.signals.push(id);
                    let number = self.signals.len();
                    format!("signal {number} {}", text(content.name(), content.payload()))
                }
                Action::Session(Command::Create(session)) => {
                    format!("ask Create {}", session.key.as_str())
                }
                Action::Session(Command::Restore(key)) => format!("ask Restore {}", key.as_str()),
                Action::Session(Command::Edit(command)) => {
                    let EditCommand { key, edit } = *command;
                    match edit {
                        Edit::Info(_) => format!("ask Update {}", key.as_str()),
                        Edit::NewKey(NewKey { key: to, info, others, .. }) => {
                            let info = if info.is_some() { ", info" } else { "" };
                            let close = others == OtherConnections::Close;
                            let close = if close { ", close others" } else { "" };
                            format!("ask Rotate {} {}{info}{close}", key.as_str(), to.as_str())
                        }
                    }
                }
                Action::Session(Command::Close(key)) => format!("ask Close {}", key.as_str()),
                Action::Session(Command::Leave(key)) => format!("ask Leave {}", key.as_str()),
                Action::SessionEvent(SessionEvent::Created(..)) => "event Created".to_string(),
                Action::SessionEvent(SessionEvent::Restored(_)) => "event Restored".to_string(),
                Action::SessionEvent(SessionEvent::CreateFailed(_)) => {
                    "event CreateFailed".to_string()
                }
                Action::SessionEvent(SessionEvent::Closed { by, fate, .. }) => match fate {
                    Fate::Destroyed => format!("event Closed by {by:?}"),
                    Fate::LivesOn => format!("event Closed by {by:?}, lives on"),
                    Fate::Unknown => format!("event Closed by {by:?}, fate unknown"),
                },
                Action::SessionEvent(SessionEvent::Updated(edited)) => {
                    format!("event Updated{}", about(&edited))
                }
                Action::SessionEvent(SessionEvent::Rotated(edited)) => {
                    format!("event Rotated{}", about(&edited))
                }
                Action::SessionEvent(SessionEvent::EditFailed(edit, failure)) => {
                    format!("event EditFailed {} {failure:?}", edit.as_u64())
                }
                Action::SessionEvent(event) => format!("event {event:?}"),
                Action::Recover(command) => format!("recover {command:?}"),
                Action::Ping => "ping".to_string(),
                Action::Learned(dialect) => format!("speaks {dialect}"),
                Action::PeerReads(bytes) => format!("reads {bytes}"),
                Action::ReplyTooLarge { length, buffer } => {
                    format!("reply of {length} bytes, at most {buffer}")
                }
                Action::Answered { id, outcome } => {
                    let how = match *outcome {
                        Ok(payload) => text(b"", payload.as_bytes()).trim_start().to_string(),
                        Err(error) => format!("{error:?}"),
                    };
                    format!("answered {} {how}", id.as_u64())
                }
                Action::Drained => "drained".to_string(),
                Action::Close(reason) => format!("close {reason:?}"),
            });
        }
        lines
    }

    /// The client sends a message.
    #[track_caller]
    fn client(&mut self, frame: impl Into<Bytes>, expected: &[&str]) {
        self.connection.handle_message(self.now, frame.into(), &mut self.out);
        self.expect(expected);
    }

    /// The handler of a request is done.
    #[track_caller]
    fn reply(&mut self, number: usize, result: Result<&'static str, RequestError>, does: &[&str]) {
        let payload = result.map(Payload::utf8_static);
        assert_eq!(
            self.connection.reply(self.requests[number - 1], payload, &mut self.out),
            Ok(())
        );
        self.expect(does);
    }

    /// The handler of a signal is done.
    #[track_caller]
    fn handled(&mut self, number: usize, expected: &[&str]) {
        let id = self.signals[number - 1];
        assert_eq!(self.connection.signal_handled(id, &mut self.out), Ok(()));
        self.expect(expected);
    }

    /// The registry has news.
    #[track_caller]
    fn told(&mut self, text: &str, change: Change, expected: &[&str]) {
        let outcome = Outcome { key: key(text), change };
        self.connection.handle_session(self.now, outcome, &mut self.out);
        self.expect(expected);
    }

    /// The socket takes output now, or does not.
    #[track_caller]
    fn writable(&mut self, writable: bool, expected: &[&str]) {
        self.connection.handle_writable(writable, &mut self.out);
        self.expect(expected);
    }

    /// The application creates a session.
    fn create(&mut self, text: &str) -> Result<(), Misuse> {
        let (now, info) = (UnixTime::from_seconds(0), SessionInfo::new());
        self.connection.create_session(key(text), now, info, &mut self.out).map(drop)
    }

    fn update(&mut self, info: SessionInfo) -> Result<EditId, Misuse> {
        self.connection.edit_session(Edit::Info(info), &mut self.out)
    }

    fn rotate(&mut self, to: &str) -> Result<EditId, Misuse> {
        self.new_key(key(to), None, OtherConnections::Keep)
    }

    fn new_key(
        &mut self,
        key: SessionKey,
        info: Option<SessionInfo>,
        others: OtherConnections,
    ) -> Result<EditId, Misuse> {
        let new = NewKey { key, now: UnixTime::from_seconds(0), info, others };
        self.connection.edit_session(Edit::NewKey(new), &mut self.out)
    }

    #[track_caller]
    fn close(&mut self, expected: &[&str]) {
        self.connection.close(self.now, &mut self.out);
        self.expect(expected);
    }

    fn shut_down(&mut self, millis: u64) {
        self.shut_down_idle(millis, IdleConnections::Close);
    }

    fn shut_down_idle(&mut self, millis: u64, idle: IdleConnections) {
        let deadline = self.now + Duration::from_millis(millis);
        self.connection.shut_down(self.now, deadline, idle, &mut self.out);
    }

    #[track_caller]
    fn disconnect(&mut self, expected: &[&str]) {
        self.connection.handle_disconnect(&mut self.out);
        self.expect(expected);
    }

    /// `millis` pass, with a call of `handle_timeout` at their end.
    #[track_caller]
    fn pass(&mut self, millis: u64, expected: &[&str]) {
        self.now = self.now + Duration::from_millis(millis);
        self.connection.handle_timeout(self.now, &mut self.out);
        self.expect(expected);
        assert!(self.connection.next_timeout().is_none_or(|next| next > self.now));
    }
}

fn restored(text: &str) -> Change {
    Change::Restored(session(text).into())
}

fn text(name: &[u8], payload: &[u8]) -> String {
    let words = [name, payload].map(|part| String::from_utf8_lossy(part).to_string());
    words.join(" ").trim_end().to_string()
}

fn describe(frame: &[u8]) -> String {
    let Some((kind, rest)) = frame.split_first() else { return "nothing".to_string() };
    let identified = matches!(kind, 0..=7 | 11..=14 | 25..=32 | 127..=132 | 191..=193);
    let (id, rest) = if identified { rest.split_at(8) } else { (&[][..], rest) };
    let mut line = format!("{kind:02x}");
    if let Ok(bytes) = <[u8; 8]>::try_from(id) {
        let counter = u64::from_le_bytes(bytes);
        let shown = if counter < 1_000 { counter.to_string() } else { "-".to_string() };
        line = format!("{line} {shown}");
    }
    match core::str::from_utf8(rest) {
        Ok("") => line,
        Ok(text) if text.chars().all(|character| !character.is_control()) => {
            format!("{line} {text}")
        }
        _ => rest.iter().fold(format!("{line} #"), |line, byte| format!("{line}{byte:02x}")),
    }
}

#[test]
fn frames_are_described() {
    assert_eq!(describe(b""), "nothing");
    assert_eq!(describe(b"\x16"), "16");
    assert_eq!(describe(b"\xbf\x05\0\0\0\0\0\0\0hi"), "bf 5 hi");
    assert_eq!(describe(b"\x06\xff\xff\xff\xff\xff\xff\xff\xff"), "06 -");
    assert_eq!(describe(b"\x3f\x01ab"), "3f #016162");
}

/// The end of a line about an edit: its number, if it is one of this connection, and whether the client
/// was not told.
fn about(edited: &Edited) -> String {
    assert!(edited.before != edited.after);
    let number = edited.edit.map(|edit| format!(" {}", edit.as_u64()));
    let silent = edited.too_long.map(|(length, most)| format!(", {length} bytes, at most {most}"));
    number.unwrap_or_default() + &silent.unwrap_or_default()
}
