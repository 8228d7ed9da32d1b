//! The arguments of the commands that connect to a server.

use core::num::NonZeroU64;
use core::time::Duration;
use std::io;
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use wwr::session::EmptyKey;
use wwr::{Name, SessionKey};
use wwr_smol::client::ServerUrl;
use wwr_smol::client::{Config, Protocol};

use super::LogArguments;
use super::headers::HeaderArguments;
use super::reach::ReachArguments;
use super::url::{Hidden, UrlParser};
use super::value::{PayloadEncoding, positive_duration, positive_number};
use crate::environment;
use crate::probe::InspectUrl;

/// Make a request and print the reply
///
/// The payload of the reply goes to standard output without additions: bytes and UTF-8 as they are,
/// UTF-16 as UTF-8 with U+FFFD for anything but text. On a terminal, characters that could harm it,
/// such as control characters, are escaped. Everything else goes to standard error. The command
/// connects once, and finds out the version of the protocol unless --protocol names one.
///
/// With --json, standard output gets one object on one line, even after a failure: name (of the
/// request), then encoding and payload (text) or payload_hex (binary, or invalid text) of the
/// reply, or else error (its kind), code (if the application on the server sent one) and message.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wwr request ws://localhost:7777/ echo hello
  wwr request ws://localhost:7777/ login '{\"user\":\"ada\"}'
  wwr request --session \"$key\" ws://localhost:7777/ whoami
  wwr request --header 'X-Tenant: blue' --origin https://example.com ws://localhost:7777/ echo hi
  WWR_USER=ada:secret wwr request ws://localhost:7777/ whoami
  wwr request --protocol 2.0 --sub-protocol chat/1 ws://localhost:7777/ echo hello
  wwr request --cacert root.pem --cert ada.pem --key ada.key wss://example.com/ echo hello
  wwr request --proxy socks5://localhost:1080 wss://example.com/ echo hello
  wwr request --unix-socket /run/app/socket ws://localhost/ echo hello
  wwr request --encoding binary --file picture.png ws://localhost:7777/ echo > copy.png
  date | wwr request --json --timeout 500ms ws://localhost:7777/ echo -

Exit codes:
  0  the server replied
  1  the server answered with an error; its kind and code are shown
  2  the command was called wrongly, or the payload cannot be read or sent (such as one that is
     longer than what a server of 2.0 reads)
  3  no connection, or it was lost before the reply
  4  the time was over, before the reply or even the connection was there")]
pub(crate) struct RequestArguments {
    #[command(flatten)]
    pub(crate) connect: ConnectArguments,
    #[command(flatten)]
    pub(crate) content: ContentArguments,
    /// How long everything may take together: reading the payload, connecting (half of the time is
    /// reserved for 2.0 if no answer to the preflight comes), restoring the session, the reply,
    /// printing it, closing the connection
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = positive_duration)]
    pub(crate) timeout: Duration,
}

/// Send a signal
///
/// Connects once, sends the signal, closes the connection and ends when the server has closed it,
/// too: by then it has read the signal. Signals have no reply, so this does not show whether the
/// server handles it. Servers of protocol 1.4 and 1.5 read only signals that have a payload.
///
/// With --json, standard output gets one object on one line: name and, after a failure, error (its
/// kind), code (if the server sent one) and message.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wwr signal ws://localhost:7777/ echo hello
  wwr signal --protocol 1.4 ws://localhost:7777/ echo hello
  wwr signal --header 'X-Tenant: blue' ws://localhost:7777/ echo hello
  wwr signal --proxy http://ada:secret@proxy.example:3128 wss://example.com/ echo hello
  wwr signal --encoding utf16 ws://localhost:7777/ news 'good news'
  tail -n 1 log.txt | wwr signal ws://localhost:7777/ log -

Exit codes:
  0  the signal was sent
  1  the server answered with an error when the session of --session was to be restored
  2  the command was called wrongly, or the payload cannot be read or sent
  3  no connection
  4  the time was over, before there was a connection or before the server had closed it")]
pub(crate) struct SignalArguments {
    #[command(flatten)]
    pub(crate) connect: ConnectArguments,
    #[command(flatten)]
    pub(crate) content: ContentArguments,
    /// How long everything may take together: reading the payload, connecting (half of the time is
    /// reserved for 2.0 if no answer to the preflight comes), restoring the session, closing the
    /// connection
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = positive_duration)]
    pub(crate) timeout: Duration,
}

