//! What the commands that connect speak.

use serde_json::{Value, json};

use crate::raw_server::{RawServer, accept_conf};
use crate::support::{Running, Server, run};

/// The kind of the error of a request.
fn error(arguments: &[&str]) -> String {
    let ran = run(&[&["request", "--json"], arguments].concat());
    let object: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(ran.code, Some(3), "{object}");
    object["error"].as_str().unwrap().to_owned()
}

#[test]
fn each_version_works_with_a_server_of_all_versions() {
    let server = Server::start(&[]);
    let url = server.url();
    for (options, version) in [
        (&[][..], "wwr.1"),
        (&["--protocol", "auto"], "wwr.1"),
        (&["--protocol", "1.4"], "1.4"),
        (&["--protocol", "1.4", "--skip-preflight"], "1.4"),
        // Its preflight can name only one of 1.4 and 1.5.
        (&["--protocol", "1.5", "--skip-preflight"], "1.5"),
        (&["--protocol", "2.0"], "2.0"),
    ] {
        let mut listener = Running::start(&[&["listen", &url], options].concat());
        let connected = format!("connected, protocol {version}");
        assert_eq!(listener.line(), Some(connected), "{options:?}");
        let echo = server.reply(&[&["echo", "hello"], options].concat());
        assert_eq!(echo, "hello", "{options:?}");
        let signal = run(&[&["signal", &url, "echo", "hello"], options].concat());
        assert_eq!((signal.code, signal.stderr.as_str()), (Some(0), ""), "{options:?}");
    }
    assert_eq!(error(&["--protocol", "1.5", &url, "echo"]), "incompatible-version");
}

#[test]
fn a_server_of_another_version_is_distinguished_from_no_server() {
    let only_1_4 = RawServer {
        preflight: ("200 OK", "{\"protocol-version\":\"1.4\"}\n"),
        websocket: Ok(None),
    };
    let only_2_0 = RawServer {
        preflight: ("400 Bad Request", "Bad Request\n"),
        websocket: Ok(Some(accept_conf([2, 0], ""))),
    };
    let (old, new) = (only_1_4.start(), only_2_0.start());
    // It opens the WebSocket and waits to be asked, as does the client to be told.
    let ran = run(&["request", "--protocol", "2.0", "--timeout", "1s", &old, "echo"]);
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    assert!(ran.stderr.contains("does not say that it speaks 2.0"), "{}", ran.stderr);
    assert_eq!(error(&["--protocol", "1.4", &new, "echo"]), "not-webwire");
}

#[test]
fn a_sub_protocol_has_to_be_that_of_the_server() {
    let server = Server::start(&[]);
    let url = server.url();
    assert_eq!(error(&["--sub-protocol", "chat/1", &url, "a"]), "incompatible-sub-protocol");
    // 1.4 has none.
    let old = server.reply(&["--protocol", "1.4", "--sub-protocol", "chat/1", "echo", "x"]);
    assert_eq!(old, "x");

    let named = RawServer {
        preflight: ("405 Method Not Allowed", ""),
        websocket: Ok(Some(accept_conf([2, 0], "chat/1"))),
    };
    let url = named.start();
    for (options, code) in [
        (&["--sub-protocol", "chat/1"][..], 0),
        (&["--sub-protocol", "chat/1", "--protocol", "2.0"], 0),
        (&["--sub-protocol", "chat/2"], 3),
        (&[], 3),
    ] {
        let ran = run(&[&["signal", &url, "a", "x"], options].concat());
        assert_eq!(ran.code, Some(code), "{options:?}: {}", ran.stderr);
    }
}

#[test]
fn a_server_of_2_0_is_sent_nothing_longer_than_it_reads() {
    let small = RawServer {
        preflight: ("400 Bad Request", ""),
        websocket: Ok(Some(accept_conf([2, 0], ""))),
    };
    let url = small.start();
    let ran = run(&["request", "--json", &url, "echo", &"x".repeat(4096)]);
    let object: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!((ran.code, &object["error"]), (Some(2), &json!("too-large")), "{object}");
    assert!(object["message"].as_str().unwrap().contains("4096"), "{object}");
    // A name alone is a signal there.
    assert_eq!(run(&["signal", &url, "name only"]).code, Some(0));
    assert_eq!(run(&["signal", &url]).code, Some(2));
}
