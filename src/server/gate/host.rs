//! Hosts and targets of requests (RFC 9112 section 3.2).

use core::net::Ipv6Addr;

/// The target of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    /// The host of an absolute target.
    pub(super) authority: Option<Authority<'a>>,
    pub(super) path: &'a str,
}

/// A host with an optional port, as in `Host`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Authority<'a> {
    text: &'a str,
    pub(super) host: &'a str,
    /// The port as a number. `None` if it is missing or empty.
    pub(super) port: Option<u16>,
}

impl<'a> Target<'a> {
    /// Reads a target in any of its forms. `None` if it does not belong to this server.
    pub(super) fn parse(method: &str, target: &'a str) -> Option<Self> {
        let whole = |path| Self { authority: None, path };
        if target.starts_with('/') {
            return Some(whole(until_query(target)));
        }
        if target == "*" {
            return Some(whole(target));
        }
        if method == "CONNECT" {
            return Some(Self { authority: Some(Authority::parse(target.as_bytes())?), path: "" });
        }
        let (scheme, rest) = target.split_once("://")?;
        let known = ["http", "https", "ws", "wss"];
        if !known.iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return None;
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = (rest.get(..end)?, rest.get(end..)?);
        let path = if path.starts_with('/') { until_query(path) } else { "/" };
        Some(Self { authority: Some(Authority::parse(authority.as_bytes())?), path })
    }
}

fn until_query(target: &str) -> &str {
    target.split(['?', '#']).next().unwrap_or_default()
}

impl<'a> Authority<'a> {
    /// Reads a host that is not empty. `None` if it is invalid (RFC 3986 section 3.2), or begins
    /// with a name and a password.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let text = core::str::from_utf8(bytes).ok()?;
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        let port = match port {
            None | Some("") => None,
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(port.parse().ok()?)
            }
            Some(_) => return None,
        };
        is_host(host).then_some(Self { text, host, port })
    }

    pub(super) const fn as_str(&self) -> &'a str {
        self.text
    }

    /// Returns whether this is the same host and port as another, where a missing port counts as
    /// `default`.
    pub(super) fn is_same(&self, host: &str, port: Option<u16>, default: Option<u16>) -> bool {
        let same_host = match (address_v6(self.host), address_v6(host)) {
            (Some(one), Some(other)) => one == other,
            _ => self.host.eq_ignore_ascii_case(host),
        };
        same_host && self.port.or(default) == port.or(default)
    }
}

/// Returns the address in brackets.
pub(super) fn address_v6(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Returns whether a text is a host: a name, an address, or an address in brackets.
fn is_host(host: &str) -> bool {
    if host.starts_with('[') {
        return address_v6(host).is_some();
    }
    let mut bytes = host.bytes();
    let mut any = false;
    while let Some(byte) = bytes.next() {
        any = true;
        let hex = |digit: Option<u8>| digit.is_some_and(|digit| digit.is_ascii_hexdigit());
        let valid = match byte {
            b'%' => hex(bytes.next()) && hex(bytes.next()),
            b'-' | b'.' | b'_' | b'~' => true,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => true,
            _ => byte.is_ascii_alphanumeric(),
        };
        if !valid {
            return false;
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_and_invalid_hosts_are_distinguished() {
        for (text, parts) in [
            ("example.com", Some(("example.com", None))),
            ("EXAMPLE.com:8080", Some(("EXAMPLE.com", Some(8080)))),
            ("example.com:", Some(("example.com", None))),
            ("a_b-c.d~", Some(("a_b-c.d~", None))),
            ("ex%C3%A4mple", Some(("ex%C3%A4mple", None))),
            ("127.0.0.1:1", Some(("127.0.0.1", Some(1)))),
            ("[::1]", Some(("[::1]", None))),
            ("[::1]:7777", Some(("[::1]", Some(7777)))),
            ("[::ffff:127.0.0.1]:7", Some(("[::ffff:127.0.0.1]", Some(7)))),
            ("", None),
            (":80", None),
            ("::1", None),
            ("[::1", None),
            ("[::1]x", None),
            ("[]", None),
            ("[1.2.3.4]", None),
            ("a:65536", None),
            ("a:+1", None),
            ("a:b", None),
            ("a:1:2", None),
            ("user@host", None),
            ("a/b", None),
            ("http://a", None),
            ("a b", None),
            ("a\tb", None),
            ("%zz", None),
            ("%a", None),
            ("bücher.example", None),
        ] {
            let read = Authority::parse(text.as_bytes()).map(|read| (read.host, read.port));
            assert_eq!(read, parts, "{text}");
        }
        assert!(Authority::parse(b"\xff").is_none());
    }

    #[test]
    fn targets_have_four_forms() {
        for (method, target, parts) in [
            ("GET", "/", Some((None, "/"))),
            ("GET", "/a/b?c=/d", Some((None, "/a/b"))),
            ("GET", "/?x", Some((None, "/"))),
            ("GET", "//evil.example/", Some((None, "//evil.example/"))),
            ("OPTIONS", "*", Some((None, "*"))),
            ("GET", "http://h", Some((Some("h"), "/"))),
            ("GET", "HTTP://h:1/a?b", Some((Some("h:1"), "/a"))),
            ("GET", "ws://h?token=a/b", Some((Some("h"), "/"))),
            ("GET", "https://[::1]:2/a", Some((Some("[::1]:2"), "/a"))),
            ("CONNECT", "h:443", Some((Some("h:443"), ""))),
            ("GET", "h:443", None),
            ("GET", "ftp://h/", None),
            ("GET", "http:///a", None),
            ("GET", "http://user@h/", None),
            ("GET", "a/b", None),
            ("GET", "", None),
        ] {
            let read = Target::parse(method, target);
            let read = read.map(|read| (read.authority.map(|host| host.text), read.path));
            assert_eq!(read, parts, "{method} {target}");
        }
    }
}
