//! Heads of requests that mean harm, or nothing (RFC 9112, RFC 6455).

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use hyper::http::request::Parts;
use wwr::server::RequestError;
use wwr::{Content, Payload};

use crate::adapter::runtime;
use crate::adapter::server::{
    Config, Connection, ConnectionOptions, Handler, RequestBody, Response, Server,
};
use crate::suite::support::message::{answer, ask};
use crate::suite::support::peer::{Answer, BINARY, Peer, frame, handshake};
use crate::suite::support::{Fixture, Running, SAFETY, configured, forever};

/// The answer to a request on a socket of its own.
fn asked(fixture: &Fixture, request: &str) -> Answer {
    Peer::dial(fixture.address()).http(request)
}

/// Checks that a refusal ends the socket, and says so.
#[track_caller]
fn refused_for_good(fixture: &Fixture, request: &str) {
    let mut peer = Peer::dial(fixture.address());
    let answer = peer.http(request);
    assert_eq!(answer.status, 400, "{request}");
    assert_eq!(answer.header("connection"), Some("close"), "{request}");
    assert!(peer.rest().is_empty(), "{request}");
}

#[test]
fn a_handshake_with_any_kind_of_body_is_refused() {
    let fixture = Fixture::new();
    // What a body would be taken for.
    let request = frame(BINARY, &ask(1, "echo", "from the body"));
    let length = format!("Content-Length: {}\r\n", request.len());
    for headers in
        [&length, "Transfer-Encoding: chunked\r\n", "Transfer-Encoding: gzip, chunked\r\n"]
    {
        for at_once in [true, false] {
            let mut peer = Peer::dial(fixture.address());
            let head = handshake("/", headers).into_bytes();
            if at_once {
                peer.write(&[&head[..], &request].concat());
            } else {
                peer.write(&head);
            }
            let answer = peer.http_answer();
            assert_eq!(answer.status, 400, "{headers}");
            assert_eq!(answer.header("connection"), Some("close"), "{headers}");
            assert!(answer.body().starts_with("The request has a body\n"), "{headers}");
            if !at_once {
                // Fails once the server has closed.
                let _ = peer.try_write(&request);
            }
            assert!(peer.rest().is_empty(), "{headers}: nothing of the body is served");
        }
    }
    assert_eq!(fixture.server.handle.connection_count(), 0);
}

#[test]
fn a_handshake_with_an_empty_body_is_accepted() {
    let fixture = Fixture::new();
    for headers in [
        "Content-Length: 0\r\n",
        "Content-Length: 0\r\nContent-Length: 0\r\n",
        "Expect: 100-continue\r\n",
        "Content-Length: 0\r\nExpect: 100-continue\r\n",
    ] {
        let mut peer = Peer::dial(fixture.address());
        peer.upgrade("/", headers);
        peer.is_served();
    }
}

#[test]
fn no_100_continue_is_sent_for_a_body_that_is_refused() {
    let fixture = Fixture::new();
    for headers in [
        "Content-Length: 5\r\nExpect: 100-continue\r\n",
        "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n",
    ] {
        // The first answer is the last: no 100 comes before it.
        refused_for_good(&fixture, &handshake("/", headers));
        let post = format!("POST / HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
        refused_for_good(&fixture, &post);
    }
}

#[test]
fn lengths_that_contradict_each_other_are_refused() {
    let fixture = Fixture::new();
    for headers in [
        "Content-Length: 0\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: five\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 99999999999999999999999\r\n",
    ] {
        for request in
            [handshake("/", headers), format!("WEBWIRE / HTTP/1.1\r\nHost: h\r\n{headers}\r\n")]
        {
            let mut peer = Peer::dial(fixture.address());
            peer.write(request.as_bytes());
            let rest = String::from_utf8(peer.rest()).unwrap();
            assert!(rest.starts_with("HTTP/1.1 400 "), "{request}{rest}");
        }
    }
}

#[test]
fn a_refusal_behind_an_unread_body_says_that_it_is_the_last() {
    let fixture = Fixture::new();
    for body in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "webwire"] {
            refused_for_good(&fixture, &format!("{method} / HTTP/1.1\r\nHost: h\r\n{body}\r\n"));
        }
        let put = handshake("/", body).replacen("GET", "PUT", 1);
        let answer = asked(&fixture, &put);
        assert_eq!((answer.status, answer.header("connection")), (405, Some("close")));
        let page = handshake("/", &format!("Origin: http://evil.example\r\n{body}"));
        let answer = asked(&fixture, &page);
        assert_eq!((answer.status, answer.header("connection")), (403, Some("close")));
    }
}

