//! The address of a server.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use hyper::http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;
use url::{Host, ParseError, Position, Url};

use super::text::shown;

/// The most characters of the written text that an error shows.
const MAX_SHOWN: usize = 64;

/// The address of a server: `ws://host:port/path?query`, or with `wss://` and TLS (feature `rustls`).
/// `http://` and `https://` stand for the same.
///
/// It is read as browsers read it (the WHATWG URL standard) and kept in its normal form: scheme and
/// host in lower case, names in other scripts in Punycode, the path `/` if it is missing, no port
/// that is the default (80, or 443 with TLS), everything percent-encoded that has to be. Characters that browsers would silently remove or
/// repair are refused: blanks, line ends and tabs, backslashes, fragments (RFC 6455 §3).
///
/// A user name and a password are sent as Basic credentials (RFC 7617), with `wss://`, or if the server
/// is on this machine: `localhost` or a loopback address. To any other address they would go
/// unencrypted, so they are refused. Neither [`Display`](fmt::Display) nor [`Debug`] shows them.
///
/// ```
/// use wwr_async::client::ServerUrl;
///
/// let url: ServerUrl = "HTTP://ada:secret@LocalHost:7777?room=ü".parse()?;
/// assert_eq!(url.to_string(), "ws://localhost:7777/?room=%C3%BC");
/// # Ok::<(), wwr_async::client::InvalidUrl>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl {
    /// With the scheme `ws` or `wss` and a host, without user name, password and fragment.
    url: Url,
    authority: HeaderValue,
    path: PathAndQuery,
    /// The value of `Authorization`.
    credentials: Option<HeaderValue>,
}

/// Why a text is not a [`ServerUrl`]. Never shows what may be a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// It does not begin with a scheme, as `localhost:7777` does not.
    #[error("the URL has no scheme; write {0}")]
    MissingScheme(String),
    /// The scheme is not one of `ws`, `wss`, `http` and `https`.
    #[error("\"{0}\" is not a scheme that this client connects with; use ws:// or wss://")]
    Scheme(String),
    /// The scheme asks for TLS, `wss` or `https`, in a program that was built without.
    #[error(
        "{0}:// needs TLS, which this program was built without; build it with the feature `rustls` \
         of wwr-smol, wwr-tokio or wwr-async"
    )]
    Tls(&'static str),
    /// It has no host.
    #[error("the URL has no host; write it like ws://localhost:7777/")]
    EmptyHost,
    /// The host is invalid. Says why.
    #[error("the host of the URL is invalid: {0}")]
    Host(&'static str),
    /// The port is invalid.
    #[error("the port of the URL{} is invalid; it must be a number from 1 to 65535", Named(.0))]
    Port(String),
    /// It has a character that URLs cannot have, and that browsers would change or remove.
    #[error("the URL has {}", Repair(*.0))]
    Character(char),
    /// It has a fragment.
    #[error(
        "the URL has a fragment, the part from \"#\" on, which never reaches a server; remove it, or \
         write %23 for a \"#\" that belongs to the path or the query"
    )]
    Fragment,
    /// It has a user name or a password, which would be sent unencrypted to another machine.
    #[error(
        "the URL has a user name or a password, which ws:// would send unencrypted to another \
         machine; use wss://, or remove them, or set the header Authorization yourself if the network \
         can be trusted"
    )]
    ExposedCredentials,
    /// The user name or the password cannot be sent. Says why.
    #[error("the user name or the password in the URL cannot be sent: {0}")]
    Credentials(&'static str),
    /// In its normal form it has more than [`ServerUrl::MAX_LENGTH`] bytes.
    #[error(
        "the URL has more than {} bytes, the most that this client sends",
        ServerUrl::MAX_LENGTH
    )]
    TooLong,
    /// It cannot be read for another reason. Says which.
    #[error("the URL is invalid: {0}")]
    Other(&'static str),
}

impl ServerUrl {
    /// The longest normal form, in bytes.
    pub const MAX_LENGTH: usize = 16 * 1024;

    /// Returns whether it has a user name or a password, which are sent as the header
    /// `Authorization`.
    pub const fn has_credentials(&self) -> bool {
        self.credentials.is_some()
    }

    /// Returns the host, an address without brackets, and the port.
    pub(super) fn host_and_port(&self) -> (String, u16) {
        let host = match self.url.host() {
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(Host::Domain(name)) => name.to_owned(),
            None => String::new(),
        };
        (host, self.url.port_or_known_default().unwrap_or(80))
    }

