//! Recorded conversations, as `tests/vectors/README.md` describes them.

use data_encoding::HEXLOWER;
use serde::Deserialize;

/// Which reference was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    V1_4,
    V2_0,
}

/// What was recorded of one scenario.
#[derive(Deserialize)]
pub(crate) struct Transcript {
    pub(crate) scenario: String,
    client: String,
    pub(crate) server_options: ServerOptions,
    pub(crate) events: Vec<Event>,
}

#[derive(Deserialize)]
pub(crate) struct ServerOptions {
    /// `enabled` or `disabled`.
    pub(crate) sessions: String,
    /// 0 for any number.
    #[serde(default)]
    pub(crate) max_session_connections: usize,
    #[serde(default)]
    pub(crate) session_keys: String,
    #[serde(default)]
    pub(crate) session_manager: String,
    /// 2.0 only, as all that follow.
    pub(crate) read_timeout_ms: Option<u64>,
    pub(crate) message_buffer_size: Option<u32>,
    /// Empty for none.
    #[serde(default)]
    pub(crate) sub_protocol: String,
    /// 0 for one handler at a time, negative for any number.
    #[serde(default)]
    pub(crate) concurrency_limit: i64,
}

/// The sender of something.
#[derive(Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    #[serde(rename = "c2s")]
    FromClient,
    #[serde(rename = "s2c")]
    FromServer,
}

#[derive(Deserialize)]
#[serde(from = "Recorded")]
pub(crate) struct Event {
    /// When, in milliseconds since the start, where that was recorded.
    pub(crate) ms: Option<u64>,
    pub(crate) what: What,
}

pub(crate) enum What {
    /// A request or an answer; with the connection if it is about an upgrade.
    Http { direction: Direction, connection: Option<u64>, text: String },
    Message {
        direction: Direction,
        connection: u64,
        frame: Vec<u8>,
        /// It was a text message.
        text: bool,
    },
    /// Put there by the proxy on its way to the client; the server knows nothing of it.
    Injected,
    /// `ping`, `pong` or `close`.
    Control { direction: Direction, connection: u64, kind: String },
    /// The TCP connection was closed by a side, or cut: then there is none.
    Closed { by: Option<Direction>, connection: u64 },
    /// What an application did or was told.
    Application(String),
}

#[derive(Deserialize)]
struct Recorded {
    dir: Option<Direction>,
    conn: Option<u64>,
    hex: Option<String>,
    http: Option<String>,
    ws: Option<String>,
    tcp: Option<String>,
    app: Option<String>,
    #[serde(default)]
    text: bool,
    #[serde(default)]
    injected: bool,
    ms: Option<u64>,
}

impl From<Recorded> for Event {
    fn from(recorded: Recorded) -> Self {
        let ms = recorded.ms;
        Self { ms, what: recorded.into() }
    }
}

impl From<Recorded> for What {
    fn from(recorded: Recorded) -> Self {
        let Recorded { dir, conn, hex, http, ws, tcp, app, text, injected, ms: _ } = recorded;
        let direction = || dir.expect("a direction");
        let connection = || conn.expect("a connection");
        if injected {
            Self::Injected
        } else if let Some(text) = app {
            Self::Application(text)
        } else if let Some(text) = http {
            Self::Http { direction: direction(), connection: conn, text }
        } else if let Some(hex) = hex {
            let frame = HEXLOWER.decode(hex.as_bytes()).expect("hex");
            Self::Message { direction: direction(), connection: connection(), frame, text }
        } else if let Some(kind) = ws {
            Self::Control { direction: direction(), connection: connection(), kind }
        } else {
            assert!(tcp.is_some(), "an event of a known kind");
            Self::Closed { by: dir, connection: connection() }
        }
    }
}

impl Transcript {
    /// Whether the client was the reference's library, and not made by hand.
    pub(crate) fn is_by_library(&self) -> bool {
        self.client == "reference"
    }
}

impl Reference {
    /// All that was recorded.
    pub(crate) fn transcripts(self) -> Vec<Transcript> {
        let lines = match self {
            Self::V1_4 => include_str!("../vectors/transcripts-1.4.jsonl"),
            Self::V2_0 => include_str!("../vectors/transcripts-2.0.jsonl"),
        };
        lines.lines().map(|line| serde_json::from_str(line).expect("a transcript")).collect()
    }
}
