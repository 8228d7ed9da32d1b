//! Which versions are spoken where, and how peers are told apart (protocol §7.2).

use std::time::Duration;

use hyper::http::request::Parts;
use wwr::server::{Protocol, RequestError};
use wwr::wire::UnreadableSignal;
use wwr::{Content, Dialect, Payload};

use crate::adapter::runtime;
use crate::adapter::server::{
    Connection, ConnectionOptions, Handler, Response, Server, SignalError,
};
use crate::suite::support::message::{BINARY, PROTOCOL, UTF8, reply, request};
use crate::suite::support::message::{HEARTBEAT, INTERNAL, answer, signal, special};
use crate::suite::support::peer::Peer;
use crate::suite::support::{Fixture, Running, SAFETY, configured, until};

const NAMES_1_4: (u16, &str) = (200, "{\"protocol-version\":\"1.4\"}\n");
const NAMES_1_5: (u16, &str) = (200, "{\"protocol-version\":\"1.5\",\"read-timeout\":60}\n");
/// A status, and how the body begins.
const REFUSES: (u16, &str) = (400, "This server speaks WebWire 2.0 only");

#[test]
fn a_server_speaks_what_it_is_set_to() {
    use Dialect::{Unknown, V1_4, V1_5, V2_0};
    for (protocol, preflight, advertises, unasked, asked) in [
        (Protocol::Any, NAMES_1_4, true, Unknown, V1_4),
        (Protocol::AnyAs1_5, NAMES_1_5, true, Unknown, V1_5),
        (Protocol::V1_4, NAMES_1_4, false, V1_4, V1_4),
        (Protocol::V1_5, NAMES_1_5, false, V1_5, V1_5),
        (Protocol::V2_0, REFUSES, true, V2_0, V2_0),
    ] {
        for (asks, dialect) in [(false, unasked), (true, asked)] {
            // To each server its own: an address that has shown both kinds tells nothing.
            let fixture = Fixture::with(|config| config.connection.protocol = protocol);
            if asks {
                let met = Peer::dial(fixture.address()).preflight("/");
                assert_eq!(met.status, preflight.0, "{protocol:?}");
                assert!(met.body().starts_with(preflight.1), "{protocol:?}: {}", met.body());
                let version = (met.status == 400).then_some("13");
                assert_eq!(met.header("sec-websocket-version"), version, "{protocol:?}");
            }
            let mut peer = Peer::dial(fixture.address());
            peer.open("/", "");
            if advertises {
                peer.advertised();
            }
            peer.is_served();
            assert_eq!(fixture.connected().dialect(), dialect, "{protocol:?}");
            drop(peer);
            fixture.wait_for_disconnected();
        }
    }
}

#[test]
fn a_path_may_have_a_protocol_of_its_own() {
    let fixture = Fixture::with(|config| {
        config.connection.protocol = Protocol::V1_4;
        config.paths.insert("/new".into(), Protocol::V2_0);
        config.paths.insert("/newer".into(), Protocol::AnyAs1_5);
    });
    for (path, preflight) in [
        ("/", NAMES_1_4),
        ("/new/", NAMES_1_4),
        ("/New", NAMES_1_4),
        ("/new", REFUSES),
        ("/new?query", REFUSES),
        ("/newer", NAMES_1_5),
    ] {
        let met = Peer::dial(fixture.address()).preflight(path);
        assert_eq!(met.status, preflight.0, "{path}");
        assert!(met.body().starts_with(preflight.1), "{path}: {}", met.body());
    }
    for (path, advertises, dialect) in [
        ("/new/", false, Dialect::V1_4),
        ("/new?query", true, Dialect::V2_0),
        ("/newer", true, Dialect::V1_5),
        ("/newer", true, Dialect::Unknown),
    ] {
        let mut peer = Peer::dial(fixture.address());
        peer.open(path, "");
        if advertises {
            peer.advertised();
        }
        peer.is_served();
        assert_eq!(fixture.connected().dialect(), dialect, "{path}");
        drop(peer);
        fixture.wait_for_disconnected();
    }
}

#[test]
fn the_first_heartbeat_shows_the_version_and_none_is_answered() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect_unasked(fixture.address());
    let connection = fixture.connected();
    assert_eq!(connection.dialect(), Dialect::Unknown);
    (0..1000).for_each(|_| peer.send(HEARTBEAT));
    peer.is_served();
    until(|| connection.dialect() == Dialect::V2_0);
    // Not an internal-error reply, as to peers of which nothing is known.
    peer.send(&[&[BINARY][..], &[7; 8], &[9]].concat());
    peer.is_served();
}

#[test]
fn each_preflight_counts_for_one_connection() {
    let fixture = Fixture::new();
    let malformed = [&[BINARY][..], &7_u64.to_be_bytes(), &[2, b'a']].concat();
    Peer::dial(fixture.address()).preflight("/");
    for code in [PROTOCOL, INTERNAL] {
        let mut peer = Peer::connect_unasked(fixture.address());
        peer.send(&malformed);
        assert_eq!(peer.message(), special(code, 7));
    }
}

#[test]
fn only_1_x_peers_get_messages_longer_than_the_buffer() {
    let fixture = Fixture::new();
    let mut old = Peer::connect(fixture.address());
    let payload = vec![b'x'; 20_000];
    old.send(&request(UTF8, 1, "echo", &payload));
    assert!(old.message() == reply(UTF8, 1, &payload));
    // What is not known is taken as having a buffer, and exactly its size fits.
    let mut unknown = Peer::connect_unasked(fixture.address());
    for (size, fits) in [(8192 - 9, true), (8192 - 8, false), (20_000, false)] {
        let payload = vec![b'x'; size];
        unknown.send(&request(UTF8, 1, "echo", &payload));
        let expected = if fits { reply(UTF8, 1, &payload) } else { special(INTERNAL, 1) };
        assert!(unknown.message() == expected, "{size}");
    }
}

