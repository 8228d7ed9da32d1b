//! Exit codes 0 to 4, of each command.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::{Server, run, run_with, url};

/// An address without answers, for as long as the listener lives.
fn silence() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = url(listener.local_addr().unwrap());
    (listener, url)
}

/// An address without a listener: port 1 of the local host belongs to nothing that is in use.
const NOBODY: &str = "ws://127.0.0.1:1/";

fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}

#[test]
fn usage_errors_are_2() {
    let key_and_url = ["--session", "", NOBODY];
    for arguments in [
        &["request"][..],
        &["request", "localhost:7777"],
        &["request", "ftp://localhost/"],
        &["request", NOBODY, "na\u{ef}ve"],
        &["request", "--timeout", "5", NOBODY, "echo"],
        &["request", "--timeout", "0s", NOBODY, "echo"],
        &["request", "--encoding", "latin1", NOBODY, "echo"],
        &["request", "--file", "/no/such/file", NOBODY, "echo"],
        &["request", "--file", "x", NOBODY, "echo", "payload"],
        &["signal", NOBODY, "a", "b", "c"],
        &["listen"],
        &["listen", "--count", "0", NOBODY],
        &["listen", "--protocol", "any", NOBODY],
        &["request", "--sub-protocol", "", NOBODY, "echo"],
        &["probe"],
        &["probe", "localhost:7777"],
        &["probe", "--timeout", "0s", NOBODY],
        &["check"],
        &["check", "--echo", "na\u{ef}ve", NOBODY],
        &["check", "--login-payload", "x", NOBODY],
        &["check", "--only", "nothing", NOBODY],
        &[&["listen"], &key_and_url[..]].concat(),
        &["serve", "--listen", "nowhere"],
        &["serve", "--concurrency", "0"],
        &["serve", "--allow-origin", "example.com"],
        &["serve", "--max-session-connections", "0"],
        &["serve", "--protocol", "3.0"],
        &["serve", "--path", "new=2.0"],
        &["serve", "--path", "/a=2.0", "--path", "/a=1.4"],
        &["serve", "--read-timeout", "50ms"],
        &["serve", "--message-buffer", "31"],
        &["serve", "--sub-protocol", ""],
        &["serve", "--message-buffer", "32", "--sub-protocol", "longer than the buffer allows"],
        &["serve", "--ping-after", "1ms"],
        &["demo", "please"],
        &["dance"],
    ] {
        let ran = run(arguments);
        assert_eq!((ran.code, ran.text()), (Some(2), ""), "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn invalid_messages_exit_with_2() {
    let server = Server::start(&[]);
    let url = server.url();
    for arguments in [
        &["request", &url][..],
        &["request", &url, "", ""],
        &["signal", "--protocol", "1.4", &url, "name only"],
        &["request", "--protocol", "2.0", &url, "echo", &"x".repeat(8192)],
        &["signal", "--protocol", "2.0", &url, "echo", &"x".repeat(8192)],
        &["request", "--skip-preflight", &url, "echo", "x"],
        &["signal", "--skip-preflight", &url, "echo", "x"],
        &["listen", "--skip-preflight", &url],
        &["signal", &url],
    ] {
        let ran = run(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.stderr);
    }
    let ran = run_with(&["request", &url, "echo", "-"], &[0xff]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("--encoding binary"), "{}", ran.stderr);
}

#[test]
fn no_connection_is_3() {
    for command in ["request", "signal"] {
        let ran = run(&[command, NOBODY, "echo", "x"]);
        assert_eq!((ran.code, ran.text()), (Some(3), ""), "{command}: {}", ran.stderr);
        assert!(ran.stderr.starts_with(&format!("wwr {command}: probe-failed: ")));
        let ran = run(&[command, "--json", NOBODY, "echo", "x"]);
        let object = json(&ran.stdout);
        assert_eq!((ran.code, &object["name"]), (Some(3), &json!("echo")));
        assert_eq!(object["error"], "probe-failed");
    }
}

#[test]
fn a_lost_connection_is_3() {
    let strict = Server::start(&["--protocol", "1.4", "--max-message-size", "64"]);
    let ran = strict.request(&["--json", "echo", &"x".repeat(100)]);
    assert_eq!((ran.code, &json(&ran.stdout)["error"]), (Some(3), &json!("connection-lost")));
}

#[test]
fn timeouts_are_4() {
    let server = Server::start(&[]);
    let ran = server.request(&["--json", "--timeout", "100ms", "sleep", "60000"]);
    assert_eq!((ran.code, &json(&ran.stdout)["error"]), (Some(4), &json!("timed-out")));
    let (_listener, url) = silence();
    for command in ["request", "signal"] {
        let ran = run(&[command, "--timeout", "100ms", &url, "echo", "x"]);
        assert_eq!((ran.code, ran.text()), (Some(4), ""), "{command}: {}", ran.stderr);
        assert!(ran.stderr.starts_with(&format!("wwr {command}: timed-out: ")));
    }
}

#[test]
fn a_session_that_is_not_there_is_1() {
    let server = Server::start(&[]);
    let (url, key) = (server.url(), "k".repeat(64));
    for command in [
        &["request", "--session", &key, &url, "echo", "x"][..],
        &["signal", "--session", &key, &url, "echo", "x"],
        &["listen", "--session", &key, &url],
    ] {
        let ran = run(command);
        assert_eq!(ran.code, Some(1), "{command:?}");
        assert!(ran.stderr.contains("session-not-found"), "{command:?}: {}", ran.stderr);
    }
}

#[test]
fn a_server_that_cannot_start_is_2() {
    let (listener, _) = silence();
    let taken = listener.local_addr().unwrap().to_string();
    let file = tempfile::NamedTempFile::new().unwrap();
    let file = file.path().to_str().unwrap();
    for (arguments, named) in [
        (&["serve", "--listen", &taken][..], taken.as_str()),
        (&["serve", "--listen", "127.0.0.1:0", "--sessions", file], file),
    ] {
        let ran = run(arguments);
        assert_eq!((ran.code, ran.text()), (Some(2), ""), "{arguments:?}");
        assert!(ran.stderr.contains(named), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("(os error "), "the cause: {}", ran.stderr);
    }
}

#[test]
fn invalid_numbers_are_explained() {
    for (arguments, wanted) in [
        (&["listen", "--count", "0", NOBODY][..], "a whole number, 1 or more"),
        (&["serve", "--max-session-connections", "0"], "a whole number, 1 or more"),
        (&["serve", "--max-message-size", "1k"], "a whole number, 1 or more"),
        (&["serve", "--concurrency", "lots"], "a number from 1 to 65535, or unlimited"),
    ] {
        let ran = run(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}");
        assert!(ran.stderr.contains(wanted), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn the_log_says_why_a_server_closed() {
    let server = Server::start(&["--protocol", "1.4", "--max-message-size", "100"]);
    let payload = "x".repeat(200);
    let ran = run(&["request", "--log", "debug", &server.url(), "echo", &payload]);
    assert_eq!((ran.code, ran.text()), (Some(3), ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("code=1009"), "{}", ran.stderr);
    assert!(ran.stderr.contains("message too large"), "{}", ran.stderr);
}
