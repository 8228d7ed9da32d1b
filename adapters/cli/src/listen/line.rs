//! An event as one line: for people, and for programs.

use core::fmt::{self, Display};
use core::time::Duration;

use data_encoding::HEXLOWER;
use serde::Serialize;
use serde_json::value::RawValue;
use wwr::client::{ConnectError, DisconnectReason, SessionLoss};
use wwr::{CloseFrame, Content, Dialect, Session};
use wwr_smol::client::Event;

use crate::content::{PayloadRow, exact_text};
use crate::hex::Hex;
use crate::row::EncodingName;
use crate::text::{Quoted, one_line, visible_json};

/// Formats an event for people; a connection with its version.
pub(super) fn describe(event: &Event, dialect: Dialect) -> String {
    match event {
        Event::Connected => match known_version(dialect) {
            Some(version) => format!("connected, protocol {version}"),
            None => "connected".into(),
        },
        Event::Disconnected { reason, retry_in } => {
            format!("disconnected: {}{}", Reason(reason), Retry(*retry_in))
        }
        Event::ConnectFailed { error, retry_in } => {
            format!("connect failed: {}{}", one_line(&error.to_string()), Retry(*retry_in))
        }
        Event::Signal(content) => describe_signal(content),
        Event::SessionCreated(session) => {
            format!("session created {}", visible_json(&session.to_json()))
        }
        Event::SessionUpdated(session) => {
            format!("session updated {}", visible_json(&session.to_json()))
        }
        Event::SessionRestored(session) => {
            format!("session restored {}", visible_json(&session.to_json()))
        }
        Event::SessionClosed => "session closed".into(),
        Event::SessionLost(loss) => format!("session lost: {}", loss_name(*loss)),
        Event::Missed(count) => format!("missed {count}"),
        other => one_line(&format!("{other:?}")),
    }
}

fn describe_signal(content: &Content) -> String {
    let payload = content.clone().into_payload();
    let encoding = EncodingName::from(payload.encoding()).as_str();
    let name = Quoted::bytes(content.name());
    match exact_text(&payload) {
        Some(text) => format!("signal {name} {encoding} {}", Quoted::whole(&text)),
        None => format!("signal {name} {encoding} {}", HEXLOWER.encode(payload.as_bytes())),
    }
}

/// Returns the version, unless the connection has already ended.
fn known_version(dialect: Dialect) -> Option<String> {
    (dialect != Dialect::Unknown).then(|| dialect.to_string())
}

/// When the next attempt will come.
struct Retry(Option<Duration>);

impl Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(time) => write!(f, "; next attempt in {} ms", time.as_millis()),
            None => Ok(()),
        }
    }
}

/// Why a connection ended, with the reason of the server.
struct Reason<'a>(&'a DisconnectReason);

impl Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(reason_name(self.0))?;
        match self.0 {
            DisconnectReason::ClosedByServer(frame) => write!(f, ", {frame}"),
            _ => Ok(()),
        }
    }
}

const fn reason_name(reason: &DisconnectReason) -> &'static str {
    match reason {
        DisconnectReason::Lost => "lost",
        DisconnectReason::ClosedByServer(_) => "closed-by-server",
        DisconnectReason::Closed => "closed",
        DisconnectReason::Silent => "silent",
        DisconnectReason::Incompatible => "incompatible",
        _ => "other",
    }
}

const fn loss_name(loss: SessionLoss) -> &'static str {
    match loss {
        SessionLoss::NotFound => "not-found",
        SessionLoss::Disabled => "disabled",
        SessionLoss::Refused => "refused",
        SessionLoss::InvalidReply => "invalid-reply",
        SessionLoss::GaveUp => "gave-up",
        _ => "other",
    }
}

/// An event for programs.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum EventRow {
    Connected {
        #[serde(skip_serializing_if = "Option::is_none")]
        protocol: Option<String>,
    },
    Disconnected {
        reason: &'static str,
        #[serde(flatten)]
        close: Option<CloseRow>,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_in_ms: Option<u128>,
    },
    ConnectFailed {
        error: String,
        #[serde(flatten)]
        close: Option<CloseRow>,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_in_ms: Option<u128>,
    },
    Signal {
        #[serde(flatten)]
        name: NameRow,
        #[serde(flatten)]
        payload: PayloadRow,
    },
    SessionCreated {
        session: Box<RawValue>,
    },
    SessionUpdated {
        session: Box<RawValue>,
    },
    SessionRestored {
        session: Box<RawValue>,
    },
    SessionClosed,
    SessionLost {
        reason: &'static str,
    },
    Missed {
        count: u64,
    },
    /// One that this command does not know.
    Other {
        text: String,
    },
}

