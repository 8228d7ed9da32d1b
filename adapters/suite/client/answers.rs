//! Answers to preflight and handshake of every kind, and what the client makes of them.

use std::io::Write;
use std::thread;
use std::time::Duration;

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use wwr::client::{ConnectError as Kind, Protocol, Status};
use wwr::{Dialect, Payload};

use crate::adapter::client::{Client, Event};

use super::raw::{Exchange, GOOD_BODY, RawServer, RawSocket, default_conf};
use super::{builder_with, changed, config_of, connecting, request, wait};

/// A client of 2.0, which has no preflight.
fn client(server: &RawServer) -> Client {
    builder_with(
        server,
        changed(config_of(Protocol::V2_0), |config| config.machine.reconnect = false),
    )
    .build()
    .unwrap()
}

fn accept_of(exchange: &Exchange) -> String {
    derive_accept_key(exchange.header("Sec-WebSocket-Key").unwrap().as_bytes())
}

/// The head of an answer that opens the WebSocket, with more headers.
fn switching(exchange: &Exchange, connection: &str, more: &str) -> String {
    let accept = accept_of(exchange);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: {connection}\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    )
}

fn advertised() -> Vec<u8> {
    let conf = default_conf();
    [&[0x82, conf.len() as u8][..], &conf].concat()
}

/// The client gets through, whatever the server writes instead of the plain answer.
fn opens(answer: impl FnOnce(&mut Exchange)) {
    let server = RawServer::bind();
    let client = client(&server);
    let connected = connecting(&client);
    let mut exchange = server.accept();
    answer(&mut exchange);
    let mut socket = RawSocket { stream: exchange.stream };
    assert_eq!(wait(connected), Ok(()));
    let answer = request(&client, "a", "x");
    assert_eq!(socket.echo(), "a");
    assert_eq!(wait(answer), Ok(Payload::binary("x")));
}

/// Why a client of 2.0 does not get through to a server that answers this and goes.
fn failure(answer: impl FnOnce(&Exchange) -> Vec<u8>) -> (Kind, String) {
    let server = RawServer::bind();
    let client = client(&server);
    let connected = connecting(&client);
    let mut exchange = server.accept();
    let answer = answer(&exchange);
    exchange.stream.write_all(&answer).unwrap();
    drop(exchange);
    let error = wait(connected).unwrap_err();
    (error.kind().unwrap().clone(), error.to_string())
}

fn dial_failure(answer: impl FnOnce(&Exchange) -> Vec<u8>) -> String {
    let (kind, text) = failure(answer);
    assert_eq!(kind, Kind::DialFailed, "{text}");
    text
}

#[test]
fn the_connection_may_be_upgraded_and_kept_alive() {
    for connection in ["keep-alive, Upgrade", "upgrade", "close, upgrade", "Keep-Alive ,UPGRADE, x"]
    {
        opens(|exchange| {
            let head = switching(exchange, connection, "");
            exchange.stream.write_all(&[head.as_bytes(), &advertised()].concat()).unwrap();
        });
    }
    opens(|exchange| {
        let head = switching(exchange, "keep-alive", "connection: Upgrade\r\n");
        exchange.stream.write_all(&[head.as_bytes(), &advertised()].concat()).unwrap();
    });
}

#[test]
fn interim_answers_are_skipped() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";
    for interim in ["HTTP/1.1 100 Continue\r\n\r\n", hints, &hints.repeat(5000)] {
        opens(|exchange| {
            let head = format!("{interim}{}", switching(exchange, "Upgrade", ""));
            exchange.stream.write_all(&[head.as_bytes(), &advertised()].concat()).unwrap();
        });
    }
    opens(|exchange| {
        exchange.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        thread::sleep(Duration::from_millis(1));
        let head = switching(exchange, "Upgrade", "");
        exchange.stream.write_all(&[head.as_bytes(), &advertised()].concat()).unwrap();
    });
}

