//! The headers that an application adds to preflight and handshake.

use hyper::header::{
    AUTHORIZATION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION,
};
use hyper::http::uri::Authority;

use super::url::ServerUrl;

/// Headers that belong to the connection or to the message (RFC 9110 §7.6.1, RFC 9112 §6), or that
/// make the server answer in ways which this client does not read.
const RESERVED: [&str; 12] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The headers of the WebSocket handshake (RFC 6455 §11.3).
const HANDSHAKE: &str = "sec-websocket-";

/// Why a header cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHeader {
    /// The client sets the header itself, or must not send it: otherwise the handshake fails.
    #[error("the header {0} belongs to the connection, and cannot be set")]
    Reserved(HeaderName),
    /// The client does not send it to the proxy, only to the server, which is not to know it.
    #[error(
        "the header Proxy-Authorization cannot be set; write user name and password in the URL of \
             the proxy"
    )]
    ProxyAuthorization,
    /// The value of `Host` is not a host with an optional port.
    #[error("the header Host must be a host, with a port if it is not that of the scheme")]
    Host,
    /// There can be only one header of this name.
    #[error("the header {0} can be set only once")]
    Repeated(HeaderName),
    /// The URL has a user name or a password, which already set this header.
    #[error("the URL has a user name or a password, so the header Authorization cannot be set too")]
    SecondAuthorization,
}

/// Checks the headers for requests to this URL, and marks those that are secrets.
pub(super) fn check(headers: &mut HeaderMap, url: &ServerUrl) -> Result<(), InvalidHeader> {
    if headers.contains_key(PROXY_AUTHORIZATION) {
        return Err(InvalidHeader::ProxyAuthorization);
    }
    for name in headers.keys() {
        if RESERVED.contains(&name.as_str()) || name.as_str().starts_with(HANDSHAKE) {
            return Err(InvalidHeader::Reserved(name.clone()));
        }
    }
    for name in [HOST, AUTHORIZATION] {
        if headers.get_all(&name).iter().nth(1).is_some() {
            return Err(InvalidHeader::Repeated(name));
        }
    }
    if headers.get(HOST).is_some_and(|host| !is_host(host)) {
        return Err(InvalidHeader::Host);
    }
    if headers.contains_key(AUTHORIZATION) && url.credentials().is_some() {
        return Err(InvalidHeader::SecondAuthorization);
    }
    for (name, value) in headers.iter_mut() {
        if [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(name) {
            value.set_sensitive(true);
        }
    }
    Ok(())
}

fn is_host(value: &HeaderValue) -> bool {
    let authority = Authority::try_from(value.as_bytes());
    authority.is_ok_and(|host| !host.host().is_empty() && !host.as_str().contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_to(url: &str, name: &str, value: &'static str) -> Result<HeaderMap, InvalidHeader> {
        let mut headers = HeaderMap::new();
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.insert(name, HeaderValue::from_static(value));
        check(&mut headers, &url.parse().unwrap())?;
        Ok(headers)
    }

    #[test]
    fn headers_of_the_handshake_cannot_be_set() {
        for name in [
            "Upgrade",
            "CONNECTION",
            "Sec-WebSocket-Key",
            "Sec-WebSocket-Version",
            "sec-websocket-protocol",
            "Sec-WebSocket-Extensions",
            "Sec-WebSocket-Accept",
            "Content-Length",
            "Transfer-Encoding",
            "Expect",
            "TE",
            "Accept-Encoding",
        ] {
            let refused = try_to("ws://host/", name, "x").unwrap_err();
            assert!(matches!(refused, InvalidHeader::Reserved(_)), "{name}");
            assert!(refused.to_string().contains(&name.to_ascii_lowercase()), "{refused}");
        }
        for value in ["", "a b", "user@host", "host/path", ":80", "http://host"] {
            assert_eq!(try_to("ws://host/", "Host", value), Err(InvalidHeader::Host), "{value}");
        }
        let here = "ws://user:secret@localhost/";
        let second = try_to(here, "Authorization", "Bearer x");
        assert_eq!(second, Err(InvalidHeader::SecondAuthorization));
    }

    #[test]
    fn a_host_and_credentials_are_set_once_others_as_often_as_wanted() {
        for (name, fits) in [(HOST, false), (AUTHORIZATION, false), (COOKIE, true)] {
            let mut headers = HeaderMap::new();
            for value in ["a", "b"] {
                headers.append(&name, HeaderValue::from_static(value));
            }
            let checked = check(&mut headers, &"ws://host/".parse().unwrap());
            assert_eq!(checked, if fits { Ok(()) } else { Err(InvalidHeader::Repeated(name)) });
        }
    }

    #[test]
    fn other_headers_can_be_set_and_secrets_are_not_shown() {
        for (name, value) in [
            ("Host", "example.com"),
            ("Host", "[::1]:7777"),
            ("Origin", "https://example.com"),
            ("User-Agent", "x"),
            ("X-Anything", ""),
        ] {
            assert_eq!(try_to("ws://u:p@localhost/", name, value).unwrap()[name], value);
        }
        assert!(try_to("ws://host/", "Proxy-Authorization", "secret").is_err());
        for name in ["Authorization", "Cookie"] {
            let headers = try_to("ws://host/", name, "secret").unwrap();
            assert_eq!(headers[name], "secret");
            assert!(!format!("{headers:?}").contains("secret"), "{name}");
        }
    }
}