/// Print signals and events of connection and session
///
/// Prints one line for each event on standard output, at once. Waits for the server to come up, and
/// reconnects when the connection is lost; the client then restores the session. Ends on SIGINT and
/// SIGTERM, after --count signals, or if the server speaks none of the client's versions or another
/// sub-protocol.
///
/// With --json each event is an object with the member event: connected, disconnected,
/// connect-failed, signal, session-created, session-updated, session-restored, session-closed, session-lost or
/// missed. A connection has its protocol; signals have name (or name_hex), encoding and payload
/// (text) or payload_hex; sessions are in session; failures have reason or error, and retry_in_ms
/// if the client will try again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wwr listen ws://localhost:7777/
  wwr listen --count 1 ws://localhost:7777/
  wwr listen --sub-protocol chat/1 ws://localhost:7777/
  wwr listen --cacert root.pem wss://example.com/
  WWR_USER=ada:secret wwr listen --origin https://example.com ws://localhost:7777/
  wwr listen --json --session \"$key\" ws://localhost:7777/ | jq -r 'select(.event == \"signal\")'

Exit codes:
  0  ended by SIGINT or SIGTERM, or after --count signals
  1  the server answered with an error when the session of --session was to be restored
  2  the command was called wrongly
  3  what answers is no server that this client could talk to
  4  the session of --session was not restored in time")]
pub(crate) struct ListenArguments {
    #[command(flatten)]
    pub(crate) connect: ConnectArguments,
    /// End after this many signals
    #[arg(long, value_name = "N", value_parser = positive_number::<NonZeroU64>)]
    pub(crate) count: Option<NonZeroU64>,
}

/// Show what a server speaks
///
/// Sends the preflight of clients of 1.4 and 1.5, then opens a WebSocket and looks for the
/// accept-conf, in which servers of 2.0 advertise their settings. Prints both with their settings,
/// the result of connecting, and a conclusion. Then it asks for the names of the server's requests
/// and signals, which only servers of this project list, if their application allows it.
///
/// With --json, standard output gets one object on one line: url, preflight (null without an
/// answer; else status, verdict, and protocol and read_timeout_ms if it has them), accept_conf
/// (null if it did not come; else protocol, read_timeout_ms, message_buffer_size, and sub_protocol
/// or sub_protocol_hex), speaks (a list of versions), connected_with (the version this client
/// spoke), names (requests and signals, lists of names) if the server lists them, cluster with
/// --inspect (null if the server is of none; else name, state, nodes, alive, entered, lost,
/// messages_sent and messages_received) and, if the client could not connect or the inspection page
/// could not be read, error (its kind) and message. If that version is
/// wwr.1, message_buffer_size is the longest message that the server reads; 2.0 clients may be told
/// of less.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wwr probe ws://localhost:7777/
  wwr probe --timeout 2s ws://localhost:7777/chat
  wwr probe --insecure wss://localhost/
  wwr probe --max-redirects 3 https://example.com/chat
  wwr probe --origin https://example.com --header 'X-Tenant: blue' ws://localhost:7777/
  wwr probe --json ws://localhost:7777/ | jq -r '.speaks[]'
  wwr probe --inspect 'http://127.0.0.1:9200/#token=...' ws://localhost:7777/

Exit codes:
  0  a WebWire server answered, whether or not this client could talk to it
  2  the command was called wrongly
  3  no WebWire server answered: none is there, it is not available now, or it is another one; or
     the page of --inspect could not be read
  4  the time was over before there was an answer")]
pub(crate) struct ProbeArguments {
    /// The server, such as ws://localhost:7777/
    #[arg(value_name = "URL", value_parser = UrlParser::default())]
    pub(crate) url: ServerUrl,
    /// Also show how the server stands as a node of a cluster: the address of its inspection page, as `wwr serve
    /// --inspect` prints it; also by the environment variable WWR_INSPECT, which other users do not see
    #[arg(long, value_name = "URL", value_parser = Hidden::<InspectUrl>::default())]
    pub(crate) inspect: Option<InspectUrl>,
    /// How long everything may take together; half of it is reserved for the WebSocket if the
    /// preflight gets no answer
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = positive_duration)]
    pub(crate) timeout: Duration,
    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) headers: HeaderArguments,
    #[command(flatten)]
    pub(crate) log: LogArguments,
    #[command(flatten)]
    pub(crate) reach: ReachArguments,
}

