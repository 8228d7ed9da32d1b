//! A proxy that connects for the client.

use std::fmt;
use std::io;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::{Destination, Dial, Dialed, http_connect, socks};
use crate::addresses::Addresses;
use crate::client::tcp;
use crate::client::text::shown;
use crate::runtime::Runtime;

/// The port of a proxy that names none, as in curl.
const DEFAULT_PORT: u16 = 1080;

/// The most characters of a text that an error shows.
const MAX_SHOWN: usize = 64;

/// The most bytes of a user name or a password: what SOCKS5 can send (RFC 1929 §2).
const MAX_CREDENTIALS: usize = 255;

/// Connects through a proxy. The proxy also resolves the name of the server.
///
/// As a text it is a URL: `http://user:password@host:port` for the method `CONNECT` of HTTP
/// (RFC 9110 §9.3.6), `socks5://` or `socks5h://` for SOCKS5 (RFC 1928). User name and password are
/// percent-decoded; they go to the proxy unencrypted. Without a scheme it is `http://`, without a port
/// 1080.
///
/// ```
/// use wwr_async::client::Proxy;
///
/// let proxy: Proxy = "socks5://ada:secret@proxy.example:1080".parse()?;
/// assert_eq!(proxy.to_string(), "socks5://proxy.example:1080");
/// # Ok::<(), wwr_async::client::InvalidProxy>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    kind: Kind,
    host: Host,
    port: u16,
    /// A user name and a password.
    credentials: Option<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Http,
    Socks5,
}

/// Why a text is not a [`Proxy`]. Never shows what may be a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidProxy {
    /// The client does not speak with such a proxy.
    #[error(
        "\"{0}\" is not a kind of proxy that this client speaks with; use http:// or socks5://"
    )]
    Scheme(String),
    /// It is not a URL of a host and a port. Says why.
    #[error("the proxy is invalid: {0}; write it like http://proxy.example:3128")]
    Url(String),
    /// The user name or the password cannot be sent. Says why.
    #[error("the user name or the password of the proxy cannot be sent: {0}")]
    Credentials(&'static str),
    /// A variable of the environment is invalid.
    #[error("the environment variable {name}: {error}")]
    Variable {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        error: Box<Self>,
    },
}

/// A proxy has refused the user name and the password of its URL, which may be locked if they are sent again and
/// again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(in crate::client) struct LoginRefused(String);

impl LoginRefused {
    pub(super) fn error(text: String) -> io::Error {
        io::Error::new(io::ErrorKind::PermissionDenied, Self(text))
    }

    /// Returns whether an error of a dialer is this one.
    pub(in crate::client) fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

impl Proxy {
    /// Connects to the proxy and asks it to connect.
    async fn connect<R: Runtime>(&self, runtime: &R, to: &Destination) -> io::Result<Dialed<R>> {
        let host = match &self.host {
            Host::Domain(name) => name.clone(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        if to.has_credentials && !to.is_secure {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the proxy {self} would see user name and password of the URL; use wss://"),
            ));
        }
        let addresses = Addresses::from((host, self.port));
        let named = |error: io::Error| {
            let text = format!("the proxy {self}: {error}");
            if LoginRefused::is(&error) {
                LoginRefused::error(text)
            } else {
                io::Error::new(error.kind(), text)
            }
        };
        let connected = tcp::connect(runtime, addresses, to).await;
        let (stream, address) = connected.map_err(named)?;
        let credentials = self.credentials.as_ref().map(|(user, password)| (&**user, &**password));
        let stream = match self.kind {
            Kind::Http => http_connect::connect(runtime, stream, to, credentials).await,
            Kind::Socks5 => socks::connect(stream, to, credentials).await,
        };
        Ok(Dialed::native(stream.map_err(named)?).with_address(address))
    }
}

impl<R: Runtime> Dial<R> for Proxy {
    async fn dial(&self, runtime: &R, to: &Destination) -> io::Result<Dialed<R>> {
        self.connect(runtime, to).await
    }
}

impl FromStr for Proxy {
    type Err = InvalidProxy;

