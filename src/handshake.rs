//! The WebSocket handshake (protocol §4.3, RFC 6455 §4) beyond what an HTTP library does.
//!
//! A client makes a [`Key`] and sends [`Key::as_str`] as `Sec-WebSocket-Key`, may offer a
//! [`SubProtocol`], offers no extension, and checks the head of the answer with [`Key::check`]. A
//! server answers with [`accept_value`].

use alloc::string::String;
use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1_smol::Sha1;

/// The value of `Sec-WebSocket-Version`.
pub const VERSION: &str = "13";

/// A WebSocket sub-protocol of this project (RFC 6455 §1.9, protocol §10.1).
///
/// Not to be confused with the name of the application's own protocol, which the accept-conf carries
/// (protocol §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[non_exhaustive]
pub enum SubProtocol {
    /// `wwr.1`: [`Dialect::Wwr1`](crate::Dialect::Wwr1).
    Wwr1,
}

impl SubProtocol {
    /// The header in which it is offered and selected.
    pub const HEADER: &'static str = "Sec-WebSocket-Protocol";

    /// Returns its name in that header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wwr1 => "wwr.1",
        }
    }

    /// Returns whether one line of the header offers it, maybe among others. The comparison is
    /// case-sensitive.
    pub fn is_in(self, line: &[u8]) -> bool {
        line.split(|byte| *byte == b',').any(|name| name.trim_ascii() == self.as_str().as_bytes())
    }
}

/// The text that servers append to a key before they hash it (RFC 6455 §1.3).
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Returns the value of `Sec-WebSocket-Accept` for that of `Sec-WebSocket-Key` (RFC 6455 §4.2.2).
///
/// ```
/// let accept = wwr::handshake::accept_value(b"dGhlIHNhbXBsZSBub25jZQ==");
/// assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
pub fn accept_value(key: &[u8]) -> String {
    String::from_utf8_lossy(&accept_bytes(key)).into_owned()
}

/// How many bytes a `Sec-WebSocket-Accept` has.
pub(crate) const ACCEPT_LENGTH: usize = 28;

/// Returns the same without an allocation; always ASCII.
pub(crate) fn accept_bytes(key: &[u8]) -> [u8; ACCEPT_LENGTH] {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(MAGIC);
    let mut accept = [0; ACCEPT_LENGTH];
    // 20 bytes are 28 in base64.
    let _ = STANDARD.encode_slice(hash.digest().bytes(), &mut accept);
    accept
}

/// The nonce of one handshake, as it is sent.
///
/// ```
/// use wwr::handshake::{InvalidAnswer, Key};
///
/// let key = Key::from_entropy([7; 16]); // from a random source, really
/// let accept = wwr::handshake::accept_value(key.as_str().as_bytes());
/// let headers = [
///     ("Upgrade", &b"websocket"[..]),
///     ("Connection", b"keep-alive, Upgrade"),
///     ("Sec-WebSocket-Accept", accept.as_bytes()),
/// ];
/// assert_eq!(key.check((1, 1), 101, headers, None), Ok(None));
/// assert_eq!(key.check((1, 1), 403, headers, None), Err(InvalidAnswer::Status(403)));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

/// Why the head of an answer does not open a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAnswer {
    /// The status is not 101: the server refuses or redirects.
    #[error("the server answers with status {0}")]
    Status(u16),
    /// Only HTTP/1.1 has upgrades.
    #[error("the server opens a WebSocket in a version of HTTP that cannot")]
    HttpVersion,
    /// `Upgrade` is missing or names another protocol.
    #[error("the server switches protocols, but not to WebSocket: its header Upgrade is wrong")]
    Upgrade,
    /// `Connection` does not list `Upgrade`.
    #[error("the server's header Connection does not say \"Upgrade\"")]
    Connection,
    /// `Sec-WebSocket-Accept` is missing, present twice, or not made from this key. A cache or
    /// another server may have answered.
    #[error("the server's header Sec-WebSocket-Accept does not answer this handshake")]
    Accept,
    /// The server wants an extension, and none was offered.
    #[error("the server wants a WebSocket extension, and none was offered")]
    Extension,
    /// The server wants a WebSocket sub-protocol that was not offered, or several.
    #[error("the server wants a WebSocket sub-protocol that was not offered")]
    SubProtocol,
}

impl Key {
    /// How many random bytes a key is made from.
    pub const ENTROPY: usize = 16;