/// Answers what is under `/site` by itself.
struct Site;

impl Handler for Site {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }

    async fn before_upgrade(&self, request: &Parts) -> Result<ConnectionOptions, Box<Response>> {
        match request.uri.path() {
            "/site" => Err(Box::new(Response::new("healthy".to_owned().into()))),
            "/broken" => panic!("before the upgrade"),
            _ => Ok(ConnectionOptions::default()),
        }
    }
}

#[test]
fn any_answer_before_an_unread_body_says_that_it_is_the_last() {
    let server = Running::new(Server::builder_on(runtime(), Site));
    for (line, status) in [
        ("WEBWIRE /", 200),
        ("OPTIONS /", 200),
        ("OPTIONS *", 200),
        ("GET /site", 200),
        ("POST /site", 200),
        ("GET /broken", 500),
    ] {
        for body in [
            // It has not come, or not all of it.
            "Content-Length: 5\r\n\r\n",
            "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n",
            "Content-Length: 5\r\n\r\nhe",
            "Content-Length: 500000\r\n\r\nhe",
            "Transfer-Encoding: chunked\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        ] {
            let mut peer = Peer::dial(server.address);
            let request = format!("{line} HTTP/1.1\r\nHost: h\r\n{body}");
            let answer = peer.http(&request);
            let said = (answer.status, answer.header("connection"));
            assert_eq!(said, (status, Some("close")), "{request}");
            assert!(peer.rest().is_empty(), "{request}");
        }
        let mut peer = Peer::dial(server.address);
        let answer = peer.http(&format!("{line} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!((answer.status, answer.header("connection")), (status, None), "{line}");
        peer.upgrade("/", "");
    }
}

#[test]
fn there_has_to_be_one_valid_host() {
    let fixture = Fixture::new();
    for hosts in [
        "",
        "Host: localhost\r\nHost: localhost\r\n",
        "Host: localhost\r\nhost: evil.example\r\n",
        "Host: \r\n",
        "Host: local host\r\n",
        "Host: user@localhost\r\n",
        "Host: http://localhost\r\n",
        "Host: localhost/\r\n",
        "Host: localhost:port\r\n",
        "Host: localhost:65536\r\n",
        "Host: ::1\r\n",
        "Host: [::1\r\n",
    ] {
        let upgrade = handshake("/", "").replace("Host: localhost\r\n", hosts);
        refused_for_good(&fixture, &upgrade);
        for method in ["GET", "POST", "OPTIONS", "WEBWIRE"] {
            refused_for_good(&fixture, &format!("{method} / HTTP/1.1\r\n{hosts}\r\n"));
            // Neither does an absolute target make up for it.
            refused_for_good(&fixture, &format!("{method} http://h/ HTTP/1.1\r\n{hosts}\r\n"));
        }
    }
    for host in ["localhost:", "LOCALHOST:7777", "[::1]:80", "[::1]", "127.0.0.1", "a_b.example."] {
        let mut peer = Peer::dial(fixture.address());
        let request = handshake("/", "").replace("Host: localhost", &format!("Host: {host}"));
        assert_eq!(peer.http(&request).status, 101, "{host}");
    }
}

#[test]
fn http_1_0_may_leave_the_host_out_but_is_never_upgraded() {
    let fixture = Fixture::new();
    let old = handshake("/", "").replace("HTTP/1.1", "HTTP/1.0");
    for request in [old.clone(), old.replace("Host: localhost\r\n", "")] {
        let answer = asked(&fixture, &request);
        assert_eq!(answer.status, 426, "{request}");
        assert!(answer.body().contains("HTTP/1.0"), "{}", answer.body());
    }
    let preflight = asked(&fixture, "WEBWIRE / HTTP/1.0\r\n\r\n");
    assert_eq!((preflight.status, preflight.body.len()), (200, 27));
    let two = "WEBWIRE / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n";
    assert_eq!(asked(&fixture, two).status, 400);
    assert_eq!(fixture.server.handle.connection_count(), 0);
}

#[test]
fn the_host_of_an_absolute_target_counts_for_the_origin() {
    let fixture = Fixture::new();
    for (target, origin, status) in [
        ("http://localhost/", "http://localhost", 101),
        ("http://evil.example/", "http://localhost", 403),
        ("http://evil.example/", "http://evil.example", 101),
        ("ws://evil.example:80/a?b", "http://evil.example", 101),
        ("http://evil.example:81/", "http://evil.example", 403),
    ] {
        let request = handshake(target, &format!("Origin: {origin}\r\n"));
        assert_eq!(asked(&fixture, &request).status, status, "{target} {origin}");
    }
    for target in ["ftp://localhost/", "http://user@localhost/", "http:///", "localhost", "//"] {
        let status = asked(&fixture, &handshake(target, "")).status;
        assert_eq!(status, if target == "//" { 101 } else { 400 }, "{target}");
    }
}

#[test]
fn headers_that_may_occur_once_are_refused_twice() {
    let fixture = Fixture::new();
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let other = "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n";
    for (headers, word) in [
        (key, "Sec-WebSocket-Key"),
        (other, "Sec-WebSocket-Key"),
        ("Sec-WebSocket-Version: 8\r\n", "Sec-WebSocket-Version"),
        ("Sec-WebSocket-Version: 13\r\n", "Sec-WebSocket-Version"),
    ] {
        let answer = asked(&fixture, &handshake("/", headers));
        assert_eq!(answer.status, 400, "{headers}");
        assert!(answer.body().contains(&format!("several {word} headers")), "{}", answer.body());
    }
}

#[test]
fn a_key_is_the_base64_of_sixteen_bytes() {
    let fixture = Fixture::new();
    let with_key = |key: &str| handshake("/", "").replace("dGhlIHNhbXBsZSBub25jZQ==", key);
    for key in [
        "",
        "short",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZWE=",
        "dGhlIHNhbXBsZSBub25jZWFh",
        "dGhlIHNhbXBsZSBub25jZWFhYQ==",
        "dGhlIHNhbXBsZ$Bub25jZQ==",
        "dGhlIHNhbXBsZS_ub25jZQ==",
        "AAAAAAAAAAAAAAAAAAAAAAAA",
        "========================",
    ] {
        let answer = asked(&fixture, &with_key(key));
        assert_eq!(answer.status, 400, "{key}");
        assert!(answer.body().contains("Sec-WebSocket-Key"), "{}", answer.body());
    }
    // Some clients write random letters: the last bits belong to no byte.
    for key in ["dGhlIHNhbXBsZSBub25jZX==", "  dGhlIHNhbXBsZSBub25jZQ== "] {
        assert_eq!(asked(&fixture, &with_key(key)).status, 101, "{key}");
    }
    let without = handshake("/", "").replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "");
    assert_eq!(asked(&fixture, &without).status, 400);
}

#[test]
fn tokens_may_be_spread_over_lines() {
    let fixture = Fixture::new();
    let request = handshake("/", "Connection: keep-alive\r\nUpgrade: h2c, foo/1\r\n");
    let mut peer = Peer::dial(fixture.address());
    assert_eq!(peer.http(&request).status, 101);
    peer.advertised();
    peer.is_served();
    for (from, to) in [
        ("Upgrade: websocket", "Upgrade: websocket/13"),
        ("Upgrade: websocket", "Upgrade: \"websocket\""),
        ("Upgrade: websocket", "Upgrade: web socket"),
        ("Connection: Upgrade", "Connection: keep-alive"),
        ("Connection: Upgrade", "Connection: Upgraded"),
        ("Connection: Upgrade\r\n", ""),
        ("Upgrade: websocket\r\n", ""),
    ] {
        let request = handshake("/", "").replacen(from, to, 1);
        assert_eq!(asked(&fixture, &request).status, 426, "{to}");
    }
}

#[test]
fn the_preface_of_http_2_ends_the_socket() {
    let fixture = Fixture::new();
    let mut peer = Peer::dial(fixture.address());
    peer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let rest = peer.rest();
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 4"), "{rest:?}");
    let upgrade = handshake("/", "").replace("Upgrade: websocket", "Upgrade: h2c");
    assert_eq!(asked(&fixture, &upgrade).status, 426);
}

/// Sends all it has to say, ends its half of the connection, and reads the rest.
fn say_and_listen(fixture: &Fixture, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(fixture.address()).unwrap();
    stream.set_read_timeout(Some(SAFETY)).unwrap();
    stream.write_all(request).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    rest
}

#[test]
fn a_client_that_has_closed_its_side_is_answered() {
    let fixture = Fixture::new();
    for (request, start) in [
        ("WEBWIRE / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), "HTTP/1.1 200 "),
        ("OPTIONS / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), "HTTP/1.1 200 "),
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), "HTTP/1.1 426 "),
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), "HTTP/1.0 426 "),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "HTTP/1.1 400 "),
        (handshake("/", "Origin: http://evil.example\r\n"), "HTTP/1.1 403 "),
        (handshake("/", ""), "HTTP/1.1 101 "),
        // What never becomes a request has no answer, and an end.
        ("GET / HT".to_owned(), ""),
        ("".to_owned(), ""),
    ] {
        for _ in 0..5 {
            let rest = say_and_listen(&fixture, request.as_bytes());
            assert!(
                rest.starts_with(start.as_bytes()),
                "{request}{}",
                String::from_utf8_lossy(&rest)
            );
            assert!(!start.is_empty() || rest.is_empty(), "{request}");
        }
    }
}