/// The common arguments of all these commands.
#[derive(Debug, Args)]
pub(crate) struct ConnectArguments {
    /// The server, such as ws://localhost:7777/
    #[arg(value_name = "URL", value_parser = UrlParser::default())]
    pub(crate) url: ServerUrl,
    /// The key of a session to restore first; also by the environment variable WWR_SESSION
    #[arg(long, value_name = "KEY", value_parser = session_key, allow_hyphen_values = true)]
    session: Option<SessionKey>,
    #[command(flatten)]
    pub(crate) headers: HeaderArguments,
    #[command(flatten)]
    pub(crate) speech: SpeechArguments,
    /// Print JSON objects
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) log: LogArguments,
    #[command(flatten)]
    pub(crate) reach: ReachArguments,
}

impl ConnectArguments {
    /// Returns the key of a session to restore first, from the options or else the environment.
    pub(crate) fn session(&self) -> io::Result<Option<SessionKey>> {
        match &self.session {
            Some(key) => Ok(Some(key.clone())),
            None => environment::session(),
        }
    }
}

/// What the client speaks.
#[derive(Debug, Args)]
pub(crate) struct SpeechArguments {
    /// The version of the protocol; auto finds out what the server speaks
    #[arg(long, value_name = "VERSION", default_value = "auto")]
    pub(crate) protocol: ClientProtocol,
    /// The name of the application's own protocol, which servers of 2.0 have to advertise
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) sub_protocol: Option<String>,
    /// Do not send the preflight: for --protocol 1.4 or 1.5 behind a proxy that refuses it
    #[arg(long)]
    pub(crate) skip_preflight: bool,
}

impl SpeechArguments {
    /// Returns the settings of a client that speaks this and has this much time to connect.
    pub(crate) fn config_within(&self, timeout: Duration) -> Config {
        let mut config = self.config();
        config.machine.probe_timeout = self.timeout_with_preflight(timeout);
        config.machine.dial_timeout = timeout;
        config
    }

    /// Returns how long the answer to a preflight may take. A server that does not answer may still
    /// speak 2.0, and finding that out takes time as well.
    fn timeout_with_preflight(&self, timeout: Duration) -> Duration {
        match self.protocol {
            ClientProtocol::Auto => half(timeout),
            ClientProtocol::V1_4 | ClientProtocol::V1_5 | ClientProtocol::V2_0 => timeout,
        }
    }

    /// Returns the settings of a client that speaks this.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::default();
        config.machine.protocol = self.protocol.into();
        config.machine.skip_preflight = self.skip_preflight;
        config.machine.sub_protocol = self.sub_protocol.clone().map(Into::into);
        config
    }
}

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClientProtocol {
    Auto,
    #[value(name = "1.4")]
    V1_4,
    #[value(name = "1.5")]
    V1_5,
    #[value(name = "2.0")]
    V2_0,
}

impl From<ClientProtocol> for Protocol {
    fn from(protocol: ClientProtocol) -> Self {
        match protocol {
            ClientProtocol::Auto => Self::Auto,
            ClientProtocol::V1_4 => Self::V1_4,
            ClientProtocol::V1_5 => Self::V1_5,
            ClientProtocol::V2_0 => Self::V2_0,
        }
    }
}

/// What to send.
#[derive(Debug, Args)]
pub(crate) struct ContentArguments {
    /// Its name; may be "" or left out
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<Name>,
    /// Its payload; `-` reads standard input to its end, up to 64 MiB
    #[arg(value_name = "PAYLOAD", allow_hyphen_values = true)]
    pub(crate) payload: Option<String>,
    /// A file with the payload, up to 64 MiB; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "payload")]
    pub(crate) file: Option<PathBuf>,
    /// How the payload is sent; for utf8 and utf16 it has to be given as UTF-8
    #[arg(long, default_value = "utf8")]
    pub(crate) encoding: PayloadEncoding,
}

/// Returns half of a duration, which is never zero.
pub(crate) fn half(timeout: Duration) -> Duration {
    (timeout / 2).max(Duration::from_nanos(1))
}

fn session_key(text: &str) -> Result<SessionKey, EmptyKey> {
    SessionKey::new(text)
}
