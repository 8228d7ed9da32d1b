//! What servers and connections count: exact numbers after what is known to have happened.

use std::cell::Cell;
use std::time::Duration;

use wwr::server::{Protocol, RequestError};
use wwr::{Content, Dialect, Payload};

use crate::adapter::runtime;
use crate::adapter::server::{
    ByDialect, Connection, Handler, Load, Refusal, RequestStats, Server, ServerStats, Traffic,
};
use crate::suite::support::message::{
    BINARY, HEARTBEAT, INTERNAL, SHUTDOWN, UTF8, answer, ask, empty_reply, error, reply, request,
    restore, signal, special,
};
use crate::suite::support::peer::{self, Peer, frame, handshake};
use crate::suite::support::{Fixture, Running, until};

/// The number of each dialect.
fn by_dialect(numbers: &ByDialect) -> [u64; 5] {
    use Dialect::{Unknown, V1_4, V1_5, V2_0, Wwr1};
    [V1_4, V1_5, V2_0, Wwr1, Unknown].map(|dialect| numbers.of(dialect))
}

/// The outcomes: replied, failed, internal, lost, refused.
fn outcomes(requests: &RequestStats) -> [u64; 5] {
    let RequestStats { replied, failed, internal, lost, refused, .. } = *requests;
    [replied, failed, internal, lost, refused]
}

/// A client that has agreed on `wwr.1`.
fn ours(fixture: &Fixture) -> Peer {
    let mut peer = Peer::dial(fixture.address());
    let offer = "Sec-WebSocket-Protocol: wwr.1\r\n";
    assert_eq!(peer.http(&handshake("/", offer)).status, 101);
    peer.message();
    peer
}

#[test]
fn a_known_conversation_counts_exactly_in_each_dialect() {
    for (protocol, dialect) in [
        (Protocol::V1_4, Dialect::V1_4),
        (Protocol::V1_5, Dialect::V1_5),
        (Protocol::V2_0, Dialect::V2_0),
        (Protocol::Any, Dialect::Wwr1),
    ] {
        let fixture = Fixture::with(|config| config.connection.protocol = protocol);
        let mut peer = match dialect {
            Dialect::Wwr1 => ours(&fixture),
            _ => {
                let mut peer = Peer::dial(fixture.address());
                peer.open("/", "");
                if protocol.sends_accept_conf() {
                    peer.message();
                }
                peer
            }
        };
        let connection = fixture.connected();
        let advertised = if protocol.sends_accept_conf() { 11 } else { 0 };
        until(|| connection.stats().traffic.bytes_sent == advertised);
        assert_eq!(connection.stats().dialect, dialect);

        let mut sent = 0;
        let mut received = advertised;
        for (message, answers) in [
            (ask(1, "echo", "hello"), vec![answer(1, "hello")]),
            (ask(2, "error", ""), vec![error(2, "CODE", "message")]),
            (ask(3, "fail", ""), vec![special(INTERNAL, 3)]),
            (ask(4, "panic", ""), vec![special(INTERNAL, 4)]),
            (
                ask(5, "signals", "2"),
                vec![signal(UTF8, "count", b"0"), signal(UTF8, "count", b"1"), empty_reply(5)],
            ),
            (signal(BINARY, "back", b"x"), vec![signal(BINARY, "back", b"x")]),
            (b"\x09nonsense".to_vec(), vec![]),
            (ask(6, "echo", ""), vec![answer(6, "")]),
        ] {
            peer.send(&message);
            sent += message.len() as u64;
            for expected in answers {
                assert_eq!(peer.message(), expected, "{protocol:?}");
                received += expected.len() as u64;
            }
        }
        let stats = connection.stats();
        let Traffic { requests, panics, .. } = stats.traffic;
        assert_eq!((requests.started, requests.running()), (6, 0), "{protocol:?}");
        assert_eq!(outcomes(&requests), [3, 1, 2, 0, 0], "{protocol:?}");
        assert_eq!(panics, 1);
        let Traffic { signals_received, signals_sent, signals_dropped, ignored, .. } =
            stats.traffic;
        assert_eq!((signals_received, signals_sent, signals_dropped, ignored), (1, 3, 0, 1));
        let Traffic { bytes_received, bytes_sent, stalls, .. } = stats.traffic;
        assert_eq!((bytes_received, bytes_sent, stalls), (sent, received, 0), "{protocol:?}");
        assert_eq!(stats.load, Load::default());
        assert!(stats.silent_for <= stats.age + Duration::from_secs(1), "{stats:?}");

        let of_server = fixture.server.handle.stats();
        assert_eq!(of_server.traffic, stats.traffic, "there is one connection");
        assert_eq!((of_server.open.of(dialect), of_server.opened()), (1, 1));

        // Totals stay after the end, and so do those of the connection.
        drop(peer);
        fixture.wait_for_disconnected();
        until(|| fixture.server.handle.stats().open.total() == 0);
        let after = fixture.server.handle.stats();
        assert_eq!((after.traffic, connection.stats().traffic), (stats.traffic, stats.traffic));
        assert_eq!((after.ended.of(dialect), after.opened()), (1, 1));
        assert_eq!((after.load, connection.stats().load), Default::default());
    }
}