    /// Returns whether the server is reached by TLS: its scheme is `wss`.
    pub fn is_secure(&self) -> bool {
        self.url.scheme() == "wss"
    }

    /// Returns the host.
    #[cfg(feature = "rustls")]
    pub(super) fn host(&self) -> Option<Host<&str>> {
        self.url.host()
    }

    /// Returns the target of a redirect, without user name, password and fragment. User name and password
    /// of this URL go along to the same server only.
    pub(super) fn redirected(&self, location: &str) -> Result<Self, InvalidUrl> {
        let invalid = |_| InvalidUrl::Other("its target is not a URL");
        let mut url = self.url.join(location).map_err(invalid)?;
        url.set_fragment(None);
        // Without a host, it has none of both.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        let mut target: Self = url.as_str().parse()?;
        if target.is_at(self) {
            target.credentials.clone_from(&self.credentials);
        }
        Ok(target)
    }

    /// Returns whether the same server is meant: host and port are the same, or it is that of `wss://` where
    /// the other is that of `ws://`.
    pub(super) fn is_at(&self, other: &Self) -> bool {
        let is_default = |url: &Self| url.url.port().is_none();
        let (port, other_port) =
            (self.url.port_or_known_default(), other.url.port_or_known_default());
        let is_upgraded = self.is_secure() && is_default(self) && is_default(other);
        self.url.host() == other.url.host() && (port == other_port || is_upgraded)
    }

    /// Returns the value of the header `Host`: with the port if it is not the default of the scheme.
    pub const fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// Returns path and query, as the first line of a request has them.
    pub const fn path(&self) -> &PathAndQuery {
        &self.path
    }

    /// Returns the value of the header `Authorization`, if the URL has a user name or a password. It is a
    /// secret.
    pub const fn credentials(&self) -> Option<&HeaderValue> {
        self.credentials.as_ref()
    }
}

impl FromStr for ServerUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        if let Some(character) = text.chars().find(|character| is_unfit(*character)) {
            return Err(InvalidUrl::Character(character));
        }
        let written = Written::take_apart(text)?;
        let mut url = Url::parse(text).map_err(|error| written.explain(error))?;
        if url.fragment().is_some() {
            return Err(InvalidUrl::Fragment);
        }
        if url.port() == Some(0) {
            return Err(InvalidUrl::Port(written.shown_port()));
        }
        let credentials = credentials(&url)?;
        let scheme = if matches!(url.scheme(), "wss" | "https") { "wss" } else { "ws" };
        if credentials.is_some() && scheme == "ws" && !is_here(&url) {
            return Err(InvalidUrl::ExposedCredentials);
        }
        let cleared = url
            .set_username("")
            .and_then(|()| url.set_password(None))
            .and_then(|()| url.set_scheme(scheme));
        cleared.map_err(|()| InvalidUrl::Other("it has no host"))?;
        if url.as_str().len() > Self::MAX_LENGTH {
            return Err(InvalidUrl::TooLong);
        }
        let authority = HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort])
            .map_err(|_| InvalidUrl::Host("it cannot be sent in a header"))?;
        let path = PathAndQuery::try_from(&url[Position::BeforePath..Position::AfterQuery])
            .map_err(|_| InvalidUrl::Other("its path or query cannot be sent in a request"))?;
        Ok(Self { url, authority, path, credentials })
    }
}

impl fmt::Display for ServerUrl {
    /// Shows the normal form, without user name and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str())
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerUrl").field(&self.url.as_str()).finish()
    }
}

/// A text that begins with a scheme and may be a URL.
struct Written<'a> {
    /// Host and port.
    authority: &'a str,
    /// Whether it cannot contain a password.
    is_public: bool,
}

impl<'a> Written<'a> {
    fn take_apart(text: &'a str) -> Result<Self, InvalidUrl> {
        let is_public = !text.contains('@');
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        let Some(scheme) = scheme.filter(|scheme| is_scheme(scheme)) else {
            let rest =
                ["ws:", "wss:", "http:", "https:", "//"].into_iter().fold(text, |rest, prefix| {
                    let begins =
                        rest.get(..prefix.len()).is_some_and(|s| s.eq_ignore_ascii_case(prefix));
                    if begins { rest.get(prefix.len()..).unwrap_or_default() } else { rest }
                });
            let rest = rest.trim_start_matches('/');
            let example = rest.is_empty() || !is_public || rest.contains("://");
            let rest = if example { "localhost:7777/".into() } else { shown(rest, MAX_SHOWN) };
            return Err(InvalidUrl::MissingScheme(format!("ws://{rest}")));
        };
        match scheme.as_str() {
            "ws" | "http" => {}
            #[cfg(feature = "rustls")]
            "wss" | "https" => {}
            #[cfg(not(feature = "rustls"))]
            "wss" => return Err(InvalidUrl::Tls("wss")),
            #[cfg(not(feature = "rustls"))]
            "https" => return Err(InvalidUrl::Tls("https")),
            _ => return Err(InvalidUrl::Scheme(shown(&scheme, MAX_SHOWN))),
        }
        let rest = text.get(scheme.len() + "://".len()..).unwrap_or_default();
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let authority = authority.rsplit_once('@').map_or(authority, |(_, authority)| authority);
        if authority.is_empty() || authority.starts_with(':') && !authority.starts_with("::") {
            // Browsers would take what follows further slashes for the host.
            return Err(InvalidUrl::EmptyHost);
        }
        Ok(Self { authority, is_public })
    }

