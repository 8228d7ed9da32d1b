//! Every refusal leaves a line in the log, and its reason is that of the answer.

use std::time::{Duration, Instant};

use hyper::http::request::Parts;
use tracing::Level;
use wwr::server::{Protocol, RequestError};
use wwr::{Content, Payload};

use crate::adapter::runtime;
use crate::adapter::server::{
    Builder, Config, Connection, ConnectionOptions, Handler, Response, Server,
};
use crate::suite::support::app::App;
use crate::suite::support::log::{Line, logged};
use crate::suite::support::peer::{Peer, handshake};
use crate::suite::support::{configured, forever};

const SOON: Duration = Duration::from_millis(100);

fn server() -> Builder<App> {
    Server::builder_on(runtime(), App::new().0)
}

/// The lines that say this.
fn lines<'a>(log: &'a [Line], text: &str) -> Vec<&'a Line> {
    log.iter().filter(|line| line.text.contains(text)).collect()
}

/// Checks that there is one such line, at this level, and that it says that, too.
#[track_caller]
fn told(log: &[Line], reason: &str, level: Level, also: &[&str]) {
    let lines = lines(log, reason);
    assert_eq!(lines.len(), 1, "{reason}: {log:?}");
    assert_eq!(lines[0].level, level, "{lines:?}");
    for also in also {
        assert!(lines[0].text.contains(also), "{also}: {lines:?}");
    }
}