/// The content of the server's close frame.
#[derive(Debug, Serialize)]
pub(super) struct CloseRow {
    /// Missing if the frame had no code.
    #[serde(skip_serializing_if = "Option::is_none")]
    close_code: Option<u16>,
    close_reason: String,
}

impl CloseRow {
    fn new(frame: &CloseFrame) -> Self {
        let code = Some(frame.code()).filter(|code| *code != CloseFrame::NO_CODE);
        Self { close_code: code, close_reason: frame.reason().into() }
    }
}

/// A name, which peers need not send as text.
#[derive(Debug, Serialize)]
pub(super) enum NameRow {
    #[serde(rename = "name")]
    Text(String),
    #[serde(rename = "name_hex")]
    Bytes(Hex),
}

impl NameRow {
    fn new(content: &Content) -> Self {
        match content.name_str() {
            Some(name) => Self::Text(name.into()),
            None => Self::Bytes(Hex::copy(content.name())),
        }
    }
}

impl EventRow {
    pub(super) fn new(event: &Event, dialect: Dialect) -> Self {
        let milliseconds = |time: &Option<Duration>| time.map(|time| time.as_millis());
        match event {
            Event::Connected => Self::Connected { protocol: known_version(dialect) },
            Event::Disconnected { reason, retry_in } => Self::Disconnected {
                reason: reason_name(reason),
                close: match reason {
                    DisconnectReason::ClosedByServer(frame) => Some(CloseRow::new(frame)),
                    _ => None,
                },
                retry_in_ms: milliseconds(retry_in),
            },
            Event::ConnectFailed { error, retry_in } => Self::ConnectFailed {
                error: error.to_string(),
                close: match error.kind() {
                    Some(ConnectError::ClosedBeforeReady(frame)) => Some(CloseRow::new(frame)),
                    _ => None,
                },
                retry_in_ms: milliseconds(retry_in),
            },
            Event::Signal(content) => Self::Signal {
                name: NameRow::new(content),
                payload: PayloadRow::new(&content.clone().into_payload()),
            },
            Event::SessionCreated(session) => Self::SessionCreated { session: object(session) },
            Event::SessionUpdated(session) => Self::SessionUpdated { session: object(session) },
            Event::SessionRestored(session) => Self::SessionRestored { session: object(session) },
            Event::SessionClosed => Self::SessionClosed,
            Event::SessionLost(loss) => Self::SessionLost { reason: loss_name(*loss) },
            Event::Missed(count) => Self::Missed { count: *count },
            other => Self::Other { text: format!("{other:?}") },
        }
    }
}

