//! The parts of a request's head that the gate reads.

use super::host::{Authority, Target};
use super::refusal::Refusal;
use crate::handshake::SubProtocol;
use crate::names;

/// The version of HTTP that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpVersion {
    /// HTTP/1.0, which has no upgrades (RFC 9110 section 7.8).
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// The head of a request, borrowed from the HTTP library that read it.
#[derive(Clone, Debug)]
pub struct Head<'a> {
    pub(super) method: &'a str,
    target: Option<Target<'a>>,
    pub(super) version: HttpVersion,
    host: Field<'a>,
    pub(super) origin: Field<'a>,
    pub(super) key: Field<'a>,
    pub(super) websocket_version: Field<'a>,
    length: Length,
    has_transfer_encoding: bool,
    /// Whether there is an `Upgrade` header.
    pub(super) names_upgrade: bool,
    pub(super) upgrades_to_websocket: bool,
    pub(super) connection_upgrade: bool,
    connection_close: bool,
    pub(super) offers_wwr1: bool,
    pub(super) accepts_names: bool,
    /// Whether a browser asks on behalf of a page what that may do.
    pub(super) asks_for_page: bool,
}

/// A header field that may occur once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field<'a> {
    Absent,
    Once(&'a [u8]),
    Several,
}

/// What `Content-Length` says, in all its lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Absent,
    Bytes(u64),
    /// It is not a number, or there are several different ones.
    Invalid,
}

impl<'a> Head<'a> {
    /// Reads a head once. `method`, `target` and `version` are those of the request line as they
    /// were sent; names of `headers` match in any case.
    pub fn new(
        method: &'a str,
        target: &'a str,
        version: HttpVersion,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Self {
        let mut head = Self {
            method,
            target: Target::parse(method, target),
            version,
            host: Field::Absent,
            origin: Field::Absent,
            key: Field::Absent,
            websocket_version: Field::Absent,
            length: Length::Absent,
            has_transfer_encoding: false,
            names_upgrade: false,
            upgrades_to_websocket: false,
            connection_upgrade: false,
            connection_close: false,
            offers_wwr1: false,
            accepts_names: false,
            asks_for_page: false,
        };
        for (name, value) in headers {
            head.see(name, value.trim_ascii());
        }
        head
    }

    fn see(&mut self, name: &str, value: &'a [u8]) {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("host") {
            self.host.see(value);
        } else if is("origin") {
            self.origin.see(value);
        } else if is("upgrade") {
            self.names_upgrade = true;
            self.upgrades_to_websocket |= lists(value, "websocket");
        } else if is("connection") {
            self.connection_upgrade |= lists(value, "upgrade");
            self.connection_close |= lists(value, "close");
        } else if is("sec-websocket-key") {
            self.key.see(value);
        } else if is("sec-websocket-version") {
            self.websocket_version.see(value);
        } else if is(SubProtocol::HEADER) {
            self.offers_wwr1 |= SubProtocol::Wwr1.is_in(value);
        } else if is("accept") {
            self.accepts_names |= lists(value, names::CONTENT_TYPE);
        } else if is("access-control-request-method") {
            self.asks_for_page = true;
        } else if is("content-length") {
            value.split(|byte| *byte == b',').for_each(|one| self.length.see(one.trim_ascii()));
        } else if is("transfer-encoding") {
            self.has_transfer_encoding = true;
        }
    }

    /// Returns the path of the target, without the query: `*` for the server as a whole, and empty
    /// for a target that is only a host.
    pub fn path(&self) -> &'a str {
        self.target.as_ref().map_or("", |target| target.path)
    }

    /// Returns whether the client sends nothing more on the socket (RFC 9112 section 9.3).
    pub fn closes(&self) -> bool {
        self.connection_close || self.version == HttpVersion::Http10
    }

    /// Returns whether a body follows. The gate does not read it.
    pub const fn has_body(&self) -> bool {
        self.has_transfer_encoding
            || match self.length {
                Length::Absent | Length::Bytes(0) => false,
                Length::Bytes(_) | Length::Invalid => true,
            }
    }

    /// Returns the host of the request: that of an absolute target, whatever `Host` says (RFC 9112
    /// section 3.2.2), or that of `Host`. `None` if the request names no host or is
    /// [malformed](Self::check).
    pub(super) fn authority(&self) -> Option<Authority<'a>> {
        let of_target = self.target.as_ref()?.authority;
        of_target.or_else(|| match self.host {
            Field::Once(host) => Authority::parse(host),
            Field::Absent | Field::Several => None,
        })
    }

    /// Checks what has to hold for every request.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        // RFC 9112 section 3.2: a wrong `Host` is an error with any target.
        match self.host {
            Field::Absent if self.version == HttpVersion::Http10 => {}
            Field::Absent => return Err(Refusal::NoHost),
            Field::Several => return Err(Refusal::SeveralHosts),
            Field::Once(host) if Authority::parse(host).is_none() => {
                return Err(Refusal::InvalidHost);
            }
            Field::Once(_) => {}
        }
        if self.target.is_none() {
            return Err(Refusal::InvalidTarget);
        }
        if self.length == Length::Invalid {
            return Err(Refusal::InvalidLength);
        }
        Ok(())
    }
}