    /// Returns what follows the host, in a form that can be shown.
    fn shown_port(&self) -> String {
        let behind_host = self.authority.rsplit_once(']').map_or(self.authority, |(_, rest)| rest);
        let port = behind_host.rsplit_once(':').map_or("", |(_, port)| port);
        if self.is_public { shown(port, MAX_SHOWN) } else { String::new() }
    }

    fn explain(&self, error: ParseError) -> InvalidUrl {
        let is_bracketed = self.authority.starts_with('[');
        match error {
            ParseError::InvalidPort | ParseError::EmptyHost
                if !is_bracketed && self.authority.matches(':').count() > 1 =>
            {
                InvalidUrl::Host("write an IPv6 address in brackets, like ws://[::1]:7777/")
            }
            ParseError::EmptyHost => InvalidUrl::EmptyHost,
            ParseError::InvalidPort => InvalidUrl::Port(self.shown_port()),
            ParseError::InvalidIpv6Address if self.authority.contains('%') => InvalidUrl::Host(
                "URLs have no IPv6 zones; use an address without one, or a name for it",
            ),
            ParseError::InvalidIpv6Address => {
                InvalidUrl::Host("the text in brackets is not an IPv6 address")
            }
            ParseError::InvalidIpv4Address => {
                InvalidUrl::Host("it ends like an IPv4 address but is not one")
            }
            ParseError::IdnaError | ParseError::InvalidDomainCharacter => {
                InvalidUrl::Host("it is not a valid domain name")
            }
            ParseError::Overflow => InvalidUrl::TooLong,
            ParseError::RelativeUrlWithoutBase => {
                InvalidUrl::MissingScheme("ws://localhost:7777/".into())
            }
            _ => InvalidUrl::Other("write it like ws://localhost:7777/"),
        }
    }
}

/// Returns the value of `Authorization` for the user name and the password of a URL (RFC 7617 §2).
fn credentials(url: &Url) -> Result<Option<HeaderValue>, InvalidUrl> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let user: Vec<u8> = percent_decode_str(url.username()).collect();
    let password: Vec<u8> = percent_decode_str(url.password().unwrap_or_default()).collect();
    if user.contains(&b':') {
        return Err(InvalidUrl::Credentials("a user name cannot have a colon"));
    }
    if user.iter().chain(&password).any(u8::is_ascii_control) {
        return Err(InvalidUrl::Credentials("they cannot have control characters"));
    }
    let pair = [&user[..], b":", &password].concat();
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
        .map_err(|_| InvalidUrl::Credentials("they are too long"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// Returns whether a server is on this machine, so that nothing in between can read the data.
fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        // RFC 6761 §6.3.
        Some(Host::Domain(name)) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            name == "localhost" || name.ends_with(".localhost")
        }
        None => false,
    }
}

/// Returns whether browsers silently remove or change a character, or the character is invisible.
fn is_unfit(character: char) -> bool {
    character.is_whitespace()
        || character.is_control()
        || matches!(
            character,
            '\\' | '\u{ad}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}'
            | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        )
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// A text in quotation marks, if it is not empty.
struct Named<'a>(&'a str);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ", \"{}\",", self.0) }
    }
}

/// A character that URLs cannot have, and what to do about it.
struct Repair(char);

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ' ' => f.write_str("a blank; remove it, or write %20"),
            '\t' => f.write_str("a tab; remove it"),
            '\r' | '\n' => f.write_str("a line end; remove it"),
            '\\' => f.write_str("a backslash; write a slash, or %5C if it is meant"),
            other => write!(
                f,
                "the invisible character U+{:04X}; remove it, or percent-encode it",
                u32::from(other)
            ),
        }
    }
}

#[cfg(test)]
mod tests;
