//! Opening WebSockets (protocol §4.3).

use std::num::NonZeroU16;

use hyper::http::request::Parts;
use wwr::server::RequestError;
use wwr::{Content, Payload};

use crate::adapter::runtime;
use crate::adapter::server::{Connection, ConnectionOptions, Handler, Origins, Response, Server};
use crate::suite::support::message::{answer, ask};
use crate::suite::support::peer::{self, Peer, frame, handshake};
use crate::suite::support::{Fixture, Running, until};

#[test]
fn a_websocket_opens_on_any_path_and_extensions_are_not_negotiated() {
    let fixture = Fixture::new();
    for (path, headers) in [
        ("/", ""),
        ("/deep/path?and=query", ""),
        ("/", "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: a, b\r\n"),
    ] {
        let mut peer = Peer::dial(fixture.address());
        peer.upgrade(path, headers);
        peer.is_served();
    }
}

#[test]
fn tokens_are_read_in_any_case_and_among_others() {
    let fixture = Fixture::new();
    let request = handshake("/", "")
        .replace("Upgrade: websocket", "upgrade: foo, WebSocket")
        .replace("Connection: Upgrade", "connection: keep-alive, uPgrade");
    let mut peer = Peer::dial(fixture.address());
    assert_eq!(peer.http(&request).status, 101);
    peer.advertised();
    peer.is_served();
}

#[test]
fn messages_may_follow_the_handshake_at_once() {
    let fixture = Fixture::new();
    let mut peer = Peer::dial(fixture.address());
    let mut early = handshake("/", "").into_bytes();
    for id in 0..3 {
        early.extend(frame(peer::BINARY, &ask(id, "echo", "early")));
    }
    let last = frame(peer::BINARY, &ask(3, "echo", "split"));
    early.extend(&last[..5]);
    peer.write(&early);
    assert_eq!(peer.http_answer().status, 101);
    peer.advertised();
    for id in 0..3 {
        assert_eq!(peer.message(), answer(id, "early"));
    }
    peer.write(&last[5..]);
    assert_eq!(peer.message(), answer(3, "split"));
}

#[test]
fn the_application_sees_the_address_and_user_agent() {
    let fixture = Fixture::new();
    let before = std::time::SystemTime::now();
    let mut peer = Peer::dial(fixture.address());
    peer.upgrade("/", "User-Agent: by hand\r\n");
    let connection = fixture.connected();
    assert_eq!(connection.info().user_agent.as_deref(), Some("by hand"));
    let mut wordy = Peer::dial(fixture.address());
    wordy.upgrade("/", &format!("User-Agent: {}\r\n", "x".repeat(8000)));
    let kept = fixture.connected().info().user_agent.clone();
    assert_eq!(kept, Some("x".repeat(256)), "not all of it, for as long as it lives");
    assert!(connection.info().remote_addr.ip().is_loopback());
    assert!(connection.info().connected_at >= before);
    assert!(connection.is_connected());
    assert_eq!(connection.server().local_addr(), Some(fixture.address()));
    let other = Peer::connect(fixture.address());
    let second = fixture.connected();
    assert_eq!(second.info().user_agent, None);
    assert_ne!(second.id(), connection.id());
    let connections = fixture.server.handle.connections();
    assert_eq!((connections.len(), fixture.server.handle.connection_count()), (3, 3));
    drop((peer, other, wordy));
    until(|| fixture.server.handle.connection_count() == 0);
}

fn status_for(fixture: &Fixture, headers: &str) -> u16 {
    let request = handshake("/", headers);
    Peer::dial(fixture.address()).http(&request).status
}