#[test]
fn requests_before_the_half_close_are_answered_on_the_websocket() {
    let fixture = Fixture::new();
    let mut early = handshake("/", "").into_bytes();
    early.extend(frame(BINARY, &ask(1, "echo", "last words")));
    let rest = say_and_listen(&fixture, &early);
    let reply = answer(1, "last words");
    assert!(rest.windows(reply.len()).any(|bytes| bytes == reply), "{rest:?}");
}

/// Does not decide about `/never`.
struct Undecided;

impl Handler for Undecided {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }

    async fn before_upgrade(&self, request: &Parts) -> Result<ConnectionOptions, Box<Response>> {
        match request.uri.path() {
            "/never" => forever().await,
            _ => Ok(ConnectionOptions::default()),
        }
    }
}

#[test]
fn half_closed_sockets_end_by_the_timeouts() {
    let soon = Duration::from_millis(200);
    let limits = |config: &mut Config| {
        config.limits.handshake_timeout = soon;
        config.limits.header_timeout = Duration::MAX;
    };
    let server = Running::new(Server::builder_on(runtime(), Undecided).config(configured(limits)));
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(SAFETY)).unwrap();
    stream.write_all(handshake("/never", "").as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
    assert_eq!(server.handle.connection_count(), 0);
}

/// Replies with the first ten bytes of bodies of ordinary requests.
struct Reader;

