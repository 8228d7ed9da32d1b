//! `wwr probe`: what a server speaks.

mod inspected;

use core::fmt::Display;
use core::time::Duration;
use std::io::{self, Write};
use std::process::ExitCode;

use humantime::format_duration;
use serde::Serialize;
use smol::Timer;
use smol::future::or;
use wwr::client::Discovered;
use wwr::preflight::{Metadata, Verdict};
use wwr::wire::AcceptConf;
use wwr::{Dialect, preflight};
use wwr_smol::client::{Builder, Client, Config, Event, Events, Names};

use crate::args::{LogLevel, ProbeArguments, half};
use crate::deadline::{Deadline, Stage};
use crate::failure::{Failure, FailureRow};
use crate::hex::Hex;
use crate::runtime::Tasks;
use crate::text::{Count, Quoted, one_line};
use crate::{environment, log, output};
pub(crate) use inspected::InspectUrl;
use inspected::Node;

/// How long a server of 1.4 or 1.5 may take to show that it also speaks 2.0. Clients do not wait
/// for that, but this command only exists to find out.
const GRACE: Duration = Duration::from_secs(1);

/// How often to check for that.
const LOOK: Duration = Duration::from_millis(10);

pub(crate) fn run(arguments: &ProbeArguments) -> io::Result<ExitCode> {
    let deadline = Deadline::new(arguments.timeout);
    log::start(&arguments.log, LogLevel::Warn)?;
    let tasks = Tasks::default();
    smol::block_on(tasks.run(async {
        let (report, client) = match probe(arguments, deadline, &tasks).await {
            Ok(found) => found,
            Err(failure) => {
                failure.tell("probe");
                return Ok(failure.exit_code());
            }
        };
        let mut bytes = Vec::new();
        if arguments.json {
            bytes = output::row(&report.row())?;
        } else {
            report.write(&mut bytes)?;
        }
        let printed = output::print_within(deadline, bytes).await?;
        let is_none = report.speaks().is_empty();
        let unseen = report.node.and_then(Result::err);
        let failure = report.failure.filter(|_| is_none).or(unseen);
        let code = match failure.or(printed.err()) {
            Some(failure) => {
                failure.tell("probe");
                failure.exit_code()
            }
            None => ExitCode::SUCCESS,
        };
        // The result does not wait for a server that is slow to close.
        let closed = async {
            client.close().await;
            Ok(())
        };
        let _ = deadline.limit(Stage::Closing, closed).await;
        Ok(code)
    }))
}

/// What the command found out.
struct Report {
    url: String,
    /// The HTTP status of the answer to the preflight.
    status: Option<u16>,
    found: Discovered,
    /// Why the client could not connect, if that is so.
    failure: Option<Failure>,
    /// The names of its handlers, if it lists them.
    names: Option<Names>,
    /// How it stands as a node, if its inspection page was to be asked. `None` in that: it is none.
    node: Option<Result<Option<Node>, Failure>>,
}

/// Connects, which may fail, and returns what that has shown.
async fn probe(
    arguments: &ProbeArguments,
    deadline: Deadline,
    tasks: &Tasks,
) -> Result<(Report, Client), Failure> {
    let page = match &arguments.inspect {
        Some(page) => Some(page.clone()),
        None => environment::inspect()?,
    };
    let url = arguments.url.to_string();
    let mut config = Config::default();
    config.machine.reconnect = false;
    config.machine.probe_timeout = half(arguments.timeout);
    config.machine.dial_timeout = arguments.timeout;
    config.headers = arguments.headers.all(&arguments.url)?;
    let reach = arguments.reach.prepare(&arguments.url, arguments.timeout)?;
    let builder = || reach.builder(&arguments.url, config.clone()).executor(tasks.clone());
    let client = builder().build()?;
    let mut events = client.events();
    let grace = GRACE.min(arguments.timeout / 4);
    let connected = async {
        client.connect().await?;
        late_accept_conf(&client, &mut events, grace).await.map_or(Ok(()), Err)
    };
    let failure = deadline.limit(Stage::Connecting, connected).await.err();
    let (status, found) = (client.preflight_status(), client.discovered());
    let mut report = Report { url, status, found, failure, names: None, node: None };
    if !report.speaks().is_empty() {
        report.names = listed_names(builder(), grace).await;
    }
    if let Some(page) = page {
        report.node = Some(deadline.limit(Stage::Inspecting, inspected::ask(&page)).await);
    }
    Ok((report, client))
}