    /// Creates a key from random bytes, which must be new for each handshake.
    pub fn from_entropy(bytes: [u8; Self::ENTROPY]) -> Self {
        Self(STANDARD.encode(bytes))
    }

    /// Returns the value of `Sec-WebSocket-Key`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Checks the head of the answer to a handshake that offered no extension and no sub-protocol
    /// other than `offered` (RFC 6455 §4.1). Returns the sub-protocol that both sides agreed on.
    /// `version` is that of HTTP: (1, 1) for HTTP/1.1. Names of headers are compared without regard
    /// to case. The host skips answers with status 100 and 102 to 199, because the final answer
    /// follows them.
    ///
    /// # Errors
    ///
    /// Returns the first thing that is wrong, as [`InvalidAnswer`]. The host has to close the
    /// connection then.
    pub fn check<'a>(
        &self,
        version: (u8, u8),
        status: u16,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        offered: Option<SubProtocol>,
    ) -> Result<Option<SubProtocol>, InvalidAnswer> {
        if status != 101 {
            return Err(InvalidAnswer::Status(status));
        }
        if version.0 != 1 || version.1 < 1 {
            return Err(InvalidAnswer::HttpVersion);
        }
        let mut seen = Seen::default();
        let expected = accept_value(self.0.as_bytes());
        for (name, value) in headers {
            seen.take(name, value.trim_ascii(), &expected, offered);
        }
        match seen {
            Seen { upgrades: 0, .. } | Seen { other_upgrade: true, .. } => {
                Err(InvalidAnswer::Upgrade)
            }
            Seen { connection: false, .. } => Err(InvalidAnswer::Connection),
            Seen { accepts, .. } if accepts != 1 => Err(InvalidAnswer::Accept),
            Seen { other_accept: true, .. } => Err(InvalidAnswer::Accept),
            Seen { extension: true, .. } => Err(InvalidAnswer::Extension),
            Seen { other_sub_protocol: true, .. } => Err(InvalidAnswer::SubProtocol),
            Seen { selected, .. } => Ok(selected),
        }
    }
}

/// What the headers of an answer say.
#[derive(Debug, Default)]
struct Seen {
    upgrades: usize,
    other_upgrade: bool,
    connection: bool,
    accepts: usize,
    other_accept: bool,
    extension: bool,
    selected: Option<SubProtocol>,
    other_sub_protocol: bool,
}

