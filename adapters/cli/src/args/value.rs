//! Parsers for the values of arguments.

use core::fmt;
use core::num::NonZeroU16;
use core::str::FromStr;
use core::time::Duration;
use std::path::PathBuf;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use wwr::Encoding;
use wwr_smol::server::{ConnectionConfig, Pings, Protocol};
use wwr_smol::server::{Origin, ProxyHeaders, parse_origin};

use super::spoken::PingAfter;

/// Parses a duration such as `500ms` or `1m 30s`, not zero.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration.is_zero() { Err("it must not be zero".into()) } else { Ok(duration) }
}

/// Parses a number that is not zero, of one of the types for that.
pub(crate) fn positive_number<T: FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse().map_err(|_| "write a whole number, 1 or more")
}

/// Parses a number of handlers, or `unlimited`.
pub(crate) fn concurrency(text: &str) -> Result<NonZeroU16, &'static str> {
    match text {
        "unlimited" => Ok(NonZeroU16::MAX),
        _ => text.parse().map_err(|_| "write a number from 1 to 65535, or unlimited"),
    }
}

/// The protocols of a server, by name.
const PROTOCOLS: [(&str, Protocol); 5] = [
    ("any", Protocol::Any),
    ("any-as-1.5", Protocol::AnyAs1_5),
    ("1.4", Protocol::V1_4),
    ("1.5", Protocol::V1_5),
    ("2.0", Protocol::V2_0),
];

/// Parses the protocol of a server.
pub(crate) fn protocol(text: &str) -> Result<Protocol, &'static str> {
    let named = PROTOCOLS.into_iter().find(|(name, _)| *name == text);
    named.map(|(_, protocol)| protocol).ok_or("write any, any-as-1.5, 1.4, 1.5 or 2.0")
}

/// Returns the name of a server's protocol.
pub(crate) fn protocol_name(spoken: Protocol) -> &'static str {
    let named = PROTOCOLS.into_iter().find(|(_, protocol)| *protocol == spoken);
    named.map_or("unknown", |(name, _)| name)
}

/// Parses a path and its protocol.
pub(crate) fn path_protocol(text: &str) -> Result<(String, Protocol), &'static str> {
    match text.rsplit_once('=') {
        Some((path, spoken)) if path.starts_with('/') && path.bytes().all(is_of_path) => {
            Ok((path.into(), protocol(spoken)?))
        }
        _ => {
            Err("write it like /new=2.0, with a path that begins with a slash, has no query, and \
                  has %C3%BC and the like in place of what is not ASCII")
        }
    }
}

/// Returns whether a path can contain the byte as it is.
const fn is_of_path(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#')
}

/// Whether a server can have this setting, whatever the others are.
fn check(change: impl FnOnce(&mut ConnectionConfig)) -> Result<(), String> {
    let mut config = ConnectionConfig::default();
    config.max_message_size = u32::MAX;
    change(&mut config);
    config.validate().map(drop).map_err(|error| error.to_string())
}

/// Parses a read timeout that can be advertised.
pub(crate) fn read_timeout(text: &str) -> Result<Duration, String> {
    let timeout = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    check(|config| config.advertised.read_timeout = timeout)?;
    Ok(timeout)
}

/// Parses the size of a message buffer that can be advertised.
pub(crate) fn message_buffer(text: &str) -> Result<u32, String> {
    let bytes = text.parse().map_err(|_| "write a whole number, from 32 to 4294967295")?;
    check(|config| config.advertised.message_buffer = bytes)?;
    Ok(bytes)
}

/// Parses a valid time for pings, or for their answers.
pub(crate) fn ping_time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    check(|config| config.pings = Some(Pings::new(time, time)))?;
    Ok(time)
}

/// Parses the silence after which pings are sent, or `off`.
pub(crate) fn ping_after(text: &str) -> Result<PingAfter, String> {
    match text {
        "off" => Ok(PingAfter::Off),
        _ => ping_time(text).map(PingAfter::Silence),
    }
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListenOn {
    /// An address, or a name that stands for some.
    Address(String),
    /// The path of a unix socket.
    Unix(PathBuf),
    /// The name of an abstract unix socket.
    Abstract(String),
    /// The sockets that systemd has opened.
    Systemd,
}

impl From<&str> for ListenOn {
    fn from(text: &str) -> Self {
        match text.strip_prefix("unix:") {
            Some(path) => match path.strip_prefix('@') {
                Some(name) => Self::Abstract(name.into()),
                None => Self::Unix(path.into()),
            },
            None if text == "systemd" => Self::Systemd,
            None => Self::Address(text.into()),
        }
    }
}

impl fmt::Display for ListenOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Abstract(name) => write!(f, "unix:@{name}"),
            Self::Systemd => f.write_str("systemd"),
        }
    }
}

/// Where a page for operators is served: an address. A port alone is one of this machine only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PageOn(String);

impl PageOn {
    pub(crate) fn address(&self) -> &str {
        &self.0
    }
}

impl From<&str> for PageOn {
    fn from(text: &str) -> Self {
        let is_port = text.parse::<u16>().is_ok();
        Self(if is_port { format!("127.0.0.1:{text}") } else { text.to_owned() })
    }
}

/// Parses the mode of a file.
pub(crate) fn file_mode(text: &str) -> Result<u32, &'static str> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("write an octal number up to 777, such as 660"),
    }
}

/// Where a server stores sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SessionStorage {
    Memory,
    Off,
    /// Redis or Valkey, at this URL. Without a URL, the environment has it.
    Redis(Option<EngineUrl>),
    Directory(PathBuf),
}

