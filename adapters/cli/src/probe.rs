//! `wwr probe`: what a server speaks.

use core::fmt::Display;
use core::time::Duration;
use std::io::{self, Write, stdout};
use std::process::ExitCode;

use humantime::format_duration;
use serde::Serialize;
use smol::Timer;
use smol::future::or;
use wwr::client::{Config, Discovered};
use wwr::preflight::{Metadata, Verdict};
use wwr::wire::AcceptConf;
use wwr::{Dialect, preflight};
use wwr_smol::client::{Builder, Client, Event, Events};

use crate::args::{LogLevel, ProbeArguments};
use crate::failure::{Failure, FailureRow, write_row};
use crate::hex::Hex;
use crate::log;
use crate::text::{Count, Quoted, one_line};

/// How long a server of 1.4 or 1.5 may take to say that it also speaks 2.0. Clients do not wait for
/// that, but this is all that is asked here.
const GRACE: Duration = Duration::from_secs(1);

/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(10);

pub(crate) fn run(arguments: &ProbeArguments) -> io::Result<ExitCode> {
    log::start(&arguments.log, LogLevel::Warn);
    let report = match smol::block_on(probe(arguments)) {
        Ok(report) => report,
        Err(failure) => {
            failure.tell("probe");
            return Ok(failure.exit_code());
        }
    };
    if arguments.json {
        write_row(&report.row())?;
    } else {
        let mut out = stdout().lock();
        report.write(&mut out)?;
        out.flush()?;
    }
    Ok(match &report.failure {
        Some(failure) if report.speaks().is_empty() => {
            failure.tell("probe");
            failure.exit_code()
        }
        Some(_) | None => ExitCode::SUCCESS,
    })
}

/// What was found out.
struct Report {
    url: String,
    /// The HTTP status of the answer to the preflight.
    status: Option<u16>,
    found: Discovered,
    /// Why the client did not get through, if it did not.
    failure: Option<Failure>,
}

/// Connects, which may fail, and gives what became known by that.
async fn probe(arguments: &ProbeArguments) -> Result<Report, Failure> {
    let url = arguments.url.to_string();
    let half = (arguments.timeout / 2).max(Duration::from_nanos(1));
    let config =
        Config::builder().reconnect(false).probe_timeout(half).dial_timeout(half).build()?;
    let client = Builder::new(arguments.url.clone()).config(config).build();
    let mut events = client.events();
    let failure = match client.connect().await {
        Ok(()) => announced_late(&client, &mut events).await,
        Err(error) => Some(error.into()),
    };
    let (status, found) = (client.preflight_status(), client.discovered());
    client.close().await;
    Ok(Report { url, status, found, failure })
}

/// Waits until a server that was taken for one of 1.x says that it also speaks 2.0, but not for long.
/// Gives why it does not suit, should that become clear.
async fn announced_late(client: &Client, events: &mut Events) -> Option<Failure> {
    let announced = async {
        while client.dialect() != Dialect::V2_0 {
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
        Timer::after(GRACE).await;
        None
    };
    or(unsuitable, or(announced, too_late)).await
}

impl Report {
    /// The versions the server names, in the order in which it does.
    fn speaks(&self) -> Vec<String> {
        let asked = match &self.found.preflight {
            Some(Verdict::Speaks(metadata)) => Some(metadata.dialect().to_string()),
            Some(Verdict::Unknown(version)) => named(version),
            Some(Verdict::TryLater | Verdict::NotWebWire) | None => None,
        };
        let announced = self.found.accept_conf.as_ref().map(announced_version);
        let mut versions: Vec<String> = asked.into_iter().chain(announced).collect();
        versions.dedup();
        versions
    }

    /// What the client spoke, if it got through.
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
            failure: self.failure.as_ref().map(Failure::row),
        }
    }

    /// Writes it for people.
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut line = |name: &str, value: &dyn Display| writeln!(out, "{name:<16}{value}");
        line("server", &self.url)?;
        line("preflight", &self.describe_preflight())?;
        match &self.found.accept_conf {
            Some(conf) => {
                line("accept-conf", &format_args!("version {}", announced_version(conf)))?;
                line("read timeout", &format_duration(conf.read_timeout()))?;
                let buffer = usize::try_from(conf.message_buffer_size).unwrap_or(usize::MAX);
                line("message buffer", &Count(buffer))?;
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
        let speaks = self.speaks();
        if !speaks.is_empty() {
            writeln!(out, "speaks {}", speaks.join(" and "))?;
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

/// The version that a server claims, if it claims one.
fn named(version: &preflight::Version) -> Option<String> {
    Some(version.to_string()).filter(|version| !version.is_empty())
}

fn announced_version(conf: &AcceptConf) -> String {
    format!("{}.{}", conf.major, conf.minor)
}

/// What was found out, for programs.
#[derive(Debug, Serialize)]
struct Row<'a> {
    url: &'a str,
    preflight: Option<PreflightRow>,
    accept_conf: Option<AcceptConfRow>,
    speaks: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connected_with: Option<String>,
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
    /// In place of it, if it is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_protocol_hex: Option<Hex>,
}

impl AcceptConfRow {
    fn new(conf: &AcceptConf) -> Self {
        let name = conf.sub_protocol.as_deref();
        let text = name.and_then(|name| core::str::from_utf8(name).ok());
        Self {
            protocol: announced_version(conf),
            read_timeout_ms: conf.read_timeout_ms,
            message_buffer_size: conf.message_buffer_size,
            sub_protocol: text.map(Into::into),
            sub_protocol_hex: name.filter(|_| text.is_none()).map(Hex::copy),
        }
    }
}
