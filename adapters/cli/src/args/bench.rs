//! The arguments of `wwr bench`.

use core::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use core::time::Duration;
use std::path::PathBuf;

use clap::Args;
use wwr::Name;
use wwr_smol::client::ServerUrl;

use super::LogArguments;
use super::client::SpeechArguments;
use super::headers::HeaderArguments;
use super::reach::ReachArguments;
use super::url::UrlParser;
use super::value::{positive_duration, positive_number};
use crate::content::MOST_PAYLOAD;

/// Put a server under load and measure it
///
/// Opens --connections, keeps --depth messages in flight on each, and measures for --duration, or
/// until --count messages are done. Then prints the throughput, the percentiles of the latency, and
/// errors by kind.
///
/// Without --rate the loop is closed: a message is sent as soon as an earlier one is answered. That
/// measures throughput. A stalled server gets fewer messages, so its pauses hardly show in the
/// latencies. With --rate the loop is open: messages are due at fixed times, and latencies count
/// from then, however late a message could be sent. Use this to measure latency.
///
/// With --json, standard output gets one object on one line: url (several with a comma in between), protocol, settings, seconds,
/// interrupted, requests, signals, bytes (of payloads), latency_ns, errors (by kind), connections,
/// churn, generator and timeline. Times in members that end in _ns are nanoseconds.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wwr bench ws://localhost:7777/
  wwr bench --connections 64 --rate 20000 --duration 30s --html report.html ws://localhost:7777/
  wwr bench --cacert root.pem wss://localhost:7777/
  WWR_USER=ada:secret wwr bench --header 'X-Tenant: blue' ws://localhost:7777/
  wwr bench --connections 3000 ws://one:7777/ ws://two:7777/ ws://three:7777/
  wwr bench --churn 10 --signals 25 --count 100000 --json ws://localhost:7777/ | jq .latency_ns

Signals:
  SIGINT and SIGTERM end the run early; what was measured until then is printed. The second one ends
  the command at once.

Exit codes:
  0    messages got through; those that did not are counted in the output
  1    nothing but errors came from the server; the first one is shown
  2    the command was called wrongly, or the messages cannot be sent (such as those that are longer
       than what a server of 2.0 reads)
  3    nothing got through: no connection, or all were lost
  4    nothing got through in time
  130  ended before anything was measured, or by a second signal, SIGINT
  143  the same, SIGTERM")]
pub(crate) struct BenchArguments {
    /// The server, such as ws://localhost:7777/; several, such as the nodes of a cluster, take turns: each gets
    /// as many connections as the others, one more at most
    #[arg(value_name = "URL", required = true, value_parser = UrlParser::default())]
    pub(crate) urls: Vec<ServerUrl>,
    /// How long to measure [default: 10s, without --count]
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub(crate) duration: Option<Duration>,
    /// How many messages to send, over all connections
    #[arg(long, value_name = "N", conflicts_with = "duration",
          value_parser = positive_number::<NonZeroU64>)]
    pub(crate) count: Option<NonZeroU64>,
    /// How long to run the load before measuring
    #[arg(long, value_name = "DURATION", default_value = "0s",
          value_parser = humantime::parse_duration)]
    pub(crate) warmup: Duration,
    /// How long a request may take, and how long connecting may; half of the latter is reserved for
    /// 2.0 if no answer to the preflight comes
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = positive_duration)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) speech: SpeechArguments,
    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) headers: HeaderArguments,
    /// Write a page with charts to a file; any browser can show it
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) log: LogArguments,
    #[command(flatten)]
    pub(crate) reach: ReachArguments,
    #[command(flatten)]
    pub(crate) load: LoadArguments,
}

/// The load.
#[derive(Debug, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct LoadArguments {
    /// The number of connections
    #[arg(long, value_name = "N", default_value = "16",
          value_parser = positive_number::<NonZeroU32>)]
    pub(crate) connections: NonZeroU32,
    /// The number of messages in flight on each connection
    #[arg(long, value_name = "N", default_value = "1",
          value_parser = positive_number::<NonZeroU16>)]
    pub(crate) depth: NonZeroU16,
    /// Messages per second, over all connections [default: as many as the server answers]
    #[arg(long, value_name = "N", value_parser = positive_number::<NonZeroU32>)]
    pub(crate) rate: Option<NonZeroU32>,
    /// The length of a payload, up to 64 MiB
    #[arg(long, value_name = "BYTES", default_value = "32",
          value_parser = clap::value_parser!(u32).range(0..=MOST_PAYLOAD as i64))]
    pub(crate) size: u32,
    /// The name of requests and signals
    #[arg(long, value_name = "NAME", default_value = "echo")]
    pub(crate) name: Name,
    /// The number of signals in 100 messages; signals have no reply, the others are requests
    #[arg(long, value_name = "PERCENT", default_value = "0",
          value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) signals: u8,
    /// Log in on each connection, close it after this many messages, and open it again with the
    /// session restored, over and over
    #[arg(long, value_name = "MESSAGES", value_parser = positive_number::<NonZeroU64>)]
    pub(crate) churn: Option<NonZeroU64>,
    /// The name of the request that creates the session, for --churn
    #[arg(long, value_name = "NAME", default_value = "login")]
    pub(crate) login: Name,
    /// The number of threads that send; use more than one if a thread is the bottleneck and
    /// processors are idle
    #[arg(long, value_name = "N", default_value = "1",
          value_parser = positive_number::<NonZeroU16>)]
    pub(crate) threads: NonZeroU16,
}
