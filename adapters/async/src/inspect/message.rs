//! A recorded message, decoded for people.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Serialize;
use wwr::wire::{self, DecodeError, Identifier, Kind, Message};
use wwr::{Content, Encoding, Payload, Session};

use super::pretty::pretty;
use super::row::Moment;
use crate::server::recorder::{Direction, Recorded};

/// How many bytes a dump shows.
const MOST_DUMPED: usize = 1024;

/// How many bytes a line of it shows.
const DUMP_WIDTH: usize = 16;

/// A message as the page gets it.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    number: u64,
    at: Moment,
    direction: &'static str,
    /// The name of its type.
    kind: String,
    /// The identifier of the request: a number as clients of this project and the reference write them, or
    /// else hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The length of the message in bytes.
    length: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Part>,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A payload.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Part {
    encoding: &'static str,
    /// `json`, `text`, `hex` or `note`.
    form: &'static str,
    text: String,
    /// Its length in bytes.
    length: usize,
    /// Whether less than all of it is shown.
    cut: bool,
}

impl Shown {
    pub(super) fn new(recorded: Recorded) -> Self {
        let Recorded { number, at, direction, dialect, length, start } = recorded;
        let missing = length.saturating_sub(start.len());
        let direction = match direction {
            Direction::Received => "received",
            Direction::Sent => "sent",
        };
        let mut shown = Self {
            number,
            at: Moment(at),
            direction,
            kind: String::new(),
            request: None,
            name: None,
            length,
            payload: None,
            error: None,
        };
        let first = start.first().copied();
        match wire::decode(dialect, start.clone()) {
            Ok(message) => {
                shown.kind = message.kind().to_string();
                shown.request = message.identifier().map(identifier);
                shown.content(message, missing);
            }
            Err(error) => {
                let kind = first.and_then(Kind::from_byte);
                shown.kind = match (kind, first) {
                    (Some(kind), _) => format!("malformed {kind}"),
                    (None, Some(byte)) => format!("unknown type {byte}"),
                    (None, None) => "empty message".into(),
                };
                shown.request = match error {
                    DecodeError::Malformed { identifier: id, .. } => id.map(identifier),
                    DecodeError::Empty | DecodeError::UnknownKind(_) => None,
                };
                shown.error = Some(error.to_string());
                shown.payload = match kind {
                    Some(Kind::SessionCreated | Kind::RestoreSession | Kind::ResumeSession) => {
                        Some(Part::withheld(length))
                    }
                    _ => Some(Part::hex(&start, missing)),
                };
            }
        }
        shown
    }

    fn content(&mut self, message: Message, missing: usize) {
        match message {
            Message::Signal(content)
            | Message::Request { content, .. }
            | Message::Question { content, .. }
            | Message::HistorySignal { content, .. }
            | Message::IdempotentRequest { content, .. } => self.named(content, missing),
            Message::Reply { payload, .. } | Message::Answer { payload, .. } => {
                self.payload = Some(Part::payload(&payload, missing));
            }
            Message::ErrorReply { error, .. } | Message::AnswerError { error, .. } => {
                self.name = Some(error.code().into_owned());
                let message = error.message_bytes();
                self.payload = Some(Part::text(
                    "utf8",
                    &String::from_utf8_lossy(message),
                    message.len(),
                    missing,
                ));
            }
            Message::SessionCreated { object } => {
                self.payload = Some(Part::session(&object, object.len() + missing));
            }
            Message::RestoreSession { key, .. } => {
                self.payload = Some(Part::withheld(key.len() + missing));
            }
            Message::AcceptConf(conf) => {
                let mut text = format!(
                    "version {}.{}, read timeout {:?}, message buffer {} bytes",
                    conf.major,
                    conf.minor,
                    conf.read_timeout(),
                    conf.message_buffer_size
                );
                if let Some(name) = &conf.sub_protocol {
                    // Writing to a text does not fail.
                    let _ = write!(text, ", sub-protocol {}", String::from_utf8_lossy(name));
                }
                self.payload = Some(Part::note(text));
            }
            Message::ClientSettings(settings) => {
                self.payload = Some(Part::note(format!(
                    "reads messages of up to {} bytes, answers {} questions at once",
                    settings.max_message_size, settings.max_questions
                )));
            }
            Message::HistoryMark(mark) => {
                let (state, place) = (mark.state, mark.offset);
                self.payload = Some(Part::note(format!(
                    "{state:?} behind signal {place} of history {:016x}",
                    mark.incarnation
                )));
            }
            Message::KeptOutcomes(kept) => {
                self.payload = Some(Part::note(format!(
                    "keeps the outcomes of the last {} idempotent requests for {} ms",
                    kept.outcomes, kept.window_ms
                )));
            }
            Message::ResumeSession { resume, .. } => {
                self.payload = Some(Part::withheld(resume.key().len() + missing));
            }
            Message::AnswerRefused { refusal, .. } => {
                self.payload = Some(Part::note(refusal.to_string()));
            }
            Message::SpecialReply { .. }
            | Message::SessionClosed
            | Message::CloseSession { .. }
            | Message::QuestionCancelled { .. }
            | Message::Heartbeat => {}
        }
    }

