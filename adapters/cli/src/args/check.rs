//! The arguments of `wwr check`.

use core::time::Duration;

use clap::Args;
use wwr::Name;
use wwr_smol::client::ServerUrl;

use super::LogArguments;
use super::headers::HeaderArguments;
use super::reach::ReachArguments;
use super::url::UrlParser;
use super::value::positive_duration;

/// Check whether a host keeps to the protocol
///
/// Connects to a server of WebWire, whatever it was made with, and tests it message by message: HTTP,
/// versions, replies and their order, limits, input that makes no sense, heartbeats, sessions, many
/// connections, the end. Prints what each check has seen, with the section of docs/protocol.md that it is
/// about. Only what a client can see is checked.
///
/// What a host must do and does not is a failure. What it should do is a warning. A known mistake of the
/// reference implementations that clients have to bear is a quirk. All of a check that needs something that
/// the host does not have, or that no option names, is skipped. Checks leave no sessions behind, and send
/// signals without a meaning. Each uses connections of its own, up to 24.
///
/// With --json, standard output gets one object on one line: url, speaks, counts, and checks: an array of
/// objects with name, topic, level, section, outcome (pass, fail, warn, quirk, skip or not-run), expected
/// and seen.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wwr check ws://localhost:7777/
  wwr check --echo echo --login login ws://localhost:7777/       (all that `wwr serve` can show)
  wwr check --echo echo --only malformed --only ping ws://localhost:7777/
  wwr check --echo echo --wait 3m --timeout 10m wss://example.com/     (waits for read timeouts)
  wwr check --echo echo --stop 'kill -TERM 4711' ws://localhost:7777/
  wwr check --echo echo --json ws://localhost:7777/ | jq '.checks[] | select(.outcome == \"fail\")'
  wwr check --list

Exit codes:
  0  nothing failed (with --strict: nothing was warned about either)
  1  something failed
  2  the command was called wrongly, the host was not reached or refuses WebSockets, or the time was
     over before every check was made and nothing had failed")]
pub(crate) struct CheckArguments {
    /// The host, such as ws://localhost:7777/
    #[arg(value_name = "URL", value_parser = UrlParser::default(), required_unless_present = "list")]
    pub(crate) url: Option<ServerUrl>,
    /// A request whose reply is its payload, in its encoding. Without it, what needs one is skipped
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) echo: Option<Name>,
    /// A request that creates a session for its connection. Without it, only what is possible without
    /// a session is checked
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) login: Option<Name>,
    /// The payload of the request that --login names, sent as UTF-8
    #[arg(long, value_name = "TEXT", default_value = "", requires = "login")]
    pub(crate) login_payload: String,
    /// A command that makes the host shut down gracefully, run by the shell at the very end
    #[arg(long, value_name = "COMMAND")]
    pub(crate) stop: Option<String>,
    /// Make only the checks of this name or topic; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
    /// Print the checks, and make none
    #[arg(long, conflicts_with = "json")]
    pub(crate) list: bool,
    /// Count warnings as failures
    #[arg(long)]
    pub(crate) strict: bool,
    /// How long everything may take together
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = positive_duration)]
    pub(crate) timeout: Duration,
    /// How long the host may take for each answer, before it counts as missing
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = positive_duration)]
    pub(crate) patience: Duration,
    /// How long one check may wait for timeouts of the host, such as its read timeout; checks of longer
    /// ones are skipped
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = positive_duration)]
    pub(crate) wait: Duration,
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

/// Parses the name of a request.
fn name(text: &str) -> Result<Name, String> {
    if text.is_empty() {
        return Err("it must not be empty".into());
    }
    Name::new(text).map_err(|error| error.to_string())
}