    fn from_str(text: &str) -> Result<Self, InvalidProxy> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "http" => Kind::Http,
            "socks5" | "socks5h" => Kind::Socks5,
            // What is before it may be a user name, if the password has this in it.
            _ if scheme.contains(['@', ':']) => return Err(InvalidProxy::Scheme(String::new())),
            _ => return Err(InvalidProxy::Scheme(shown(scheme, MAX_SHOWN))),
        };
        let invalid = |why: &str| InvalidProxy::Url(why.into());
        // A scheme without a default port, so that a port that is written is kept.
        let url = Url::parse(&format!("proxy://{rest}"));
        let url = url.map_err(|error| InvalidProxy::Url(error.to_string()))?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("it has more than a host and a port"));
        }
        let host = match url.host() {
            Some(Host::Domain(name)) => {
                Host::parse(name).map_err(|error| invalid(&error.to_string()))?
            }
            Some(host) => host.to_owned(),
            None => return Err(invalid("it has no host")),
        };
        if host == Host::Domain(String::new()) || url.port() == Some(0) {
            return Err(invalid("it has no host, or port 0"));
        }
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => Some((decoded(user)?, decoded(password.unwrap_or_default())?)),
        };
        if let Some((user, password)) = &credentials {
            let lengths = [user.len(), password.len()];
            let fault = match kind {
                Kind::Http if user.contains(':') => Some("a user name cannot have a colon"),
                Kind::Socks5 if lengths.contains(&0) => Some("SOCKS5 needs both of them"),
                Kind::Socks5 if lengths.iter().any(|length| *length > MAX_CREDENTIALS) => {
                    Some("they are longer than the 255 bytes of SOCKS5")
                }
                Kind::Http | Kind::Socks5 => None,
            };
            if let Some(fault) = fault {
                return Err(InvalidProxy::Credentials(fault));
            }
        }
        Ok(Self { kind, host, port: url.port().unwrap_or(DEFAULT_PORT), credentials })
    }
}

fn decoded(text: &str) -> Result<String, InvalidProxy> {
    let invalid = InvalidProxy::Credentials;
    let text = percent_decode_str(text).decode_utf8().map_err(|_| invalid("they are not UTF-8"))?;
    if text.contains(char::is_control) {
        return Err(invalid("they cannot have control characters"));
    }
    Ok(text.into_owned())
}

impl fmt::Display for Proxy {
    /// Shows it without user name and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            Kind::Http => "http",
            Kind::Socks5 => "socks5",
        };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Proxy {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn proxies_are_read_as_curl_reads_them() {
        for (text, shown, credentials) in [
            ("proxy.example", "http://proxy.example:1080", None),
            ("Proxy.Example:3128", "http://proxy.example:3128", None),
            ("http://proxy:80/", "http://proxy:80", None),
            ("HTTP://10.0.0.1:8080", "http://10.0.0.1:8080", None),
            ("socks5h://[::1]:9050", "socks5://[::1]:9050", None),
            ("socks5://ada:x@proxy", "socks5://proxy:1080", Some(("ada", "x"))),
            ("http://ada@proxy", "http://proxy:1080", Some(("ada", ""))),
            ("ada:p%40ss%3A@proxy:1", "http://proxy:1", Some(("ada", "p@ss:"))),
        ] {
            let proxy = parse(text);
            assert_eq!(proxy.to_string(), shown, "{text}");
            let found = proxy.credentials.as_ref().map(|(user, password)| (&**user, &**password));
            assert_eq!(found, credentials, "{text}");
            let shown = format!("{proxy:?}");
            assert!(!shown.contains("ada") && !shown.contains("p@ss"), "{shown}");
        }
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_a_password_in_the_text() {
        for (text, said) in [
            ("", "no host"),
            ("http://", "no host"),
            ("https://proxy:443", "\"https\" is not a kind"),
            ("socks4://proxy", "\"socks4\" is not a kind"),
            ("ada:secret@proxy:x", "invalid port"),
            ("http://ada:secret@proxy:0", "port 0"),
            ("http://ada:secret@proxy/path", "more than a host"),
            ("http://ada:secret@proxy?a", "more than a host"),
            ("http://ada:secret@pro xy", "invalid"),
            ("ada:secret://x@proxy", "is not a kind"),
            ("http://ada:secret%0a@proxy", "control characters"),
            ("http://ada:secret%ff@proxy", "not UTF-8"),
            ("http://ada%3Asecret:x@proxy", "a colon"),
        ] {
            let error = text.parse::<Proxy>().unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let long = format!("http://{}:x@proxy", "u".repeat(256));
        assert!(long.parse::<Proxy>().is_ok());
        let long = format!("socks5://{}:x@proxy", "u".repeat(256));
        assert!(matches!(long.parse::<Proxy>(), Err(InvalidProxy::Credentials(_))));
    }
}