#[test]
fn an_answer_may_come_in_pieces_of_any_length() {
    for length in [1, 2, 7, 1000] {
        opens(|exchange| {
            let more = format!("X-Long: {}\r\n", "x".repeat(1000));
            let head = switching(exchange, "Upgrade", &more);
            for piece in [head.as_bytes(), &advertised()].concat().chunks(length) {
                exchange.stream.write_all(piece).unwrap();
                // So that the client mostly reads them one by one.
                thread::sleep(Duration::from_micros(50));
            }
        });
    }
}

/// Whatever the server writes with its answer belongs to the WebSocket.
#[test]
fn messages_that_come_with_the_answer_are_not_lost() {
    let server = RawServer::bind();
    let client = client(&server);
    let mut events = client.events();
    let connected = connecting(&client);
    let mut exchange = server.accept();
    let mut answer = switching(&exchange, "Upgrade", "Content-Length: 3\r\n").into_bytes();
    answer.extend(advertised());
    for index in 0..100_u8 {
        answer.extend([0x82, 4, 0x3f, 1, b'n', index]);
    }
    exchange.stream.write_all(&answer).unwrap();
    assert_eq!(wait(connected), Ok(()));
    assert_eq!(client.dialect(), Dialect::V2_0);
    wait(events.next());
    for index in 0..100_u8 {
        let Some(Event::Signal(signal)) = wait(events.next()) else { panic!() };
        assert_eq!(signal.payload(), [index]);
    }
}

#[test]
fn extensions_and_sub_protocols_that_were_not_offered_are_refused() {
    for (connection, more, said) in [
        ("Upgrade", "Sec-WebSocket-Extensions: permessage-deflate\r\n", "WebSocket extension"),
        ("Upgrade", "Sec-WebSocket-Protocol: chat\r\n", "WebSocket sub-protocol"),
        ("keep-alive", "", "header Connection"),
        ("Upgrade", "Upgrade: h2c\r\n", "header Upgrade"),
        ("Upgrade", "Sec-WebSocket-Accept: x\r\n", "Sec-WebSocket-Accept"),
    ] {
        let text = dial_failure(|exchange| switching(exchange, connection, more).into());
        assert!(text.contains(said), "{more}: {text}");
    }
    let old = dial_failure(|exchange| {
        switching(exchange, "Upgrade", "").replace("HTTP/1.1", "HTTP/1.0").into()
    });
    assert!(old.contains("a version of HTTP that cannot"), "{old}");
    let other = dial_failure(|_| {
        b"HTTP/1.1 101 Fine\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
            .to_vec()
    });
    assert!(other.contains("does not answer this handshake"), "{other}");
}

#[test]
fn refusals_are_shown_with_status_target_and_first_line() {
    for (answer, said) in [
        ("403 Forbidden\r\nContent-Length: 9\r\n\r\nno entry\n", "status 403: no entry"),
        (
            "403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nno \r\n6\r\nentry\n\r\n0\r\n\r\n",
            "status 403: no entry",
        ),
        ("403 Forbidden\r\n\r\nuntil the end", "status 403: until the end"),
        ("403 Forbidden\r\nContent-Length: 100\r\n\r\ncut short", "status 403: cut short"),
        ("403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ncut\r\nzz", "status 403: cut"),
        ("404 Not Found\r\nContent-Length: 0\r\n\r\n", "status 404"),
        (
            "302 Found\r\nLocation: http://example.com/login\r\nContent-Length: 0\r\n\r\n",
            "status 302 and sends clients to ws://example.com/login; connect there, or set \
             max_redirects",
        ),
        (
            "502 Oh\r\nContent-Type: text/html\r\n\r\n<html><title>Bad Gateway</title><body>x",
            "status 502: Bad Gateway",
        ),
        ("400 Bad\r\nContent-Encoding: gzip\r\n\r\n\x1f\u{8}garbage", "status 400"),
        ("200 OK\r\nContent-Length: 2\r\n\r\nhi", "status 200: hi"),
        ("204 No Content\r\n\r\n", "status 204"),
        (
            "400 Bad\r\nContent-Length: 9\r\n\r\n\x1b[2J\u{202e}no",
            "status 400: \\u{1b}[2J\\u{202e}no",
        ),
    ] {
        for version in ["1.1", "1.0"] {
            if version == "1.0" && answer.contains("chunked") {
                continue;
            }
            let (_, text) = failure(|_| format!("HTTP/{version} {answer}").into());
            assert!(text.ends_with(said), "{answer:?}: {text}");
        }
    }
}

