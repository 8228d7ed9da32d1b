//! Which pages may open connections.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;
use core::str::FromStr;

use super::head::{Field, Head};
use super::host::{Authority, address_v6};

/// The origins whose pages may open WebSockets. Browsers send the `Origin` of the page with the
/// handshake. Programs send none and are always allowed.
///
/// Without such a check, any page that a user visits could connect to the server in the user's
/// name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origins {
    /// Pages of `http` and `https` of the host (and port) that the connection is made to. Pages of
    /// another scheme, such as those of apps and extensions, have to be listed.
    ///
    /// The host is whatever the browser says. A page can have a name of its own stand for the address of a server that only
    /// the user's machine reaches (DNS rebinding), and is of the same host then. Such a server compares `Host` with its
    /// names before it allows an upgrade, or lists origins.
    #[default]
    SameHost,
    /// Pages of these origins only, whatever the host.
    List(Vec<Origin>),
    /// Pages of these origins, and those of the same host: for a server that has pages of its own.
    SameHostAnd(Vec<Origin>),
    /// All pages.
    Any,
}

impl Origins {
    /// Returns whether a request may open a WebSocket. No browser sends several `Origin` headers:
    /// they are allowed only if every origin is.
    pub fn allow(&self, head: &Head<'_>) -> bool {
        match head.origin {
            Field::Absent => true,
            Field::Once(_) | Field::Several => *self == Self::Any || self.page(head).is_some(),
        }
    }

    /// Returns the origin of the page that sent a request, as it was sent, if it is allowed. It has no
    /// character that would end a header.
    pub(super) fn page<'a>(&self, head: &Head<'a>) -> Option<&'a str> {
        let Field::Once(origin) = head.origin else { return None };
        let text = core::str::from_utf8(origin).ok()?;
        let origin = Parts::read(text)?;
        let is_listed = |origins: &[Origin]| origins.iter().any(|one| one.is(&origin));
        let allowed = match self {
            Self::Any => true,
            Self::List(origins) => is_listed(origins),
            Self::SameHost => origin.is_of_host(head),
            Self::SameHostAnd(origins) => is_listed(origins) || origin.is_of_host(head),
        };
        allowed.then_some(text)
    }
}

/// An origin of pages, as browsers name it (RFC 6454): `https://example.com`, with the port if it
/// differs from that of the scheme; `null` for pages without an address, such as those of files.
///
/// Parsing normalizes a text: blanks around it, upper case, a trailing slash and the default port
/// do not matter. A text that cannot be the origin of a page is an error. Names have to be in ASCII
/// (`xn--` and so on); adapters may accept others.
///
/// ```
/// use wwr::server::gate::{InvalidOrigin, Origin};
///
/// let origin: Origin = " HTTPS://Example.com:443/ ".parse()?;
/// assert_eq!(origin.to_string(), "https://example.com");
/// assert_eq!("null".parse::<Origin>()?.to_string(), "null");
/// assert_eq!("*".parse::<Origin>(), Err(InvalidOrigin::Wildcard));
/// # Ok::<(), InvalidOrigin>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin(Kind);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Null,
    Page { scheme: String, host: String, port: Option<u16> },
}

/// Why a text is not the origin of any page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOrigin {
    /// It is empty.
    #[error("an origin is missing; write it like https://example.com")]
    Empty,
    /// It contains a `*`.
    #[error("origins have no wildcards; list each one, or allow any")]
    Wildcard,
    /// It has no scheme, or a misspelt one.
    #[error(
        "an origin begins with a scheme, like https://example.com; null stands for pages without \
         an address"
    )]
    Scheme,
    /// The scheme is that of WebSockets.
    #[error("no page has the scheme ws or wss; write http or https, as in the address of the page")]
    WebSocket,
    /// It has a path, a query or a fragment.
    #[error("an origin ends with the host or the port; leave out what follows")]
    Path,
    /// It has a name or a password.
    #[error("an origin has no user name and no password; leave out what is before the @")]
    Credentials,
    /// The host is not in ASCII.
    #[error(
        "the host is not in ASCII; write it as browsers send it, like https://xn--bcher-kva.example"
    )]
    NotAscii,
    /// The host is missing or invalid.
    #[error("an origin needs a host, like https://example.com or https://[2001:db8::1]:8443")]
    Host,
    /// The port is not a number up to 65535.
    #[error("the port of an origin is a number from 0 to 65535")]
    Port,
}