#[test]
fn by_default_pages_of_other_hosts_may_not_connect() {
    let fixture = Fixture::new();
    for (headers, status) in [
        ("", 101),
        ("Origin: http://localhost\r\n", 101),
        ("Origin: https://LOCALHOST\r\n", 101),
        ("Origin: http://evil.example\r\n", 403),
        ("Origin: http://localhost.evil.example\r\n", 403),
        ("Origin: http://localhost:8080\r\n", 403),
        ("Origin: null\r\n", 403),
        ("Origin: \r\n", 403),
        ("Origin: ftp://localhost\r\n", 403),
        ("Origin: ws://localhost\r\n", 403),
        ("Origin: chrome-extension://localhost\r\n", 403),
        ("Origin: http://localhost\r\nOrigin: http://localhost\r\n", 403),
    ] {
        assert_eq!(status_for(&fixture, headers), status, "{headers}");
    }
    let answer = Peer::dial(fixture.address()).http(&handshake("/", "Origin: http://e\r\n"));
    assert!(answer.body().starts_with("Origin not allowed\n"), "{}", answer.body());
    (0..3).for_each(|_| drop(fixture.wait_for_disconnected()));
    assert!(fixture.events.try_recv().is_err(), "three connections came and went");
}

#[test]
fn a_list_of_origins_replaces_the_own_host() {
    let list = Origins::List(vec!["https://app.example".parse().unwrap()]);
    let fixture = Fixture::with(|config| config.origins = list);
    for (headers, status) in [
        ("", 101),
        ("Origin: https://app.example\r\n", 101),
        ("Origin: http://app.example\r\n", 403),
        ("Origin: http://localhost\r\n", 403),
    ] {
        assert_eq!(status_for(&fixture, headers), status, "{headers}");
    }
}

#[test]
fn any_origin_may_be_allowed() {
    let fixture = Fixture::with(|config| config.origins = Origins::Any);
    assert_eq!(status_for(&fixture, "Origin: null\r\n"), 101);
    assert_eq!(status_for(&fixture, "Origin: http://evil.example\r\n"), 101);
}

/// Says that it was asked for permission, which pages of other origins never reach.
struct Asked(std::sync::mpsc::Sender<String>);

impl Handler for Asked {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }

    async fn before_upgrade(&self, request: &Parts) -> Result<ConnectionOptions, Box<Response>> {
        self.0.send(request.uri.path().to_owned()).unwrap();
        Ok(ConnectionOptions::default())
    }
}

#[test]
fn the_application_is_asked_after_the_origin_was_checked() {
    let (sender, asked) = std::sync::mpsc::channel();
    let server = Running::new(Server::builder_on(runtime(), Asked(sender)));
    let refused = handshake("/page", "Origin: http://evil.example\r\n");
    assert_eq!(Peer::dial(server.address).http(&refused).status, 403);
    Peer::connect(server.address).is_served();
    assert_eq!(asked.try_iter().collect::<Vec<_>>(), ["/"]);
}

#[test]
fn more_connections_than_allowed_get_503_until_one_ends() {
    let fixture = Fixture::with(|config| config.hub.max_connections = 2);
    let mut first = Peer::connect(fixture.address());
    let mut second = Peer::connect(fixture.address());
    let answer = Peer::dial(fixture.address()).http(&handshake("/", ""));
    assert_eq!((answer.status, answer.body()), (503, "Too many connections\nTry again later.\n"));
    let preflight = "WEBWIRE / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(Peer::dial(fixture.address()).http(preflight).status, 200);
    first.is_served();
    drop(first);
    until(|| fixture.server.handle.connection_count() == 1);
    Peer::connect(fixture.address()).is_served();
    second.is_served();
}

#[test]
fn concurrency_may_differ_between_connections() {
    /// Handlers of one connection wait for each other.
    struct Pairs(smol::lock::Barrier);
    impl Handler for Pairs {
        async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
            self.0.wait().await;
            Ok(request.into_payload())
        }

        async fn before_upgrade(&self, _: &Parts) -> Result<ConnectionOptions, Box<Response>> {
            let mut options = ConnectionOptions::default();
            options.concurrency = NonZeroU16::new(3);
            Ok(options)
        }
    }
    let server = Running::new(Server::builder_on(runtime(), Pairs(smol::lock::Barrier::new(3))));
    let mut peer = Peer::connect(server.address);
    for id in 0..3 {
        peer.send(&ask(id, "meet", "x"));
    }
    let mut replies: Vec<_> = (0..3).map(|_| peer.message()).collect();
    replies.sort();
    assert_eq!(replies, [answer(0, "x"), answer(1, "x"), answer(2, "x")]);
}
