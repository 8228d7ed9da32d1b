//! `wwr listen`.

use std::io::{BufRead as _, BufReader, Write as _};

use serde_json::{Value, json};

use crate::support::{Relay, Running, Server, url};

fn json(line: Option<String>) -> Value {
    serde_json::from_str(&line.expect("a line")).unwrap()
}

#[test]
fn it_ends_after_some_signals() {
    let server = Server::start(&[]);
    let url = server.url();
    let mut listener = Running::start(&["listen", "--count", "2", &url]);
    assert_eq!(listener.line().as_deref(), Some("connected"));
    server.reply(&["broadcast", "one\ntwo"]);
    assert_eq!(listener.line().as_deref(), Some(r#"signal "broadcast" utf8 "one\ntwo""#));
    server.reply(&["--encoding", "binary", "broadcast", "b"]);
    assert_eq!(listener.line().as_deref(), Some(r#"signal "broadcast" binary 62"#));
    let ran = listener.finish();
    assert_eq!((ran.code, ran.text(), ran.stderr.as_str()), (Some(0), "", ""));
}

#[test]
fn it_waits_for_the_server_and_comes_back_with_its_session() {
    let server = Server::start(&[]);
    let key = server.reply(&["login", r#"{"user":"ada"}"#]);
    let relay = Relay::start();
    let url = url(relay.address);
    let mut listener = Running::start(&["listen", "--json", "--session", &key, &url]);
    let failed = json(listener.line());
    assert_eq!(failed["event"], "connect-failed");
    assert!(failed["retry_in_ms"].is_u64(), "{failed}");

    relay.lead_to(Some(server.address));
    let session = json(Some(listener.line_with("session-restored")));
    assert_eq!(session["session"]["k"], key.as_str());
    assert_eq!(session["session"]["i"], json!({ "user": "ada" }));

    relay.lead_to(Some(server.address));
    let lost = json(listener.line());
    assert_eq!((&lost["event"], &lost["reason"]), (&json!("disconnected"), &json!("lost")));
    let session = json(Some(listener.line_with("session-restored")));
    assert_eq!(session["session"]["k"], key.as_str());
    assert_eq!(json(Some(listener.line_with("connected"))), json!({ "event": "connected" }));
    server.reply(&["broadcast", "hi"]);
    let signal = json(listener.line());
    let expected =
        json!({ "event": "signal", "name": "broadcast", "encoding": "utf8", "payload": "hi" });
    assert_eq!(signal, expected);
}

#[test]
fn it_gives_up_on_what_is_no_webwire_server() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = url(other.local_addr().unwrap());
    let listener = Running::start(&["listen", &url]);
    let (mut stream, _) = other.accept().unwrap();
    let mut request = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    request.find(String::is_empty).expect("the end of a request");
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").unwrap();
    let ran = listener.finish();
    assert_eq!(ran.code, Some(3));
    assert!(ran.text().starts_with("connect failed: "), "{}", ran.text());
    assert!(!ran.text().contains("next attempt"), "{}", ran.text());
}

#[cfg(unix)]
#[test]
fn signals_end_it_with_0() {
    use rustix::process::Signal;

    let server = Server::start(&[]);
    for signal in [Signal::INT, Signal::TERM] {
        let mut listener = Running::start(&["listen", &server.url()]);
        listener.line_with("connected");
        listener.signal(signal);
        assert_eq!(listener.finish().code, Some(0));
    }
    // Also while there is no server.
    let relay = Relay::start();
    let mut listener = Running::start(&["listen", &url(relay.address)]);
    listener.line_with("connect failed");
    listener.signal(Signal::INT);
    assert_eq!(listener.finish().code, Some(0));
}