#[test]
fn connections_count_by_what_their_clients_turn_out_to_speak() {
    let fixture = Fixture::new();
    let mut asked = Peer::connect(fixture.address());
    asked.is_served();
    let mut ours = ours(&fixture);
    ours.send(&ask(1, "echo", "x"));
    assert_eq!(ours.message(), answer(1, "x"));
    let handle = &fixture.server.handle;
    until(|| handle.stats().open.total() == 2);
    assert_eq!(by_dialect(&handle.stats().open), [1, 0, 0, 1, 0]);

    // One that connects from an address where a preflight came may still be any; the heartbeat tells.
    let fresh = Fixture::with(|config| config.connection.protocol = Protocol::V2_0);
    let mut newer = Peer::connect_unasked(fresh.address());
    newer.send(HEARTBEAT);
    newer.is_served();
    assert_eq!(by_dialect(&fresh.server.handle.stats().open), [0, 0, 1, 0, 0]);
    drop((asked, ours));
    until(|| handle.stats().ended.total() == 2);
    assert_eq!(by_dialect(&handle.stats().ended), [1, 0, 0, 1, 0]);
}

#[test]
fn requests_that_run_and_those_without_an_answer_are_told_apart() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    let connection = fixture.connected();
    peer.send(&ask(1, "wait", "gate"));
    fixture.wait_for_start("wait");
    until(|| connection.stats().traffic.requests.running() == 1);
    let stats = fixture.server.handle.stats();
    assert_eq!((stats.load.running_handlers, stats.traffic.requests.running()), (1, 1));

    // New requests are refused while it runs.
    connection.close();
    assert_eq!(peer.ask(2, "echo", "x"), special(SHUTDOWN, 2));
    assert_eq!(outcomes(&connection.stats().traffic.requests), [0, 0, 0, 0, 1]);
    drop(peer);
    until(|| connection.stats().traffic.requests.lost == 1);
    fixture.gates.open("gate");
    fixture.wait_for_disconnected();
    until(|| fixture.server.handle.stats().ended.total() == 1);
    let stats = fixture.server.handle.stats();
    assert_eq!(outcomes(&stats.traffic.requests), [0, 0, 0, 1, 1]);
    assert_eq!((stats.traffic.requests.started, stats.load), (1, Load::default()));
}

#[test]
fn sessions_and_calls_of_the_store_are_counted() {
    let fixture = Fixture::new();
    let handle = &fixture.server.handle;
    let mut ada = Peer::connect(fixture.address());
    let login = ada.ask(1, "login", "ada");
    let key = String::from_utf8(ada.message()[9..].to_vec()).unwrap();
    assert_eq!(login[0], 21, "the session comes before the reply");
    let stats = handle.stats();
    assert_eq!((stats.sessions.created, stats.active_sessions, stats.sessions.lost), (1, 1, 0));
    assert_eq!((stats.store.create.ended(), stats.store.create.done), (1, 1));

    // It is lost, and restored.
    drop(ada);
    until(|| handle.stats().sessions.lost == 1);
    assert_eq!(handle.stats().active_sessions, 0);
    let mut again = Peer::connect(fixture.address());
    again.send(&restore(2, &key));
    again.message();
    let mut guesses = Peer::connect(fixture.address());
    guesses.send(&restore(3, &"A".repeat(64)));
    guesses.message();
    let stats = handle.stats();
    assert_eq!((stats.sessions.restored, stats.sessions.not_found), (1, 1));
    assert_eq!((stats.store.look_up.done, stats.store.look_up.failed), (2, 0));
    assert_eq!((stats.active_sessions, stats.store_pending), (1, 0));

    again.send(&ask(4, "logout", ""));
    while again.message() != answer(4, "true") {}
    let stats = handle.stats();
    assert_eq!((stats.sessions.closed, stats.active_sessions, stats.sessions.lost), (1, 0, 1));
    assert_eq!(stats.store.destroy.done, 1);
    assert!(stats.store.look_up.total >= stats.store.look_up.longest);
}