    fn named(&mut self, content: Content, missing: usize) {
        self.name = Some(String::from_utf8_lossy(content.name()).into_owned());
        self.payload = Some(Part::payload(&content.into_payload(), missing));
    }
}

/// Returns an identifier as a number, if it looks like one of a counter.
fn identifier(id: Identifier) -> String {
    match id.counter() {
        counter if counter < 1 << 48 => counter.to_string(),
        _ => id.to_string(),
    }
}

impl Part {
    /// `missing` bytes at the end were not recorded.
    fn payload(payload: &Payload, missing: usize) -> Self {
        let length = payload.len();
        match payload.encoding() {
            Encoding::Binary => Self::hex(payload.as_bytes(), missing),
            Encoding::Utf8 => match lossless(payload.as_bytes(), missing) {
                Some(text) => Self::text("utf8", &text, length, missing),
                None => Self { encoding: "utf8", ..Self::hex(payload.as_bytes(), missing) },
            },
            Encoding::Utf16 => {
                let units = payload.as_bytes().chunks_exact(2);
                let units = units.filter_map(|unit| unit.try_into().ok().map(u16::from_le_bytes));
                let text: String = char::decode_utf16(units)
                    .map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER))
                    .collect();
                Self::text("utf16", &text, length, missing)
            }
        }
    }

    fn text(encoding: &'static str, text: &str, length: usize, missing: usize) -> Self {
        let is_structured = text.trim_start().starts_with(['{', '[']);
        let json = if missing == 0 && is_structured { pretty(text) } else { None };
        let form = if json.is_some() { "json" } else { "text" };
        let text = json.unwrap_or_else(|| text.to_owned());
        Self { encoding, form, text, length: length + missing, cut: missing > 0 }
    }

    fn hex(bytes: &[u8], missing: usize) -> Self {
        let shown = bytes.get(..MOST_DUMPED).unwrap_or(bytes);
        let length = bytes.len() + missing;
        Self {
            encoding: "binary",
            form: "hex",
            text: dump(shown),
            length,
            cut: shown.len() < length,
        }
    }

    fn note(text: String) -> Self {
        Self { encoding: "", form: "note", length: 0, cut: false, text }
    }

    fn withheld(length: usize) -> Self {
        Self { length, ..Self::note("a session key, which is not shown".into()) }
    }

    /// A session without its key.
    fn session(object: &[u8], length: usize) -> Self {
        let Ok(session) = Session::from_json(object) else { return Self::withheld(length) };
        let info = serde_json::to_string_pretty(&session.info.to_public()).unwrap_or_default();
        let text = format!("created {}\n{info}\nThe key is not shown.", session.created);
        Self { length, ..Self::note(text) }
    }
}

/// Returns the text, if it is one as far as it was recorded.
fn lossless(bytes: &[u8], missing: usize) -> Option<Cow<'_, str>> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text.into()),
        // A character may be cut in two.
        Err(error) if missing > 0 && error.error_len().is_none() => {
            let whole = bytes.get(..error.valid_up_to())?;
            std::str::from_utf8(whole).ok().map(Cow::from)
        }
        Err(_) => None,
    }
}

