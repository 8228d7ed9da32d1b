//! What a client connects to.

use alloc::string::String;

use crate::http::is_header;

/// A server, as its URL names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    authority: String,
    path: String,
}

/// Why a URL is none of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTarget {
    /// It is not `ws://host:port/path`. With `wss://`, TLS is the matter of the program: give it `ws://`.
    #[error("the URL does not begin with ws://")]
    Scheme,
    /// There is no host, or something that is not one.
    #[error("the URL names no host, or something that is not one")]
    Host,
    /// It contains blanks or control characters.
    #[error("the path of the URL contains blanks or control characters; encode them with %")]
    Path,
}

impl Target {
    /// Reads `ws://host:port/path`. The port is 80 if it is left out, the path `/`.
    ///
    /// # Errors
    ///
    /// [`InvalidTarget`].
    pub fn parse(url: &str) -> Result<Self, InvalidTarget> {
        let scheme = url.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case("ws://"));
        let rest = &url[scheme.ok_or(InvalidTarget::Scheme)?.len()..];
        let rest = rest.split('#').next().unwrap_or(rest);
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let is_host = |text: &str| {
            !text.is_empty()
                && !text.starts_with(':')
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && !b"@\\<>\"`{}|^".contains(&byte))
        };
        let port = port(authority).map(|(_, port)| port);
        if !is_host(authority) || port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return Err(InvalidTarget::Host);
        }
        if path.bytes().any(|byte| byte == b' ') || !is_header("x", path.as_bytes()) {
            return Err(InvalidTarget::Path);
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self { authority: authority.into(), path: [slash, path].concat() })
    }

    /// Returns host and port, as the URL has them.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns host and port to connect to.
    pub fn address(&self) -> (&str, u16) {
        let authority = &*self.authority;
        let (host, port) = match port(authority) {
            Some((host, port)) => (host, port.parse().unwrap_or(80)),
            None => (authority, 80),
        };
        (host.trim_start_matches('[').trim_end_matches(']'), port)
    }

    /// Returns path and query.
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// Cuts off the port, if there is one. The colons of an IPv6 address are in brackets.
fn port(authority: &str) -> Option<(&str, &str)> {
    authority.rsplit_once(':').filter(|(host, _)| host.ends_with(']') || !host.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_host_a_port_and_a_path() {
        for (url, host, port, path) in [
            ("ws://localhost", "localhost", 80, "/"),
            ("WS://localhost:7777/a/b?c#d", "localhost", 7777, "/a/b?c"),
            ("ws://h?token=1", "h", 80, "/?token=1"),
            ("ws://[::1]:7777/", "::1", 7777, "/"),
            ("ws://[::1]", "::1", 80, "/"),
            ("ws://10.0.2.2:1", "10.0.2.2", 1, "/"),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!((target.address(), target.path()), ((host, port), path), "{url}");
        }
        for (url, error) in [
            ("wss://h", InvalidTarget::Scheme),
            ("localhost:80", InvalidTarget::Scheme),
            ("ws", InvalidTarget::Scheme),
            ("ws://", InvalidTarget::Host),
            ("ws://:80", InvalidTarget::Host),
            ("ws://a b/", InvalidTarget::Host),
            ("ws://a\r\nX: y/", InvalidTarget::Host),
            ("ws://h:70000/", InvalidTarget::Host),
            ("ws://h:abc/", InvalidTarget::Host),
            ("ws://h:/", InvalidTarget::Host),
            ("ws://h/a b", InvalidTarget::Path),
            ("ws://h/\r\nX:y", InvalidTarget::Path),
        ] {
            assert_eq!(Target::parse(url), Err(error), "{url}");
        }
    }
}
