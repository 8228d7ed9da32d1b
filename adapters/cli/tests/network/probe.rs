//! `wwr probe`.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::raw_server::{Answer, RawServer, accept_conf};
use crate::support::{Ran, Server, run, url};

const SPEAKS_1_4: Answer = ("200 OK", "{\"protocol-version\":\"1.4\"}\n");
const SPEAKS_1_5: Answer = ("200 OK", "{\"protocol-version\":\"1.5\",\"read-timeout\":7}\n");
const NO_SUCH_METHOD: Answer = ("400 Bad Request", "Bad Request\nInternal Server Error\n");

/// Probes a server made by hand; returns the exit code and the object.
fn probe(preflight: Answer, websocket: Result<Option<Vec<u8>>, Answer>) -> (Option<i32>, Value) {
    let ran = run(&["probe", "--json", &RawServer { preflight, websocket }.start()]);
    (ran.code, object(&ran))
}

fn object(ran: &Ran) -> Value {
    serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[test]
fn a_server_of_each_version_is_known() {
    let announced = || Ok(Some(accept_conf([2, 0], "")));
    let conf = json!({
        "protocol": "2.0", "read_timeout_ms": 30_000, "message_buffer_size": 4096,
    });
    let speaks_1_4 = json!({ "status": 200, "verdict": "speaks", "protocol": "1.4" });
    let speaks_1_5 = json!({
        "status": 200, "verdict": "speaks", "protocol": "1.5", "read_timeout_ms": 7000,
    });
    let refused = json!({ "status": 400, "verdict": "not-webwire" });
    for (preflight, websocket, asked, accept_conf, speaks, spoken) in [
        (SPEAKS_1_4, Ok(None), &speaks_1_4, &Value::Null, json!(["1.4"]), "1.4"),
        (SPEAKS_1_5, Ok(None), &speaks_1_5, &Value::Null, json!(["1.5"]), "1.5"),
        (NO_SUCH_METHOD, announced(), &refused, &conf, json!(["2.0"]), "2.0"),
        (SPEAKS_1_4, announced(), &speaks_1_4, &conf, json!(["1.4", "2.0"]), "2.0"),
        (SPEAKS_1_5, announced(), &speaks_1_5, &conf, json!(["1.5", "2.0"]), "2.0"),
    ] {
        let (code, object) = probe(preflight, websocket);
        assert_eq!(code, Some(0), "{object}");
        assert_eq!((&object["preflight"], &object["accept_conf"]), (asked, accept_conf));
        assert_eq!((&object["speaks"], &object["connected_with"]), (&speaks, &json!(spoken)));
        assert_eq!((object.get("error"), object.get("names")), (None, None));
    }
}

#[test]
fn the_names_that_a_server_lists_are_its_handlers() {
    let server = Server::start(&[]);
    let ran = run(&["probe", "--json", &server.url()]);
    let names = &object(&ran)["names"];
    assert_eq!(names["signals"], json!(["echo"]));
    let requests: Vec<_> = names["requests"].as_array().unwrap().iter().collect();
    assert_eq!(requests.len(), 13, "{names}");
    for name in requests {
        let ran = run(&["request", &server.url(), name.as_str().unwrap(), "0"]);
        assert!(!ran.stderr.contains("UNKNOWN_NAME"), "{name}: {}", ran.stderr);
    }
    let ran = run(&["request", &server.url(), "unlisted", "0"]);
    assert!(ran.stderr.contains("UNKNOWN_NAME"), "{}", ran.stderr);
}

/// Whatever a server answers to a question that only servers of this project know.
#[test]
fn an_answer_without_a_list_of_names_is_none() {
    let listed = r#"{"requests":["a"],"signals":[]}"#;
    let kind = "application/vnd.webwire.names+json";
    for (status, kind, body, listed) in [
        ("200 OK", kind, listed, true),
        ("200 OK", "application/json", listed, false),
        ("404 Not Found", kind, listed, false),
        ("200 OK", kind, "{", false),
        ("200 OK", kind, r#"{"requests":["a\u001b[2J"]}"#, false),
        ("200 OK", kind, "", false),
    ] {
        let names = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let (preflight, websocket) = (SPEAKS_1_4, Ok(None));
        let url = RawServer { preflight, websocket }.start_with(Some(names));
        let ran = run(&["probe", "--json", &url]);
        let expected = listed.then(|| json!({ "requests": ["a"], "signals": [] }));
        let object = object(&ran);
        assert_eq!((ran.code, object.get("names")), (Some(0), expected.as_ref()), "{object}");
    }
}

#[test]
fn an_unsuitable_server_is_reported() {
    for (preflight, websocket, error, speaks) in [
        (
            NO_SUCH_METHOD,
            Ok(Some(accept_conf([2, 0], "chat/1"))),
            "incompatible-sub-protocol",
            json!(["2.0"]),
        ),
        (
            SPEAKS_1_4,
            Ok(Some(accept_conf([2, 0], "chat/1"))),
            "incompatible-sub-protocol",
            json!(["1.4", "2.0"]),
        ),
        (
            NO_SUCH_METHOD,
            Ok(Some(accept_conf([3, 4], "chat/1"))),
            "incompatible-version",
            json!(["3.4"]),
        ),
        (
            ("200 OK", "{\"protocol-version\":\"3.1\"}"),
            Err(("403 Forbidden", "no")),
            "incompatible-version",
            json!(["3.1"]),
        ),
        (SPEAKS_1_4, Err(("403 Forbidden", "members only")), "dial-failed", json!(["1.4"])),
        (SPEAKS_1_4, Err(("503 Service Unavailable", "later")), "unavailable", json!(["1.4"])),
    ] {
        let (code, object) = probe(preflight, websocket.clone());
        assert_eq!((code, &object["error"]), (Some(0), &json!(error)), "{object}");
        assert_eq!(object["speaks"], speaks, "{object}");
        assert_eq!(object.get("connected_with"), None);
        if websocket.is_ok() {
            assert_eq!(object["accept_conf"]["sub_protocol"], "chat/1");
        }
    }
}

#[test]
fn no_webwire_server_exits_with_3() {
    let down = ("503 Service Unavailable", "server shutting down\n");
    let page = ("200 OK", "<html></html>");
    let other_json = ("404 Not Found", "{\"error\":\"not found\"}");
    for (preflight, websocket, error) in [
        (down, Err(down), "unavailable"),
        (NO_SUCH_METHOD, Err(down), "unavailable"),
        (page, Err(page), "not-webwire"),
        (other_json, Err(other_json), "not-webwire"),
        (page, Ok(Some(b"some other chat".to_vec())), "not-webwire"),
    ] {
        let (code, object) = probe(preflight, websocket);
        assert_eq!((code, &object["error"]), (Some(3), &json!(error)), "{object}");
        assert_eq!((&object["speaks"], &object["accept_conf"]), (&json!([]), &Value::Null));
    }
    let ran = run(&["probe", "ws://127.0.0.1:1/"]);
    assert_eq!(ran.code, Some(3));
    assert!(ran.stderr.starts_with("wwr probe: probe-failed: "), "{}", ran.stderr);
    assert!(ran.text().contains("preflight       no answer\n"), "{}", ran.text());
    assert!(!ran.text().contains("speaks"), "{}", ran.text());
}

#[test]
fn no_answer_in_time_is_4() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = url(silent.local_addr().unwrap());
    let ran = run(&["probe", "--json", "--timeout", "100ms", &url]);
    let object = object(&ran);
    assert_eq!((ran.code, &object["error"]), (Some(4), &json!("timed-out")), "{object}");
    assert_eq!((&object["preflight"], &object["speaks"]), (&Value::Null, &json!([])));
}

#[test]
fn people_get_a_table_and_a_conclusion() {
    for (options, longest, connected, speaks) in [
        (&["--no-wwr1"][..], "message buffer  8192 bytes", "2.0", "1.4 and 2.0"),
        (&[], "longest message 1048576 bytes", "wwr.1", "1.4, 2.0 and wwr.1"),
    ] {
        let server = Server::start(options);
        let ran = run(&["probe", &server.url()]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        let expected = format!(
            "server          {}\n\
             preflight       status 200, version 1.4\n\
             accept-conf     version 2.0\n\
             read timeout    1m\n\
             {longest}\n\
             sub-protocol    none\n\
             connection      ready, in {connected}\n\
             requests        \"\" \"broadcast\" \"close\" \"echo\" \"error\" \"fail\" \"kick\" \"login\" \
             \"logout\" \"signal-me\" \"sleep\" \"time\" \"whoami\"\n\
             signals         \"echo\"\n\
             speaks {speaks}\n",
            server.url()
        );
        assert_eq!(ran.text(), expected);
    }

    let hostile = RawServer {
        preflight: SPEAKS_1_5,
        websocket: Ok(Some(accept_conf([2, 0], "\u{1b}[2J\nspeaks 9.9"))),
    };
    let ran = run(&["probe", &hostile.start()]);
    assert_eq!(ran.code, Some(0));
    assert!(!ran.text().contains('\u{1b}'), "{}", ran.text());
    assert!(ran.text().contains("status 200, version 1.5, read timeout 7s\n"), "{}", ran.text());
    assert!(ran.text().ends_with("\nspeaks 1.5 and 2.0\n"), "{}", ran.text());
    assert_eq!(ran.text().lines().count(), 8, "{}", ran.text());
}
