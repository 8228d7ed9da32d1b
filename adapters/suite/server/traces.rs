//! What `tracing` is told: a span for each connection, an event for each request.

use tracing::Level;

use crate::adapter::runtime;
use crate::adapter::server::{Server, ServerHandle};
use crate::suite::support::app::App;
use crate::suite::support::log::written;
use crate::suite::support::message::{INTERNAL, answer, ask, error, special};
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
    // The session is in the span from the moment on in which the client has it, as the log shows keys.
    let shown = format!("session={}…", &key[..8]);
    for (index, (span, _)) in requests.iter().enumerate() {
        assert_eq!(span.contains("session="), index >= 5, "{span}");
        assert_eq!(span.contains(&shown), index >= 5, "{span}");
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
