//! Text of peers, which may want to do something to a terminal.

use serde_json::Value;

use crate::raw_server::{RawServer, accept_conf};
use crate::support::{Running, Server, run};

/// A line is cleared, the cursor moved, the direction turned around, something hidden.
const NASTY: &str =
    "a\u{1b}[2J\u{9b}2J\u{202e}b\u{2066}\u{200e}\u{200b}\u{feff}\u{2028}\u{7f}\u{e0041}c";

fn is_harmless(text: &str) -> bool {
    !text.trim_end_matches('\n').contains(|character: char| {
        character.is_control()
            || matches!(
                character,
                '\u{ad}'
                    | '\u{61c}'
                    | '\u{200b}'..='\u{200f}'
                    | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{206f}'
                    | '\u{feff}'
                    | '\u{e0000}'..='\u{e007f}'
            )
    })
}

fn object(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

#[test]
fn replies_and_errors_are_escaped_in_json() {
    let server = Server::start(&[]);
    let ran = server.request(&["--json", "echo", NASTY]);
    assert!(is_harmless(ran.text()), "{:?}", ran.text());
    assert!(ran.text().contains(r"\u202e") && ran.text().contains(r"\u009b"), "{}", ran.text());
    assert_eq!(object(ran.text())["payload"], NASTY);

    let failing = format!("CODE {NASTY}");
    let ran = server.request(&["--json", "error", &failing]);
    assert!(is_harmless(ran.text()) && is_harmless(&ran.stderr), "{ran:?}");
    assert_eq!(object(ran.text())["message"], NASTY);
    let ran = server.request(&["error", &failing]);
    assert_eq!((ran.code, is_harmless(&ran.stderr)), (Some(1), true), "{:?}", ran.stderr);

    // Without --json the payload is what was asked for, byte by byte.
    assert_eq!(server.reply(&["echo", NASTY]), NASTY);
}

#[test]
fn listen_escapes_what_it_prints() {
    let server = Server::start(&[]);
    let info = serde_json::json!({ "user": NASTY }).to_string();
    let key = server.reply(&["login", &info]);
    for json in [false, true] {
        let url = server.url();
        let mut arguments = vec!["listen", "--count", "2", "--session", &key, &url];
        if json {
            arguments.push("--json");
        }
        let mut listening = Running::start(&arguments);
        let restored = listening.line_with("restored");
        assert!(is_harmless(&restored) && restored.contains(r"\u202e"), "{restored:?}");
        server.reply(&["broadcast", NASTY]);
        server.reply(&["--encoding", "utf16", "broadcast", NASTY]);
        for _ in 0..2 {
            let line = listening.line_with("signal");
            assert!(is_harmless(&line), "{line:?}");
            if json {
                assert_eq!(object(&line)["payload"], NASTY);
            }
        }
        assert_eq!(listening.finish().code, Some(0));
    }
}

#[test]
fn texts_of_servers_are_escaped() {
    let version: &'static str = "{\"protocol-version\":\"9\u{202e}\u{9b}\u{200b}9\"}";
    let sub_protocol = "x\u{202e}\u{9b}y";
    for (preflight, websocket) in [
        (("200 OK", version), Ok(Some(accept_conf([2, 0], sub_protocol)))),
        (("200 OK", version), Err(("403 Forbidden", "no\u{202e}\u{9b}\u{200b}!"))),
        (("400 Bad Request", ""), Ok(Some(accept_conf([2, 0], sub_protocol)))),
    ] {
        let url = RawServer { preflight, websocket }.start();
        for arguments in [
            &["probe", &url][..],
            &["probe", "--json", &url],
            &["request", &url, "echo", "x"],
            &["request", "--json", &url, "echo", "x"],
            &["listen", "--log", "trace", &url],
            &["bench", "--count", "1", "--connections", "1", &url],
        ] {
            let ran = match arguments[0] {
                "listen" => {
                    let mut listening = Running::start(arguments);
                    let line = listening.line_with("failed");
                    assert!(is_harmless(&line), "{arguments:?}: {line:?}");
                    continue;
                }
                _ => run(arguments),
            };
            for text in ran.text().lines().chain(ran.stderr.lines()) {
                assert!(is_harmless(text), "{arguments:?}: {text:?}");
            }
        }
    }
}