impl Seen {
    fn take(&mut self, name: &str, value: &[u8], expected: &str, offered: Option<SubProtocol>) {
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        if is("Upgrade") {
            self.upgrades += 1;
            self.other_upgrade |= !value.eq_ignore_ascii_case(b"websocket");
        } else if is("Connection") {
            let mut tokens = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            self.connection |= tokens.any(|token| token.eq_ignore_ascii_case(b"upgrade"));
        } else if is("Sec-WebSocket-Accept") {
            self.accepts += 1;
            self.other_accept |= value != expected.as_bytes();
        } else if is("Sec-WebSocket-Extensions") {
            self.extension |= !value.is_empty();
        } else if is(SubProtocol::HEADER) && !value.is_empty() {
            let selected = offered.filter(|offered| offered.as_str().as_bytes() == value);
            // The server may select one of them, once.
            self.other_sub_protocol |= selected.is_none() || self.selected.is_some();
            self.selected = selected;
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    /// That of RFC 6455 §1.3.
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    fn key() -> Key {
        Key::from_entropy(*b"the sample nonce")
    }

    fn check(changes: &[(&str, &str)], more: &[(&str, &str)]) -> Result<(), InvalidAnswer> {
        let agreed = check_offering(None, changes, more)?;
        assert_eq!(agreed, None, "nothing was offered");
        Ok(())
    }

    fn check_offering(
        offered: Option<SubProtocol>,
        changes: &[(&str, &str)],
        more: &[(&str, &str)],
    ) -> Result<Option<SubProtocol>, InvalidAnswer> {
        let mut headers = std::vec![
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", ACCEPT),
        ];
        for (name, value) in changes {
            headers
                .iter_mut()
                .filter(|header| header.0 == *name)
                .for_each(|header| header.1 = value);
        }
        headers.retain(|header| header.1 != "-");
        headers.extend(more);
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        key().check((1, 1), 101, headers, offered)
    }

    #[test]
    fn the_offered_name_may_be_selected_once_and_in_the_same_case() {
        let (wwr1, refused) = (Some(SubProtocol::Wwr1), Err(InvalidAnswer::SubProtocol));
        for (lines, agreed) in [
            (&[][..], Ok(None)),
            (&[""], Ok(None)),
            (&["wwr.1"], Ok(wwr1)),
            (&[" wwr.1\t"], Ok(wwr1)),
            (&["WWR.1"], refused),
            (&["wwr.2"], refused),
            (&["wwr.1, chat"], refused),
            (&["chat"], refused),
            (&["wwr.1", "wwr.1"], refused),
            (&["chat", "wwr.1"], refused),
        ] {
            let more: Vec<_> = lines.iter().map(|line| ("sec-websocket-protocol", *line)).collect();
            assert_eq!(check_offering(wwr1, &[], &more), agreed, "{lines:?}");
            let agreed_on_nothing =
                agreed.map_or(refused, |agreed| agreed.map_or(Ok(None), |_| refused));
            assert_eq!(check_offering(None, &[], &more), agreed_on_nothing, "{lines:?}");
        }
    }

    #[test]
    fn a_name_is_found_among_others() {
        for (line, offers) in [
            ("wwr.1", true),
            ("chat, wwr.1", true),
            ("wwr.1,chat", true),
            ("wwr.10", false),
            ("wwr.1.chat", false),
            ("WWR.1", false),
            ("", false),
        ] {
            assert_eq!(SubProtocol::Wwr1.is_in(line.as_bytes()), offers, "{line}");
        }
    }

    #[test]
    fn keys_and_accept_values_match_the_rfc() {
        assert_eq!(key().as_str(), "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept_value(key().as_str().as_bytes()), ACCEPT);
        assert_eq!(Key::from_entropy([0; 16]).as_str(), "AAAAAAAAAAAAAAAAAAAAAA==");
    }

    #[test]
    fn good_answers_in_any_spelling_open_a_websocket() {
        assert_eq!(check(&[], &[]), Ok(()));
        for (name, value) in [
            ("Upgrade", "WebSocket"),
            ("Connection", "keep-alive, Upgrade"),
            ("Connection", "upgrade"),
            ("Connection", "Keep-Alive ,\tUPGRADE , x"),
        ] {
            assert_eq!(check(&[(name, value)], &[]), Ok(()), "{name}: {value}");
        }
        for more in [
            ("connection", "keep-alive"),
            ("UPGRADE", "websocket"),
            ("Sec-WebSocket-Extensions", ""),
            ("Sec-WebSocket-Protocol", ""),
            ("Sec-WebSocket-Version", "13"),
            ("Content-Length", "0"),
        ] {
            assert_eq!(check(&[], &[more]), Ok(()), "{more:?}");
        }
    }

    #[test]
    fn each_rule_is_checked() {
        use InvalidAnswer::{Accept, Connection, Extension, SubProtocol, Upgrade};
        for (name, value, error) in [
            ("Upgrade", "-", Upgrade),
            ("Upgrade", "", Upgrade),
            ("Upgrade", "h2c", Upgrade),
            ("Upgrade", "websocket, h2c", Upgrade),
            ("Connection", "-", Connection),
            ("Connection", "keep-alive", Connection),
            ("Connection", "Upgrades", Connection),
            ("Sec-WebSocket-Accept", "-", Accept),
            ("Sec-WebSocket-Accept", "", Accept),
            ("Sec-WebSocket-Accept", "S3pPLMBiTxaQ9kYGzzhZRbK+xOo=", Accept),
        ] {
            assert_eq!(check(&[(name, value)], &[]), Err(error), "{name}: {value}");
        }
        for (name, value, error) in [
            ("upgrade", "h2c", Upgrade),
            ("Sec-WebSocket-Accept", ACCEPT, Accept),
            ("Sec-WebSocket-Extensions", "permessage-deflate", Extension),
            ("sec-websocket-extensions", "x; y=\"z\"", Extension),
            ("Sec-WebSocket-Protocol", "chat", SubProtocol),
        ] {
            assert_eq!(check(&[], &[(name, value)]), Err(error), "{name}: {value}");
        }
        for (version, status, error) in [
            ((1, 1), 200, InvalidAnswer::Status(200)),
            ((1, 0), 503, InvalidAnswer::Status(503)),
            ((1, 0), 101, InvalidAnswer::HttpVersion),
            ((2, 0), 101, InvalidAnswer::HttpVersion),
            ((0, 9), 101, InvalidAnswer::HttpVersion),
            ((1, 1), 101, Upgrade),
        ] {
            assert_eq!(key().check(version, status, [], None), Err(error), "{version:?} {status}");
        }
    }
}
