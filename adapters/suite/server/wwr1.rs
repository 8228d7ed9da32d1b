//! The sub-protocol `wwr.1`, seen from a client made by hand (protocol §10).

use std::net::SocketAddr;

use wwr::Dialect;
use wwr::server::Protocol;

use crate::adapter::runtime;
use crate::adapter::server::{Config, Server};
use crate::suite::support::Fixture;
use crate::suite::support::app::App;
use crate::suite::support::log::logged;
use crate::suite::support::message::{HEARTBEAT, UTF8, reply, request};
use crate::suite::support::peer::{Peer, handshake};

const OFFER: &str = "Sec-WebSocket-Protocol: wwr.1\r\n";

/// The settings of a client that reads 1 MiB.
const SETTINGS: &[u8] = b"\x18\0\0\x10\0";

/// The same, for one that answers two questions at a time.
const ANSWERING: &[u8] = b"\x18\0\0\x10\0\x02\0";

/// What a server with the default limits states: 60 s, 1 MiB.
const STATED: &[u8] = b"\x17\x02\0\x60\xea\0\0\0\0\x10\0";

/// What other clients see as the buffer: 8 KiB.
const ADVERTISED: &[u8] = b"\x17\x02\0\x60\xea\0\0\0\x20\0\0";

/// The sub-protocol that a handshake with these headers agrees on.
fn agreed(peer: &mut Peer, headers: &str) -> Option<String> {
    let answer = peer.http(&handshake("/", headers));
    assert_eq!(answer.status, 101, "{headers:?}");
    assert_eq!(answer.header("sec-websocket-extensions"), None);
    answer.header("sec-websocket-protocol").map(str::to_owned)
}

/// A client that has agreed on `wwr.1`.
fn ours(fixture: &Fixture) -> Peer {
    connect(fixture.address(), SETTINGS)
}

/// A client that has agreed on `wwr.1` and can be asked.
pub(super) fn that_answers(fixture: &Fixture) -> Peer {
    one_that_answers(fixture.address())
}

/// The same, of any server.
pub(super) fn one_that_answers(address: SocketAddr) -> Peer {
    connect(address, ANSWERING)
}

fn connect(address: SocketAddr, settings: &[u8]) -> Peer {
    let mut peer = Peer::dial(address);
    assert_eq!(agreed(&mut peer, OFFER).as_deref(), Some("wwr.1"));
    peer.send(settings);
    assert_eq!(peer.message(), STATED);
    peer
}

#[test]
fn it_is_selected_if_it_is_offered_and_nothing_else_ever_is() {
    let fixture = Fixture::new();
    for (headers, selected) in [
        (OFFER, true),
        ("sec-websocket-protocol: chat, wwr.1\r\n", true),
        ("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: wwr.1\r\n", true),
        ("", false),
        ("Sec-WebSocket-Protocol: chat, superchat\r\n", false),
        ("Sec-WebSocket-Protocol: wwr.2\r\n", false),
        ("Sec-WebSocket-Protocol: WWR.1\r\n", false),
        ("Sec-WebSocket-Protocol:\r\n", false),
    ] {
        let mut peer = Peer::dial(fixture.address());
        let expected = selected.then_some("wwr.1");
        assert_eq!(agreed(&mut peer, headers).as_deref(), expected, "{headers:?}");
        assert_eq!(peer.message(), if selected { STATED } else { ADVERTISED }, "{headers:?}");
        let dialect = if selected { Dialect::Wwr1 } else { Dialect::Unknown };
        assert_eq!(fixture.connected().dialect(), dialect, "from the first byte");
        peer.is_served();
        drop(peer);
        fixture.wait_for_disconnected();
    }
}

#[test]
fn servers_without_wwr_1_ignore_the_offer() {
    type Change = fn(&mut Config);
    let changes: [(Change, bool); 5] = [
        (|config| config.connection.wwr1 = false, true),
        (
            |config| {
                config.connection.protocol = Protocol::V2_0;
                config.connection.wwr1 = false;
            },
            true,
        ),
        (|config| config.connection.protocol = Protocol::V1_4, false),
        (|config| config.connection.protocol = Protocol::V1_5, false),
        (
            |config| {
                config.connection.max_message_size = 8191;
                config.connection.advertised.message_buffer = 8191;
            },
            true,
        ),
    ];
    for (index, (change, advertises)) in changes.into_iter().enumerate() {
        let fixture = Fixture::with(change);
        let mut peer = Peer::dial(fixture.address());
        assert_eq!(agreed(&mut peer, OFFER), None, "{index}");
        if advertises {
            assert_eq!(peer.message()[0], 0x17, "{index}");
        }
        assert_ne!(fixture.connected().dialect(), Dialect::Wwr1, "{index}");
        // The settings are an unknown message there.
        peer.send(SETTINGS);
        peer.is_served();
    }
}