#[test]
fn answers_other_than_http_are_named() {
    for (answer, said) in [
        (&b"\x15\x03\x01\0\x02\x02\x46"[..], "the server speaks TLS"),
        (b"\x16\x03\x03\0\x7a\x02\0\0", "the server speaks TLS"),
        // It may come in pieces.
        (b"\x15", "the server speaks TLS"),
        (b"\x15\x02", "it begins with \"\\u{15}\\u{2}\""),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "it begins with \"SSH-2.0-OpenSSH_9.6\\r\\n\""),
        (b"HTTP/2 200\r\n\r\n", "it begins with \"HTTP/2 200"),
        (b"\0\0\x12\x04\0\0\0\0\0", "not HTTP/1.1"),
        (b"", "ended the connection before it answered"),
        (b"HTTP/1.1 101 Swi", "ended the connection before it answered"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "ended the connection before it answered"),
        (b"HTTP/1.1 abc\r\n\r\n", "cannot be read"),
        (b"HTTP/1.1 101 Fine\r\nUpgrade websocket\r\n\r\n", "cannot be read"),
    ] {
        let text = dial_failure(|_| answer.to_vec());
        assert!(text.contains(said), "{answer:?}: {text}");
    }
    let long = dial_failure(|_| {
        format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000)).into_bytes()
    });
    assert!(long.contains("head of the server's answer has more than"), "{long}");
    let many = dial_failure(|_| {
        format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(1000)).into_bytes()
    });
    assert!(many.contains("head of the server's answer has more than"), "{many}");
}

/// A server that answers without an end cannot keep the client from looking at the time.
#[test]
fn endless_answers_end_in_time() {
    let begin = "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (begin, more) in [
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
        ("HTTP/1.1 101 Switching Protocols\r\n", "A: b\r\n"),
        ("HTTP/1.1 101 Switching Protocols\r\nX-Long: ", "xxxxxxxx"),
        (begin, "8\r\nendless \r\n"),
    ] {
        let server = RawServer::bind();
        let settings =
            changed(config_of(Protocol::V2_0), |config| config.machine.reconnect = false);
        let settings = changed(settings, |config| {
            config.machine.dial_timeout = Duration::from_millis(200);
        });
        let client = builder_with(&server, settings).build().unwrap();
        let connected = connecting(&client);
        let mut stream = server.accept().stream;
        let flood = thread::spawn(move || {
            let more = more.repeat(1000);
            if stream.write_all(begin.as_bytes()).is_ok() {
                while stream.write_all(more.as_bytes()).is_ok() {}
            }
        });
        let error = wait(connected).unwrap_err();
        assert!(
            matches!(error.kind(), Some(Kind::DialTimedOut | Kind::DialFailed)),
            "{begin}{more}: {error}"
        );
        // The client has hung up.
        flood.join().unwrap();
        assert_eq!(client.status(), Status::Idle);
    }
}

/// What a server says is a courtesy: its status counts also if the rest never comes.
#[test]
fn a_refusal_counts_without_its_text() {
    for head in [
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 403 Forbidden\r\n\r\n",
    ] {
        let server = RawServer::bind();
        let client = client(&server);
        let connected = connecting(&client);
        let mut exchange = server.accept();
        exchange.stream.write_all(head.as_bytes()).unwrap();
        let text = wait(connected).unwrap_err().to_string();
        assert!(text.ends_with("the server answers with status 403"), "{text}");
    }
}

