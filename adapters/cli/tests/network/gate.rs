//! What `wwr serve` lets in, behind proxies too, and what it says of the rest.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::{Running, Server, run};

/// Sends a request on a socket of its own, and reads until the server closes it.
fn asked(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // A server that closes a socket without having read all of it resets it.
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => String::from_utf8(answer).unwrap(),
    }
}

/// An upgrade of a page, that closes its connection if it is refused.
fn upgrade(headers: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

#[test]
fn a_refused_origin_is_logged_with_the_option_that_allows_it() {
    let mut server = Server::start(&["--allow-origin", "HTTPS://App.Example/"]);
    let refused = asked(&server, &upgrade("Origin: https://other.example\r\n"));
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    assert!(refused.contains("\r\n\r\nOrigin not allowed\n"), "{refused}");
    let line = server.running.wait_for_log("Origin not allowed");
    for part in ["WARN", "--allow-origin", "origin=https://other.example", "remote=127.0.0.1:"] {
        assert!(line.contains(part), "{line}");
    }
}

#[test]
fn a_browser_sees_an_explanation() {
    let server = Server::start(&["--playground", "off"]);
    let answer = asked(&server, "GET / HTTP/1.1\r\nHost: h:7777\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    assert!(answer.contains("wwr request ws://h:7777/ echo hello"), "{answer}");
}

#[test]
fn trusted_proxies_name_their_clients() {
    let mut server = Server::start(&["--trusted-proxy", "127.0.0.0/8"]);
    for header in ["X-Forwarded-For: 192.0.2.7\r\n", "Forwarded: for=\"[2001:db8::7]\"\r\n"] {
        asked(&server, &upgrade(&format!("Origin: https://other.example\r\n{header}")));
        std::thread::sleep(Duration::from_millis(1100));
    }
    for remote in ["remote=192.0.2.7:0", "remote=[2001:db8::7]:0"] {
        server.running.wait_for_log(remote);
    }
}

#[test]
fn balancers_name_their_clients_with_the_proxy_protocol() {
    let mut server = Server::start(&["--trusted-proxy", "127.0.0.1", "--proxy-protocol"]);
    let page = upgrade("Origin: https://other.example\r\n");
    let answer = asked(&server, &format!("PROXY TCP4 192.0.2.7 127.0.0.1 4660 80\r\n{page}"));
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    server.running.wait_for_log("remote=192.0.2.7:4660");
    assert_eq!(asked(&server, &page), "");
    let line = server.running.wait_for_log("No PROXY protocol header");
    assert!(line.contains("--proxy-protocol"), "{line}");
}

#[test]
fn settings_that_cannot_work_are_refused_with_a_sentence() {
    for (arguments, said) in [
        (&["--allow-origin", "https://*.example.com"][..], "list each one, or allow any"),
        (&["--allow-origin", "https://example.com/app"], "leave out what follows"),
        (&["--allow-origin", "wss://example.com"], "http or https"),
        (&["--trusted-proxy", "localhost"], "10.0.0.0/8"),
        (&["--trusted-proxy", "10.0.0.0/33"], "10.0.0.0/8"),
        (&["--proxy-protocol"], "--trusted-proxy"),
        (&["--proxy-header", "forwarded"], "--trusted-proxy"),
        (&["--max-message-size", "100"], "--message-buffer"),
        (&["--path", "/a/../b=2.0"], "clients resolve them"),
    ] {
        let ran = run(&[&["serve", "--listen", "127.0.0.1:0"], arguments].concat());
        assert_eq!(ran.code, Some(2), "{arguments:?} {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn an_address_that_is_taken_is_named() {
    let server = Server::start(&[]);
    let address = server.address.to_string();
    let ran = run(&["serve", "--listen", &address]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("cannot listen on {address}")), "{}", ran.stderr);
    let named = Running::start(&["serve", "--listen", "localhost:0"]).line();
    assert!(named.is_some_and(|line| line.starts_with("listening on http://")));
}