/// The URL of an engine. It may have a password, so it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct EngineUrl(String);

impl EngineUrl {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether a text is meant to be one. Whether it is right is found out later.
    fn looks_like(text: &str) -> bool {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        let schemes = ["redis", "rediss", "redis+unix", "valkey", "valkeys", "valkey+unix"];
        scheme.is_some_and(|scheme| schemes.contains(&scheme))
    }
}

impl FromStr for EngineUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match Self::looks_like(text) {
            true => Ok(Self(text.to_owned())),
            false => Err("write it like redis://USER:PASSWORD@HOST:PORT"),
        }
    }
}

impl fmt::Debug for EngineUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EngineUrl(..)")
    }
}

/// The engine of a cluster: Redis or Valkey, at this URL. Without a URL, the environment has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterEngine(pub(crate) Option<EngineUrl>);

impl FromStr for ClusterEngine {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "redis" => Ok(Self(None)),
            _ => text.parse().map(|url| Self(Some(url))),
        }
    }
}

impl From<&str> for SessionStorage {
    fn from(text: &str) -> Self {
        match text {
            "memory" => Self::Memory,
            "off" => Self::Off,
            "redis" => Self::Redis(None),
            _ if EngineUrl::looks_like(text) => Self::Redis(Some(EngineUrl(text.to_owned()))),
            _ => Self::Directory(text.into()),
        }
    }
}

/// An origin whose pages may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AllowedOrigin {
    Any,
    Origin(Origin),
}

impl AllowedOrigin {
    /// Returns the name of the host of the pages, if they have one.
    pub(crate) fn host(&self) -> Option<String> {
        let Self::Origin(origin) = self else { return None };
        let uri: http::Uri = origin.to_string().parse().ok()?;
        uri.host().map(str::to_owned)
    }
}

/// The client of the page for browsers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PlaygroundPage {
    Off,
    Directory(PathBuf),
}

impl From<&str> for PlaygroundPage {
    fn from(text: &str) -> Self {
        match text {
            "off" => Self::Off,
            _ => Self::Directory(text.into()),
        }
    }
}

/// `any`, or an origin.
pub(crate) fn allowed_origin(text: &str) -> Result<AllowedOrigin, String> {
    match text.trim() {
        "any" => Ok(AllowedOrigin::Any),
        _ => parse_origin(text).map(AllowedOrigin::Origin).map_err(|error| error.to_string()),
    }
}

/// The headers in which proxies name their clients.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ProxyHeader {
    Either,
    Forwarded,
    XForwardedFor,
}

impl From<ProxyHeader> for ProxyHeaders {
    fn from(header: ProxyHeader) -> Self {
        match header {
            ProxyHeader::Either => Self::Either,
            ProxyHeader::Forwarded => Self::Forwarded,
            ProxyHeader::XForwardedFor => Self::XForwardedFor,
        }
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

/// The log level.
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
    fn protocols_have_names_also_for_paths() {
        for (name, spoken) in PROTOCOLS {
            assert_eq!((protocol(name), protocol_name(spoken)), (Ok(spoken), name));
        }
        assert_eq!(path_protocol("/a=b=2.0"), Ok(("/a=b".into(), Protocol::V2_0)));
        assert_eq!(path_protocol("/=any"), Ok(("/".into(), Protocol::Any)));
        assert_eq!(path_protocol("/%C3%BC=1.5"), Ok(("/%C3%BC".into(), Protocol::V1_5)));
        for text in
            ["", "/", "new=2.0", "/new", "/new=", "/new=3.0", "/new?x=2.0", "/a b=2.0", "/ü=2.0"]
        {
            assert!(path_protocol(text).is_err(), "{text}");
        }
        assert!(protocol("").is_err() && protocol("3.0").is_err() && protocol("ANY").is_err());
    }

    #[test]
    fn advertised_settings_respect_the_limits_of_the_protocol() {
        assert_eq!(read_timeout("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(message_buffer("32"), Ok(32));
        assert_eq!(ping_after("off"), Ok(PingAfter::Off));
        assert_eq!(ping_after("10ms"), Ok(PingAfter::Silence(Duration::from_millis(10))));
        for text in ["0s", "99ms", "50days", "5", ""] {
            assert!(read_timeout(text).is_err(), "{text}");
        }
        for text in ["0", "31", "4294967296", "8k", ""] {
            assert!(message_buffer(text).is_err(), "{text}");
        }
        for text in ["0s", "9ms", "on", ""] {
            assert!(ping_after(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_origin_has_a_scheme_and_no_path() {
        assert_eq!(allowed_origin("any"), Ok(AllowedOrigin::Any));
        for (text, origin) in [
            ("https://example.com:8443", "https://example.com:8443"),
            ("HTTPS://Example.com:443/ ", "https://example.com"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("null", "null"),
            ("file://", "file://"),
        ] {
            let origin = AllowedOrigin::Origin(origin.parse().unwrap());
            assert_eq!(allowed_origin(text), Ok(origin), "{text}");
        }
        for (text, said) in [
            ("", "missing"),
            ("*", "allow any"),
            ("https://*.example.com", "allow any"),
            ("example.com", "begins with a scheme"),
            ("://example.com", "begins with a scheme"),
            ("https://", "needs a host"),
            ("https://example.com/app", "leave out what follows"),
            ("ws://example.com", "http or https"),
        ] {
            let error = allowed_origin(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