impl Origin {
    fn is(&self, other: &Parts<'_>) -> bool {
        match (&self.0, other) {
            (Kind::Null, Parts::Null) => true,
            (Kind::Page { scheme, host, port }, Parts::Page { scheme: s, host: h, port: p }) => {
                let same_host = match (address_v6(host), address_v6(h)) {
                    (Some(one), Some(other)) => one == other,
                    _ => host.eq_ignore_ascii_case(h),
                };
                let default = default_port(scheme);
                scheme.eq_ignore_ascii_case(s) && same_host && port.or(default) == p.or(default)
            }
            (Kind::Null, Parts::Page { .. }) | (Kind::Page { .. }, Parts::Null) => false,
        }
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let text = text.trim();
        if text.is_empty() {
            return Err(InvalidOrigin::Empty);
        }
        if text.contains('*') {
            return Err(InvalidOrigin::Wildcard);
        }
        if text.eq_ignore_ascii_case("null") {
            return Ok(Self(Kind::Null));
        }
        let (scheme, rest) = text.split_once("://").ok_or(InvalidOrigin::Scheme)?;
        let scheme = scheme.to_ascii_lowercase();
        if !is_scheme(&scheme) {
            return Err(InvalidOrigin::Scheme);
        }
        if matches!(scheme.as_str(), "ws" | "wss") {
            return Err(InvalidOrigin::WebSocket);
        }
        // All pages of files have the origin `file://`, whatever their path.
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#', '\\']) {
            return Err(InvalidOrigin::Path);
        }
        if authority.contains('@') {
            return Err(InvalidOrigin::Credentials);
        }
        if !authority.is_ascii() {
            return Err(InvalidOrigin::NotAscii);
        }
        if authority.is_empty() && !is_of_web(&scheme) {
            return Ok(Self(Kind::Page { scheme, host: String::new(), port: None }));
        }
        let Some(read) = Authority::parse(authority.as_bytes()) else {
            let port =
                authority.rsplit_once(':').map(|(host, _)| Authority::parse(host.as_bytes()));
            let host = matches!(port, Some(Some(_)));
            return Err(if host { InvalidOrigin::Port } else { InvalidOrigin::Host });
        };
        if is_of_web(&scheme) && (read.host.contains('%') || is_half_a_number(read.host)) {
            return Err(InvalidOrigin::Host);
        }
        let host = match address_v6(read.host) {
            Some(address) => alloc::format!("[{address}]"),
            None => read.host.to_ascii_lowercase(),
        };
        let port = read.port.filter(|port| default_port(&scheme) != Some(*port));
        Ok(Self(Kind::Page { scheme, host, port }))
    }
}

impl fmt::Display for Origin {
    /// As browsers send it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Null => f.write_str("null"),
            Kind::Page { scheme, host, port: None } => write!(f, "{scheme}://{host}"),
            Kind::Page { scheme, host, port: Some(port) } => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}

/// The parts of an origin as it was sent.
enum Parts<'a> {
    Null,
    Page { scheme: &'a str, host: &'a str, port: Option<u16> },
}

impl<'a> Parts<'a> {
    fn read(origin: &'a str) -> Option<Self> {
        if origin == "null" {
            return Some(Self::Null);
        }
        let (scheme, authority) = origin.split_once("://")?;
        if !is_scheme(scheme) {
            return None;
        }
        if authority.is_empty() && !is_of_web(scheme) {
            return Some(Self::Page { scheme, host: "", port: None });
        }
        let Authority { host, port, .. } = Authority::parse(authority.as_bytes())?;
        Some(Self::Page { scheme, host, port })
    }

