//! What a check is, and how it ends.

use core::fmt;
use core::time::Duration;
use std::io;

use futures_util::future::LocalBoxFuture;
use humantime::format_duration;
use serde::Serialize;

use super::host::Host;

/// One thing that a host has to do.
pub(super) struct Check {
    /// Stable, for `--only` and for programs.
    pub(super) name: &'static str,
    /// In docs/protocol.md.
    pub(super) section: &'static str,
    pub(super) level: Level,
    pub(super) expected: &'static str,
    pub(super) run: for<'a> fn(&'a Host) -> LocalBoxFuture<'a, Verdict>,
}

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Level {
    Must,
    Should,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Must => "must",
            Self::Should => "should",
        })
    }
}

/// How a check ended, if nothing came in between.
pub(super) type Verdict = Result<Finding, Trouble>;

/// What a check has found, with what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Pass(String),
    Fail(String),
    /// A host should not do this, and may.
    Warn(String),
    /// A known mistake of the reference that clients have to bear, such as `Q20-03`.
    Quirk(&'static str, String),
}

impl Finding {
    /// A check that passes if this holds.
    pub(super) fn of(holds: bool, seen: impl Into<String>) -> Self {
        if holds { Self::Pass(seen.into()) } else { Self::Fail(seen.into()) }
    }
}

/// What kept a check from its end. All but the first count against the host.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The check does not suit this host or these options. Says why.
    #[error("{0}")]
    Skip(String),
    #[error("no connection: {0}")]
    NotReached(io::Error),
    #[error("{what} did not come within {}", format_duration(*.within))]
    Late { what: &'static str, within: Duration },
    #[error("{0}")]
    Ended(End),
    #[error("the WebSocket was refused with status {0}")]
    Refused(u16),
    /// What came is no HTTP, or no WebSocket frames. Says why.
    #[error("{0}")]
    Unreadable(String),
}

impl Trouble {
    pub(super) fn skip<T>(why: impl Into<String>) -> Result<T, Self> {
        Err(Self::Skip(why.into()))
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By a close frame, with its code.
    Closed(Option<u16>),
    /// Without one.
    Cut,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(Some(code)) => write!(f, "the connection was closed with code {code}"),
            Self::Closed(None) => {
                write!(f, "the connection was closed with a close frame without a code")
            }
            Self::Cut => write!(f, "the connection ended without a close frame"),
        }
    }
}

/// How a check ended, for the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    Pass,
    Fail,
    Warn,
    Quirk,
    Skip,
    /// There was no time for it.
    NotRun,
}

impl Outcome {
    /// Returns how a check of this level ended, and what was seen.
    pub(super) fn of(level: Level, verdict: Verdict) -> (Self, String) {
        let fails = match level {
            Level::Must => Self::Fail,
            Level::Should => Self::Warn,
        };
        match verdict {
            Ok(Finding::Pass(seen)) => (Self::Pass, seen),
            Ok(Finding::Fail(seen)) => (fails, seen),
            Ok(Finding::Warn(seen)) => (Self::Warn, seen),
            Ok(Finding::Quirk(known, seen)) => (Self::Quirk, format!("{seen} ({known})")),
            Err(Trouble::Skip(why)) => (Self::Skip, why),
            Err(trouble) => (fails, trouble.to_string()),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Fail => "FAIL",
            Self::Warn => "warn",
            Self::Quirk => "quirk",
            Self::Skip => "skip",
            Self::NotRun => "not run",
        })
    }
}
