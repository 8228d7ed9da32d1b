//! Clients that do not read what they are sent.

use std::num::NonZeroU16;
use std::time::Duration;

use wwr::Payload;

use crate::adapter::server::{Connection, SignalError};
use crate::suite::support::app::Event;
use crate::suite::support::message::{BINARY, UTF8, answer, ask, request, signal};
use crate::suite::support::peer::{self, Peer, frame};
use crate::suite::support::{Fixture, until};

/// What the systems of both sides may keep for a connection, at the very most.
const IN_SOCKETS: usize = 32 << 20;

/// Sends signals until there is no room for more. Returns how many bytes were taken.
fn fill(connection: &Connection, size: usize) -> usize {
    let mut sent = 0;
    let payload = Payload::binary(vec![7; size]);
    loop {
        match connection.signal("fill", payload.clone()) {
            Ok(()) => sent += size,
            Err(SignalError::Backlogged) => return sent,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn signals_for_a_client_that_does_not_read_are_bounded() {
    let fixture = Fixture::with(|config| config.limits.max_signal_backlog = 1 << 20);
    let mut peer = Peer::connect(fixture.address());
    let connection = fixture.connected();
    // Until nothing gets through any more: what is taken meanwhile goes into the sockets.
    let mut total = 0;
    let mut rounds_without = 0;
    while rounds_without < 100 {
        let sent = fill(&connection, 10_000);
        total += sent;
        assert!(total < (1 << 20) + IN_SOCKETS, "{total} bytes are somewhere");
        rounds_without = if sent == 0 { rounds_without + 1 } else { 0 };
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut bystander = Peer::connect(fixture.address());
    bystander.is_served();

    // Once it reads, it gets all of them, in full, and new ones too.
    let expected = signal(BINARY, "fill", &[7; 10_000]);
    for _ in 0..total / 10_000 {
        assert!(peer.message() == expected);
    }
    until(|| connection.signal("n", "x").is_ok());
    assert_eq!(peer.message(), signal(UTF8, "n", b"x"));
    peer.is_served();
}

#[test]
fn a_signal_larger_than_the_backlog_is_sent_if_nothing_waits() {
    let fixture = Fixture::with(|config| config.limits.max_signal_backlog = 100);
    let mut peer = Peer::connect(fixture.address());
    let connection = fixture.connected();
    for _ in 0..10 {
        let payload = Payload::binary(vec![7; 1_000_000]);
        until(|| connection.signal("", payload.clone()).is_ok());
        assert_eq!(peer.message().len(), 2 + 1_000_000);
    }
}

#[test]
fn requests_of_a_client_that_does_not_read_are_not_read_and_it_is_disconnected() {
    let fixture = Fixture::with(|config| config.limits.stall_timeout = Duration::from_millis(300));
    let mut peer = Peer::connect(fixture.address());
    let mut bystander = Peer::connect(fixture.address());
    let request = frame(peer::BINARY, &request(BINARY, 1, "echo", &[7; 100_000]));
    // Writes until the server has had enough: it would be for ever if it read on and on.
    while peer.try_write(&request).is_ok() {}
    bystander.is_served();
    let (_, before) = fixture.wait_for_disconnected();
    let begun = before.iter().filter(|event| matches!(event, Event::Started(_))).count();
    assert!(begun * 100_000 < IN_SOCKETS, "{begun} requests were handled for nobody");
}

#[test]
fn large_replies_are_composed_one_at_a_time() {
    let fixture = Fixture::with(|config| config.limits.stall_timeout = Duration::from_millis(300));
    let mut peer = Peer::connect(fixture.address());
    peer.send(&ask(0, "wait", "gate"));
    // Each is more than all sockets hold. They wait in the machine once the ping is answered.
    (1..20).for_each(|id| peer.send(&ask(id, "big", "50000000")));
    peer.write(&frame(peer::PING, b""));
    assert_eq!(peer.frame().map(|frame| frame.first), Some(peer::PONG));
    fixture.gates.open("gate");
    let (_, before) = fixture.wait_for_disconnected();
    let begun = before.iter().filter(|event| matches!(event, Event::Started(_))).count();
    assert!(begun <= 3, "{begun} replies of 50 MB were made for nobody");
}

#[test]
fn replies_of_handlers_that_ended_meanwhile_come_once_the_client_reads() {
    let fixture =
        Fixture::with(|config| config.connection.concurrency = NonZeroU16::new(3).unwrap());
    let mut peer = Peer::connect(fixture.address());
    let connection = fixture.connected();
    let gates = ["a", "b", "c"];
    (1..).zip(gates).for_each(|(id, gate)| peer.send(&ask(id, "wait", gate)));
    gates.iter().for_each(|_| drop(fixture.wait_for_start("wait")));
    let mut sent = 0;
    while let more @ 1.. = fill(&connection, 1_000_000) {
        sent += more / 1_000_000;
        std::thread::sleep(Duration::from_millis(10));
    }
    for gate in gates {
        fixture.gates.open(gate);
        while !matches!(fixture.event(), Event::Passed(passed) if passed == gate) {}
    }
    (0..sent).for_each(|_| assert_eq!(peer.message()[..6], signal(BINARY, "fill", b"")[..]));
    (1..).zip(gates).for_each(|(id, gate)| assert_eq!(peer.message(), answer(id, gate)));
    peer.is_served();
}

/// A reply that is as much as may wait is flushed before the handler of the next message ends.
#[test]
fn messages_after_a_large_reply_are_handled() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    let large = "x".repeat(300_000);
    for next in [ask(2, "echo", "a"), signal(UTF8, "back", b"a")] {
        peer.send(&ask(1, "wait", &large));
        peer.send(&next);
        peer.send(&ask(3, "echo", "b"));
        // They wait in the machine once the ping is answered.
        peer.write(&frame(peer::PING, b""));
        assert_eq!(peer.frame().map(|frame| frame.first), Some(peer::PONG));
        fixture.gates.open(&large);
        assert!(peer.message() == answer(1, &large));
        let answered = peer.message();
        assert!(answered == answer(2, "a") || answered == signal(UTF8, "back", b"a"));
        assert_eq!(peer.message(), answer(3, "b"));
    }
}

#[test]
fn pings_of_a_client_that_does_not_read_are_bounded_too() {
    let fixture = Fixture::with(|config| config.limits.stall_timeout = Duration::from_millis(300));
    let mut peer = Peer::connect(fixture.address());
    let pings = frame(peer::PING, &[7; 125]).repeat(1000);
    let mut sent = 0;
    while peer.try_write(&pings).is_ok() {
        sent += pings.len();
        assert!(sent < 8 * IN_SOCKETS, "the server goes on reading");
    }
    fixture.wait_for_disconnected();
}

#[test]
fn a_client_that_does_not_read_can_be_closed() {
    let fixture = Fixture::with(|config| config.limits.close_timeout = Duration::from_millis(20));
    let peer = Peer::connect(fixture.address());
    let connection = fixture.connected();
    while fill(&connection, 1_000_000) > 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    connection.close();
    fixture.wait_for_disconnected();
    drop(peer);
}

#[test]
fn a_session_can_be_created_for_a_client_that_does_not_read() {
    let fixture = Fixture::new();
    let peer = Peer::connect(fixture.address());
    let connection = fixture.connected();
    while fill(&connection, 1_000_000) > 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let created = smol::block_on(connection.create_session(wwr::SessionInfo::new()));
    assert_eq!(connection.session(), created.ok());
    let closed = smol::block_on(connection.close_session());
    assert_eq!(closed, Ok(true));
    drop(peer);
}

#[test]
fn a_shutdown_does_not_wait_for_a_client_that_does_not_read() {
    let fixture = Fixture::new();
    let peer = Peer::connect(fixture.address());
    let connection = fixture.connected();
    while fill(&connection, 1_000_000) > 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    smol::block_on(fixture.server.handle.shut_down(Duration::from_millis(20)));
    fixture.server.wait_for_end();
    until(|| fixture.server.handle.connection_count() == 0);
    drop(peer);
}

#[test]
fn a_slow_but_steady_reader_gets_everything() {
    let fixture = Fixture::with(|config| config.limits.max_signal_backlog = 300_000);
    let mut peer = Peer::connect(fixture.address());
    let connection = fixture.connected();
    let sender = std::thread::spawn(move || {
        for number in 0..3000_u32 {
            let payload = Payload::binary([&number.to_le_bytes()[..], &[7; 20_000]].concat());
            until(|| connection.signal("n", payload.clone()).is_ok());
        }
    });
    for number in 0..3000_u32 {
        assert_eq!(peer.message()[3..7], number.to_le_bytes());
    }
    sender.join().unwrap();
}
