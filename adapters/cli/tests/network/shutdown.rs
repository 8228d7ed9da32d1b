//! How signals end the server.

use rustix::process::Signal;

use crate::support::{Running, Server};

/// A server, and a request to it that is in its handler.
fn with_slow_request(milliseconds: &str) -> (Server, Running) {
    let mut server = Server::start(&["--log", "debug"]);
    let url = server.url();
    let request = Running::start(&["request", "--timeout", "2m", &url, "sleep", milliseconds]);
    server.running.wait_for_log("sleep begins");
    (server, request)
}

#[test]
fn the_first_signal_lets_requests_finish() {
    for signal in [Signal::TERM, Signal::INT] {
        let (mut server, request) = with_slow_request("1000");
        server.running.signal(signal);
        server.running.wait_for_log("shutting down");
        // Refused with 503, or the listener is closed.
        assert_eq!(server.request(&["echo", "too late"]).code, Some(3));
        let reply = request.finish();
        assert_eq!((reply.code, reply.text(), reply.stderr.as_str()), (Some(0), "1000", ""));
        assert_eq!(server.running.finish().code, Some(0));
    }
}

#[test]
fn the_second_signal_ends_at_once() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let (mut server, request) = with_slow_request("60000");
        server.running.signal(Signal::TERM);
        server.running.wait_for_log("shutting down");
        server.running.signal(signal);
        assert_eq!(server.running.finish().code, Some(code));
        let lost = request.finish();
        assert_eq!(lost.code, Some(3), "{}", lost.stderr);
    }
}

#[test]
fn a_shutdown_has_a_deadline() {
    let mut server = Server::start(&["--log", "debug", "--shutdown-timeout", "50ms"]);
    let request = Running::start(&["request", "--timeout", "2m", &server.url(), "sleep", "60000"]);
    server.running.wait_for_log("sleep begins");
    server.running.signal(Signal::TERM);
    assert_eq!(server.running.finish().code, Some(0));
    assert_eq!(request.finish().code, Some(3));
}

#[test]
fn idle_clients_are_sent_away_at_once_if_that_is_wanted() {
    let mut server = Server::start(&["--log", "debug", "--close-idle"]);
    let url = server.url();
    let mut idle = Running::start(&["listen", &url]);
    idle.line_with("connected");
    let request = Running::start(&["request", "--timeout", "2m", &url, "sleep", "60000"]);
    server.running.wait_for_log("sleep begins");
    server.running.signal(Signal::TERM);
    idle.line_with("1001");
    server.running.signal(Signal::TERM);
    server.running.finish();
    request.finish();
    idle.signal(Signal::INT);
    idle.finish();
}

#[test]
fn a_server_without_clients_ends_at_once() {
    let server = Server::start(&["--shutdown-timeout", "1h"]);
    server.running.signal(Signal::TERM);
    assert_eq!(server.running.finish().code, Some(0));
}
