//! Everything HTTP that opens no WebSocket (protocol §4.1, §4.2).

use std::time::Duration;

use hyper::header::{ACCESS_CONTROL_MAX_AGE, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use wwr::server::RequestError;
use wwr::{Content, Payload};
use wwr_smol::server::{Connection, Handler, Server};

use crate::support::message::ask;
use crate::support::peer::{BINARY, Peer, frame, handshake};
use crate::support::{Fixture, Running};

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
    assert_eq!(peer.http("webwire / HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 400);
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
fn what_is_no_handshake_is_refused() {
    let fixture = Fixture::new();
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nab".to_owned(), 400),
        (handshake("/", "").replacen("GET", "PUT", 1), 405),
        (handshake("/", "").replace("Version: 13", "Version: 8"), 400),
        (handshake("/", "").replace("Sec-WebSocket-Version: 13\r\n", ""), 400),
        (handshake("/", "").replace("dGhlIHNhbXBsZSBub25jZQ==", "short"), 400),
        (handshake("/", "").replace("Upgrade: websocket", "Upgrade: h2c"), 400),
        (handshake("/", "").replace("Connection: Upgrade", "Connection: close"), 400),
        (handshake("/", "").replace("HTTP/1.1", "HTTP/1.0"), 400),
    ] {
        let answer = Peer::dial(fixture.address()).http(&request);
        assert_eq!(answer.status, status, "{request}");
        assert_eq!(answer.header("sec-websocket-version"), Some("13"), "{request}");
        let body = if status == 400 { "Bad Request\n" } else { "Method Not Allowed\n" };
        assert_eq!(answer.body(), body, "{request}");
    }
    Peer::connect(fixture.address()).is_served();
}

#[test]
fn a_refused_head_has_no_body() {
    let fixture = Fixture::new();
    let mut peer = Peer::dial(fixture.address());
    peer.write(b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let rest = String::from_utf8(peer.rest()).unwrap().to_ascii_lowercase();
    assert!(rest.starts_with("http/1.1 400 "), "{rest}");
    assert!(rest.contains("\r\nsec-websocket-version: 13\r\n"), "{rest}");
    assert!(rest.ends_with("\r\n\r\n"), "{rest}");
}

#[test]
fn what_is_no_http_ends_the_socket_and_nothing_else() {
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

    fn options(&self, request: &Parts, headers: &mut HeaderMap) {
        if request.uri.path() == "/cached" {
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        }
    }

    async fn before_upgrade(
        &self,
        request: &Parts,
    ) -> Result<wwr_smol::server::ConnectionOptions, Box<wwr_smol::server::Response>> {
        match request.uri.path() {
            "/health" => {
                Err(Box::new(wwr_smol::server::Response::new("healthy".to_owned().into())))
            }
            "/private" => {
                let mut answer = wwr_smol::server::Response::new("log in\n".to_owned().into());
                *answer.status_mut() = hyper::StatusCode::UNAUTHORIZED;
                answer.headers_mut().insert("www-authenticate", HeaderValue::from_static("Basic"));
                Err(Box::new(answer))
            }
            _ => Ok(wwr_smol::server::ConnectionOptions::default()),
        }
    }
}

#[test]
fn an_application_decides_what_browsers_may_do() {
    let server = Running::with_threads(Server::builder(Site), 1);
    let mut peer = Peer::dial(server.address);
    let answer = peer.http("OPTIONS /cached HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((answer.status, answer.header("access-control-max-age")), (200, Some("600")));
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let answer = peer.http("OPTIONS / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((answer.status, answer.header("access-control-max-age")), (200, None));
}

#[test]
fn an_application_answers_ordinary_requests_and_turns_clients_away() {
    let server = Running::with_threads(Server::builder(Site), 1);
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
    assert_eq!(answer.status, 400, "the usual refusal for what the application leaves alone");
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
    peer.announced();
    assert_eq!(peer.message(), crate::support::message::answer(1, "x"));
}
