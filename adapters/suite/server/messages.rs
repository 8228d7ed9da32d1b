//! Requests and their replies (protocol §5.2, §5.4).

use crate::suite::support::Fixture;
use crate::suite::support::app::Event;
use crate::suite::support::message::{
    BINARY, INTERNAL, PROTOCOL, UTF8, UTF16, answer, ask, error, reply, request, signal, special,
    utf16,
};
use crate::suite::support::peer::Peer;

#[test]
fn payloads_come_back_in_every_encoding_with_and_without_a_name() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    let utf16 = utf16("h\u{e9}\u{1f980}");
    let mut id = 0;
    for name in ["echo", ""] {
        for (kind, payload) in
            [(BINARY, &[0, 0xff, 0x80][..]), (UTF8, "h\u{e9}\u{1f980}".as_bytes()), (UTF16, &utf16)]
        {
            id += 1;
            peer.send(&request(kind, id, name, payload));
            assert_eq!(peer.message(), reply(kind, id, payload), "{kind} {name:?}");
        }
    }
    peer.send(&request(BINARY, 7, "echo", b""));
    assert_eq!(peer.message(), reply(BINARY, 7, b""));
}

#[test]
fn a_payload_that_the_encoding_forbids_comes_back_as_it_is() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    peer.send(&request(UTF8, 1, "echo", &[0xff, 0xfe]));
    assert_eq!(peer.message(), reply(UTF8, 1, &[0xff, 0xfe]));
}

#[test]
fn an_odd_name_pads_a_utf16_payload() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    let payload = utf16("odd");
    peer.send(&request(UTF16, 1, "odd", &payload));
    assert_eq!(peer.message(), error(1, "UNKNOWN_NAME", ""));
    peer.send(&signal(UTF16, "odd", &payload));
    fixture.connected();
    assert!(matches!(fixture.event(), Event::Started(name) if name == "odd"));
    match fixture.event() {
        Event::Signal(name, received) => assert_eq!((name.as_str(), received), ("odd", payload)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_outcome_of_a_handler_has_its_reply() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    assert_eq!(peer.ask(1, "error", "x"), error(1, "CODE", "message"));
    assert_eq!(peer.ask(2, "fail", "x"), special(INTERNAL, 2));
    assert_eq!(peer.ask(3, "panic", "x"), special(INTERNAL, 3));
    assert_eq!(peer.ask(4, "nobody knows this", "x"), error(4, "UNKNOWN_NAME", ""));
    assert_eq!(peer.ask(u64::MAX, "echo", "x"), answer(u64::MAX, "x"));
    peer.is_served();
}

#[test]
fn unreadable_requests_are_answered_with_a_protocol_error() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    let id = |kind: u8, rest: &[u8]| [&special(kind, 7)[..], rest].concat();
    for (message, expected) in [
        (id(BINARY, &[2, b'a']), special(PROTOCOL, 7)),
        (id(BINARY, &[0]), special(PROTOCOL, 0)),
        (vec![UTF8], special(PROTOCOL, 0)),
        (id(UTF16, &[1, b'a']), special(PROTOCOL, 0)),
        (id(31, &[0]), special(PROTOCOL, 0)),
        (id(32, &[]), special(PROTOCOL, 0)),
    ] {
        peer.send(&message);
        assert_eq!(peer.message(), expected, "{message:?}");
    }
    peer.is_served();
}

#[test]
fn meaningless_messages_are_ignored() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    for message in [
        &[][..],
        &[7],
        &[255, 1, 2, 3],
        &[33],
        &[63, 1, b'a'],
        &[23, 2, 0, 0x60, 0xea, 0, 0, 0, 0x20, 0, 0],
        &[22],
        &reply(BINARY, 1, b"x"),
        &error(1, "CODE", "message"),
    ] {
        peer.send(message);
        peer.is_served();
    }
}

#[test]
fn too_many_meaningless_messages_close_the_connection() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    let mut bystander = Peer::connect(fixture.address());
    for _ in 0..1000 {
        // Fails when the server has had enough before all is written.
        let _ = peer.try_write(&crate::suite::support::peer::frame(
            crate::suite::support::peer::BINARY,
            &[9],
        ));
    }
    peer.closed_with(1008);
    bystander.is_served();
}

#[test]
fn a_panic_in_a_signal_handler_costs_only_the_signal() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    peer.send(&signal(BINARY, "panic", b"x"));
    peer.send(&signal(BINARY, "back", b"y"));
    assert_eq!(peer.message(), signal(BINARY, "back", b"y"));
    peer.send(&ask(1, "panic", "x"));
    peer.send(&ask(2, "echo", "x"));
    assert_eq!(peer.message(), special(INTERNAL, 1));
    assert_eq!(peer.message(), answer(2, "x"));
}