/// Asks the server for the names of its handlers. Most servers do not list them, and some may not answer.
async fn listed_names(builder: Builder, grace: Duration) -> Option<Names> {
    let too_late = async {
        Timer::after(grace).await;
        None
    };
    or(async { builder.listed_names().await.ok().flatten() }, too_late).await
}

/// Waits for a short time until a server that was taken for 1.x shows that it also speaks 2.0.
/// Returns why it does not suit, if that turns out.
async fn late_accept_conf(
    client: &Client,
    events: &mut Events,
    grace: Duration,
) -> Option<Failure> {
    let advertised = async {
        while !matches!(client.dialect(), Dialect::V2_0 | Dialect::Wwr1) {
            Timer::after(LOOK).await;
        }
        None
    };
    let unsuitable = async {
        while let Some(event) = events.next().await {
            if let Event::ConnectFailed { error, .. } = event {
                return Some(error.into());
            }
        }
        None
    };
    let too_late = async {
        Timer::after(grace).await;
        None
    };
    or(unsuitable, or(advertised, too_late)).await
}

impl Report {
    /// Returns the versions that the server names, in its order.
    fn speaks(&self) -> Vec<String> {
        let asked = match &self.found.preflight {
            Some(Verdict::Speaks(metadata)) => Some(metadata.dialect().to_string()),
            Some(Verdict::Unknown(version)) => named(version),
            Some(Verdict::TryLater | Verdict::NotWebWire) | None => None,
        };
        let advertised = self.found.accept_conf.as_ref().map(advertised_version);
        let agreed = (self.found.dialect == Dialect::Wwr1).then(|| Dialect::Wwr1.to_string());
        let mut versions: Vec<String> = asked.into_iter().chain(advertised).chain(agreed).collect();
        versions.dedup();
        versions
    }

    /// Returns what the client spoke, if it could connect.
    fn spoken(&self) -> Option<Dialect> {
        self.failure.is_none().then_some(self.found.dialect)
    }

    fn row(&self) -> Row<'_> {
        Row {
            url: &self.url,
            preflight: self.status.map(|status| PreflightRow::new(status, &self.found)),
            accept_conf: self.found.accept_conf.as_ref().map(AcceptConfRow::new),
            speaks: self.speaks(),
            connected_with: self.spoken().map(|dialect| dialect.to_string()),
            names: self.names.as_ref(),
            cluster: self.node.as_ref().and_then(|node| node.as_ref().ok()).map(Option::as_ref),
            failure: self.failure.as_ref().or(self.unseen()).map(Failure::row),
        }
    }

    /// Returns why the inspection page could not be read, if that is so.
    fn unseen(&self) -> Option<&Failure> {
        self.node.as_ref()?.as_ref().err()
    }

    /// Writes the report for people.
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut line = |name: &str, value: &dyn Display| writeln!(out, "{name:<16}{value}");
        line("server", &self.url)?;
        line("preflight", &self.describe_preflight())?;
        match &self.found.accept_conf {
            Some(conf) => {
                line("accept-conf", &format_args!("version {}", advertised_version(conf)))?;
                line("read timeout", &format_duration(conf.read_timeout()))?;
                let buffer = usize::try_from(conf.message_buffer_size).unwrap_or(usize::MAX);
                let longest = match self.found.dialect {
                    Dialect::Wwr1 => "longest message",
                    _ => "message buffer",
                };
                line(longest, &Count(buffer))?;
                match &conf.sub_protocol {
                    Some(name) => line("sub-protocol", &Quoted::bytes(name))?,
                    None => line("sub-protocol", &"none")?,
                }
            }
            None => line("accept-conf", &"none")?,
        }
        match &self.failure {
            Some(failure) => line("connection", &one_line(&failure.to_string()))?,
            None => line("connection", &format_args!("ready, in {}", self.found.dialect))?,
        }
        if let Some(names) = &self.names {
            for (kind, names) in [("requests", &names.requests), ("signals", &names.signals)] {
                let names: Vec<_> =
                    names.iter().map(|name| Quoted::text(name).to_string()).collect();
                line(kind, &if names.is_empty() { "none".into() } else { names.join(" ") })?;
            }
        }
        match &self.node {
            Some(Ok(Some(node))) => line("cluster", node)?,
            Some(Ok(None)) => line("cluster", &"none")?,
            Some(Err(failure)) => line("cluster", &one_line(&failure.to_string()))?,
            None => {}
        }
        let speaks = self.speaks();
        if !speaks.is_empty() {
            writeln!(out, "speaks {}", one_line(&listed(&speaks)))?;
        }
        Ok(())
    }

    fn describe_preflight(&self) -> String {
        let Some(status) = self.status else { return "no answer".into() };
        let says = match &self.found.preflight {
            Some(Verdict::Speaks(Metadata::V1_4)) => "version 1.4".into(),
            Some(Verdict::Speaks(Metadata::V1_5 { read_timeout })) => {
                format!("version 1.5, read timeout {}", format_duration(*read_timeout))
            }
            Some(Verdict::Unknown(version)) => match named(version) {
                Some(version) => format!("version {}", Quoted::text(&version)),
                None => "no version".into(),
            },
            Some(Verdict::TryLater) => "not available now".into(),
            Some(Verdict::NotWebWire) | None => "not the answer of a server of 1.4 or 1.5".into(),
        };
        format!("status {status}, {says}")
    }
}

