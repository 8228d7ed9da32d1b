//! Values of arguments: how they are written.

use core::num::NonZeroU16;
use core::str::FromStr;
use core::time::Duration;
use std::path::PathBuf;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use wwr::Encoding;

/// A duration such as `500ms` or `1m 30s`, not zero.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration.is_zero() { Err("it must not be zero".into()) } else { Ok(duration) }
}

/// A number that is not zero, in one of the types of those.
pub(crate) fn positive_number<T: FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse().map_err(|_| "write a whole number, 1 or more")
}

/// A number of handlers, or `unlimited`.
pub(crate) fn concurrency(text: &str) -> Result<NonZeroU16, &'static str> {
    match text {
        "unlimited" => Ok(NonZeroU16::MAX),
        _ => text.parse().map_err(|_| "write a number from 1 to 65535, or unlimited"),
    }
}

/// Where a server keeps sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SessionPlace {
    Memory,
    Off,
    Directory(PathBuf),
}

impl From<&str> for SessionPlace {
    fn from(text: &str) -> Self {
        match text {
            "memory" => Self::Memory,
            "off" => Self::Off,
            _ => Self::Directory(text.into()),
        }
    }
}

/// Whose pages may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AllowedOrigin {
    Any,
    Origin(String),
}

/// `any`, or an origin as browsers write it.
pub(crate) fn allowed_origin(text: &str) -> Result<AllowedOrigin, &'static str> {
    if text == "any" {
        return Ok(AllowedOrigin::Any);
    }
    match text.split_once("://") {
        Some((scheme, host))
            if !scheme.is_empty() && !host.is_empty() && !host.contains(['/', '?', '#']) =>
        {
            Ok(AllowedOrigin::Origin(text.into()))
        }
        _ => Err("write it like https://example.com or https://example.com:8443, or any"),
    }
}

/// The encodings of payloads.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PayloadEncoding {
    Binary,
    Utf8,
    Utf16,
}

impl From<PayloadEncoding> for Encoding {
    fn from(encoding: PayloadEncoding) -> Self {
        match encoding {
            PayloadEncoding::Binary => Self::Binary,
            PayloadEncoding::Utf8 => Self::Utf8,
            PayloadEncoding::Utf16 => Self::Utf16,
        }
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Off => Self::OFF,
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_and_are_not_zero() {
        assert_eq!(positive_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(positive_duration("1m 30s"), Ok(Duration::from_secs(90)));
        for text in ["", "5", "0s", "-1s", "soon", "99999999999999999999s"] {
            assert!(positive_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn concurrency_is_a_number_or_unlimited() {
        assert_eq!(concurrency("8"), Ok(NonZeroU16::MIN.saturating_add(7)));
        assert_eq!(concurrency("unlimited"), Ok(NonZeroU16::MAX));
        for text in ["0", "-1", "65536", "many"] {
            assert!(concurrency(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_origin_has_a_scheme_and_no_path() {
        assert_eq!(allowed_origin("any"), Ok(AllowedOrigin::Any));
        let origin = "https://example.com:8443";
        assert_eq!(allowed_origin(origin), Ok(AllowedOrigin::Origin(origin.into())));
        for text in ["", "example.com", "://example.com", "https://", "https://example.com/"] {
            assert!(allowed_origin(text).is_err(), "{text}");
        }
    }
}