    /// Returns whether a request is for the host and port of the page.
    fn is_of_host(&self, head: &Head<'_>) -> bool {
        match *self {
            Self::Page { scheme, host, port } => {
                let default = default_port(scheme).filter(|_| is_of_web(scheme));
                let asked = head.authority().filter(|_| default.is_some());
                asked.is_some_and(|asked| asked.is_same(host, port, default))
            }
            Self::Null => false,
        }
    }
}

fn is_scheme(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// Returns whether pages of that scheme come from hosts.
fn is_of_web(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

fn default_port(scheme: &str) -> Option<u16> {
    if scheme.eq_ignore_ascii_case("http") {
        Some(80)
    } else if scheme.eq_ignore_ascii_case("https") {
        Some(443)
    } else {
        None
    }
}

/// Returns whether browsers take a host for an address, although they would write it differently.
fn is_half_a_number(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let decimal = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    let hex = last.get(..2).is_some_and(|prefix| prefix.eq_ignore_ascii_case("0x"));
    (decimal || hex) && host.parse::<Ipv4Addr>().is_err()
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::super::head::HttpVersion;
    use super::*;

    fn allows(origins: &Origins, target: &str, host: Option<&str>, origin: Option<&str>) -> bool {
        let headers = [("host", host), ("origin", origin)];
        let headers =
            headers.into_iter().filter_map(|(name, value)| Some((name, value?.as_bytes())));
        origins.allow(&Head::new("GET", target, HttpVersion::Http11, headers))
    }

    #[test]
    fn same_host_compares_host_and_port() {
        for (origin, host, allowed) in [
            (None, Some("example.com"), true),
            (Some("http://example.com"), Some("example.com"), true),
            (Some("http://EXAMPLE.com"), Some("example.COM"), true),
            (Some("HTTP://example.com"), Some("example.com"), true),
            (Some("http://example.com:80"), Some("example.com"), true),
            (Some("https://example.com"), Some("example.com:443"), true),
            (Some("https://example.com"), Some("example.com"), true),
            (Some("https://example.com"), Some("example.com:80"), false),
            (Some("http://example.com:8080"), Some("example.com:8080"), true),
            (Some("http://example.com:8080"), Some("example.com"), false),
            (Some("http://[::1]:7777"), Some("[0:0:0:0:0:0:0:1]:7777"), true),
            (Some("http://evil.com"), Some("example.com"), false),
            (Some("http://example.com.evil.com"), Some("example.com"), false),
            (Some("http://example.com@evil.com"), Some("example.com"), false),
            (Some("http://example.com/"), Some("example.com"), false),
            (Some("http://example.com http://example.com"), Some("example.com"), false),
            (Some("ftp://example.com"), Some("example.com"), false),
            (Some("ws://example.com"), Some("example.com"), false),
            (Some("file://example.com"), Some("example.com"), false),
            (Some("chrome-extension://example.com"), Some("example.com"), false),
            (Some("://example.com"), Some("example.com"), false),
            (Some("example.com"), Some("example.com"), false),
            (Some("null"), Some("example.com"), false),
            (Some("null"), Some("null"), false),
            (Some(""), Some("example.com"), false),
            (Some("http://example.com"), None, false),
        ] {
            let allowed_now = allows(&Origins::SameHost, "/", host, origin);
            assert_eq!(allowed_now, allowed, "{origin:?} {host:?}");
        }
    }

    #[test]
    fn the_host_of_an_absolute_target_counts_and_not_the_header() {
        let same = |target, origin| allows(&Origins::SameHost, target, Some("other"), Some(origin));
        assert!(same("http://example.com/", "http://example.com"));
        assert!(same("ws://example.com:81/a", "http://example.com:81"));
        assert!(!same("http://example.com/", "http://other"));
    }

    #[test]
    fn several_origins_are_refused() {
        let origins = [("host", &b"h"[..]), ("origin", b"http://h"), ("origin", b"http://h")];
        let head = Head::new("GET", "/", HttpVersion::Http11, origins);
        assert!(!Origins::SameHost.allow(&head));
        assert!(!Origins::List([origin("http://h")].into()).allow(&head));
        assert!(Origins::Any.allow(&head));
    }

    fn origin(text: &str) -> Origin {
        text.parse().unwrap()
    }

    #[test]
    fn a_list_contains_whole_origins_in_any_spelling() {
        for (listed, sent) in [
            ("https://app.example.com", "https://app.example.com"),
            ("https://app.example.com:443", "https://app.example.com"),
            ("HTTPS://App.Example.COM/", "https://app.example.com"),
            (" https://app.example.com \n", "https://app.example.com"),
            ("http://localhost:080", "http://localhost"),
            ("http://localhost:", "http://localhost"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[0:0::1]:80", "http://[::1]"),
            ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
            ("null", "null"),
            ("NULL", "null"),
            ("file://", "file://"),
            ("file:///", "file://"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("app://-", "app://-"),
        ] {
            let listed_now = origin(listed);
            assert_eq!(listed_now.to_string(), sent, "{listed}");
            let list = Origins::List([listed_now].into());
            assert!(allows(&list, "/", Some("h"), Some(sent)), "{listed}");
            assert!(!allows(&list, "/", Some("h"), Some("http://h")), "{listed}");
            assert!(allows(&list, "/", Some("h"), None), "{listed}");
        }
        let list = Origins::List([origin("https://a.example")].into());
        for other in ["http://a.example", "https://a.example:80", "https://b.a.example", "null", ""]
        {
            assert!(!allows(&list, "/", Some("a.example"), Some(other)), "{other}");
        }
        assert!(allows(&Origins::Any, "/", None, Some("null")));
    }

    #[test]
    fn pages_of_the_same_host_may_be_allowed_beside_others() {
        let both = Origins::SameHostAnd([origin("https://app.example")].into());
        for (sent, allowed) in [
            (None, true),
            (Some("https://app.example"), true),
            (Some("http://h:7777"), true),
            (Some("http://h"), false),
            (Some("http://app.example"), false),
            (Some("null"), false),
            (Some(""), false),
        ] {
            assert_eq!(allows(&both, "/", Some("h:7777"), sent), allowed, "{sent:?}");
        }
    }

    #[test]
    fn texts_that_no_page_has_as_origin_are_refused() {
        use InvalidOrigin::{
            Credentials, Empty, Host, NotAscii, Path, Port, Scheme, WebSocket, Wildcard,
        };
        for (text, error) in [
            ("", Empty),
            (" \t", Empty),
            ("*", Wildcard),
            ("https://*.example.com", Wildcard),
            ("*://example.com", Wildcard),
            ("example.com", Scheme),
            ("localhost:3000", Scheme),
            ("about:blank", Scheme),
            ("://example.com", Scheme),
            ("1http://example.com", Scheme),
            ("ws://example.com", WebSocket),
            ("wss://example.com", WebSocket),
            ("https://example.com/app", Path),
            ("https://example.com//", Path),
            ("https://example.com?", Path),
            ("https://example.com#a", Path),
            ("file:///home", Path),
            ("https://user@example.com", Credentials),
            ("https://bücher.example", NotAscii),
            ("https://", Host),
            ("https:///", Host),
            ("https://:443", Host),
            ("https://exa mple.com", Host),
            ("https://ex%41mple.com", Host),
            ("http://127.1", Host),
            ("http://2130706433", Host),
            ("http://0x7f.1", Host),
            ("http://1.2.3.4.5", Host),
            ("http://::1", Host),
            ("https://example.com:65536", Port),
            ("https://example.com:https", Port),
        ] {
            assert_eq!(text.parse::<Origin>(), Err(error), "{text}");
        }
    }
}