/// Names in a sentence.
fn listed(names: &[String]) -> String {
    match names {
        [before @ .., last] if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        names => names.concat(),
    }
}

/// Returns the version that a server claims, if it claims one.
fn named(version: &preflight::Version) -> Option<String> {
    Some(version.to_string()).filter(|version| !version.is_empty())
}

fn advertised_version(conf: &AcceptConf) -> String {
    format!("{}.{}", conf.major, conf.minor)
}

/// The report for programs.
#[derive(Debug, Serialize)]
struct Row<'a> {
    url: &'a str,
    preflight: Option<PreflightRow>,
    accept_conf: Option<AcceptConfRow>,
    speaks: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connected_with: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    names: Option<&'a Names>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<Option<&'a Node>>,
    #[serde(flatten)]
    failure: Option<FailureRow>,
}

#[derive(Debug, Serialize)]
struct PreflightRow {
    status: u16,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_timeout_ms: Option<u128>,
}

impl PreflightRow {
    fn new(status: u16, found: &Discovered) -> Self {
        let (verdict, protocol, read_timeout) = match &found.preflight {
            Some(Verdict::Speaks(metadata)) => {
                let read_timeout = match metadata {
                    Metadata::V1_4 => None,
                    Metadata::V1_5 { read_timeout } => Some(*read_timeout),
                };
                ("speaks", Some(metadata.dialect().to_string()), read_timeout)
            }
            Some(Verdict::Unknown(version)) => ("unknown", named(version), None),
            Some(Verdict::TryLater) => ("try-later", None, None),
            Some(Verdict::NotWebWire) | None => ("not-webwire", None, None),
        };
        let read_timeout_ms = read_timeout.map(|time| time.as_millis());
        Self { status, verdict, protocol, read_timeout_ms }
    }
}

#[derive(Debug, Serialize)]
struct AcceptConfRow {
    protocol: String,
    read_timeout_ms: u32,
    message_buffer_size: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_protocol: Option<String>,
    /// Instead of `sub_protocol`, if that is not text.
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_protocol_hex: Option<Hex>,
}

impl AcceptConfRow {
    fn new(conf: &AcceptConf) -> Self {
        let name = conf.sub_protocol.as_deref();
        let text = name.and_then(|name| core::str::from_utf8(name).ok());
        Self {
            protocol: advertised_version(conf),
            read_timeout_ms: conf.read_timeout_ms,
            message_buffer_size: conf.message_buffer_size,
            sub_protocol: text.map(Into::into),
            sub_protocol_hex: name.filter(|_| text.is_none()).map(Hex::copy),
        }
    }
}
