//! What `tracing` is told: a span for each connection, an event for each request.

use tracing::Level;

use crate::adapter::runtime;
use crate::adapter::server::{Server, ServerHandle};
use crate::suite::support::app::App;
use crate::suite::support::log::written;
use crate::suite::support::message::{
    INTERNAL, SESSION_CLOSED, answer, ask, close_session, empty_reply, error, restore, special,
};
use crate::suite::support::peer::Peer;
use crate::suite::support::until;

/// What a line says of a request: the fields of its span, and its own.
fn request(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once("connection{")?;
    let (span, event) = rest.split_once("}: wwr_async::request: request ")?;
    Some((span, event))
}

#[test]
fn each_request_is_an_event_in_the_span_of_its_connection() {
    let (app, events, gates) = App::new();
    let mut key = String::new();
    let client = |address, handle: ServerHandle| {
        let mut peer = Peer::connect(address);
        assert_eq!(peer.ask(1, "echo", "payload"), answer(1, "payload"));
        assert_eq!(peer.ask(2, "error", ""), error(2, "CODE", "message"));
        assert_eq!(peer.ask(3, "fail", ""), special(INTERNAL, 3));
        assert_eq!(peer.ask(4, "panic", ""), special(INTERNAL, 4));
        gates.open("gate");
        assert_eq!(peer.ask(5, "wait", "gate"), answer(5, "gate"));
        peer.ask(6, "login", "ada");
        key = String::from_utf8(peer.message()[9..].to_vec()).unwrap();
        assert_eq!(peer.ask(7, "echo", "later"), answer(7, "later"));
        peer.send(&ask(8, "wait", "never"));
        until(|| handle.stats().traffic.requests.running() == 1);
        drop(peer);
        until(|| handle.stats().traffic.requests.lost == 1);
    };
    let lines = written(Level::DEBUG, Server::builder_on(runtime(), app), client);
    drop(events);
    let requests: Vec<_> = lines.iter().filter_map(|line| request(line)).collect();
    let outcomes = [
        ("echo", "outcome=\"replied\""),
        ("error", "outcome=\"failed\" code=CODE"),
        ("fail", "outcome=\"internal\""),
        ("panic", "outcome=\"panicked\""),
        ("wait", "outcome=\"replied\""),
        ("login", "outcome=\"replied\""),
        ("echo", "outcome=\"replied\""),
        ("wait", "outcome=\"lost\""),
    ];
    assert_eq!(requests.len(), outcomes.len(), "{lines:#?}");
    for ((span, event), (name, outcome)) in requests.iter().zip(outcomes) {
        let expected = format!("name={name} {outcome} elapsed=");
        assert!(event.starts_with(&expected), "{event:?} is not {expected:?}");
        assert!(span.contains("id=") && span.contains("peer=127.0.0.1:"), "{span}");
        assert!(span.contains("dialect=1.4"), "{span}");
    }
    // What begins when the connection has a session is in its span, as the log shows keys.
    let shown = format!(":session{{key={}…", &key[..8]);
    for (index, (span, _)) in requests.iter().enumerate() {
        assert_eq!(span.contains("session{"), index > 5, "{span}");
        assert_eq!(span.ends_with(&shown), index > 5, "{span}");
    }
    // Neither keys nor payloads are told, nor what handlers say to clients.
    for secret in [key.as_str(), "payload", "message"] {
        assert!(
            !requests
                .iter()
                .any(|(span, event)| (*span).contains(secret) || event.contains(secret))
        );
    }
}

/// Subscribers append what is recorded in a span to what they have of it.
#[test]
fn sessions_that_come_and_go_leave_nothing_in_the_span_of_their_connection() {
    const TIMES: u64 = 20;
    let (app, events, _) = App::new();
    let client = |address, _| {
        let mut keeper = Peer::connect(address);
        keeper.ask(1, "login", "ada");
        let key = String::from_utf8(keeper.message()[9..].to_vec()).unwrap();
        let mut peer = Peer::connect(address);
        for id in (1..=TIMES).map(|time| 10 * time) {
            peer.send(&restore(id, &key));
            peer.message();
            assert_eq!(peer.ask(id + 1, "echo", "with"), answer(id + 1, "with"));
            peer.send(&close_session(id + 2));
            assert_eq!(
                (peer.message(), peer.message()),
                (SESSION_CLOSED.into(), empty_reply(id + 2))
            );
            assert_eq!(peer.ask(id + 3, "echo", "without"), answer(id + 3, "without"));
        }
    };
    let lines = written(Level::DEBUG, Server::builder_on(runtime(), app), client);
    drop(events);
    let requests = lines.iter().filter_map(|line| request(line));
    let echoes: Vec<_> = requests.filter(|(_, event)| event.starts_with("name=echo")).collect();
    assert_eq!(echoes.len() as u64, 2 * TIMES);
    let [(with, _), (without, _)] = echoes[..2] else { panic!("{echoes:?}") };
    assert!(with.starts_with(&format!("{without}}}:session{{key=")), "{with}, {without}");
    for echoes in echoes.chunks(2) {
        assert_eq!([echoes[0].0, echoes[1].0], [with, without]);
    }
}

#[test]
fn a_reply_that_the_client_cannot_read_is_no_reply() {
    let (app, events, _) = App::new();
    let client = |address, _| {
        let mut peer = Peer::connect_unasked(address);
        assert_eq!(peer.ask(1, "big", "10000"), special(INTERNAL, 1));
        assert_eq!(peer.ask(2, "echo", "x"), answer(2, "x"));
    };
    let lines = written(Level::DEBUG, Server::builder_on(runtime(), app), client);
    drop(events);
    let requests = lines.iter().filter_map(|line| request(line));
    let outcomes: Vec<_> =
        requests.map(|(_, event)| event.split(" elapsed=").next().unwrap()).collect();
    assert_eq!(
        outcomes,
        ["name=big outcome=\"too_large\"", "name=echo outcome=\"replied\""],
        "{lines:#?}"
    );
}

#[test]
fn at_other_levels_there_are_neither_spans_nor_events() {
    let (app, _events, _) = App::new();
    let lines = written(Level::INFO, Server::builder_on(runtime(), app), |address, _| {
        let mut peer = Peer::connect(address);
        peer.is_served();
        // This line names its connection by itself.
        assert_eq!(peer.ask(1, "panic", ""), special(INTERNAL, 1));
    });
    assert!(!lines.iter().any(|line| line.contains("connection{") || request(line).is_some()));
    let named =
        lines.iter().filter(|line| line.contains("panicked") && line.contains("connection="));
    assert_eq!(named.count(), 1, "{lines:#?}");
}