#[test]
fn a_preflight_may_have_any_answer_too() {
    let length = GOOD_BODY.len();
    let chunked = format!("{length:x}\r\n{GOOD_BODY}\r\n0\r\n\r\n");
    for answer in [
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"),
        format!("HTTP/1.0 200 OK\r\n\r\n{GOOD_BODY}"),
        format!("HTTP/1.1 200 OK\r\n\r\n{GOOD_BODY}"),
        format!("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 404 No\r\n\r\n{GOOD_BODY}"),
    ] {
        let server = RawServer::bind();
        let client = builder_with(&server, config_of(Protocol::V1_4)).build().unwrap();
        let connected = connecting(&client);
        let mut probe = server.accept();
        for byte in answer.as_bytes() {
            probe.stream.write_all(&[*byte]).unwrap();
        }
        drop(probe);
        let _socket = server.accept().upgrade();
        assert_eq!(wait(connected), Ok(()), "{answer}");
    }
    for (answer, said) in [
        ("HTTP/1.1 101 Fine\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "status 101"),
        (
            "HTTP/1.1 301 Moved\r\nLocation: http://other/\r\n\r\n",
            "status 301 and sends clients to ws://other/; connect there, or set max_redirects",
        ),
        (
            "HTTP/1.1 405 No\r\n\r\n<title>Method Not Allowed</title>",
            "status 405: Method Not Allowed",
        ),
        (
            "HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\nshutting down\n",
            "status 503: shutting down",
        ),
        ("\x15\x03\x01\0\x02\x02\x46", "use wss://, or a port where it does not"),
    ] {
        let server = RawServer::bind();
        let settings =
            changed(config_of(Protocol::V1_4), |config| config.machine.reconnect = false);
        let client = builder_with(&server, settings).build().unwrap();
        let connected = connecting(&client);
        server.accept().write(answer);
        let text = wait(connected).unwrap_err().to_string();
        assert!(text.ends_with(said), "{answer:?}: {text}");
    }
}

#[test]
fn a_server_says_when_it_wants_to_be_asked_again() {
    let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    for (status, more, seconds) in [
        ("503 Busy", "Retry-After: 100\r\n", Some(100)),
        ("429 Too Many", "retry-after: 100\r\n", Some(100)),
        ("503 Busy", "Retry-After: Sun, 06 Nov 1994 08:51:17 GMT\r\n", Some(100)),
        ("503 Busy", "Retry-After: 99999999999999999999\r\n", Some(3600)),
        ("503 Busy", "Retry-After: soon\r\n", None),
        ("503 Busy", "", None),
    ] {
        for asked_first in [true, false] {
            let server = RawServer::bind();
            let protocol = if asked_first { Protocol::V1_4 } else { Protocol::V2_0 };
            let client = builder_with(&server, config_of(protocol)).build().unwrap();
            let mut events = client.events();
            let connected = connecting(&client);
            server.accept().write(&format!("HTTP/1.1 {status}\r\n{date}{more}\r\nsorry"));
            let text = wait(connected).unwrap_err().to_string();
            assert!(text.ends_with(": sorry"), "{text}");
            let Some(Event::ConnectFailed { error, retry_in }) = wait(events.next()) else {
                panic!()
            };
            assert_eq!(error.kind(), Some(&Kind::Unavailable));
            let (retry_in, slack) = (retry_in.unwrap(), Duration::from_secs(10));
            match seconds.map(Duration::from_secs) {
                // The clock has gone on since.
                Some(wanted) => assert!(
                    (wanted - slack..=wanted * 5 / 4).contains(&retry_in),
                    "{retry_in:?} of {wanted:?}"
                ),
                None => assert!(retry_in <= Duration::from_millis(1)),
            }
            if seconds.is_some() {
                // The application may be in a hurry.
                let connected = connecting(&client);
                let exchange = server.accept();
                if asked_first {
                    exchange.respond("200 OK", GOOD_BODY);
                    let _socket = server.accept().upgrade();
                    assert_eq!(wait(connected), Ok(()));
                } else {
                    let mut socket = exchange.upgrade();
                    socket.send(&default_conf());
                    assert_eq!(wait(connected), Ok(()));
                }
            }
        }
    }
}
