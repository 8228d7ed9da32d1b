//! What `wwr encode` composes and refuses.

use serde_json::{Value, json};

use crate::support::{Ran, wwr};

fn encode(protocol: &str, object: &Value) -> Ran {
    wwr(&["encode", "--protocol", protocol], format!("{object}\n").as_bytes())
}

/// The line for an object that has to be composed.
fn composed(protocol: &str, object: Value) -> String {
    let ran = encode(protocol, &object);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{object} gave {}", ran.stdout);
    ran.stdout.trim_end().to_owned()
}

/// The reason for which an object has to be refused.
fn refused(protocol: &str, object: Value) -> String {
    let ran = encode(protocol, &object);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""), "{object} gave {}", ran.stdout);
    let line = ran.stdout.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'));
    line.strip_prefix("refused: ").unwrap().to_owned()
}

const ID: &str = "0102030405060708";

#[test]
fn only_the_members_a_type_needs_have_to_be_there() {
    let conf = json!({"major": 2, "minor": 0, "read_timeout_ms": 60000,
        "message_buffer_size": 8192});
    let cases = [
        (json!({"type": 63, "name_hex": "61", "payload_hex": "78"}), "3f016178"),
        (json!({"type": 65, "name_hex": "61", "payload_hex": "68006900"}), "4101610068006900"),
        (json!({"type": 127, "id": ID, "name_hex": "61"}), "7f01020304050607080161"),
        (json!({"type": 129, "id": ID, "name_hex": "61"}), "810102030405060708016100"),
        (json!({"type": 193, "id": ID}), "c1010203040506070800"),
        (json!({"type": 0, "id": ID, "name_hex": "43"}), "0001020304050607080143"),
        (json!({"type": 1, "id": ID}), "010102030405060708"),
        (json!({"type": 21, "payload_hex": "7b7D"}), "157b7d"),
        (json!({"type": 22}), "16"),
        (json!({"type": 31, "id": ID}), "1f0102030405060708"),
        (json!({"type": 32, "id": ID, "payload_hex": "6b"}), "2001020304050607086b"),
        (json!({"type": 33, "id": null, "name_hex": ""}), "21"),
        (json!({"type": 23, "accept_conf": conf}), "17020060ea000000200000"),
    ];
    for (object, hex) in cases {
        assert_eq!(composed("2.0", object), hex);
    }
}

#[test]
fn unreadable_messages_are_composed_as_the_reference_composes_them() {
    assert_eq!(composed("1.4", json!({"type": 63})), "3f00");
    assert_eq!(composed("1.4", json!({"type": 63, "name_hex": "61"})), "3f0161");
    assert_eq!(composed("2.0", json!({"type": 65, "name_hex": "61"})), "41016100");
    assert_eq!(composed("1.4", json!({"type": 32, "id": ID})), "200102030405060708");
}

#[test]
fn invalid_objects_are_refused_with_the_reason() {
    let long = "61".repeat(256);
    let cases = [
        (json!({}), "type is missing"),
        (json!({"type": 96}), "96 is not a message type of any version"),
        (
            json!({"type": 23, "accept_conf": {"major": 2, "minor": 0, "read_timeout_ms": 1,
            "message_buffer_size": 32}}),
            "this version has no message of type AcceptConf",
        ),
        (json!({"ok": false, "type": 22}), "it is not a message, ok is false"),
        (json!({"type": 1}), "id is missing"),
        (json!({"type": 1, "id": "00"}), "an identifier has 8 bytes, this one has 1"),
        (json!({"type": 127, "id": ID}), "a request needs a name or a payload"),
        (json!({"type": 63, "name_hex": "0a"}), "invalid name: only printable ASCII"),
        (json!({"type": 63, "name_hex": long}), "invalid name: at most 255 bytes"),
        (json!({"type": 0, "id": ID}), "invalid error code: an error code has at least one"),
        (json!({"type": 0, "id": ID, "name_hex": "e9"}), "invalid error code: only printable"),
        (json!({"type": 65, "payload_hex": "00"}), "a UTF-16 payload has an even number"),
        (json!({"type": 64, "encoding": "binary"}), "the encoding of messages of type 64 is utf8"),
        (json!({"type": 22, "payload_hex": "00"}), "messages of type 22 have no payload_hex"),
        (json!({"type": 191, "id": ID, "name_hex": "61"}), "messages of type 191 have no name_hex"),
        (json!({"type": 63, "id": ID}), "messages of type 63 have no id"),
        (json!({"type": 63, "payload_hex": "0"}), "an odd number of hexadecimal digits"),
        (json!({"type": 256}), "invalid value"),
        (json!([1]), "invalid type"),
        (json!("text\n\u{1b}[2J"), "invalid type"),
    ];
    for (object, reason) in cases {
        let given = refused("1.4", object.clone());
        assert!(given.starts_with(reason), "{object}: {given}");
    }
    assert_eq!(refused("2.0", json!({"type": 23})), "accept_conf is missing");
}

#[test]
fn lines_other_than_json_are_refused_and_the_rest_is_composed() {
    let ran = wwr(&["encode"], b"{\"type\":22}\n\n{\"type\":\nno\n\xff\xfe\n{\"type\":22}");
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 6, "{}", ran.stdout);
    assert_eq!([lines[0], lines[5]], ["16", "16"]);
    assert!(lines[1..5].iter().all(|line| line.starts_with("refused: ")), "{}", ran.stdout);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
}

#[test]
fn a_reason_stays_on_its_line() {
    let ran = wwr(&["encode"], br#"{"type":63,"encoding":"\n\u001b[2J"}"#);
    assert_eq!(ran.stdout.lines().count(), 1);
    assert!(!ran.stdout.trim_end().contains(char::is_control), "{:?}", ran.stdout);
}

#[test]
fn help_shows_an_example_that_works() {
    let help = wwr(&["encode", "--help"], b"").stdout;
    let example = help.lines().find_map(|line| line.trim().strip_prefix("echo '")).unwrap();
    let (object, command) = example.split_once("' | wwr ").unwrap();
    let ran = wwr(&[command], object.as_bytes());
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "3f046563686f6869\n"));
}
