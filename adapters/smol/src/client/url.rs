//! Where a server is.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;

/// The address of a server: `ws://host:port/path`, or the same with `http://`.
///
/// ```
/// use wwr_smol::client::ServerUrl;
///
/// let url: ServerUrl = "http://localhost:7777/chat?room=1".parse()?;
/// assert_eq!(url.to_string(), "ws://localhost:7777/chat?room=1");
/// assert!("wss://localhost".parse::<ServerUrl>().is_err());
/// # Ok::<(), wwr_smol::client::InvalidUrl>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    host: String,
    port: u16,
    path: String,
}

/// Why a text is no [`ServerUrl`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// It cannot be read.
    #[error("\"{0}\" is no URL; write it like ws://localhost:7777/")]
    Syntax(String),
    /// Another scheme than `ws` or `http`.
    #[error("\"{0}\" is no scheme this client connects with; use ws:// or http://")]
    Scheme(String),
}

impl ServerUrl {
    /// What to connect a TCP socket to: host, without the brackets of IPv6, and port.
    pub(super) fn address(&self) -> (&str, u16) {
        (self.host.trim_start_matches('[').trim_end_matches(']'), self.port)
    }

    /// The `Host` header.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Path and query.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

impl FromStr for ServerUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let syntax = || InvalidUrl::Syntax(text.into());
        let uri: Uri = text.parse().map_err(|_| syntax())?;
        let scheme = uri.scheme_str().ok_or_else(syntax)?;
        if !matches!(scheme, "ws" | "http") {
            return Err(InvalidUrl::Scheme(scheme.into()));
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(syntax)?;
        // A port that is there but cannot be read is a mistake, not port 80.
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let has_port = authority.len() > host.len() && !authority.ends_with(host);
        let port = match uri.port_u16() {
            Some(port) => port,
            None if has_port => return Err(syntax()),
            None => 80,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self { host: host.into(), port, path: path.into() })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ws://{}:{}{}", self.host, self.port, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_port_and_path_are_found() {
        for (text, address, path) in [
            ("ws://localhost", ("localhost", 80), "/"),
            ("http://localhost:7777", ("localhost", 7777), "/"),
            ("ws://127.0.0.1:1/a/b?c=d", ("127.0.0.1", 1), "/a/b?c=d"),
            ("ws://[::1]:7777/", ("::1", 7777), "/"),
            ("ws://[::1]/", ("::1", 80), "/"),
            ("ws://user@host/", ("host", 80), "/"),
        ] {
            let url: ServerUrl = text.parse().unwrap();
            assert_eq!((url.address(), url.path()), (address, path), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_of_a_server_is_refused() {
        for text in
            ["", "localhost:7777", "/", "ws://", "ws:///path", "ws://host:99999/", "ws://a b/"]
        {
            assert!(matches!(text.parse::<ServerUrl>(), Err(InvalidUrl::Syntax(_))), "{text}");
        }
        for text in ["https://host/", "wss://host/", "ftp://host/"] {
            assert!(matches!(text.parse::<ServerUrl>(), Err(InvalidUrl::Scheme(_))), "{text}");
        }
    }
}