impl Handler for Reader {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }

    async fn before_upgrade(&self, request: &Parts) -> Result<ConnectionOptions, Box<Response>> {
        let Some(body) = request.extensions.get::<RequestBody>() else {
            return Ok(ConnectionOptions::default());
        };
        let read = match body.read(10).await {
            Ok(read) => read,
            Err(error) if error.is_too_long() => "too long".into(),
            Err(error) => error.to_string().into(),
        };
        assert!(!body.read(10).await.unwrap_err().is_too_long(), "it is read once");
        Err(Box::new(Response::new(read.into())))
    }
}

#[test]
fn an_application_reads_the_body_of_an_ordinary_request() {
    let server = Running::new(Server::builder_on(runtime(), Reader));
    let mut peer = Peer::dial(server.address);
    let post = |framing: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{framing}");
    for (request, body) in [
        (post("Content-Length: 5\r\n\r\nhello"), "hello"),
        (
            post("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n"),
            "helloworld",
        ),
    ] {
        let answer = peer.http(&request);
        assert_eq!((answer.status, answer.body()), (200, body), "{request}");
        assert_eq!(answer.header("connection"), None, "the socket is kept for the next request");
    }
    assert_eq!(peer.http(&post("\r\n")).status, 405, "without a body, there is none to read");

    // Neither more than the application wants, nor what does not come.
    for framing in [
        "Content-Length: 11\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n",
    ] {
        let answer = Peer::dial(server.address).http(&post(framing));
        assert_eq!((answer.body(), answer.header("connection")), ("too long", Some("close")));
    }
    let rest = {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(SAFETY)).unwrap();
        stream.write_all(post("Content-Length: 5\r\n\r\nhel").as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        rest
    };
    assert!(!rest.starts_with(b"HTTP/1.1 200 ") || rest.ends_with(b"the body did not arrive"));
}

#[test]
fn a_body_that_does_not_come_ends_with_the_timeouts() {
    let soon = |config: &mut Config| config.limits.handshake_timeout = Duration::from_millis(200);
    let server = Running::new(Server::builder_on(runtime(), Reader).config(configured(soon)));
    let mut peer = Peer::dial(server.address);
    peer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel");
    assert!(peer.rest().is_empty());
}
