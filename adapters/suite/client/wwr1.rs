//! The sub-protocol `wwr.1`, seen from a server made by hand (protocol §10).

use std::io::Write;

use wwr::client::{ConnectError as Kind, Protocol};
use wwr::wire::Identifier;
use wwr::{Dialect, Payload};

use crate::adapter::client::Client;

use super::raw::{Exchange, RawServer, RawSocket, accept_conf};
use super::{builder_with, changed, config_of, connecting, request, spawn, wait};

const OFFER: &str = "Sec-WebSocket-Protocol";

/// What a client states that reads 16 MiB, the default, and has no handler for questions.
pub(super) const SETTINGS: &[u8] = b"\x18\0\0\0\x01";

fn client(server: &RawServer) -> Client {
    builder_with(server, config_of(Protocol::Auto)).build().unwrap()
}

/// Answers a handshake with this sub-protocol selected.
fn select(handshake: Exchange, selected: &str) -> RawSocket {
    let key = handshake.header("Sec-WebSocket-Key").unwrap().to_owned();
    let accept = wwr::handshake::accept_value(key.as_bytes());
    handshake.upgrade_with(&format!("{accept}\r\n{OFFER}: {selected}"))
}

/// The next handshake, which offers `wwr.1`, is answered with it selected; the settings of the client
/// come first, and are not waited for.
pub(super) fn agree(server: &RawServer) -> RawSocket {
    agree_with(server, SETTINGS)
}

/// The same, with a client that has these settings.
pub(super) fn agree_with(server: &RawServer, settings: &[u8]) -> RawSocket {
    let handshake = server.accept();
    assert_eq!(handshake.header(OFFER), Some("wwr.1"));
    let mut socket = select(handshake, "wwr.1");
    assert_eq!(socket.message(), settings);
    socket
}

#[test]
fn clients_of_all_versions_offer_it_in_both_requests_and_others_never() {
    for (protocol, wwr1, offers) in [
        (Protocol::Auto, true, true),
        (Protocol::Auto, false, false),
        (Protocol::V1_4, true, false),
    ] {
        let server = RawServer::bind();
        let client = builder_with(
            &server,
            changed(config_of(protocol), |config| config.machine.wwr1 = wwr1),
        )
        .build()
        .unwrap();
        let connected = connecting(&client);
        let expected = offers.then_some("wwr.1");
        let probe = server.accept();
        assert_eq!((probe.method(), probe.header(OFFER)), ("WEBWIRE", expected), "{protocol}");
        probe.respond("200 OK", "{\"protocol-version\":\"1.4\"}\n");
        let handshake = server.accept();
        assert_eq!((handshake.method(), handshake.header(OFFER)), ("GET", expected), "{protocol}");
        // A server that selects none is one of the versions.
        let mut socket = handshake.upgrade();
        assert_eq!(wait(connected), Ok(()));
        assert_eq!(client.dialect(), Dialect::V1_4);
        let answer = request(&client, "a", "x");
        assert_eq!(socket.echo(), "a");
        assert_eq!(wait(answer), Ok(Payload::binary("x")));
    }
    let server = RawServer::bind();
    let client = builder_with(&server, config_of(Protocol::V2_0)).build().unwrap();
    let connected = connecting(&client);
    let handshake = server.accept();
    assert_eq!(handshake.header(OFFER), None, "2.0 is what it is set to");
    handshake.upgrade().send(&accept_conf([2, 0], 60_000, 8192, ""));
    assert_eq!(wait(connected), Ok(()));
}

#[test]
fn only_the_offered_sub_protocol_may_be_selected() {
    for selected in ["chat", "WWR.1", "wwr.1, chat", "wwr.2", "wwr.1\r\nSec-WebSocket-Protocol: x"]
    {
        let server = RawServer::bind();
        let client = client(&server);
        let connected = connecting(&client);
        server.answer_probe();
        drop(select(server.accept(), selected));
        let error = wait(connected).unwrap_err();
        assert_eq!(error.kind(), Some(&Kind::DialFailed), "{selected}");
        assert!(error.to_string().contains("sub-protocol"), "{error}");
    }
}

#[test]
fn both_sides_state_what_they_read_and_long_messages_pass() {
    let server = RawServer::bind();
    let client = client(&server);
    let connected = connecting(&client);
    server.answer_probe();
    let mut socket = agree(&server);
    socket.send(&accept_conf([2, 0], 60_000, 20_000, ""));
    assert_eq!(wait(connected), Ok(()));
    assert_eq!(client.dialect(), Dialect::Wwr1);
    let answer =
        spawn(&client, |client| async move { client.request("a", vec![b'x'; 9000]).await });
    let asked = socket.message();
    assert_eq!(asked.len(), 11 + 9000);
    let id: [u8; 8] = asked[1..9].try_into().unwrap();
    assert_eq!(Identifier::from_bytes(id), Identifier::from_counter(1));
    socket.send(&[&[0xbf], &id[..], &[b'y'; 100_000]].concat());
    assert_eq!(wait(answer), Ok(Payload::binary(vec![b'y'; 100_000])));
    wait(client.signal("a", vec![b'x'; 20_000 - 3])).unwrap();
    assert_eq!(socket.message().len(), 20_000);
    assert!(wait(client.signal("a", vec![b'x'; 20_000 - 2])).is_err());
}

/// The server's statement may come in the same packet as the answer to the handshake.
#[test]
fn messages_that_come_with_the_handshake_are_read() {
    let server = RawServer::bind();
    let client = client(&server);
    let connected = connecting(&client);
    server.answer_probe();
    let mut handshake = server.accept();
    let accept =
        wwr::handshake::accept_value(handshake.header("Sec-WebSocket-Key").unwrap().as_bytes());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{OFFER}: wwr.1\r\n\r\n"
    );
    let conf = accept_conf([2, 0], 60_000, 1 << 20, "");
    let frame = [&[0x82, conf.len() as u8], &conf[..]].concat();
    handshake.stream.write_all(&[head.as_bytes(), &frame].concat()).unwrap();
    let mut socket = RawSocket { stream: handshake.stream };
    assert_eq!(wait(connected), Ok(()));
    assert_eq!(socket.message(), SETTINGS);
    assert_eq!(client.dialect(), Dialect::Wwr1);
}

#[test]
fn the_next_connection_is_opened_without_a_preflight() {
    let server = RawServer::bind();
    let client = client(&server);
    let connected = connecting(&client);
    server.answer_probe();
    let mut socket = agree(&server);
    socket.send(&accept_conf([2, 0], 60_000, 1 << 20, ""));
    assert_eq!(wait(connected), Ok(()));
    drop(socket);
    let mut socket = agree(&server);
    socket.send(&accept_conf([2, 0], 60_000, 1 << 20, ""));
    let answer = request(&client, "a", "x");
    assert_eq!(socket.echo(), "a");
    assert_eq!(wait(answer), Ok(Payload::binary("x")));
}
