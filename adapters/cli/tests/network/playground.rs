//! Every request and signal of the playground.

use serde_json::{Value, json};

use crate::support::{Running, Server, run_with};

fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}

#[test]
fn echo_and_nameless_requests_return_payload_and_encoding() {
    let server = Server::start(&[]);
    for name in ["echo", ""] {
        assert_eq!(server.reply(&[name, "né 😀"]), "né 😀");
        assert_eq!(server.reply(&["--encoding", "utf16", name, "né 😀"]), "né 😀");
        for (encoding, member, value) in [
            ("utf8", "payload", "né"),
            ("utf16", "payload", "né"),
            ("binary", "payload_hex", "6ec3a9"),
        ] {
            let ran = server.request(&["--json", "--encoding", encoding, name, "né"]);
            let expected = json!({ "name": name, "encoding": encoding, member: value });
            assert_eq!(json(&ran.stdout), expected);
        }
    }
    let empty = server.request(&["--json", "echo"]);
    assert_eq!(json(&empty.stdout), json!({ "name": "echo", "encoding": "utf8", "payload": "" }));
}

#[test]
fn bytes_pass_unchanged_from_files_and_standard_input() {
    let server = Server::start(&[]);
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("payload");
    std::fs::write(&file, &bytes).unwrap();
    let file = file.to_str().unwrap();
    let arguments = ["--protocol", "1.4", "--encoding", "binary", "--file", file, "echo"];
    let from_file = server.request(&arguments);
    assert_eq!((from_file.code, from_file.stdout == bytes), (Some(0), true));
    for stdin in [&["echo", "-"][..], &["--file", "-", "echo"]] {
        let url = server.url();
        let arguments =
            [&["request", &url, "--protocol", "1.4", "--encoding", "binary"], stdin].concat();
        let ran = run_with(&arguments, &bytes);
        assert_eq!((ran.code, ran.stdout == bytes), (Some(0), true));
    }
}

#[test]
fn time_and_sleep() {
    let server = Server::start(&[]);
    let time = server.reply(&["time"]);
    assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    assert_eq!(server.reply(&["sleep", "5"]), "5");
    for bad in ["", "soon", "-1", "60001", "1.5"] {
        assert_eq!(server.error(&["sleep", bad]), "BAD_PAYLOAD", "{bad}");
    }
}

#[test]
fn errors_of_every_kind() {
    let server = Server::start(&[]);
    let ran = server.request(&["error", "NO_TEA try coffee"]);
    assert_eq!((ran.code, ran.stdout), (Some(1), vec![]));
    assert!(ran.stderr.contains("failed") && ran.stderr.contains(r#""NO_TEA""#), "{}", ran.stderr);
    let ran = server.request(&["--json", "error", "NO_TEA try coffee"]);
    let expected = json!({
        "name": "error", "error": "failed", "code": "NO_TEA", "message": "try coffee",
    });
    assert_eq!(json(&ran.stdout), expected);
    assert_eq!(server.error(&["error", "CODE"]), "CODE");
    for unsendable in ["naïve code", " no code", ""] {
        assert_eq!(server.error(&["error", unsendable]), "internal-error", "{unsendable}");
    }
    assert_eq!(server.error(&["fail"]), "internal-error");
    assert_eq!(server.error(&["no such name"]), "UNKNOWN_NAME");
}

#[test]
fn login_logout_whoami_and_kick() {
    let server = Server::start(&[]);
    assert_eq!(server.error(&["whoami"]), "NO_SESSION");
    assert_eq!(server.reply(&["logout"]), "false");
    let key = server.reply(&["login", r#"{"user":"ada","n":[1]}"#]);
    assert_eq!(key.len(), 64);
    let session = json(server.reply(&["--session", &key, "whoami"]).as_bytes());
    assert_eq!(session["k"], key.as_str());
    assert_eq!(session["i"], json!({ "user": "ada", "n": [1] }));
    assert_eq!(server.error(&["--session", &key, "login"]), "SESSION_EXISTS");

    let bare = server.reply(&["login"]);
    let session = json(server.reply(&["--session", &bare, "whoami"]).as_bytes());
    assert_eq!(session.get("i"), None);
    assert_eq!(server.reply(&["--session", &bare, "logout"]), "true");
    assert_eq!(server.error(&["--session", &bare, "whoami"]), "session-not-found");
    for bad in ["[]", "{", "null", "text"] {
        assert_eq!(server.error(&["login", bad]), "BAD_PAYLOAD", "{bad}");
    }

    let url = server.url();
    let mut holder = Running::start(&["listen", "--session", &key, &url]);
    holder.line_with("session restored");
    assert_eq!(server.reply(&["kick", &key]), "1");
    holder.line_with("session closed");
    assert_eq!(server.reply(&["kick", &key]), "0");
    assert_eq!(server.error(&["--session", &key, "whoami"]), "session-not-found");
    assert_eq!(server.error(&["kick", "nobody"]), "BAD_PAYLOAD");
}

#[test]
fn signals_go_to_one_or_to_all() {
    let server = Server::start(&[]);
    let url = server.url();
    let mut listeners = [(); 2].map(|()| Running::start(&["listen", &url]));
    for listener in &mut listeners {
        assert_eq!(listener.line().as_deref(), Some("connected, protocol wwr.1"));
    }
    assert_eq!(server.reply(&["--encoding", "utf16", "broadcast", "hi"]), "3");
    for listener in &mut listeners {
        assert_eq!(listener.line().as_deref(), Some(r#"signal "broadcast" utf16 "hi""#));
    }
    assert_eq!(server.reply(&["signal-me", "hi"]), "");
    assert_eq!(server.error(&["signal-me"]), "BAD_PAYLOAD");
    assert_eq!(server.error(&["broadcast"]), "BAD_PAYLOAD");
}

#[test]
fn close_replies_before_it_closes() {
    let server = Server::start(&[]);
    assert_eq!(server.reply(&["close"]), "");
}

#[test]
fn a_signal_was_received_when_the_command_ends() {
    let mut server = Server::start(&["--log", "debug"]);
    let url = server.url();
    for (name, payload) in [("one", "x"), ("two", "y")] {
        let ran = crate::support::run(&["signal", &url, name, payload]);
        assert_eq!((ran.code, ran.stdout, ran.stderr.as_str()), (Some(0), vec![], ""));
        server.running.wait_for_log(&format!("name={name}"));
    }
}
