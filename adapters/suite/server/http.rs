//! Everything HTTP that opens no WebSocket (protocol §4.1, §4.2).

use std::time::Duration;

use hyper::header::{ACCESS_CONTROL_MAX_AGE, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use wwr::server::RequestError;
use wwr::{Content, Payload};

use crate::adapter::runtime;
use crate::adapter::server::{Connection, Handler, Server};
use crate::suite::support::message::ask;
use crate::suite::support::peer::{BINARY, Peer, frame, handshake};
use crate::suite::support::{Fixture, Running};

#[test]
fn the_preflight_is_answered_on_any_path() {
    let fixture = Fixture::new();
    let mut peer = Peer::dial(fixture.address());
    for target in ["/", "/deep/path", "/?a=b&c", "*"] {
        let answer = peer.http(&format!("WEBWIRE {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!(answer.status, 200, "{target}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.header("content-length"), Some("27"));
        assert_eq!(answer.body(), "{\"protocol-version\":\"1.4\"}\n");
    }
}

#[test]
fn the_preflight_is_answered_as_clients_of_the_field_ask_for_it() {
    let fixture = Fixture::new();
    for headers in [
        "Accept-Encoding: gzip\r\nUser-Agent: Go-http-client/1.1\r\n",
        "Connection: keep-alive\r\nContent-Length: 0\r\n",
        "Origin: http://elsewhere.example\r\n",
    ] {
        let mut peer = Peer::dial(fixture.address());
        let answer = peer.http(&format!("WEBWIRE / HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"));
        assert_eq!((answer.status, answer.body.len()), (200, 27), "{headers}");
    }
}

#[test]
fn the_method_of_the_preflight_is_in_upper_case() {
    let fixture = Fixture::new();
    let mut peer = Peer::dial(fixture.address());
    assert_eq!(peer.http("webwire / HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 405);
}

#[test]
fn browsers_may_send_the_preflight_from_anywhere() {
    let fixture = Fixture::new();
    let mut peer = Peer::dial(fixture.address());
    let answer = peer.http(
        "OPTIONS / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://elsewhere.example\r\n\
         Access-Control-Request-Method: WEBWIRE\r\n\r\n",
    );
    assert_eq!((answer.status, answer.body()), (200, ""));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("WEBWIRE"));
}

#[test]
fn other_requests_get_an_explanation() {
    let fixture = Fixture::new();
    for (request, status, reason) in [
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 426, "This is a WebWire server"),
        (handshake("/", "").replace("Version: 13", "Version: 8"), 426, "is not 13"),
        (handshake("/", "").replace("Version: 13", "Version: 8, 13"), 426, "is not 13"),
        (handshake("/", "").replace("Version: 13", "Version: 013"), 426, "is not 13"),
        (handshake("/", "").replace("Sec-WebSocket-Version: 13\r\n", ""), 426, "is not 13"),
        (handshake("/", "").replace("Upgrade: websocket", "Upgrade: h2c"), 426, "WebWire server"),
        (handshake("/", "").replace("Connection: Upgrade", "Connection: close"), 426, "Connection"),
        (handshake("/", "").replace("HTTP/1.1", "HTTP/1.0"), 426, "HTTP/1.0"),
        (handshake("/", "").replacen("GET", "PUT", 1), 405, "Method not allowed"),
        ("POST / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 405, "Method not allowed"),
        ("BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 405, "Method not allowed"),
        ("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n".to_owned(), 405, "Method not allowed"),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab".to_owned(), 400, "a body"),
    ] {
        let answer = Peer::dial(fixture.address()).http(&request);
        assert_eq!(answer.status, status, "{request}");
        assert_eq!(answer.header("sec-websocket-version"), Some("13"), "{request}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        let upgrade = (status == 426).then_some("websocket");
        assert_eq!(answer.header("upgrade"), upgrade, "{request}");
        if status == 426 {
            let connection = answer.header("connection").unwrap_or_default();
            assert!(connection.split(", ").any(|token| token == "Upgrade"), "{request}{answer:?}");
        }
        let allow = (status == 405).then_some("GET, OPTIONS, WEBWIRE");
        assert_eq!(answer.header("allow"), allow, "{request}");
        let (first, rest) = answer.body().split_once('\n').unwrap();
        assert!(first.contains(reason), "{first}");
        assert!(rest.contains("wwr request ws://"), "{rest}");
    }
    let answer = Peer::dial(fixture.address()).http("GET / HTTP/1.1\r\nHost: example:7\r\n\r\n");
    assert!(answer.body().contains("wwr request ws://example:7/ "), "{}", answer.body());
    Peer::connect(fixture.address()).is_served();
}

#[test]
fn a_server_without_preflight_does_not_allow_it() {
    let fixture = Fixture::with(|config| config.connection.protocol = wwr::server::Protocol::V2_0);
    let mut peer = Peer::dial(fixture.address());
    let answer = peer.http("WEBWIRE / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((answer.status, answer.header("sec-websocket-version")), (400, Some("13")));
    assert!(answer.body().starts_with("This server speaks WebWire 2.0 only"), "{}", answer.body());
    let answer = peer.http("POST / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, OPTIONS")));
}

#[test]
fn a_refused_head_has_no_body() {
    let fixture = Fixture::new();
    let mut peer = Peer::dial(fixture.address());
    peer.write(b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let rest = String::from_utf8(peer.rest()).unwrap().to_ascii_lowercase();
    assert!(rest.starts_with("http/1.1 426 "), "{rest}");
    assert!(rest.contains("\r\nsec-websocket-version: 13\r\n"), "{rest}");
    assert!(rest.ends_with("\r\n\r\n"), "{rest}");
}

#[test]
fn input_other_than_http_ends_only_its_socket() {
    let fixture = Fixture::new();
    for bytes in [&b"\x16\x03\x01\x02\x00\x01"[..], b"\r\n\r\nGARBAGE\r\n\r\n", &[0xff; 300]] {
        let mut peer = Peer::dial(fixture.address());
        peer.write(bytes);
        let rest = peer.rest();
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400 "), "{rest:?}");
    }
    Peer::connect(fixture.address()).is_served();
}

#[test]
fn everything_gets_503_while_the_server_shuts_down() {
    let fixture = Fixture::new();
    let mut busy = Peer::connect(fixture.address());
    busy.send(&ask(1, "wait", "gate"));
    fixture.wait_for_start("wait");
    let mut early = Peer::dial(fixture.address());
    assert_eq!(early.http("WEBWIRE / HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);

    let done = fixture.server.begin_shut_down(Duration::MAX);
    for method in ["WEBWIRE", "OPTIONS", "GET", "POST", "DELETE"] {
        let request = format!("{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = Peer::dial(fixture.address()).http(&request);
        assert_eq!((answer.status, answer.body()), (503, "Server shutting down\n"), "{method}");
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    }
    let answer = Peer::dial(fixture.address()).http(&handshake("/", ""));
    assert_eq!(answer.status, 503);
    assert_eq!(early.http("WEBWIRE / HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 503);
    assert!(early.rest().is_empty(), "a connection that is kept alive is closed as well");

    fixture.gates.open("gate");
    busy.message();
    busy.closed_with(1001);
    done.recv().unwrap();
}

/// Puts headers of its own into the answer to `OPTIONS`, and answers ordinary requests.
struct Site;

impl Handler for Site {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }

    async fn options(&self, request: &Parts, headers: &mut HeaderMap) {
        if request.uri.path() == "/cached" {
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        }
    }

    async fn before_upgrade(
        &self,
        request: &Parts,
    ) -> Result<crate::adapter::server::ConnectionOptions, Box<crate::adapter::server::Response>>
    {
        match request.uri.path() {
            "/health" => {
                Err(Box::new(crate::adapter::server::Response::new("healthy".to_owned().into())))
            }
            "/private" => {
                let mut answer =
                    crate::adapter::server::Response::new("log in\n".to_owned().into());
                *answer.status_mut() = hyper::StatusCode::UNAUTHORIZED;
                answer.headers_mut().insert("www-authenticate", HeaderValue::from_static("Basic"));
                Err(Box::new(answer))
            }
            _ => Ok(crate::adapter::server::ConnectionOptions::default()),
        }
    }
}

#[test]
fn an_application_decides_what_browsers_may_do() {
    let server = Running::new(Server::builder_on(runtime(), Site));
    let mut peer = Peer::dial(server.address);
    let answer = peer.http("OPTIONS /cached HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((answer.status, answer.header("access-control-max-age")), (200, Some("600")));
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let answer = peer.http("OPTIONS / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((answer.status, answer.header("access-control-max-age")), (200, None));
}

#[test]
fn an_application_answers_ordinary_requests_and_turns_clients_away() {
    let server = Running::new(Server::builder_on(runtime(), Site));
    let mut peer = Peer::dial(server.address);
    let answer = peer.http("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((answer.status, answer.body()), (200, "healthy"));
    let answer = peer.http("POST /health HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab");
    assert_eq!((answer.status, answer.body()), (200, "healthy"));

    let answer = Peer::dial(server.address).http(&handshake("/private", ""));
    assert_eq!((answer.status, answer.body()), (401, "log in\n"));
    assert_eq!(answer.header("www-authenticate"), Some("Basic"));
    assert_eq!(server.handle.connection_count(), 0);

    let answer = Peer::dial(server.address).http("GET /other HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(answer.status, 426, "the usual refusal for what the application leaves alone");
    let answer = peer.http("WEBWIRE /private HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(answer.status, 200, "the preflight is not the application's");
    let mut open = Peer::dial(server.address);
    open.upgrade("/open", "");
    open.is_served();
}

#[test]
fn a_body_does_not_get_in_the_way_of_the_next_request() {
    let fixture = Fixture::new();
    let mut peer = Peer::dial(fixture.address());
    let both = "WEBWIRE / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello\
                OPTIONS / HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(peer.http(both).body.len(), 27);
    assert_eq!(peer.http_answer().header("access-control-allow-methods"), Some("WEBWIRE"));
    let mut early = handshake("/", "").into_bytes();
    early.extend(frame(BINARY, &ask(1, "echo", "x")));
    peer.write(&early);
    assert_eq!(peer.http_answer().status, 101, "the same socket may become a WebSocket");
    peer.advertised();
    assert_eq!(peer.message(), crate::suite::support::message::answer(1, "x"));
}
