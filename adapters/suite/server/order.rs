//! The order of messages on one connection, and how many are handled at once (protocol §5.3).

use std::num::NonZeroU16;

use crate::suite::support::Fixture;
use crate::suite::support::message::{BINARY, answer, ask, empty_reply, signal};
use crate::suite::support::peer::{self, Peer, frame};

const REQUESTS: u64 = 10_000;

#[test]
fn ten_thousand_pipelined_requests_are_answered_in_order() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    let frames = (0..REQUESTS).flat_map(|id| frame(peer::BINARY, &ask(id, "echo", "payload")));
    peer.write(&frames.collect::<Vec<_>>());
    for id in 0..REQUESTS {
        assert_eq!(peer.message(), answer(id, "payload"));
    }
}

#[test]
fn requests_behind_a_waiting_handler_wait_as_well() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    peer.send(&ask(1, "wait", "gate"));
    // More than wait in the machine: the others wait in the socket.
    (2..500).for_each(|id| peer.send(&ask(id, "echo", "x")));
    fixture.wait_for_start("wait");
    let mut other = Peer::connect(fixture.address());
    other.is_served();
    fixture.connected();
    fixture.wait_for_start("echo");
    assert!(fixture.events.try_recv().is_err(), "only the other connection is served");
    fixture.gates.open("gate");
    assert_eq!(peer.message(), answer(1, "gate"));
    (2..500).for_each(|id| assert_eq!(peer.message(), answer(id, "x")));
}

#[test]
fn with_concurrency_fast_requests_overtake_slow_ones() {
    let concurrency = NonZeroU16::new(3).unwrap();
    let fixture = Fixture::with(|config| config.connection.concurrency = concurrency);
    let mut peer = Peer::connect(fixture.address());
    peer.send(&ask(1, "wait", "first"));
    peer.send(&ask(2, "wait", "second"));
    assert_eq!(peer.ask(3, "echo", "fast"), answer(3, "fast"));
    peer.send(&ask(4, "wait", "third"));
    peer.send(&ask(5, "echo", "has to wait for a place"));
    fixture.gates.open("second");
    assert_eq!(peer.message(), answer(2, "second"));
    assert_eq!(peer.message(), answer(5, "has to wait for a place"));
    fixture.gates.open("third");
    assert_eq!(peer.message(), answer(4, "third"));
    fixture.gates.open("first");
    assert_eq!(peer.message(), answer(1, "first"));
}

#[test]
fn a_waiting_handler_holds_up_no_other_connection() {
    let fixture = Fixture::new();
    let mut slow = Peer::connect(fixture.address());
    slow.send(&ask(1, "wait", "gate"));
    fixture.wait_for_start("wait");
    let mut fast = Peer::connect(fixture.address());
    for id in 0..100 {
        assert_eq!(fast.ask(id, "echo", "x"), answer(id, "x"));
    }
    fixture.gates.open("gate");
    assert_eq!(slow.message(), answer(1, "gate"));
}

#[test]
fn signals_of_a_handler_precede_its_reply() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    for round in 0..50 {
        peer.send(&ask(round, "signals", "20"));
        for number in 0..20 {
            let payload = format!("{number}");
            let expected =
                signal(crate::suite::support::message::UTF8, "count", payload.as_bytes());
            assert_eq!(peer.message(), expected);
        }
        assert_eq!(peer.message(), empty_reply(round));
    }
}

#[test]
fn signals_and_requests_are_handled_in_the_order_they_came() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    for id in 0..100 {
        peer.send(&signal(BINARY, "back", b"before"));
        peer.send(&ask(id, "echo", "x"));
    }
    for id in 0..100 {
        assert_eq!(peer.message(), signal(BINARY, "back", b"before"));
        assert_eq!(peer.message(), answer(id, "x"));
    }
}