#[test]
fn refusals_are_counted_by_reason() {
    let fixture = Fixture::with(|config| config.hub.max_connections = 1);
    for _ in 0..3 {
        assert_eq!(
            Peer::dial(fixture.address()).http("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status,
            426
        );
    }
    assert_eq!(Peer::dial(fixture.address()).http("GET / HTTP/1.1\r\n\r\n").status, 400);
    let _only = Peer::connect(fixture.address());
    assert_eq!(Peer::dial(fixture.address()).http(&handshake("/", "")).status, 503);
    let refusals = fixture.server.handle.stats().refusals;
    assert_eq!(refusals.of(Refusal::NoWebSocket), 3);
    assert_eq!(refusals.of(Refusal::NoHost), 1);
    assert_eq!(refusals.of(Refusal::TooManyConnections), 1);
    assert_eq!(refusals.total(), 5);
}

#[test]
fn a_client_that_does_not_read_is_a_stall_and_its_bytes_are_queued() {
    let fixture = Fixture::with(|config| config.limits.max_signal_backlog = 1 << 20);
    let mut peer = Peer::connect(fixture.address());
    let connection = fixture.connected();
    let payload = Payload::binary(vec![7; 100_000]);
    let sent = Cell::new(0);
    until(|| {
        while connection.signal("fill", payload.clone()).is_ok() {
            sent.set(sent.get() + 1);
        }
        connection.stats().traffic.stalls > 0
    });
    let queued = connection.stats().load.queued_bytes;
    assert!(queued > 0);
    let sent = sent.get();
    for _ in 0..sent {
        assert_eq!(peer.message().len(), 100_006);
    }
    peer.is_served();
    until(|| connection.stats().load.queued_bytes == 0);
    assert_eq!(connection.stats().traffic.signals_sent, sent);
    assert_eq!(fixture.server.handle.stats().traffic.signals_sent, sent);
}

/// Asks its own server and connection what they have counted.
struct Asks;

impl Handler for Asks {
    async fn request(&self, from: &Connection, _: Content) -> Result<Payload, RequestError> {
        let (own, all): (_, ServerStats) = (from.stats(), from.server().stats());
        let (own, all) = (own.traffic.requests, all.traffic.requests);
        Ok(Payload::utf8(format!("{} {}", own.replied, all.replied)))
    }
}

#[test]
fn a_handler_may_ask_and_sees_what_was_answered_before() {
    let server = Running::new(Server::builder_on(runtime(), Asks));
    let mut peer = Peer::connect(server.address);
    for number in 0..5 {
        assert_eq!(peer.ask(number, "n", ""), answer(number, &format!("{number} {number}")));
    }
    // All at once: the numbers are those of the last write.
    let all: Vec<u8> =
        (5..9).flat_map(|id| frame(peer::BINARY, &request(BINARY, id, "n", b"x"))).collect();
    peer.write(&all);
    for id in 5..9 {
        let told = peer.message();
        let shown = std::str::from_utf8(&told[9..]).unwrap();
        let number: u64 = shown.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(told, reply(UTF8, id, format!("{number} {number}").as_bytes()));
        assert!((5..=id).contains(&number), "{shown} at {id}");
    }
    assert_eq!(server.handle.stats().traffic.requests.replied, 9);
}

#[test]
fn numbers_never_go_back_while_clients_come_and_go() {
    let fixture = Fixture::new();
    let (address, handle) = (fixture.address(), fixture.server.handle.clone());
    let clients = 4;
    let rounds = 40;
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..clients)
            .map(|_| {
                scope.spawn(move || {
                    for _ in 0..rounds {
                        Peer::connect_unasked(address).is_served();
                    }
                })
            })
            .collect();
        let mut before = handle.stats();
        while !clients.iter().all(|client| client.is_finished()) {
            let now = handle.stats();
            assert!(now.opened() >= before.opened() && now.ended.total() >= before.ended.total());
            let (then, requests) = (before.traffic.requests, now.traffic.requests);
            assert!(requests.replied >= then.replied && requests.started >= then.started);
            assert!(now.traffic.bytes_sent >= before.traffic.bytes_sent);
            before = now;
        }
    });
    let total = clients * rounds;
    until(|| handle.stats().ended.total() == total);
    let stats = handle.stats();
    assert_eq!((stats.opened(), stats.open.total()), (total, 0));
    assert_eq!((stats.traffic.requests.replied, stats.traffic.requests.started), (total, total));
}