/// The server does not wait for the first message of such a client, although it comes after a
/// preflight.
#[test]
fn a_client_that_offers_it_is_not_waited_for_and_says_nothing_about_its_address() {
    let fixture = Fixture::new();
    let asks = format!("WEBWIRE / HTTP/1.1\r\nHost: localhost\r\n{OFFER}\r\n");
    assert_eq!(Peer::dial(fixture.address()).http(&asks).status, 200);
    let peer = ours(&fixture);
    assert_eq!(fixture.connected().dialect(), Dialect::Wwr1);
    // Another of the address that is silent is not taken for the one that asked.
    let mut other = Peer::connect_unasked(fixture.address());
    assert_eq!(fixture.connected().dialect(), Dialect::Unknown);
    other.is_served();
    drop(peer);
    // A preflight that does not say so is followed by a client of 1.4.
    assert_eq!(Peer::dial(fixture.address()).preflight("/").status, 200);
    let mut old = Peer::dial(fixture.address());
    old.open("/", "");
    old.send(&request(UTF8, 1, "echo", b"x"));
    old.advertised();
    assert_eq!(old.message(), reply(UTF8, 1, b"x"));
}

/// A page cannot say in its preflight what it offers.
#[test]
fn after_the_preflight_of_a_page_that_agrees_on_it_no_silent_client_is_taken_for_one_of_1_4() {
    let fixture = Fixture::new();
    assert_eq!(Peer::dial(fixture.address()).preflight("/").status, 200);
    let _page = ours(&fixture);
    assert_eq!(fixture.connected().dialect(), Dialect::Wwr1);
    let mut silent = Peer::connect_unasked(fixture.address());
    assert_eq!(fixture.connected().dialect(), Dialect::Unknown);
    silent.is_served();
}

#[test]
fn a_heartbeat_teaches_nothing() {
    let fixture = Fixture::new();
    let mut peer = ours(&fixture);
    let connection = fixture.connected();
    peer.send(HEARTBEAT);
    peer.is_served();
    assert_eq!(connection.dialect(), Dialect::Wwr1);
}

#[test]
fn signals_are_as_long_as_the_client_reads() {
    let fixture = Fixture::new();
    let mut peer = Peer::dial(fixture.address());
    assert_eq!(agreed(&mut peer, OFFER).as_deref(), Some("wwr.1"));
    assert_eq!(peer.message(), STATED);
    let connection = fixture.connected();
    assert!(connection.signal("n", vec![b'x'; 9000]).is_err(), "nothing was stated yet");
    peer.send(b"\x18\x28\x23\0\0");
    // Once a request is served, what came before it has been taken.
    peer.is_served();
    assert_eq!(connection.signal("n", vec![b'x'; 9000 - 3]), Ok(()));
    assert_eq!(peer.message().len(), 9000);
    assert!(connection.signal("n", vec![b'x'; 9000 - 2]).is_err());
}

#[test]
fn a_message_longer_than_stated_ends_the_connection() {
    let fixture = Fixture::with(|config| config.connection.max_message_size = 10_000);
    let mut peer = Peer::dial(fixture.address());
    assert_eq!(agreed(&mut peer, OFFER).as_deref(), Some("wwr.1"));
    assert_eq!(peer.message(), b"\x17\x02\0\x60\xea\0\0\x10\x27\0\0");
    peer.send(SETTINGS);
    peer.send(&request(UTF8, 1, "echo", &[b'x'; 10_000 - 14]));
    assert_eq!(peer.message().len(), 10_000 - 5);
    peer.send(&request(UTF8, 2, "echo", &[b'x'; 10_000 - 13]));
    peer.closed_with(1009);
}

/// Only the server knows what became of the reply: the log says which setting is in the way.
#[test]
fn a_reply_that_is_too_long_is_logged_with_what_bounds_it() {
    for (offer, bound) in [
        (OFFER, "8192 dialect=wwr.1 raise=\"max_message_size of the client\""),
        ("", "8192 dialect=unknown raise=\"the message buffer\""),
    ] {
        let lines = logged(Server::builder_on(runtime(), App::new().0), |address| {
            let mut peer = Peer::dial(address);
            agreed(&mut peer, offer);
            peer.message();
            peer.send(&request(UTF8, 1, "echo", &[b'x'; 8192 - 8]));
            assert_eq!(peer.message(), b"\x02\0\0\0\0\0\0\0\x01");
        });
        let line = lines.iter().find(|line| line.text.contains("too large")).expect("a line");
        assert!(line.text.contains(" length=8193 "), "{line:?}");
        assert!(line.text.ends_with(bound), "{line:?}");
    }
}
