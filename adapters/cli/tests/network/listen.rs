//! `wwr listen`.

use serde_json::{Value, json};

use crate::raw_server::{RawServer, accept_conf};
use crate::support::{Relay, Running, Server, run, url};

fn json(line: Option<String>) -> Value {
    serde_json::from_str(&line.expect("a line")).unwrap()
}

#[test]
fn it_ends_after_some_signals() {
    let server = Server::start(&[]);
    let url = server.url();
    let mut listener = Running::start(&["listen", "--count", "2", &url]);
    assert_eq!(listener.line().as_deref(), Some("connected, protocol wwr.1"));
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
    let connected = json(Some(listener.line_with("connected")));
    assert_eq!(connected, json!({ "event": "connected", "protocol": "wwr.1" }));
    server.reply(&["broadcast", "hi"]);
    let signal = json(listener.line());
    let expected =
        json!({ "event": "signal", "name": "broadcast", "encoding": "utf8", "payload": "hi" });
    assert_eq!(signal, expected);
}

#[test]
fn it_gives_up_on_servers_other_than_webwire() {
    let other = RawServer { preflight: ("200 OK", "hi"), websocket: Err(("200 OK", "hi")) };
    let other_sub_protocol = RawServer {
        preflight: ("400 Bad Request", ""),
        websocket: Ok(Some(accept_conf([2, 0], "chat/1"))),
    };
    for (server, why) in [(other, "no WebWire server"), (other_sub_protocol, "\"chat/1\"")] {
        let ran = run(&["listen", &server.start()]);
        assert_eq!(ran.code, Some(3), "{}", ran.text());
        assert!(ran.text().starts_with("connect failed: "), "{}", ran.text());
        assert!(ran.text().contains(why), "{}", ran.text());
        assert!(!ran.text().contains("next attempt"), "{}", ran.text());
    }
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
