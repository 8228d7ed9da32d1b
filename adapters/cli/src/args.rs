//! The arguments of the command line.

mod bench;
mod check;
mod client;
mod headers;
mod reach;
mod serve;
mod spoken;
mod url;
mod value;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};
use wwr::Dialect;

pub(crate) use bench::BenchArguments;
pub(crate) use check::CheckArguments;
pub(crate) use client::{
    ConnectArguments, ContentArguments, ListenArguments, ProbeArguments, RequestArguments,
    SignalArguments, half,
};
pub(crate) use headers::{Credentials, without_secrets};
pub(crate) use reach::Reach;
pub(crate) use serve::ServeArguments;
pub(crate) use spoken::SpokenArguments;
pub(crate) use value::{
    AllowedOrigin, ClusterEngine, EngineUrl, ListenOn, LogLevel, PageOn, PlaygroundPage,
    SessionStorage, protocol_name,
};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default());

/// WebWire from the command line.
#[derive(Debug, Parser)]
#[command(name = "wwr", version, styles = STYLES, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(ServeArguments),
    Request(RequestArguments),
    Signal(SignalArguments),
    Listen(ListenArguments),
    Probe(ProbeArguments),
    Check(CheckArguments),
    Bench(BenchArguments),
    Demo(DemoArguments),
    Decode(DecodeArguments),
    Encode(EncodeArguments),
}

/// See what WebWire does, in a few seconds
///
/// Runs a server and a client in this process, and shows on standard output what they do and what
/// passes between them: requests, errors, signals, a login, a connection that is cut, the session
/// restored, a graceful shutdown.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wwr demo

Exit codes:
  0  everything went as told
  1  something did not; standard error says what
  2  the command was called wrongly")]
pub(crate) struct DemoArguments {}

/// Show the parts of WebWire messages
///
/// Each message is one argument of hexadecimal digits or, without arguments, one line of standard
/// input, up to 129 MiB long. White space around a message is skipped, an empty one is the empty
/// message.
///
/// Without --json, every part of the message is shown with its offset, counted in bytes from 0, in
/// hexadecimal. With --json each message becomes one object on one line: ok, type_known, type, id,
/// name_hex, encoding, payload_hex, accept_conf and client_settings, as far as the message has them,
/// and error for input that is not a message of the protocol. In an error reply, the name is the code and the
/// payload the message.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wwr decode 7f0100000000000000046563686f6869
  wwr decode --protocol 2.0 17020060ea000000200000
  wwr decode --json < messages.txt | jq -r .error

Exit codes:
  0  every message was taken apart, whether or not the protocol allows it
  2  something was not hexadecimal (its line is named on standard error, the others are shown),
     a line was too long, or the command was called wrongly")]
pub(crate) struct DecodeArguments {
    /// Version of the protocol
    #[arg(long, value_name = "VERSION", default_value = "1.4")]
    pub(crate) protocol: Protocol,
    /// Print one JSON object a message
    #[arg(long)]
    pub(crate) json: bool,
    /// Messages; without any, reads them from standard input
    #[arg(value_name = "HEX")]
    pub(crate) messages: Vec<String>,
}

/// Compose WebWire messages
///
/// Reads JSON objects as `wwr decode --json` prints them from standard input, one a line, and
/// prints a line of hexadecimal digits for each. A line may have up to 129 MiB. For a message that
/// cannot be composed, the line is `refused: why`. Members that a type of message does not use have
/// to be empty or left out. Members that `wwr decode --json` never prints are ignored.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  echo '{\"type\":63,\"name_hex\":\"6563686f\",\"payload_hex\":\"6869\"}' | wwr encode
  wwr decode --json < messages.txt | wwr encode

Exit codes:
  0  every message was composed
  1  one or more were refused
  2  a line was too long, or the command was called wrongly")]
pub(crate) struct EncodeArguments {
    /// Version of the protocol
    #[arg(long, value_name = "VERSION", default_value = "1.4")]
    pub(crate) protocol: Protocol,
}

/// The log level.
#[derive(Debug, Args)]
pub(crate) struct LogArguments {
    /// Log messages of at least this level to standard error; also by the environment variable
    /// WWR_LOG
    #[arg(long, value_name = "LEVEL", ignore_case = true)]
    pub(crate) log: Option<LogLevel>,
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Protocol {
    #[value(name = "1.4")]
    V1_4,
    #[value(name = "1.5")]
    V1_5,
    #[value(name = "2.0")]
    V2_0,
    #[value(name = "wwr.1")]
    Wwr1,
}

impl From<Protocol> for Dialect {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::V1_4 => Self::V1_4,
            Protocol::V1_5 => Self::V1_5,
            Protocol::V2_0 => Self::V2_0,
            Protocol::Wwr1 => Self::Wwr1,
        }
    }
}
