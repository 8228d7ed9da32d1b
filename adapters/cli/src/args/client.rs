//! The arguments of the commands that connect to a server.

use core::num::NonZeroU64;
use core::time::Duration;
use std::path::PathBuf;

use clap::Args;
use wwr::session::EmptyKey;
use wwr::{Name, SessionKey};
use wwr_smol::client::ServerUrl;

use super::LogArguments;
use super::value::{PayloadEncoding, positive_duration, positive_number};

/// Make a request and print the reply
///
/// The payload of the reply goes to standard output: bytes and UTF-8 as they are, UTF-16 as UTF-8
/// with U+FFFD for what is no text; nothing is added. Everything else goes to standard error.
/// There is one attempt to connect, with protocol 1.4.
///
/// With --json, standard output gets one object on one line, also if something went wrong: name
/// (of the request), then encoding and payload (text) or payload_hex (binary, or what is no text) of
/// the reply, or else error (its kind), code (if the application on the server gave one) and
/// message.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wwr request ws://localhost:7777/ echo hello
  wwr request ws://localhost:7777/ login '{\"user\":\"ada\"}'
  wwr request --session \"$key\" ws://localhost:7777/ whoami
  wwr request --encoding binary --file picture.png ws://localhost:7777/ echo > copy.png
  date | wwr request --json --timeout 500ms ws://localhost:7777/ echo -

Exit codes:
  0  the server replied
  1  the server answered with an error; its kind and code are shown
  2  the command was called wrongly, or the payload cannot be read or sent
  3  no connection, or it was lost before the reply
  4  the time was over, before the reply or even the connection was there")]
pub(crate) struct RequestArguments {
    #[command(flatten)]
    pub(crate) connect: ConnectArguments,
    #[command(flatten)]
    pub(crate) content: ContentArguments,
    /// How long everything may take together: connecting, restoring the session, the reply
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = positive_duration)]
    pub(crate) timeout: Duration,
}

/// Send a signal
///
/// Connects once, with protocol 1.4, sends the signal and ends when it is written and the
/// connection is closed. Signals have no reply: whether a server does anything with it is unknown.
/// Servers of protocol 1.4 read only signals that have a payload.
///
/// With --json, standard output gets one object on one line: name and, if something went wrong,
/// error (its kind), code (if the server gave one) and message.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wwr signal ws://localhost:7777/ echo hello
  wwr signal --encoding utf16 ws://localhost:7777/ news 'good news'
  tail -n 1 log.txt | wwr signal ws://localhost:7777/ log -

Exit codes:
  0  the signal was sent
  1  the server answered with an error when the session of --session was to be restored
  2  the command was called wrongly, or the payload cannot be read or sent
  3  no connection
  4  the time was over before there was a connection")]
pub(crate) struct SignalArguments {
    #[command(flatten)]
    pub(crate) connect: ConnectArguments,
    #[command(flatten)]
    pub(crate) content: ContentArguments,
    /// How long connecting and restoring the session may take together
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = positive_duration)]
    pub(crate) timeout: Duration,
}

/// Print signals and what happens to connection and session
///
/// One line an event on standard output, as they come. Waits for the server to come up, and connects
/// again when the connection is lost; the session is restored by itself then. Ends on SIGINT and
/// SIGTERM, after --count signals, or when whatever answers is no server of protocol 1.4.
///
/// With --json each event is an object with the member event: connected, disconnected,
/// connect-failed, signal, session-created, session-restored, session-closed, session-lost or
/// missed. Signals have name (or name_hex), encoding and payload (text) or payload_hex; sessions are
/// in session; what failed has reason or error, and retry_in_ms if there will be another attempt.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wwr listen ws://localhost:7777/
  wwr listen --count 1 ws://localhost:7777/
  wwr listen --json --session \"$key\" ws://localhost:7777/ | jq -r 'select(.event == \"signal\")'

Exit codes:
  0  ended by SIGINT or SIGTERM, or after --count signals
  1  the server answered with an error when the session of --session was to be restored
  2  the command was called wrongly
  3  what answers is no server of protocol 1.4
  4  the session of --session was not restored in time")]
pub(crate) struct ListenArguments {
    #[command(flatten)]
    pub(crate) connect: ConnectArguments,
    /// End after this many signals
    #[arg(long, value_name = "N", value_parser = positive_number::<NonZeroU64>)]
    pub(crate) count: Option<NonZeroU64>,
}

/// What all these commands have in common.
#[derive(Debug, Args)]
pub(crate) struct ConnectArguments {
    /// The server, such as ws://localhost:7777/
    #[arg(value_name = "URL")]
    pub(crate) url: ServerUrl,
    /// The key of a session to restore first
    #[arg(long, value_name = "KEY", value_parser = session_key,
          allow_hyphen_values = true, env = "WWR_SESSION", hide_env_values = true)]
    pub(crate) session: Option<SessionKey>,
    /// Print JSON objects
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) log: LogArguments,
}

/// What is sent.
#[derive(Debug, Args)]
pub(crate) struct ContentArguments {
    /// Its name; "" or nothing for none
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<Name>,
    /// Its payload; `-` reads standard input
    #[arg(value_name = "PAYLOAD", allow_hyphen_values = true)]
    pub(crate) payload: Option<String>,
    /// A file with the payload; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "payload")]
    pub(crate) file: Option<PathBuf>,
    /// How the payload is sent; for utf8 and utf16 it has to be given as UTF-8
    #[arg(long, default_value = "utf8")]
    pub(crate) encoding: PayloadEncoding,
}

fn session_key(text: &str) -> Result<SessionKey, EmptyKey> {
    SessionKey::new(text)
}
