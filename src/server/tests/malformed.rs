//! Messages that mean nothing (protocol §5.2, §7.2).

use super::*;

const ID: &str = "a1a2a3a4a5a6a7a8";

/// What a message is answered with by 1.x servers, and where the dialect is not known; 2.0 gets no
/// answer.
const ANSWERS: [(&str, Option<&str>, Option<&str>); 32] = [
    ("", None, None),
    ("07", None, None),
    ("14", None, None),
    ("ff0102030405060708", None, None),
    ("17", None, None),
    ("2100", None, None),
    ("7f", Some("06 0"), None),
    ("80a1a2a3a4a5a6a7a8", Some("06 0"), None),
    ("7fa1a2a3a4a5a6a7a800", Some("06 0"), None),
    ("7fa1a2a3a4a5a6a7a8056162", Some("06 -"), Some("02 -")),
    ("80a1a2a3a4a5a6a7a8ff6162", Some("06 -"), Some("02 -")),
    ("81a1a2a3a4a5a6a7a800", Some("06 0"), None),
    ("81a1a2a3a4a5a6a7a80061", Some("06 0"), None),
    ("81a1a2a3a4a5a6a7a803616263", Some("06 0"), None),
    ("81a1a2a3a4a5a6a7a8046162", Some("06 -"), Some("02 -")),
    ("1f", Some("06 0"), None),
    ("1fa1a2a3a4a5a6a7a800", Some("06 0"), None),
    ("1fa1a2a3a4a5a6a7", Some("06 0"), None),
    ("20", Some("06 0"), None),
    ("20a1a2a3a4a5a6a7a8", Some("06 0"), None),
    ("3f", None, None),
    ("3f00", None, None),
    ("3f0361", None, None),
    ("410061", None, None),
    ("41016100", None, None),
    ("15", None, None),
    ("1600", None, None),
    ("00a1a2a3a4a5a6a7a8004d", None, None),
    ("01a1a2", None, None),
    ("06", None, None),
    ("bfa1", None, None),
    ("c1a1a2a3a4a5a6a7a8", None, None),
];

fn bytes(hex: &str) -> Bytes {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

#[test]
fn each_dialect_answers_malformed_requests_its_way() {
    for (hex, v1, unknown) in ANSWERS {
        for (dialect, answer) in [
            (Dialect::V1_4, v1),
            (Dialect::V1_5, v1),
            (Dialect::V2_0, None),
            (Dialect::Unknown, unknown),
        ] {
            let mut script = Script::with(dialect, &config());
            let frame = bytes(hex);
            script.connection.handle_message(script.now, frame, &mut script.out);
            let answer = answer.map(|answer| format!("send {answer}"));
            assert_eq!(script.lines(), Vec::from_iter(answer), "{hex} in {dialect:?}");
            script.client(request(1, "still", "here"), &["run 1 still here"]);
        }
    }
}

#[test]
fn the_identifier_that_was_read_comes_back() {
    let mut script = Script::new();
    let frame = bytes(&format!("7f{ID}056162"));
    script.connection.handle_message(script.now, frame, &mut script.out);
    assert_eq!(script.out.pop(), Some(Action::Send(bytes(&format!("06{ID}")))));
}

#[test]
fn name_only_signals_are_read_by_dialects_that_know_them() {
    for (dialect, read) in [
        (Dialect::V1_4, false),
        (Dialect::V1_5, false),
        (Dialect::V2_0, true),
        (Dialect::Unknown, true),
    ] {
        let mut script = Script::with(dialect, &config());
        let expected: &[&str] = if read { &["signal 1 a"] } else { &[] };
        script.client(&b"\x3f\x01a"[..], expected);
    }
}

#[test]
fn too_many_in_a_row_end_the_connection() {
    let max_ignored_in_a_row = NonZeroU32::new(3).unwrap();
    let config = Config { max_ignored_in_a_row, ..config() };
    for (first, second, third) in [
        // Empty, unknown, malformed, and well-formed but only for servers: all count.
        (&b""[..], &b"\xff"[..], &b"\x16"[..]),
        (b"\x3f", b"\x15{}", b"\xbf\x01\0\0\0\0\0\0\0"),
    ] {
        let mut script = Script::with(Dialect::V1_4, &config);
        script.client(first, &[]);
        script.client(second, &[]);
        script.client(&b"\x21"[..], &[]);
        script.client(third, &["close TooManyIgnored"]);

        // Anything with a meaning starts the count again.
        let mut script = Script::with(Dialect::V1_4, &config);
        script.client(first, &[]);
        script.client(second, &[]);
        script.client(close_session(1), &["send bf 1"]);
        script.client(first, &[]);
        script.client(second, &[]);
        script.client(signal("s", "x"), &["signal 1 s x"]);
        script.handled(1, &[]);
        script.client(first, &[]);
        script.client(second, &[]);
        assert!(script.connection.is_open());
        script.client(third, &["close TooManyIgnored"]);
    }
}

#[test]
fn malformed_requests_count_and_are_answered_to_the_last() {
    let max_ignored_in_a_row = NonZeroU32::new(2).unwrap();
    let mut script = Script::with(Dialect::V1_4, &Config { max_ignored_in_a_row, ..config() });
    script.client(&b"\x7f"[..], &["send 06 0"]);
    script.client(&b"\x1f"[..], &["send 06 0", "close TooManyIgnored"]);
}

#[test]
fn waiting_messages_count_when_they_are_handled() {
    let max_ignored_in_a_row = NonZeroU32::new(2).unwrap();
    let config = Config { max_ignored_in_a_row, ..concurrent(2) };
    let mut script = Script::with(Dialect::V1_4, &config);
    script.client(request(1, "a", ""), &["run 1 a"]);
    script.client(request(2, "b", ""), &["run 2 b"]);
    script.client(&b""[..], &[]);
    script.client(&b"\x7f"[..], &[]);
    script.client(request(3, "c", ""), &[]);
    assert!(script.connection.is_open());
    script.reply(1, Ok(""), &["send c0 1", "send 06 0", "send 01 3"]);
    assert!(!script.connection.is_open());
    script.reply(2, Ok(""), &["send c0 2", "close TooManyIgnored"]);
}