#[test]
fn each_reason_is_in_the_answer_and_in_the_log_and_hides_no_other() {
    let upgrade = |from: &str, to: &str| handshake("/", "").replacen(from, to, 1);
    let requests = [
        handshake("/", "Origin: http://evil.example\r\n"),
        upgrade("Host: localhost\r\n", ""),
        upgrade("Host: localhost", "Host: a\r\nHost: b"),
        upgrade("Host: localhost", "Host: a b"),
        upgrade("GET / ", "GET ftp://h/ "),
        handshake("/", "Content-Length: 5\r\n"),
        "GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        upgrade("Connection: Upgrade", "Connection: close"),
        upgrade("HTTP/1.1", "HTTP/1.0"),
        upgrade("GET", "POST"),
        upgrade("Version: 13", "Version: 8"),
        handshake("/", "Sec-WebSocket-Version: 13\r\n"),
        upgrade("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
        handshake("/", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
        upgrade("dGhlIHNhbXBsZSBub25jZQ==", "short"),
        "WEBWIRE /2.0 HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
    ];
    let mut reasons = Vec::new();
    let builder = server().config(configured(|config| {
        config.paths.insert("/2.0".into(), Protocol::V2_0);
    }));
    let log = logged(builder, |address| {
        for request in &requests {
            let answer = Peer::dial(address).http(request);
            let reason = answer.body().lines().next().unwrap().to_owned();
            reasons.push((reason, answer.status));
        }
    });
    for (reason, status) in &reasons {
        let found = lines(&log, reason);
        assert_eq!(found.len(), 1, "{reason}: {log:?}");
        assert!(found[0].text.starts_with(reason), "{found:?}");
        assert!(found[0].text.contains(&format!("status={status}")), "{found:?}");
        assert!(found[0].text.contains("remote=127.0.0.1:"), "{found:?}");
        assert!(found[0].text.contains("times=1"), "{found:?}");
    }
    let also = ["origin=http://evil.example", "host=localhost", "Config::origins"];
    told(&log, "Origin not allowed", Level::WARN, &also);
}

#[test]
fn a_flood_of_refusals_does_not_flood_the_log() {
    let start = Instant::now();
    let log = logged(server(), |address| {
        for _ in 0..100 {
            let refused = handshake("/", "Origin: http://evil.example\r\n");
            assert_eq!(Peer::dial(address).http(&refused).status, 403);
        }
        // Another reason is logged nevertheless.
        assert_eq!(Peer::dial(address).http("GET / HTTP/1.1\r\nHost: h\r\n\r\n").status, 426);
    });
    // One at once, and then one a second.
    let most = start.elapsed().as_secs() + 1;
    let origins = lines(&log, "Origin not allowed").len() as u64;
    assert!((1..=most).contains(&origins), "{origins} lines, at most {most}");
    told(&log, "This is a WebWire server", Level::INFO, &[]);
}

#[test]
fn the_log_shows_headers_shortened_and_on_one_line() {
    let log = logged(server(), |address| {
        let origin = format!("http://evil.example/\u{202e}\tx{}", "y".repeat(1000));
        let refused = handshake("/", &format!("Origin: {origin}\r\n"));
        assert_eq!(Peer::dial(address).http(&refused).status, 403);
    });
    told(&log, "Origin not allowed", Level::WARN, &["origin=http://evil.example/\\u{202e}\\tx"]);
    assert!(log.iter().all(|line| line.text.len() < 600 && !line.text.contains('\t')), "{log:?}");
}

#[test]
fn limits_that_refuse_are_named() {
    let limits = |config: &mut Config| {
        config.hub.max_connections = 1;
        config.limits.max_handshakes = 1;
        config.limits.max_header_size = 8192;
    };
    let log = logged(server().config(configured(limits)), |address| {
        let mut inside = Peer::connect(address);
        let answer = Peer::dial(address).http(&handshake("/", ""));
        assert_eq!(answer.status, 503);
        assert!(answer.body().starts_with("Too many connections\n"), "{}", answer.body());
        let mut long = Peer::dial(address);
        let _ = long.try_write(handshake("/", &format!("X: {}\r\n", "x".repeat(9000))).as_bytes());
        long.rest();
        let mut evicted = Peer::dial(address);
        assert_eq!(evicted.preflight("/").status, 200);
        assert_eq!(Peer::dial(address).preflight("/").status, 200);
        assert!(evicted.rest().is_empty());
        inside.is_served();
    });
    told(&log, "Too many connections", Level::WARN, &["status=503", "Config::hub.max_connections"]);
    told(&log, "too long", Level::WARN, &["status=431", "Config::limits.max_header_size"]);
    told(
        &log,
        "Too many sockets",
        Level::WARN,
        &["Config::limits.max_handshakes", "Config::trusted_proxies"],
    );
}

/// Decides about nothing, or against it.
struct Strict;

impl Handler for Strict {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }

    async fn before_upgrade(&self, request: &Parts) -> Result<ConnectionOptions, Box<Response>> {
        match request.uri.path() {
            "/never" => forever().await,
            _ => Err(Box::new(Response::new("no".to_owned().into()))),
        }
    }
}

#[test]
fn timeouts_of_requests_are_logged() {
    let limits = |config: &mut Config| {
        config.limits.header_timeout = SOON;
        config.limits.handshake_timeout = SOON * 5;
    };
    let log = logged(Server::builder_on(runtime(), Strict).config(configured(limits)), |address| {
        let mut half = Peer::dial(address);
        half.write(b"GET / HTTP/1.1\r\nHo");
        assert!(half.rest().is_empty());
        let mut never = Peer::dial(address);
        never.write(handshake("/never", "").as_bytes());
        assert!(never.rest().is_empty());
        // A socket that is kept for another request, which does not come, does not count as a
        // refusal.
        let mut kept = Peer::dial(address);
        assert_eq!(kept.preflight("/").status, 200);
        assert!(kept.rest().is_empty());
    });
    told(
        &log,
        "head of the request did not come in time",
        Level::INFO,
        &["Config::limits.header_timeout"],
    );
    told(
        &log,
        "No WebSocket was opened in time",
        Level::INFO,
        &["Config::limits.handshake_timeout"],
    );
}

#[test]
fn refusals_of_the_application_are_logged_for_debug() {
    let log = logged(Server::builder_on(runtime(), Strict), |address| {
        assert_eq!(Peer::dial(address).http(&handshake("/", "")).body(), "no");
        assert_eq!(Peer::dial(address).http("GET / HTTP/1.1\r\nHost: h\r\n\r\n").body(), "no");
    });
    // An ordinary request that it answers does not count as a refusal.
    told(&log, "The application refused", Level::DEBUG, &["remote=127.0.0.1:", "times=1"]);
}

#[test]
fn requests_other_than_http_are_logged() {
    let log = logged(server(), |address| {
        let mut peer = Peer::dial(address);
        peer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
        peer.rest();
    });
    told(&log, "The data is not an HTTP/1 request", Level::INFO, &["TLS"]);
}
