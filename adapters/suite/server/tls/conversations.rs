//! What is said over TLS is what is said without.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::adapter::rustls::version::{TLS12, TLS13};
use crate::adapter::rustls::{ClientConfig, SupportedProtocolVersion};
use crate::adapter::server::TlsVersion;
use wwr::Dialect;
use wwr::server::Protocol;

use super::{Client, Identity, fixture, with};
use crate::suite::support::app::Event;
use crate::suite::support::message::{
    BINARY, SESSION_CLOSED, SHUTDOWN, UTF8, UTF16, answer, ask, close_session, empty_reply, reply,
    request, restore, signal, special, utf16,
};
use crate::suite::support::peer::{self, CLOSE, Peer, code_of, frame};

#[test]
fn each_version_is_spoken_over_each_version_of_tls() {
    let identity = Identity::new();
    let versions: [(&'static SupportedProtocolVersion, TlsVersion); 2] =
        [(&TLS12, TlsVersion::V1_2), (&TLS13, TlsVersion::V1_3)];
    for (version, shown) in versions {
        let config = ClientConfig::builder_with_protocol_versions(&[version])
            .with_root_certificates(identity.roots())
            .with_no_client_auth();
        let client = Client(config.into());
        for (protocol, advertises, dialect) in [
            (Protocol::V1_4, false, Dialect::V1_4),
            (Protocol::V1_5, false, Dialect::V1_5),
            (Protocol::V2_0, true, Dialect::V2_0),
        ] {
            let fixture = with(identity.server(), |config| config.connection.protocol = protocol);
            let preflight = client.dial(fixture.address()).preflight("/");
            assert_eq!(preflight.status == 200, !advertises, "{protocol:?}");
            let mut peer = client.dial(fixture.address());
            peer.open("/", "");
            if advertises {
                peer.advertised();
            }
            let connection = fixture.connected();
            assert_eq!(connection.dialect(), dialect);
            let tls = connection.info().tls.clone().unwrap();
            assert_eq!((tls.version, tls.server_name.as_deref()), (shown, Some("localhost")));
            assert!(tls.client_certificates.is_empty());
            converse(peer, client.dial(fixture.address()), advertises);
        }
        let fixture = fixture(identity.server());
        let mut peer = client.dial(fixture.address());
        let offer = peer::handshake("/", "Sec-WebSocket-Protocol: wwr.1\r\n");
        assert_eq!(peer.http(&offer).header("sec-websocket-protocol"), Some("wwr.1"));
        peer.send(b"\x18\0\0\x10\0");
        assert_eq!(peer.message()[..3], [23, 2, 0]);
        assert_eq!(fixture.connected().dialect(), Dialect::Wwr1);
        peer.is_served();
    }
}

/// Requests of all encodings, signals, a session that is created, restored on another connection and
/// closed.
fn converse(mut peer: Peer, mut other: Peer, advertises: bool) {
    for (encoding, payload) in
        [(BINARY, b"\0\xff".to_vec()), (UTF8, b"text".to_vec()), (UTF16, utf16("sixteen"))]
    {
        peer.send(&request(encoding, 7, "echo", &payload));
        assert_eq!(peer.message(), reply(encoding, 7, &payload));
    }
    peer.send(&signal(UTF8, "back", b"and forth"));
    assert_eq!(peer.message(), signal(UTF8, "back", b"and forth"));
    peer.send(&ask(8, "login", "ada"));
    assert_eq!(peer.message()[0], 21, "the session is announced");
    let key = String::from_utf8(peer.message()[9..].to_vec()).unwrap();
    other.open("/", "");
    if advertises {
        other.advertised();
    }
    other.send(&restore(9, &key));
    assert_eq!(other.message()[..9], special(192, 9));
    assert!(other.ask(10, "whoami", "").ends_with(b"Some(\"ada\") Some(\"secret\")"));
    for mut one in [peer, other] {
        one.send(&close_session(11));
        if !advertises {
            assert_eq!(one.message(), SESSION_CLOSED);
        }
        assert_eq!(one.message(), empty_reply(11));
        one.is_served();
    }
}

#[test]
fn large_messages_pass_in_both_directions() {
    let identity = Identity::new();
    let most = 20_000_000;
    let fixture = with(identity.server(), |config| config.connection.max_message_size = most);
    let mut peer = identity.client().connect(fixture.address());
    for size in [0, 1, 4_095, 4_096, 16_384, 16_385, 65_536, 1_000_003, 15_000_000] {
        let payload: Vec<u8> = (0..size).map(|at: u32| (at % 251) as u8).collect();
        peer.send(&request(BINARY, 1, "echo", &payload));
        assert!(peer.message() == reply(BINARY, 1, &payload), "{size}");
    }
}

/// Messages that come in one record, and messages in many.
#[test]
fn messages_need_not_fit_records() {
    let identity = Identity::new();
    let fixture = fixture(identity.server());
    let mut peer = identity.client().connect(fixture.address());
    let many: Vec<u8> =
        (0..500).flat_map(|id| frame(peer::BINARY, &ask(id, "echo", "x"))).collect();
    peer.write(&many);
    (0..500).for_each(|id| assert_eq!(peer.message(), answer(id, "x")));
    for byte in &frame(peer::BINARY, &ask(9, "echo", "in pieces")) {
        peer.write(&[*byte]);
    }
    assert_eq!(peer.message(), answer(9, "in pieces"));
}

/// What the server encrypts for a client that does not read is bounded, and such a client is
/// disconnected. A client that reads slowly is not, although no message of its own gets through.
#[test]
fn a_client_that_reads_nothing_is_disconnected_and_a_slow_one_is_not() {
    let identity = Identity::new();
    let fixture = with(identity.server(), |config| {
        config.limits.stall_timeout = Duration::from_secs(3);
    });
    let mut deaf = identity.client().connect(fixture.address());
    let of_deaf = fixture.connected();
    let mut slow = identity.client().connect(fixture.address());
    let of_slow = fixture.connected();
    for peer in [&mut deaf, &mut slow] {
        peer.send(&ask(1, "big", "100000000"));
    }
    // One message for longer than the timeout, in steps that are shorter.
    let mut left = 100_000_000 + 10 + 9;
    while !matches!(fixture.events.try_recv(), Ok(Event::Disconnected { .. })) {
        slow.skip(600_000);
        left -= 600_000;
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(!of_deaf.is_connected());
    assert!(of_slow.is_connected());
    slow.skip(left);
    slow.is_served();
}

#[test]
fn every_proper_end_has_a_close_notify() {
    let identity = Identity::new();
    let fixture = fixture(identity.server());
    // `closed` fails without one. First the client closes the WebSocket.
    let mut peer = identity.client().connect(fixture.address());
    peer.write(&frame(CLOSE, &1000_u16.to_be_bytes()));
    assert_eq!(peer.frame().map(|close| code_of(&close)), Some(1000));
    peer.closed();
    // Then the server does.
    let mut peer = identity.client().connect(fixture.address());
    assert_eq!(peer.ask(1, "close", ""), answer(1, "false"));
    peer.closed_with(1000);
    // And HTTP ends likewise.
    let mut peer = identity.client().dial(fixture.address());
    let head = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    assert_eq!(peer.http(head).status, 426);
    peer.closed();
}

/// As browsers do, which just close the socket, and as programs do that crash.
#[test]
fn what_was_sent_before_an_end_without_close_notify_is_not_lost() {
    let identity = Identity::new();
    let fixture = fixture(identity.server());
    let socket = TcpStream::connect(fixture.address()).unwrap();
    let mut stream = identity.client().encrypt(socket).unwrap();
    stream.write_all(peer::handshake("/", "").as_bytes()).unwrap();
    stream.write_all(&frame(peer::BINARY, &ask(3, "echo", "last words"))).unwrap();
    stream.flush().unwrap();
    stream.sock.shutdown(Shutdown::Write).unwrap();
    let mut all = Vec::new();
    // The server ends properly, although the client did not.
    stream.read_to_end(&mut all).unwrap();
    let reply = answer(3, "last words");
    assert!(all.windows(reply.len()).any(|part| part == reply), "{all:?}");
    fixture.wait_for_disconnected();
}

#[test]
fn a_shutdown_lets_handlers_end_and_closes_with_a_close_frame() {
    let identity = Identity::new();
    let fixture = fixture(identity.server());
    let mut idle = identity.client().connect(fixture.address());
    let mut busy = identity.client().connect(fixture.address());
    busy.send(&ask(1, "wait", "gate"));
    fixture.wait_for_start("wait");
    let done = fixture.server.begin_shut_down(Duration::MAX);
    assert_eq!(idle.ask(2, "echo", "x"), special(SHUTDOWN, 2));
    fixture.gates.open("gate");
    assert_eq!(busy.message(), answer(1, "gate"));
    busy.closed_with(1001);
    idle.closed_with(1001);
    done.recv_timeout(crate::suite::support::SAFETY).unwrap();
    fixture.server.wait_for_end();
    while !matches!(fixture.event(), Event::Disconnected { .. }) {}
}
