//! What becomes of the URL: the first lines and headers of both requests.

use hyper::header::{AUTHORIZATION, COOKIE, HOST, HeaderName, HeaderValue, ORIGIN};

use crate::adapter::client::{Builder, InvalidConfig, InvalidHeader, InvalidUrl, ServerUrl};
use crate::adapter::runtime;

use super::builder_at;
use super::raw::{Exchange, GOOD_BODY, RawServer};
use super::{changed, config, connecting, wait};

/// The preflight and the handshake that a client sends; it gets through.
fn requests(server: &RawServer, builder: Builder) -> [Exchange; 2] {
    requests_with(server, builder.config(config()))
}

fn requests_with(server: &RawServer, builder: Builder) -> [Exchange; 2] {
    let client = builder.build().unwrap();
    let connected = connecting(&client);
    let mut probe = server.accept();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{GOOD_BODY}");
    std::io::Write::write_all(&mut probe.stream, answer.as_bytes()).unwrap();
    let handshake = server.accept();
    let head = handshake.head.clone();
    let stream = handshake.stream.try_clone().unwrap();
    let _socket = handshake.upgrade();
    assert_eq!(wait(connected), Ok(()));
    [probe, Exchange { stream, head }]
}

fn builder(server: &RawServer, rest: &str) -> Builder {
    builder_at(&server.url(rest)).unwrap()
}

#[test]
fn urls_are_sent_in_their_normal_form() {
    for (rest, target) in [
        ("?token=abc", "/?token=abc"),
        ("", "/"),
        ("/ü?q=é", "/%C3%BC?q=%C3%A9"),
        ("/a/../b?x=../y", "/b?x=../y"),
        ("/a%2fb|c{d}?e=\"f'<>`", "/a%2fb|c%7Bd%7D?e=%22f%27%3C%3E`"),
    ] {
        let server = RawServer::bind();
        let [probe, handshake] = requests(&server, builder(&server, rest));
        let host = server.url("").replace("ws://", "");
        let (first, second) =
            (format!("WEBWIRE {target} HTTP/1.1"), format!("GET {target} HTTP/1.1"));
        assert_eq!(probe.head.lines().next(), Some(&*first), "{rest}");
        assert_eq!(handshake.head.lines().next(), Some(&*second), "{rest}");
        for request in [&probe, &handshake] {
            assert_eq!(request.header("Host"), Some(&*host));
            assert_eq!(request.header("Authorization"), None);
            assert_eq!(request.head.matches("Host:").count(), 1);
        }
    }
}

#[test]
fn the_case_of_the_scheme_does_not_matter() {
    for scheme in ["WS://", "HTTP://", "http://", "Ws://"] {
        let server = RawServer::bind();
        let url = server.url("/").replace("ws://", scheme);
        let [probe, _] = requests(&server, builder_at(&url).unwrap());
        assert_eq!(probe.head.lines().next(), Some("WEBWIRE / HTTP/1.1"), "{scheme}");
    }
}

#[test]
fn user_name_and_password_are_sent_as_basic_credentials() {
    let server = RawServer::bind();
    let url = server.url("/").replace("ws://", "ws://ada:p%40ss%20w%C3%B6rd@");
    for request in requests(&server, builder_at(&url).unwrap()) {
        assert_eq!(request.header("Authorization"), Some("Basic YWRhOnBAc3Mgd8O2cmQ="));
        assert!(!request.header("Host").unwrap().contains('@'));
    }
    let parsed: ServerUrl = url.parse().unwrap();
    for request in requests(&server, Builder::new_on(runtime(), parsed)) {
        assert_eq!(request.header("Authorization"), Some("Basic YWRhOnBAc3Mgd8O2cmQ="));
    }
    let second = changed(config(), |config| {
        config.headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
    });
    let second = builder_at(&url).unwrap().config(second).build();
    let refused = InvalidConfig::Header(InvalidHeader::SecondAuthorization);
    assert_eq!(second.err(), Some(refused));
    let elsewhere = builder_at("ws://ada:secret@example.com/");
    assert_eq!(elsewhere.err(), Some(InvalidUrl::ExposedCredentials));
}

#[test]
fn headers_of_the_application_cannot_break_the_handshake() {
    let server = RawServer::bind();
    let value = HeaderValue::from_static("x");
    for name in ["upgrade", "connection", "sec-websocket-key", "content-length"] {
        let name = HeaderName::from_static(name);
        let config = changed(config(), |config| {
            config.headers.insert(name.clone(), value.clone());
        });
        let refused = builder(&server, "/").config(config).build();
        let reserved = InvalidConfig::Header(InvalidHeader::Reserved(name));
        assert_eq!(refused.err(), Some(reserved));
    }
    let config = changed(config(), |config| {
        config.headers.insert(HOST, HeaderValue::from_static("example.com"));
        config.headers.insert(ORIGIN, HeaderValue::from_static("https://example.com"));
        config.headers.append(COOKIE, HeaderValue::from_static("a=b"));
        config.headers.append(COOKIE, HeaderValue::from_static("c=d"));
    });
    for request in requests_with(&server, builder(&server, "/").config(config)) {
        assert_eq!(request.header("Host"), Some("example.com"));
        assert_eq!(request.head.matches("Host:").count(), 1);
        assert_eq!(request.header("Origin"), Some("https://example.com"));
        assert_eq!(request.head.matches("Cookie:").count(), 2);
    }
}