/// Returns the object that was on the wire, with all digits of its numbers.
fn object(session: &Session) -> Box<RawValue> {
    // A session writes JSON.
    RawValue::from_string(visible_json(&session.to_json())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use wwr::client::Protocol;
    use wwr::{Payload, SessionInfo, SessionKey, UnixTime};

    use super::*;
    use crate::output;
    use wwr_smol::client::ConnectError as Failed;

    fn signal(name: &[u8], payload: Payload) -> Event {
        Event::Signal(Content::new(name, &payload).unwrap())
    }

    fn check(event: &Event, line: &str, json: &str) {
        check_in(Dialect::Unknown, event, line, json);
    }

    fn check_in(dialect: Dialect, event: &Event, line: &str, json: &str) {
        assert_eq!(describe(event, dialect), line);
        let row = String::from_utf8(output::row(&EventRow::new(event, dialect)).unwrap()).unwrap();
        assert_eq!(row, format!("{json}\n"));
    }

    #[test]
    fn every_signal_is_one_line() {
        check(
            &signal(b"news", "a\n\u{1b}[2J".into()),
            r#"signal "news" utf8 "a\n\u{1b}[2J""#,
            r#"{"event":"signal","name":"news","encoding":"utf8","payload":"a\n\u001b[2J"}"#,
        );
        check(
            &signal(b"", Payload::utf16("😀")),
            r#"signal "" utf16 "😀""#,
            r#"{"event":"signal","name":"","encoding":"utf16","payload":"😀"}"#,
        );
        check(
            &signal(b"\xff\n", Payload::binary(vec![0, 255])),
            r#"signal "\xff\n" binary 00ff"#,
            r#"{"event":"signal","name_hex":"ff0a","encoding":"binary","payload_hex":"00ff"}"#,
        );
    }

    #[test]
    fn connections_and_sessions_are_reported() {
        let retry_in = Some(Duration::from_millis(250));
        check(&Event::Connected, "connected", r#"{"event":"connected"}"#);
        check_in(
            Dialect::V1_5,
            &Event::Connected,
            "connected, protocol 1.5",
            r#"{"event":"connected","protocol":"1.5"}"#,
        );
        check(
            &Event::Disconnected { reason: DisconnectReason::Incompatible, retry_in: None },
            "disconnected: incompatible",
            r#"{"event":"disconnected","reason":"incompatible"}"#,
        );
        check(
            &Event::Disconnected { reason: DisconnectReason::Lost, retry_in },
            "disconnected: lost; next attempt in 250 ms",
            r#"{"event":"disconnected","reason":"lost","retry_in_ms":250}"#,
        );
        let error = Failed::Failed {
            kind: ConnectError::NotWebWire { client: Protocol::Auto },
            cause: None,
        };
        let banned = CloseFrame::received(Some(4003), "banned\n");
        let reason = DisconnectReason::ClosedByServer(banned.clone());
        check(
            &Event::Disconnected { reason, retry_in: None },
            r#"disconnected: closed-by-server, 4003 "banned\n""#,
            concat!(
                r#"{"event":"disconnected","reason":"closed-by-server","close_code":4003,"#,
                r#""close_reason":"banned\n"}"#
            ),
        );
        let reason = DisconnectReason::ClosedByServer(CloseFrame::received(None, ""));
        check(
            &Event::Disconnected { reason, retry_in },
            "disconnected: closed-by-server, no code; next attempt in 250 ms",
            concat!(
                r#"{"event":"disconnected","reason":"closed-by-server","close_reason":"","#,
                r#""retry_in_ms":250}"#
            ),
        );
        let kind = ConnectError::ClosedBeforeReady(banned);
        check(
            &Event::ConnectFailed { error: Failed::Failed { kind, cause: None }, retry_in: None },
            r#"connect failed: the server closed the connection before it was ready: 4003 "banned\n""#,
            concat!(
                r#"{"event":"connect-failed","error":"the server closed the connection before it was "#,
                r#"ready: 4003 \"banned\\n\"","close_code":4003,"close_reason":"banned\n"}"#
            ),
        );
        check(
            &Event::ConnectFailed { error, retry_in: None },
            "connect failed: there is no WebWire server at this address; check the address",
            concat!(
                r#"{"event":"connect-failed","error":"there is no WebWire server at this address; "#,
                r#"check the address"}"#
            ),
        );
        let key = SessionKey::new("KEY").unwrap();
        let info = SessionInfo::new().public("user", "ada");
        let session = Session::new(key, UnixTime::from_seconds(0), info);
        let json = session.to_json();
        check(
            &Event::SessionUpdated(session.clone()),
            &format!("session updated {json}"),
            &format!(r#"{{"event":"session-updated","session":{json}}}"#),
        );
        check(
            &Event::SessionCreated(session),
            &format!("session created {json}"),
            &format!(r#"{{"event":"session-created","session":{json}}}"#),
        );
        let long =
            r#"{"c":"1970-01-01T00:00:00Z","i":{"n":123456789012345678901234567890.50},"k":"K"}"#;
        let row = EventRow::new(
            &Event::SessionRestored(Session::from_json(long.as_bytes()).unwrap()),
            Dialect::V2_0,
        );
        let row = String::from_utf8(output::row(&row).unwrap()).unwrap();
        assert!(row.contains(r#"{"n":123456789012345678901234567890.50}"#), "{row}");
        check(
            &Event::SessionLost(SessionLoss::GaveUp),
            "session lost: gave-up",
            r#"{"event":"session-lost","reason":"gave-up"}"#,
        );
        check(&Event::Missed(3), "missed 3", r#"{"event":"missed","count":3}"#);
    }
}