impl<'a> Field<'a> {
    fn see(&mut self, value: &'a [u8]) {
        *self = match self {
            Self::Absent => Self::Once(value),
            Self::Once(_) | Self::Several => Self::Several,
        };
    }
}

impl Length {
    fn see(&mut self, value: &[u8]) {
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let text = core::str::from_utf8(value).unwrap_or_default();
        *self = match (text.parse(), *self) {
            (Ok(bytes), Self::Absent) if digits => Self::Bytes(bytes),
            (Ok(bytes), Self::Bytes(before)) if digits && bytes == before => Self::Bytes(bytes),
            _ => Self::Invalid,
        };
    }
}

/// Returns whether a list contains a token, in any case.
fn lists(value: &[u8], token: &str) -> bool {
    let mut tokens = value.split(|byte| *byte == b',');
    tokens.any(|one| one.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head<'a>(headers: &[(&'a str, &'a str)]) -> Head<'a> {
        let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        Head::new("GET", "/", HttpVersion::Http11, headers)
    }

    #[test]
    fn a_body_follows_if_the_head_says_so() {
        for (name, value, body, fault) in [
            ("Content-Length", "0", false, None),
            ("content-length", " 00 ", false, None),
            ("Content-Length", "0, 0", false, None),
            ("Content-Length", "5", true, None),
            ("Content-Length", "5, 5", true, None),
            ("Content-Length", "0, 5", true, Some(Refusal::InvalidLength)),
            ("Content-Length", "", true, Some(Refusal::InvalidLength)),
            ("Content-Length", "+0", true, Some(Refusal::InvalidLength)),
            ("Content-Length", "-1", true, Some(Refusal::InvalidLength)),
            ("Content-Length", "0x0", true, Some(Refusal::InvalidLength)),
            ("Content-Length", "18446744073709551616", true, Some(Refusal::InvalidLength)),
            ("Transfer-Encoding", "chunked", true, None),
            ("Transfer-Encoding", "identity", true, None),
            ("Expect", "100-continue", false, None),
        ] {
            let head = head(&[("Host", "h"), (name, value)]);
            assert_eq!(head.has_body(), body, "{name}: {value}");
            assert_eq!(head.check().err(), fault, "{name}: {value}");
        }
        let twice =
            |one, other| head(&[("Host", "h"), ("Content-Length", one), ("Content-Length", other)]);
        assert_eq!(twice("0", "0").check(), Ok(()));
        assert_eq!(twice("0", "1").check(), Err(Refusal::InvalidLength));
    }

    #[test]
    fn there_has_to_be_one_valid_host() {
        use Refusal::{InvalidHost, NoHost, SeveralHosts};
        for (hosts, fault) in [
            (&[][..], Some(NoHost)),
            (&["localhost"], None),
            (&["[::1]:80"], None),
            (&[" localhost:7777 "], None),
            (&["a", "a"], Some(SeveralHosts)),
            (&["a", "b"], Some(SeveralHosts)),
            (&[""], Some(InvalidHost)),
            (&["user@host"], Some(InvalidHost)),
            (&["a b"], Some(InvalidHost)),
        ] {
            let headers = || hosts.iter().map(|host| ("HOST", host.as_bytes()));
            let check = |version| Head::new("GET", "/", version, headers()).check().err();
            assert_eq!(check(HttpVersion::Http11), fault, "{hosts:?}");
            let older = fault.filter(|fault| *fault != NoHost);
            assert_eq!(check(HttpVersion::Http10), older, "{hosts:?}");
        }
        assert_eq!(Head::new("GET", "http://h/", HttpVersion::Http11, []).check(), Err(NoHost));
    }

    #[test]
    fn a_client_may_announce_its_last_request() {
        for (connection, closes) in
            [("close", true), ("keep-alive, Close", true), ("keep-alive", false), ("closed", false)]
        {
            assert_eq!(head(&[("connection", connection)]).closes(), closes, "{connection}");
        }
        assert!(Head::new("GET", "/", HttpVersion::Http10, []).closes());
    }

    #[test]
    fn tokens_are_found_in_any_case_and_in_several_lines() {
        for (lines, named, websocket) in [
            (&[][..], false, false),
            (&["websocket"], true, true),
            (&["WebSocket"], true, true),
            (&["h2c, \t websocket"], true, true),
            (&["h2c", "websocket"], true, true),
            (&["h2c"], true, false),
            (&["websocket/13"], true, false),
            (&["websockets"], true, false),
            (&["web socket"], true, false),
            (&[""], true, false),
        ] {
            let headers = lines.iter().map(|line| ("Upgrade", line.as_bytes()));
            let head = Head::new("GET", "/", HttpVersion::Http11, headers);
            assert_eq!(
                (head.names_upgrade, head.upgrades_to_websocket),
                (named, websocket),
                "{lines:?}"
            );
        }
    }
}
