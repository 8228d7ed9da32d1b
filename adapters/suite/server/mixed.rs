//! Clients of different versions behind one address (protocol §7.2).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wwr::Dialect;

use crate::suite::support::Fixture;
use crate::suite::support::message::{BINARY, INTERNAL, PROTOCOL, UTF8, reply, request, special};
use crate::suite::support::message::{HEARTBEAT, answer};
use crate::suite::support::peer::Peer;

/// The size of the message buffer that is advertised.
const BUFFER: usize = 8192;

fn large() -> Vec<u8> {
    request(UTF8, 1, "echo", &vec![b'x'; 20_000])
}

fn large_reply() -> Vec<u8> {
    reply(UTF8, 1, &vec![b'x'; 20_000])
}

/// A request that cannot be parsed.
fn malformed() -> Vec<u8> {
    [&[BINARY][..], &7_u64.to_be_bytes(), &[2, b'a']].concat()
}

/// A client of 2.0, as the reference has it: waits for accept-conf, then asks for too much. It is
/// never sent what would end it.
fn newer_lives(address: SocketAddr) {
    let mut newer = Peer::connect_unasked(address);
    newer.send(&large());
    let answer = newer.message();
    assert!(answer.len() <= BUFFER, "{} bytes end a client of 2.0", answer.len());
    assert_eq!(answer, special(INTERNAL, 1));
    newer.send(&malformed());
    assert_eq!(newer.message(), special(INTERNAL, 7), "type 6 ends a client of 2.0");
    newer.is_served();
}

/// A client of 1.4, as the reference has it: asks, connects, speaks. It gets all.
fn older_is_served(address: SocketAddr) {
    let mut older = Peer::connect_speaking(address, &large());
    assert!(older.message() == large_reply());
    older.send(&malformed());
    assert_eq!(older.message(), special(PROTOCOL, 7));
    older.is_served();
}

#[test]
fn after_a_health_check_no_client_is_taken_for_1_4() {
    for head in ["Connection: close\r\n", ""] {
        let fixture = Fixture::new();
        let check = format!("WEBWIRE / HTTP/1.1\r\nHost: localhost\r\n{head}\r\n");
        let checked = |times| {
            for _ in 0..times {
                assert_eq!(Peer::dial(fixture.address()).http(&check).status, 200);
            }
        };
        // Only its header distinguishes the first one from a client, or by what else comes.
        checked(if head.is_empty() { 2 } else { 1 });
        newer_lives(fixture.address());
        checked(1);
        newer_lives(fixture.address());
        older_is_served(fixture.address());
        newer_lives(fixture.address());
    }
}

#[test]
fn at_an_address_of_both_kinds_only_clients_that_speak_first_are_of_1_4() {
    let fixture = Fixture::new();
    newer_lives(fixture.address());
    older_is_served(fixture.address());
    for _ in 0..3 {
        Peer::dial(fixture.address()).preflight("/");
        newer_lives(fixture.address());
    }
    older_is_served(fixture.address());
    // It asks, and says nothing at first: it may be anything.
    let mut silent = Peer::connect(fixture.address());
    silent.send(&large());
    assert_eq!(silent.message(), special(INTERNAL, 1));
}

#[test]
fn a_client_that_was_presumed_to_be_of_1_4_and_sends_heartbeats_is_a_warning() {
    let fixture = Fixture::new();
    let mut presumed = Peer::connect(fixture.address());
    let connection = fixture.connected();
    assert_eq!(connection.dialect(), Dialect::V1_4);
    presumed.send(HEARTBEAT);
    crate::suite::support::until(|| connection.dialect() == Dialect::V2_0);
    // This preflight may belong to any client.
    let mut next = Peer::connect(fixture.address());
    assert_eq!(fixture.connected().dialect(), Dialect::Unknown);
    next.is_served();
}

#[test]
fn a_silent_client_soon_gets_the_advertised_settings() {
    let fixture = Fixture::new();
    Peer::dial(fixture.address()).preflight("/");
    let start = Instant::now();
    let mut peer = Peer::connect_unasked(fixture.address());
    assert!(start.elapsed() < Duration::from_secs(5), "clients of 2.0 wait no longer");
    assert_eq!(peer.ask(1, "echo", "x"), answer(1, "x"));
}

#[test]
fn a_client_that_goes_while_it_is_waited_for_gets_its_answer() {
    let fixture = Fixture::new();
    Peer::dial(fixture.address()).preflight("/");
    let mut peer = Peer::dial(fixture.address());
    peer.open("/", "");
    let close = crate::suite::support::peer::frame(crate::suite::support::peer::CLOSE, &[3, 232]);
    peer.write(&close);
    peer.closed_with(1000);
    fixture.connected();
    fixture.wait_for_disconnected();
}

#[test]
fn of_2000_connections_of_both_kinds_from_one_address_all_survive() {
    const EACH: usize = 1000;
    const TASKS: usize = 10;
    let fixture = Fixture::new();
    let address = fixture.address();
    let (done, older, newer) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let count = |kind: &AtomicUsize, visit: fn(SocketAddr)| {
        while kind.fetch_add(1, Ordering::Relaxed) < EACH {
            visit(address);
        }
    };
    thread::scope(|scope| {
        let checks = scope.spawn(|| {
            // Health checks beside them.
            while !done.load(Ordering::Relaxed) {
                Peer::dial(address).preflight("/");
                thread::sleep(Duration::from_millis(20));
            }
        });
        let mut visitors = Vec::new();
        for _ in 0..TASKS {
            visitors.push(scope.spawn(|| count(&older, older_is_served)));
            visitors.push(scope.spawn(|| count(&newer, newer_lives)));
        }
        let visited: Vec<_> = visitors.into_iter().map(|visitor| visitor.join()).collect();
        done.store(true, Ordering::Relaxed);
        checks.join().unwrap();
        assert!(visited.iter().all(Result::is_ok));
    });
}
