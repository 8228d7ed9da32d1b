//! The recordings: their format, and the words in which they tell what applications do.

use core::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use wwr::wire::{self, Message};
use wwr::{Dialect, Encoding, InvalidName, Name, Payload};

/// Which reference was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    V1_4,
    V2_0,
}

impl Reference {
    pub(crate) const fn dialect(self) -> Dialect {
        match self {
            Self::V1_4 => Dialect::V1_4,
            Self::V2_0 => Dialect::V2_0,
        }
    }

    /// All that was recorded.
    pub(crate) fn recordings(self) -> Vec<Recording> {
        let lines = match self {
            Self::V1_4 => include_str!("../vectors/transcripts-1.4.jsonl"),
            Self::V2_0 => include_str!("../vectors/transcripts-2.0.jsonl"),
        };
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[derive(Deserialize)]
pub(crate) struct Recording {
    pub(crate) scenario: String,
    pub(crate) client: String,
    pub(crate) server_options: ServerOptions,
    pub(crate) events: Vec<Recorded>,
}

#[derive(Deserialize)]
pub(crate) struct ServerOptions {
    #[serde(default)]
    sub_protocol: String,
}

impl Recording {
    /// The client's sub-protocol, which the recording tells only in words.
    pub(crate) fn client_sub_protocol(&self) -> Option<String> {
        match &*self.scenario {
            "accept-conf-sub-protocol" => Some(self.server_options.sub_protocol.clone()),
            "connect-sub-protocol-mismatch" | "connect-sub-protocol-client-only" => {
                Some("another".into())
            }
            _ => None,
        }
    }

    /// Whether the client reconnects by itself.
    pub(crate) fn reconnects(&self) -> bool {
        self.scenario.contains("-auto")
    }

    /// Whether a connection ended at all while its scenario was recorded.
    pub(crate) fn ends(&self, conn: u64) -> bool {
        self.events.iter().any(|event| event.conn == Some(conn) && event.tcp.is_some())
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Recorded {
    pub(crate) dir: String,
    pub(crate) conn: Option<u64>,
    pub(crate) hex: Option<String>,
    pub(crate) http: Option<String>,
    pub(crate) tcp: Option<String>,
    pub(crate) app: Option<String>,
    /// Milliseconds since the start, where they were recorded.
    pub(crate) ms: Option<u64>,
}

/// The label of the client and what it does, of an event such as `client A: Close`.
pub(crate) fn of_client(app: &str) -> Option<(&str, &str)> {
    app.split_once(": ").filter(|(who, _)| who.starts_with("client"))
}

/// Name, payload and time limit of a call such as `name "a"; utf8, text "b"; 80ms)`.
pub(crate) fn content(
    arguments: &str,
    frame: Option<&Bytes>,
) -> (Result<Name, InvalidName>, Payload, Option<Duration>) {
    let (name, rest) = quoted(arguments.strip_prefix("name ").unwrap());
    let (described, rest) = Described::parse(rest.strip_prefix("; ").unwrap());
    let payload = match &described.bytes {
        Some(bytes) => Payload::new(described.encoding, bytes.clone()).unwrap(),
        // Long payloads are not written out; the frame has them.
        None => match wire::decode(Dialect::V1_4, frame.unwrap().clone()).unwrap() {
            Message::Request { content, .. } => content.into_payload(),
            other => panic!("no request: {other:?}"),
        },
    };
    assert!(described.is(&payload));
    let limit = rest.strip_prefix("; within ").or(rest.strip_prefix("; "));
    let millis = limit.map(|limit| limit.strip_suffix("ms)").unwrap());
    let timeout = millis.map(|millis| Duration::from_millis(millis.parse().unwrap()));
    assert!(timeout.is_some() || rest == ")", "{rest}");
    (Name::new(name), payload, timeout)
}

/// A payload as recordings describe it: `binary, empty`, `utf8, text "a"`, `utf16, bytes 0x6100`,
/// `binary, 4000 bytes starting 0x00070e`.
pub(crate) struct Described {
    pub(crate) encoding: Encoding,
    pub(crate) length: usize,
    pub(crate) start: Vec<u8>,
    pub(crate) bytes: Option<Vec<u8>>,
}

impl Described {
    pub(crate) fn parse(text: &str) -> (Self, &str) {
        let (encoding, rest) = text.split_once(", ").unwrap();
        let encoding = match encoding {
            "binary" => Encoding::Binary,
            "utf8" => Encoding::Utf8,
            "utf16" => Encoding::Utf16,
            other => panic!("no encoding: {other}"),
        };
        let (long, start, rest) = if let Some(rest) = rest.strip_prefix("empty") {
            (None, Vec::new(), rest)
        } else if let Some(rest) = rest.strip_prefix("text ") {
            let (text, rest) = quoted(rest);
            (None, text.into_bytes(), rest)
        } else {
            let (what, digits) = rest.split_once("0x").unwrap();
            let end = digits.find(|digit: char| !digit.is_ascii_hexdigit()).unwrap();
            let long = what.strip_suffix(" bytes starting ").map(|length| length.parse().unwrap());
            assert!(long.is_some() || what == "bytes ", "{what}");
            (long, unhex(&digits[..end]), &digits[end..])
        };
        let length = long.unwrap_or(start.len());
        let bytes = long.is_none().then(|| start.clone());
        (Self { encoding, length, start, bytes }, rest)
    }

    pub(crate) fn is(&self, payload: &Payload) -> bool {
        self.encoding == payload.encoding()
            && self.length == payload.len()
            && payload.as_bytes().starts_with(&self.start)
    }
}

/// The string at the start of `text`, and what follows it.
pub(crate) fn quoted(text: &str) -> (String, &str) {
    let mut strings = serde_json::Deserializer::from_str(text).into_iter::<String>();
    let string = strings.next().unwrap().unwrap();
    (string, &text[strings.byte_offset()..])
}

pub(crate) fn unhex(digits: &str) -> Vec<u8> {
    let pairs = (0..digits.len()).step_by(2).map(|at| &digits[at..at + 2]);
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}
