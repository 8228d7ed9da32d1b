//! Servers that send the client elsewhere.

use crate::adapter::client::{Client, Config};
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use wwr::Payload;
use wwr::client::Protocol;

use crate::suite::client::raw::{Exchange, GOOD_BODY, RawServer};
use crate::suite::client::{builder_at, changed, config_of, connecting, request, wait};

/// Settings of one attempt that follows so many redirects, and sends a secret.
fn following(protocol: Protocol, most: u32) -> Config {
    changed(config_of(protocol), |config| {
        config.machine.reconnect = false;
        config.max_redirects = most;
        config.headers.insert(HeaderName::from_static("x-key"), HeaderValue::from_static("secret"));
    })
}

fn client(server: &RawServer, config: Config) -> Client {
    builder_at(&server.url("/start")).unwrap().config(config).build().unwrap()
}

fn redirect(exchange: Exchange, status: u16, to: &str) {
    let length = "moved".len();
    exchange.write(&format!(
        "HTTP/1.1 {status} Moved\r\nLocation: {to}\r\nContent-Length: {length}\r\n\r\nmoved"
    ));
}

fn line(exchange: &Exchange) -> &str {
    exchange.head.lines().next().unwrap()
}

#[test]
fn the_websocket_is_opened_where_the_preflight_was_answered() {
    for status in [301, 302, 307, 308] {
        let server = RawServer::bind();
        let client = client(&server, following(Protocol::V1_4, 2));
        let connected = connecting(&client);
        redirect(server.accept(), status, "/a");
        redirect(server.accept(), status, "b?c");
        let probe = server.accept();
        assert_eq!(line(&probe), "WEBWIRE /b?c HTTP/1.1");
        assert_eq!(probe.header("X-Key"), Some("secret"), "the server is the same");
        probe.respond("200 OK", GOOD_BODY);
        let handshake = server.accept();
        assert_eq!(line(&handshake), "GET /b?c HTTP/1.1");
        assert_eq!(handshake.header("X-Key"), Some("secret"));
        redirect(handshake, status, "/d");
        let handshake = server.accept();
        assert_eq!(line(&handshake), "GET /d HTTP/1.1");
        let mut socket = handshake.upgrade();
        assert_eq!(wait(connected), Ok(()));
        let answer = request(&client, "a", "x");
        assert_eq!(socket.echo(), "a");
        assert_eq!(wait(answer), Ok(Payload::binary("x")));
    }
}

#[test]
fn another_server_gets_no_secrets_and_each_attempt_begins_anew() {
    let (server, other) = (RawServer::bind(), RawServer::bind());
    let mut config = following(Protocol::V1_4, 1);
    config.machine.reconnect = true;
    let url = server.url("/start").replace("ws://", "ws://ada:secret@");
    let client = builder_at(&url).unwrap().config(config).build().unwrap();
    let connected = connecting(&client);
    for round in 0..2 {
        let probe = server.accept();
        assert_eq!(line(&probe), "WEBWIRE /start HTTP/1.1");
        assert_eq!(probe.header("X-Key"), Some("secret"));
        assert!(probe.header("Authorization").is_some());
        redirect(probe, 307, &other.url("/there").replace("ws://", "http://"));
        for expected in ["WEBWIRE /there HTTP/1.1", "GET /there HTTP/1.1"] {
            let exchange = other.accept();
            assert_eq!(line(&exchange), expected);
            assert!(!exchange.head.contains("secret"), "{}", exchange.head);
            assert_eq!(exchange.header(AUTHORIZATION.as_str()), None);
            let host = other.url("").replace("ws://", "");
            assert_eq!(exchange.header("Host"), Some(&*host));
            if expected.starts_with("WEBWIRE") {
                exchange.respond("200 OK", GOOD_BODY);
            } else if round == 0 {
                // The next attempt begins where the application said.
                exchange.respond("500 No", "");
            } else {
                exchange.upgrade();
            }
        }
    }
    assert!(wait(connected).is_err(), "the first attempt failed");
}

#[test]
fn a_handshake_may_be_sent_elsewhere_by_any_status_for_a_get() {
    for status in [301, 302, 303, 307, 308] {
        let (server, other) = (RawServer::bind(), RawServer::bind());
        let client = client(&server, following(Protocol::V2_0, 1));
        let connected = connecting(&client);
        redirect(server.accept(), status, &other.url("/there"));
        let _socket = other.advertise(&crate::suite::client::raw::default_conf());
        assert_eq!(wait(connected), Ok(()), "{status}");
    }
}

#[test]
fn what_is_not_followed_is_shown_with_what_to_do() {
    let there = "http://there.invalid/x";
    for (protocol, most, status, to, said) in [
        (
            Protocol::V1_4,
            0,
            301,
            there,
            "ws://there.invalid/x; connect there, or set max_redirects",
        ),
        (
            Protocol::V2_0,
            0,
            302,
            there,
            "ws://there.invalid/x; connect there, or set max_redirects",
        ),
        (
            Protocol::V1_4,
            9,
            303,
            there,
            "http://there.invalid/x; clients do not follow this status",
        ),
        (
            Protocol::V2_0,
            9,
            307,
            "ftp://x/",
            "ftp://x/; this client cannot go there: \"ftp\" is not",
        ),
    ] {
        let server = RawServer::bind();
        let client = client(&server, following(protocol, most));
        let connected = connecting(&client);
        redirect(server.accept(), status, to);
        let text = wait(connected).unwrap_err().to_string();
        let begin = format!("the server answers with status {status} and sends clients to {said}");
        assert!(text.contains(&begin), "{text}");
        assert!(text.ends_with(": moved"), "{text}");
    }
}

#[test]
fn circles_end() {
    for protocol in [Protocol::V1_4, Protocol::V2_0] {
        let server = RawServer::bind();
        let client = client(&server, following(protocol, 3));
        let connected = connecting(&client);
        for _ in 0..4 {
            redirect(server.accept(), 302, "/start");
        }
        let text = wait(connected).unwrap_err().to_string();
        assert!(text.contains("that is one redirect more than max_redirects allows"), "{text}");
    }
}
