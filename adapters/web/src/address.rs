//! The URL of a server.

use core::net::Ipv4Addr;

use web_sys::Url;

use crate::browser::{global, text};
use crate::error::StartError;

/// Where a server is, for both of its protocols.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    /// `ws:` or `wss:`.
    pub(crate) websocket: String,
    /// The same by `http:` or `https:`.
    pub(crate) http: String,
}

impl Address {
    /// Reads a URL of `ws`, `wss`, `http` or `https`, or one that is relative to the page.
    pub(crate) fn parse(url: &str) -> Result<Self, StartError> {
        let parsed = match &page() {
            Some(page) => Url::new_with_base(url, page),
            None => Url::new(url),
        };
        let parsed = parsed.map_err(|_| StartError::InvalidUrl)?;
        let (encrypted, scheme) = match parsed.protocol().as_str() {
            "ws:" | "http:" => (false, "ws:"),
            "wss:" | "https:" => (true, "wss:"),
            _ => return Err(StartError::InvalidUrl),
        };
        // Neither `fetch` nor `WebSocket` take names of users.
        if !parsed.username().is_empty() || !parsed.password().is_empty() {
            return Err(StartError::InvalidUrl);
        }
        if !encrypted && page_is_encrypted() && !is_loopback(&parsed.hostname()) {
            return Err(StartError::MixedContent);
        }
        parsed.set_hash("");
        parsed.set_protocol(scheme);
        let websocket = parsed.href();
        let http = format!("http{}", &websocket["ws".len()..]);
        Ok(Self { websocket, http })
    }

    /// Returns a name for what is kept for this server: its URL without the query.
    pub(crate) fn name(&self) -> &str {
        self.websocket.split('?').next().unwrap_or_default()
    }
}

/// Returns the URL of the page or the worker. One that was made of a `blob:` is that of its origin; nothing is relative
/// to itself.
fn page() -> Option<String> {
    let href = global("location").and_then(|location| text(&location, "href"))?;
    if href.starts_with("blob:") { origin() } else { Some(href) }
}

fn origin() -> Option<String> {
    global("origin").and_then(|origin| origin.as_string())
}

/// Whether the browser refuses connections without TLS. A page in a sandbox has no origin, and a worker that was made of
/// a `blob:` no scheme of its own.
fn page_is_encrypted() -> bool {
    let scheme = global("location").and_then(|location| text(&location, "protocol"));
    [scheme, origin()].into_iter().flatten().any(|text| text.starts_with("https:"))
}

/// Whether browsers trust this host without TLS, because it is this machine.
fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || host == "[::1]"
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_else_can_have_is_this_machine() {
        for host in ["localhost", "wwr.localhost", "[::1]", "127.0.0.1", "127.255.0.3"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "127.evil.example",
            "127.0.0.1.evil.example",
            "127.",
            "notlocalhost",
            "localhost.evil.example",
            "128.0.0.1",
            "[::2]",
            "",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
