//! Settings from the environment. An empty variable counts as not set, because compose files and CI
//! leave variables without a value empty.

use core::num::NonZeroU16;
use std::{env, io};

use clap::ValueEnum as _;
use wwr::SessionKey;

use crate::args::{Credentials, EngineUrl, LogLevel};
use crate::probe::InspectUrl;

/// The log level.
const LOG: &str = "WWR_LOG";
/// The key of a session to restore.
const SESSION: &str = "WWR_SESSION";
/// A user and a password.
const USER: &str = "WWR_USER";
/// The URL of the engine in which a server stores sessions.
const REDIS: &str = "WWR_REDIS";
/// Where the inspection page of a server is.
const INSPECT: &str = "WWR_INSPECT";
/// The number of threads of a server.
const THREADS: &str = "SMOL_THREADS";

/// The most threads of a server. No machine has more processors.
const MOST_THREADS: u16 = 1024;

pub(crate) fn log_level() -> io::Result<Option<LogLevel>> {
    let level = |text: &str| {
        LogLevel::from_str(text.trim(), true)
            .map_err(|_| "write off, error, warn, info, debug or trace".into())
    };
    read(LOG, Shown::Yes, level)
}

pub(crate) fn session() -> io::Result<Option<SessionKey>> {
    read(SESSION, Shown::No, |text| SessionKey::new(text).map_err(|error| error.to_string()))
}

pub(crate) fn user() -> io::Result<Option<Credentials>> {
    read(USER, Shown::No, |text| text.parse().map_err(|error| format!("{error}")))
}

/// Returns the URL of the engine in which sessions are stored, or that nodes share. This argument wants it.
pub(crate) fn redis(argument: &str) -> io::Result<EngineUrl> {
    let url = read(REDIS, Shown::No, |text| text.trim().parse().map_err(str::to_owned))?;
    url.ok_or_else(|| {
        let message = format!("{argument} redis: {REDIS} has to be set to the URL of the engine");
        io::Error::new(io::ErrorKind::InvalidInput, message)
    })
}

/// Returns where the inspection page of a server is.
pub(crate) fn inspect() -> io::Result<Option<InspectUrl>> {
    read(INSPECT, Shown::No, |text| text.trim().parse().map_err(|error| format!("{error}")))
}

/// Returns the number of threads of a server; one by default.
pub(crate) fn threads() -> io::Result<NonZeroU16> {
    let threads = |text: &str| {
        let number = text.trim().parse().ok();
        let number = number.filter(|number: &NonZeroU16| number.get() <= MOST_THREADS);
        number.ok_or_else(|| format!("write a number of threads from 1 to {MOST_THREADS}"))
    };
    Ok(read(THREADS, Shown::Yes, threads)?.unwrap_or(NonZeroU16::MIN))
}

/// Whether an error may show the value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Yes,
    No,
}

fn read<T>(
    name: &str,
    shown: Shown,
    parse: impl Fn(&str) -> Result<T, String>,
) -> io::Result<Option<T>> {
    let Some(value) = env::var_os(name) else { return Ok(None) };
    let parsed = match value.to_str() {
        Some(text) if text.trim().is_empty() => return Ok(None),
        Some(text) => parse(text),
        None => Err("it is not UTF-8".into()),
    };
    let variable = match shown {
        Shown::Yes => format!("{name}={}", value.display().to_string().escape_debug()),
        Shown::No => name.into(),
    };
    parsed.map(Some).map_err(|error| {
        let message = format!("the environment variable {variable} cannot be used: {error}");
        io::Error::new(io::ErrorKind::InvalidInput, message)
    })
}
