//! Reaching a server: what is asked, and what is made of the answers.

use std::io::Write;
use std::time::Duration;

use hyper::header::{AUTHORIZATION, HeaderValue};
use wwr::Payload;
use wwr::client::{ConnectError, Protocol, Status};

use crate::adapter::block_on;
use crate::adapter::client::{Client, Config, Event, StartError};

use super::builder_at;
use super::raw::{GOOD_BODY, RawServer, unused_address};
use super::{builder, changed, config, in_time, request, spawn, wait};

#[test]
fn preflight_and_handshake_name_path_query_host_and_headers() {
    let server = RawServer::bind();
    let url = server.url("/chat/a%20b?room=1&x");
    let config = changed(Config::default(), |config| {
        config.headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer abc"));
    });
    let client = builder_at(&url).unwrap().config(config).build().unwrap();
    let connecting = spawn(&client, |client| async move { client.connect().await });

    let probe = server.accept();
    let host = url.trim_start_matches("ws://").split('/').next().unwrap();
    assert_eq!(probe.head.lines().next(), Some("WEBWIRE /chat/a%20b?room=1&x HTTP/1.1"));
    assert_eq!(probe.header("Host"), Some(host));
    assert_eq!(probe.header("Authorization"), Some("Bearer abc"));
    assert_eq!(probe.header("Upgrade"), None);
    assert!(matches!(probe.header("Content-Length"), None | Some("0")));
    assert_eq!(probe.header("Transfer-Encoding"), None);
    probe.respond("200 OK", GOOD_BODY);

    let handshake = server.accept();
    assert_eq!(handshake.head.lines().next(), Some("GET /chat/a%20b?room=1&x HTTP/1.1"));
    for (name, value) in [
        ("Host", host),
        ("Authorization", "Bearer abc"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
    ] {
        assert_eq!(handshake.header(name), Some(value), "{name}");
    }
    assert_eq!(handshake.header("Sec-WebSocket-Extensions"), None);
    let mut socket = handshake.upgrade();
    assert_eq!(wait(connecting), Ok(()));
    let answer = request(&client, "a", "x");
    assert_eq!(socket.echo(), "a");
    assert_eq!(wait(answer), Ok(Payload::binary("x")));
}

#[test]
fn an_answer_that_will_not_change_ends_the_attempts() {
    let server = RawServer::bind();
    let client = builder(&server).build().unwrap();
    for (answer, error) in [
        (r#"{"protocol-version":"1.5","read-timeout":60}"#, "speaks protocol version \"1.5\""),
        (r#"{"protocol-version":"2.0"}"#, "speaks protocol version \"2.0\""),
        (r#"{"protocol-version":"1.4.1"}"#, "speaks protocol version \"1.4.1\""),
        ("{}", "there is no WebWire server at this address"),
        ("<html></html>", "there is no WebWire server at this address"),
        ("[\"1.4\"]", "there is no WebWire server at this address"),
        ("", "there is no WebWire server at this address"),
    ] {
        let connecting = spawn(&client, |client| async move { client.connect().await });
        server.accept().respond("200 OK", answer);
        let failed = wait(connecting).unwrap_err();
        assert!(failed.to_string().contains(error), "{answer:?}: {failed}");
        assert_eq!(client.status(), Status::Idle, "{answer:?}");
    }
    // Asked again it tries again.
    let connecting = spawn(&client, |client| async move { client.connect().await });
    let _socket = server.open();
    assert_eq!(wait(connecting), Ok(()));
}

#[test]
fn an_answer_other_than_http_is_tried_again() {
    let server = RawServer::bind();
    let client = builder(&server).build().unwrap();
    let mut events = client.events();
    for answer in [
        "",
        "SSH-2.0-OpenSSH_9.6\r\n",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{\"protocol",
        "\u{1}\u{2}\u{3}\r\n\r\n",
    ] {
        let connecting = spawn(&client, |client| async move { client.connect().await });
        server.accept().write(answer);
        assert_eq!(
            wait(connecting).unwrap_err().kind(),
            Some(&ConnectError::ProbeFailed),
            "{answer:?}"
        );
        let Some(Event::ConnectFailed { error, retry_in }) = wait(events.next()) else { panic!() };
        assert_eq!(
            (error.kind().unwrap(), retry_in.is_some()),
            (&ConnectError::ProbeFailed, true),
            "{answer:?}"
        );
    }
    let _socket = server.open();
    assert_eq!(wait(events.next()), Some(Event::Connected));
}

#[test]
fn only_the_status_503_means_anything() {
    let server = RawServer::bind();
    let client = builder(&server).start().unwrap();
    let mut events = client.events();
    server.accept().respond("503 Service Unavailable", GOOD_BODY);
    let Some(Event::ConnectFailed { error, retry_in }) = wait(events.next()) else { panic!() };
    assert_eq!((error.kind().unwrap(), retry_in.is_some()), (&ConnectError::Unavailable, true));
    let answer = request(&client, "a", "x");
    server.accept().respond("404 Not Found", GOOD_BODY);
    let mut socket = server.accept().upgrade();
    assert_eq!(socket.echo(), "a");
    assert_eq!(wait(answer), Ok(Payload::binary("x")));
    assert_eq!(wait(events.next()), Some(Event::Connected));
}

#[test]
fn an_endless_answer_is_not_read_to_its_end() {
    let server = RawServer::bind();
    let client = builder(&server).build().unwrap();
    let connecting = spawn(&client, |client| async move { client.connect().await });
    let mut stream = server.accept().stream;
    stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    // More than any buffer on the way holds.
    let written = (0..65536).take_while(|_| stream.write_all(chunk.as_bytes()).is_ok()).count();
    assert!(written < 65536, "it reads on and on");
    assert_eq!(
        wait(connecting).unwrap_err().kind(),
        Some(&ConnectError::NotWebWire { client: Protocol::V1_4 })
    );
}

#[test]
fn a_server_without_an_answer_is_given_up() {
    let server = RawServer::bind();
    let soon = Duration::from_millis(20);
    let settings = changed(config(), |config| {
        config.machine.reconnect = false;
        config.machine.probe_timeout = soon;
        config.machine.dial_timeout = soon;
    });
    let client = builder(&server).config(settings).build().unwrap();
    let connecting = spawn(&client, |client| async move { client.connect().await });
    let silent = server.accept();
    assert_eq!(wait(connecting).unwrap_err().kind(), Some(&ConnectError::ProbeTimedOut));
    drop(silent);

    // The time of the preflight is long here, that of the handshake short.
    let settings = changed(config(), |config| {
        config.machine.reconnect = false;
        config.machine.dial_timeout = soon;
    });
    let client = builder(&server).config(settings).build().unwrap();
    let connecting = spawn(&client, |client| async move { client.connect().await });
    server.answer_probe();
    assert_eq!(wait(connecting).unwrap_err().kind(), Some(&ConnectError::DialTimedOut));
}

#[test]
fn a_handshake_can_fail() {
    let server = RawServer::bind();
    let client = builder(&server).build().unwrap();
    for status in ["403 Forbidden", "200 OK", "302 Found"] {
        let connecting = spawn(&client, |client| async move { client.connect().await });
        server.answer_probe();
        server.accept().respond(status, "no");
        assert_eq!(
            wait(connecting).unwrap_err().kind(),
            Some(&ConnectError::DialFailed),
            "{status}"
        );
    }
    let connecting = spawn(&client, |client| async move { client.connect().await });
    server.answer_probe();
    let _impostor = server.accept().upgrade_with("c29tZXRoaW5nIGVsc2U=");
    assert_eq!(wait(connecting).unwrap_err().kind(), Some(&ConnectError::DialFailed));
}

#[test]
fn connect_to_fails_if_the_connection_is_refused() {
    let url = format!("ws://{}/", unused_address());
    let refused = block_on(in_time(Client::connect_to(&url))).unwrap_err();
    let StartError::Connect(error) = refused else { panic!("{refused:?}") };
    assert_eq!(error.kind(), Some(&ConnectError::ProbeFailed));
    let text = error.to_string().to_lowercase();
    assert!(text.contains("refused"), "{text}");
    assert!(matches!(block_on(in_time(Client::connect_to("localhost"))), Err(StartError::Url(_))));
}

#[test]
fn a_client_may_be_there_before_its_server() {
    let address = unused_address();
    let settings = config();
    let client = builder_at(&format!("ws://{address}/")).unwrap().config(settings).start().unwrap();
    let mut events = client.events();
    let answer = request(&client, "early", "bird");
    for _ in 0..3 {
        let Some(Event::ConnectFailed { error, .. }) = wait(events.next()) else { panic!() };
        assert_eq!(error.kind(), Some(&ConnectError::ProbeFailed));
    }
    let server = RawServer::bind_to(address);
    let mut socket = server.open();
    assert_eq!(socket.echo(), "early");
    assert_eq!(wait(answer), Ok(Payload::binary("bird")));
}

#[test]
fn all_callers_of_connect_learn_of_the_connection() {
    let server = RawServer::bind();
    let client = builder(&server).build().unwrap();
    let attempts =
        || [(); 8].map(|()| spawn(&client, |client| async move { client.connect().await }));
    let (first, probe) = (attempts(), server.accept());
    // A call during the attempt joins it.
    let joined = attempts();
    let all = async {
        for attempt in first.into_iter().chain(joined) {
            assert_eq!(attempt.await, Ok(()))
        }
    };
    probe.respond("200 OK", GOOD_BODY);
    let _socket = server.accept().upgrade();
    wait(all);
    assert_eq!(wait(client.connect()), Ok(()), "connected already");
}
