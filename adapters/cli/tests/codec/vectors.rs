//! Whole vector files, both ways.

use core::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Ran, wwr};

const VERSIONS: [&str; 3] = ["1.4", "2.0", "wwr.1"];

fn rows(name: &str, version: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let text = fs::read_to_string(folder.join(format!("{name}-{version}.jsonl"))).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn hex(row: &Value) -> &str {
    row["hex"].as_str().unwrap()
}

fn lines<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<u8> {
    lines.fold(String::new(), |text, line| text + line + "\n").into_bytes()
}

/// Decodes the messages of a file of vectors.
fn decode(version: &str, rows: &[Value]) -> Ran {
    wwr(&["decode", "--json", "--protocol", version], &lines(rows.iter().map(hex)))
}

#[test]
fn decode_agrees_with_the_reference() {
    for version in VERSIONS {
        let rows = rows("parse", version);
        let ran = decode(version, &rows);
        assert_eq!((ran.code, ran.stdout.lines().count()), (0, rows.len()));
        for (line, row) in ran.stdout.lines().zip(&rows) {
            let mut object: Value = serde_json::from_str(line).unwrap();
            let object = object.as_object_mut().unwrap();
            let error = object.remove("error");
            assert_eq!(error.is_some(), row["ok"] == false, "{line}");
            object.insert("hex".to_owned(), row["hex"].clone());
            assert_eq!(Some(&*object), row.as_object());
        }
    }
}

#[test]
fn every_message_can_be_dissected() {
    for version in VERSIONS {
        let rows = rows("parse", version);
        let ran = wwr(&["decode", "--protocol", version], &lines(rows.iter().map(hex)));
        let titles = ran.stdout.lines().filter(|line| line.starts_with("message ")).count();
        let wrong = ran.stdout.lines().filter(|line| line.get(13..18) == Some("wrong")).count();
        assert_eq!((ran.code, titles), (0, rows.len()));
        assert_eq!(wrong, rows.iter().filter(|row| row["ok"] == false).count());
    }
}

#[test]
fn encode_restores_what_was_decoded() {
    for (version, counts) in
        VERSIONS.into_iter().zip([(1070, 190, 257), (1101, 155, 363), (69, 11, 0)])
    {
        let rows = rows("parse", version);
        let decoded = decode(version, &rows).stdout;
        let encoded = wwr(&["encode", "--protocol", version], decoded.as_bytes());
        assert_eq!((encoded.code, encoded.stdout.lines().count()), (1, rows.len()));
        let (mut same, mut cleaned, mut refused) = (0, 0, 0);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for ((line, object), row) in encoded.stdout.lines().zip(decoded.lines()).zip(&rows) {
            match line.strip_prefix("refused: ") {
                Some("it is not a message, ok is false") => assert_eq!(row["ok"], false),
                Some(reason) => {
                    assert!(reason.contains("only printable ASCII"), "{row} gave {line}");
                    refused += 1;
                }
                None if line == hex(row) => same += 1,
                None => {
                    before.push(object);
                    after.push(line);
                    cleaned += 1;
                }
            }
        }
        assert_eq!((same, cleaned, refused), counts);
        // An object does not hold the value of a padding byte, nor what follows a special reply.
        // Without them the message is the same.
        let again = wwr(&["decode", "--json", "--protocol", version], &lines(after.into_iter()));
        assert!(again.stdout.lines().eq(before));
    }
}

/// The object a row of the composers' vectors stands for, if there is one.
fn object(row: &Value) -> Option<Value> {
    let args = &row["args"];
    let tag = |first: u64| match args["encoding"].as_str() {
        Some("utf8") => first + 1,
        Some("utf16") => first + 2,
        _ => first,
    };
    let mut object = json!({"id": args["id"], "name_hex": args["name_hex"],
        "encoding": args["encoding"], "payload_hex": args["payload_hex"]});
    object["type"] = match row["fn"].as_str().unwrap() {
        "signal" => tag(63).into(),
        "request" => tag(127).into(),
        "reply" => tag(191).into(),
        "error_reply" => {
            object["name_hex"] = args["code_hex"].clone();
            object["payload_hex"] = args["message_hex"].clone();
            0.into()
        }
        // Of all types these write, the protocol has requests of two.
        "nameless_request" | "empty_request"
            if ![31, 32].map(Value::from).contains(&args["type"]) =>
        {
            return None;
        }
        "special_reply" if !(1..=6).map(Value::from).any(|kind| kind == args["type"]) => {
            return None;
        }
        "nameless_request" | "empty_request" | "special_reply" => args["type"].clone(),
        "session_created" => 21.into(),
        "heartbeat" => 33.into(),
        "accept_conf" => {
            let timeout = args["read_timeout_ns"].as_i64().unwrap() / 1_000_000;
            object["accept_conf"] = json!({"major": args["major"], "minor": args["minor"],
                "read_timeout_ms": timeout, "message_buffer_size": args["message_buffer_size"],
                "sub_protocol_hex": args["sub_protocol_hex"]});
            23.into()
        }
        other => panic!("{other}"),
    };
    Some(object)
}

/// Rows the reference writes and we refuse: names it was told not to check, and close-session
/// requests with a body.
fn refused_on_purpose(row: &Value, reason: &str) -> bool {
    let unchecked = row["args"]["safe"] == false && reason.contains("only printable ASCII");
    unchecked || (row["args"]["type"] == 31 && reason == "messages of type 31 have no payload_hex")
}

#[test]
fn encode_agrees_with_the_reference() {
    for (version, exceptions) in VERSIONS.into_iter().zip([13, 38]) {
        let rows: Vec<_> = rows("compose", version)
            .into_iter()
            .filter_map(|row| Some((object(&row)?, row)))
            .collect();
        let input = rows.iter().fold(String::new(), |mut text, (object, _)| {
            writeln!(text, "{object}").unwrap();
            text
        });
        let ran = wwr(&["encode", "--protocol", version], input.as_bytes());
        assert_eq!((ran.code, ran.stdout.lines().count()), (1, rows.len()));
        let mut refused = 0;
        for (line, (_, row)) in ran.stdout.lines().zip(&rows) {
            match (line.strip_prefix("refused: "), row.get("hex")) {
                (Some(_), None) => {}
                (Some(reason), Some(_)) => {
                    assert!(refused_on_purpose(row, reason), "{row} gave {line}");
                    refused += 1;
                }
                (None, composed) => assert_eq!(composed, Some(&json!(line)), "{row}"),
            }
        }
        assert_eq!(refused, exceptions);
    }
}