#[test]
fn signals_that_a_peer_cannot_read_are_refused_to_their_caller() {
    let fixture = Fixture::with(|config| config.connection.advertised.message_buffer = 64);
    let mut old = Peer::dial(fixture.address());
    old.preflight("/");
    old.open("/", "");
    let to_old = fixture.connected();
    let mut unknown = Peer::dial(fixture.address());
    unknown.open("/", "");
    let to_unknown = fixture.connected();
    for peer in [&mut old, &mut unknown] {
        assert_eq!(peer.message(), [23, 2, 0, 0x60, 0xea, 0, 0, 64, 0, 0, 0]);
    }

    let (fits, too_large) = (vec![b'x'; 64 - 3], vec![b'x'; 65 - 3]);
    let refused = SignalError::Unreadable(UnreadableSignal::TooLarge { length: 65, buffer: 64 });
    let binary = |bytes: &Vec<u8>| Payload::binary(bytes.clone());
    assert_eq!(to_unknown.signal("s", binary(&too_large)), Err(refused));
    assert_eq!(to_unknown.signal("s", binary(&fits)), Ok(()));
    assert_eq!(unknown.message(), signal(BINARY, "s", &fits));
    assert_eq!(to_unknown.signal("name only", Payload::EMPTY), Ok(()));
    assert_eq!(unknown.message(), signal(BINARY, "name only", b""));

    assert_eq!(to_old.signal("s", binary(&too_large)), Ok(()));
    assert_eq!(old.message(), signal(BINARY, "s", &too_large));
    let refused = SignalError::Unreadable(UnreadableSignal::NeedsPayload);
    assert_eq!(to_old.signal("name only", Payload::EMPTY), Err(refused));

    // As soon as it is known to speak 2.0, it is treated as such, although it has asked.
    old.send(HEARTBEAT);
    until(|| to_old.dialect() == Dialect::V2_0);
    assert_eq!(to_old.signal("name only", Payload::EMPTY), Ok(()));
    assert!(to_old.signal("s", binary(&too_large)).is_err());
    assert_eq!(old.message(), signal(BINARY, "name only", b""));
}

#[test]
fn a_strict_server_is_strict_with_2_0_peers_only() {
    let fixture = Fixture::with(|config| {
        config.connection.strict = true;
        config.connection.advertised.message_buffer = 64;
    });
    let messages: [(u8, Vec<u8>, u16); 3] = [
        (crate::suite::support::peer::BINARY, vec![7], 1002),
        (crate::suite::support::peer::TEXT, request(BINARY, 7, "echo", b"x"), 1003),
        (crate::suite::support::peer::BINARY, request(BINARY, 7, "echo", &[b'x'; 100]), 1009),
    ];
    for (first, message, code) in messages {
        for known in [false, true] {
            let mut peer = Peer::dial(fixture.address());
            peer.open("/", "");
            peer.message();
            if known {
                peer.send(HEARTBEAT);
            }
            peer.write(&crate::suite::support::peer::frame(first, &message));
            match (known, code) {
                (true, _) => peer.closed_with(code),
                (false, 1002) => peer.is_served(),
                (false, 1003) => assert_eq!(peer.message(), reply(BINARY, 7, b"x")),
                (false, _) => assert_eq!(peer.message(), special(INTERNAL, 7)),
            }
        }
    }
}

/// Says which requests it is asked about.
struct Asked(std::sync::mpsc::Sender<String>);

impl Handler for Asked {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }

    async fn before_upgrade(&self, request: &Parts) -> Result<ConnectionOptions, Box<Response>> {
        self.0.send(format!("{} {}", request.method, request.uri)).unwrap();
        Ok(ConnectionOptions::default())
    }
}

#[test]
fn a_preflight_at_a_server_without_one_is_an_ordinary_request() {
    let (sender, asked) = std::sync::mpsc::channel();
    let builder = Server::builder_on(runtime(), Asked(sender)).config(configured(|config| {
        config.paths.insert("/new".into(), Protocol::V2_0);
    }));
    let server = Running::new(builder);
    assert_eq!(Peer::dial(server.address).preflight("/").status, 200);
    assert_eq!(Peer::dial(server.address).preflight("/new").status, 400);
    assert_eq!(asked.recv_timeout(SAFETY).unwrap(), "WEBWIRE /new", "and not about the other");
    let mut peer = Peer::dial(server.address);
    assert_eq!(peer.http("OPTIONS /new HTTP/1.1\r\nHost: h\r\n\r\n").status, 200);
    peer.upgrade("/new", "");
    assert_eq!(peer.ask(1, "echo", "x"), answer(1, "x"));
}

#[test]
fn the_advertised_settings_are_the_configured_ones() {
    let fixture = Fixture::with(|config| {
        config.connection.advertised.read_timeout = Duration::from_millis(1500);
        config.connection.advertised.message_buffer = 32;
        config.connection.advertised.sub_protocol = Some("my/1".into());
    });
    let mut peer = Peer::dial(fixture.address());
    peer.open("/", "");
    assert_eq!(peer.message(), b"\x17\x02\0\xdc\x05\0\0\x20\0\0\0my/1");
}