/// Returns lines with an offset, bytes, and those characters of them that are ASCII.
fn dump(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (line, chunk) in bytes.chunks(DUMP_WIDTH).enumerate() {
        let hex: String = chunk.iter().map(|byte| format!("{byte:02x} ")).collect();
        let ascii = chunk.iter().map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        });
        let (offset, ascii) = (line * DUMP_WIDTH, ascii.collect::<String>());
        // Writing to a text does not fail.
        let _ = writeln!(out, "{offset:04x}  {hex:48} {ascii}");
    }
    out.truncate(out.trim_end().len());
    out
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use wwr::wire::Encoder;
    use wwr::{Dialect, SessionInfo, SessionKey, UnixTime};

    use super::*;

    fn shown(message: &Message, most: usize) -> Shown {
        let frame = Encoder::new().encode(Dialect::Wwr1, message).unwrap();
        shown_frame(frame, most)
    }

    fn shown_frame(frame: Bytes, most: usize) -> Shown {
        let (length, start) = (frame.len(), frame.slice(..frame.len().min(most)));
        let (at, direction) = (SystemTime::UNIX_EPOCH, Direction::Received);
        Shown::new(Recorded { number: 7, at, direction, dialect: Dialect::Wwr1, length, start })
    }

    fn signal(payload: Payload) -> Message {
        Message::Signal(Content::new(b"a name", &payload).unwrap())
    }

    fn part(payload: Payload, most: usize) -> Part {
        shown(&signal(payload), most).payload.unwrap()
    }

    #[test]
    fn payloads_are_shown_by_their_encoding() {
        let all = usize::MAX;
        for (payload, encoding, form, text) in [
            ("plain".into(), "utf8", "text", "plain"),
            (Payload::utf8("[1]"), "utf8", "json", "[\n  1\n]"),
            (Payload::utf16("né 😀"), "utf16", "text", "né 😀"),
            (Payload::utf16("{}"), "utf16", "json", "{}"),
            (Payload::new(Encoding::Utf16, vec![0x00, 0xd8]).unwrap(), "utf16", "text", "\u{fffd}"),
            (
                Payload::new(Encoding::Utf8, vec![0xff]).unwrap(),
                "utf8",
                "hex",
                "0000  ff                                               .",
            ),
            (
                Payload::binary(b"<script>\0".to_vec()),
                "binary",
                "hex",
                "0000  3c 73 63 72 69 70 74 3e 00                       <script>.",
            ),
        ] {
            let length = payload.len();
            let shown = part(payload, all);
            let expected = Part { encoding, form, text: text.into(), length, cut: false };
            assert_eq!(shown, expected);
        }
        let shown = shown(&signal("x".into()), all);
        assert_eq!((&*shown.kind, shown.name.as_deref()), ("signal, UTF-8", Some("a name")));
    }

    #[test]
    fn what_was_not_recorded_is_said_and_characters_are_not_broken() {
        let name = 2 + "a name".len();
        for (payload, most, text, length) in [
            (Payload::utf8("aé😀".repeat(10)), name + 5, "aé", 70),
            (Payload::utf16("a😀"), name + 4, "a\u{fffd}", 6),
            (Payload::utf8("[1,2,3]"), name + 3, "[1,", 7),
        ] {
            let shown = part(payload, most);
            assert_eq!((&*shown.text, shown.length, shown.cut), (text, length, true));
            assert_eq!(shown.form, "text");
        }
        let shown = part(Payload::binary(vec![7; 5000]), usize::MAX);
        assert_eq!((shown.length, shown.cut, shown.text.lines().count()), (5000, true, 64));
    }

    #[test]
    fn keys_are_never_shown() {
        let key = SessionKey::from_entropy([7; 48]);
        let session = Session {
            key: key.clone(),
            created: UnixTime::from_seconds(0),
            last_lookup: UnixTime::from_seconds(0),
            info: SessionInfo::new().public("user", "ada"),
        };
        let bytes = Bytes::from(key.as_str().to_owned());
        let id = Identifier::from_counter(1);
        let created = Message::SessionCreated { object: session.to_json().into() };
        let restored = Message::RestoreSession { id, key: bytes };
        for message in [created, restored] {
            let frame = Encoder::new().encode(Dialect::Wwr1, &message).unwrap();
            for length in 1..=frame.len() {
                let whole = shown_frame(frame.slice(..length), usize::MAX);
                let cut = shown_frame(frame.clone(), length);
                for shown in [whole, cut] {
                    let json = serde_json::to_string(&shown).unwrap();
                    assert!(!json.contains(&key.as_str()[..4]), "{json}");
                    assert!(!json.contains("42 77 63 48"), "{json}");
                }
            }
            let shown = shown(&message, usize::MAX).payload.unwrap();
            let is_session = matches!(message, Message::SessionCreated { .. });
            assert_eq!(shown.text.contains("\"user\": \"ada\""), is_session, "{}", shown.text);
        }
    }

    #[test]
    fn anything_a_client_sends_is_shown_without_a_panic() {
        for first in 0..=255 {
            for length in 0..40 {
                let frame: Vec<u8> = [vec![first], vec![0xe2; length]].concat();
                for most in [1, 2, 9, 11, 64] {
                    let shown = shown_frame(frame.clone().into(), most);
                    assert_eq!(shown.length, frame.len());
                }
            }
        }
        assert_eq!(shown_frame(Bytes::new(), 1).kind, "empty message");
    }
}
