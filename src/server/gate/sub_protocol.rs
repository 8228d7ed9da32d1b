//! What an application may add to the answer that opens a WebSocket.

use crate::handshake::SubProtocol;

/// The application selects a sub-protocol that the client does not offer, or `wwr.1` where the server
/// does not speak it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("it is not among those that the client offers, or the server does not speak it")]
pub struct NotSelectable;

/// Returns the sub-protocols that the headers of a request offer, in order (RFC 6455 section 4.1).
/// Names of headers match in any case. Leaves out what is not a token.
///
/// ```
/// use wwr::server::gate::offered_sub_protocols;
///
/// let headers = [("sec-websocket-protocol", &b"chat.v2, token.c2VjcmV0"[..])];
/// let offered: Vec<_> = offered_sub_protocols(headers).collect();
/// assert_eq!(offered, ["chat.v2", "token.c2VjcmV0"]);
/// ```
pub fn offered_sub_protocols<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> impl Iterator<Item = &'a str> {
    let lines =
        headers.into_iter().filter(|(name, _)| name.eq_ignore_ascii_case(SubProtocol::HEADER));
    let names = lines.flat_map(|(_, line)| line.split(|byte| *byte == b','));
    let names = names.map(<[u8]>::trim_ascii).filter(|name| is_token(name));
    names.filter_map(|name| core::str::from_utf8(name).ok())
}

/// Returns whether an application may set this header in the answer that opens a WebSocket. It may
/// not set those of the handshake, nor those that frame a body.
pub fn may_be_set(header: &str) -> bool {
    /// The beginning of the headers of the handshake (RFC 6455 section 11.3).
    const HANDSHAKE: &str = "sec-websocket-";
    let beginning = header.get(..HANDSHAKE.len()).unwrap_or_default();
    let others = ["connection", "upgrade", "content-length", "transfer-encoding"];
    !beginning.eq_ignore_ascii_case(HANDSHAKE)
        && !others.iter().any(|other| header.eq_ignore_ascii_case(other))
}

/// Returns whether this is a token (RFC 9110 section 5.6.2).
fn is_token(name: &[u8]) -> bool {
    let is_mark = |byte| b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || is_mark(*byte))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn sub_protocols_are_offered_in_one_line_or_several() {
        for (lines, offered) in [
            (&[][..], &[][..]),
            (&["chat"], &["chat"]),
            (&["chat, wwr.1 ,,\tCHAT"], &["chat", "wwr.1", "CHAT"]),
            (&["b", "a"], &["b", "a"]),
            (&["", ","], &[]),
            (&["a b, x=y, \"q\", z/1, \u{e9}, !#$%&'*+-.^_`|~"], &["!#$%&'*+-.^_`|~"]),
        ] {
            let headers = lines.iter().map(|line| ("SEC-WebSocket-Protocol", line.as_bytes()));
            let headers = headers.chain([("sec-websocket-key", &b"key"[..])]);
            assert_eq!(offered_sub_protocols(headers).collect::<Vec<_>>(), offered, "{lines:?}");
        }
    }

    #[test]
    fn headers_of_the_handshake_may_not_be_set() {
        for header in [
            "Connection",
            "upgrade",
            "Content-Length",
            "transfer-encoding",
            "Sec-WebSocket-Accept",
            "sec-websocket-protocol",
            "SEC-WEBSOCKET-EXTENSIONS",
            "sec-websocket-",
        ] {
            assert!(!may_be_set(header), "{header}");
        }
        for header in ["Set-Cookie", "server", "sec-websocket", "sec-fetch-site", "", "x\u{e9}"] {
            assert!(may_be_set(header), "{header}");
        }
    }
}
