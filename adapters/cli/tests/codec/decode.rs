//! What `wwr decode` shows.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::wwr;

fn objects(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_example_of_the_readme_is_a_request_of_echo() {
    let readme = include_str!("../../../../README.md");
    let example = readme.lines().find_map(|line| line.strip_prefix("wwr decode ")).unwrap();
    let message = example.split_whitespace().next().unwrap();
    let ran = wwr(&["decode", message], b"");
    assert!(ran.stdout.contains("name          \"echo\"\n"), "{}", ran.stdout);
    assert!(ran.stdout.ends_with(" hi\n\n"), "{}", ran.stdout);
}

#[test]
fn every_part_is_shown_with_its_offset() {
    let ran =
        wwr(&["decode", "7f0100000000000000046563686f6869", "8101020304050607080161ff6800"], b"");
    assert_eq!(
        ran.stdout,
        "\
message 1: request, binary, 16 bytes
  00         type          127 (7f)
  01-08      identifier    0100000000000000
  09         name length   4
  0a-0d      name          \"echo\"
  0e-0f      payload       2 bytes
      0e  68 69                                            hi

message 2: request, UTF-16, 14 bytes
  00         type          129 (81)
  01-08      identifier    0102030405060708
  09         name length   1
  0a         name          \"a\"
  0b         padding       ff
  0c-0d      payload       2 bytes \"h\"

"
    );
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}

#[test]
fn accept_conf_is_shown_in_its_units() {
    let ran = wwr(&["decode", "--protocol", "2.0", "17020060ea0000002000006d792f31"], b"");
    assert_eq!(
        ran.stdout,
        "\
message 1: accept-conf, 15 bytes
  00         type          23 (17)
  01         major         2
  02         minor         0
  03-06      read timeout  60s
  07-0a      buffer size   8192 bytes
  0b-0e      sub-protocol  4 bytes \"my/1\"

"
    );
}

#[test]
fn clients_of_wwr_1_state_the_longest_message_that_they_read() {
    let ran = wwr(&["decode", "--protocol", "wwr.1", "1800000001ff"], b"");
    for line in ["  01-04      longest       16777216 bytes\n", "  05         abilities     none\n"]
    {
        assert!(ran.stdout.contains(line), "{}", ran.stdout);
    }
}

#[test]
fn errors_are_shown_at_their_offset() {
    let cases = [
        ("", "00         wrong         the message is empty"),
        ("07", "00         wrong         7 is not a message type of this version"),
        ("7f00", "02         wrong         it has 2 bytes, the shortest has 11"),
        ("1600", "01         wrong         it has 2 bytes instead of 1"),
        ("1f00", "02         wrong         it has 2 bytes instead of 9"),
        ("4101616800", "04         wrong         it is UTF-16 and has an odd number of bytes, 5"),
        ("0001020304050607080043", "09         wrong         its error code is empty"),
        ("3f0561", "01         wrong         its name of 5 bytes needs"),
        ("7f01020304050607080561", "09         wrong         its name of 5 bytes needs"),
    ];
    for (hex, wrong) in cases {
        let ran = wwr(&["decode"], hex.as_bytes());
        let lines = if hex.is_empty() { wwr(&["decode", ""], b"").stdout } else { ran.stdout };
        let last = lines.lines().rfind(|line| !line.is_empty()).unwrap();
        assert!(last.trim_start().starts_with(wrong), "{hex}: {last}");
        assert_eq!(ran.code, 0);
    }
}

#[test]
fn large_payloads_are_cut() {
    let message = format!("bf0100000000000000{}", "00".repeat(300));
    let ran = wwr(&["decode", &message], b"");
    assert!(ran.stdout.contains("  0009-0134  payload       300 bytes\n"), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("      and 44 bytes more\n\n"), "{}", ran.stdout);
}

#[test]
fn peers_cannot_write_to_the_terminal() {
    // Escape sequences as a name, a UTF-8 payload, a binary payload and an error code.
    for message in ["3f041b5b324a00", "3f041b5b32ff00", "40001b5b324ae280ae", "3f001b5b324a0d"] {
        let ran = wwr(&["decode", message, &format!("000000000000000000{}", "041b5b324a")], b"");
        let harmful = |character: char| character.is_control() && character != '\n';
        assert!(!ran.stdout.contains(harmful), "{:?}", ran.stdout);
        assert!(!ran.stdout.contains('\u{202e}'), "{:?}", ran.stdout);
    }
}

#[test]
fn objects_have_the_members_of_the_vectors_and_the_error() {
    let messages = ["80ffff7dffffffff88023a21", "21", "", "7fffff7dffffffff880b3a"];
    let expected = [
        json!({"ok": true, "type_known": true, "type": 128, "id": "ffff7dffffffff88",
            "name_hex": "3a21", "encoding": "utf8", "payload_hex": ""}),
        json!({"ok": false, "type_known": false, "type": 33,
            "error": "33 is not a message type of this version"}),
        json!({"ok": false, "type_known": false, "error": "the message is empty"}),
        json!({"ok": false, "type_known": true, "type": 127, "id": "ffff7dffffffff88",
            "error": "malformed RequestBinary: its name of 11 bytes needs a message of at least \
                21, it has 11"}),
    ];
    let ran = wwr(&[&["decode", "--json"][..], &messages].concat(), b"");
    assert_eq!(objects(&ran.stdout), expected);
    assert_eq!(wwr(&["decode", "--json"], messages.join("\n").as_bytes()).stdout, ran.stdout);
}

#[test]
fn an_empty_line_is_the_empty_message() {
    let ran = wwr(&["decode", "--json"], b"\n16\n\r\n");
    let known: Vec<_> = objects(&ran.stdout).into_iter().map(|row| row["type"].clone()).collect();
    assert_eq!(known, [Value::Null, json!(22), Value::Null]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(wwr(&["decode", "--json"], b"").stdout, "");
}

#[test]
fn white_space_around_messages_and_upper_case_are_fine() {
    let plain = wwr(&["decode"], b"bfabcdef0000000000aa\n");
    let other = wwr(&["decode"], b" \t BFABCDEF0000000000AA \r\n");
    assert_eq!(plain.stdout, other.stdout);
    assert_eq!(other.code, 0);
}

#[test]
fn input_that_is_not_hexadecimal_is_reported_and_the_rest_is_shown() {
    let ran = wwr(&["decode", "--json"], b"16\n 16x\nabc\n\xff\xfe\n7f 00\n16\n");
    assert_eq!(ran.code, 2);
    assert_eq!(
        ran.stderr,
        "\
wwr decode: line 2: 'x' at column 4 is not a hexadecimal digit
wwr decode: line 3: an odd number of hexadecimal digits, 3
wwr decode: line 4: '\\xff' at column 1 is not a hexadecimal digit
wwr decode: line 5: ' ' at column 3 is not a hexadecimal digit
"
    );
    let rows = objects(&ran.stdout);
    let ok: Vec<_> = rows.iter().map(|row| row["ok"].as_bool().unwrap()).collect();
    assert_eq!(ok, [true, false, false, false, false, true]);
    assert_eq!(rows[1]["error"], "'x' at column 4 is not a hexadecimal digit");

    let ran = wwr(&["decode", "16", "zz", "1600"], b"");
    assert_eq!(ran.code, 2);
    assert_eq!(ran.stderr, "wwr decode: argument 2: 'z' at column 1 is not a hexadecimal digit\n");
    assert!(ran.stdout.starts_with("message 1: session closed"), "{}", ran.stdout);
    assert!(ran.stdout.contains("\nmessage 3: malformed session closed"), "{}", ran.stdout);
}

#[test]
fn the_version_decides_which_types_are_known() {
    let known = |protocol: &str, message: &str| {
        let ran = wwr(&["decode", "--json", "--protocol", protocol, message], b"");
        objects(&ran.stdout)[0]["type_known"].as_bool().unwrap()
    };
    let conf = "17020060ea000000200000";
    assert_eq!(["1.4", "1.5", "2.0"].map(|protocol| known(protocol, "21")), [false, true, true]);
    assert_eq!(["1.4", "1.5", "2.0"].map(|protocol| known(protocol, conf)), [false, false, true]);
    assert_eq!(wwr(&["decode", "--protocol", "3.0"], b"").code, 2);
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wwr"))
        .args(["decode", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    input.write_all(b"16\n").unwrap();
    let mut line = String::new();
    // Comes before the end of the input: output keeps up with a live source.
    output.read_line(&mut line).unwrap();
    assert!(line.starts_with("{\"ok\":true,"), "{line}");
    drop(output);
    // The command may end as soon as it cannot write; then this cannot be written either.
    let _ = input.write_all(b"16\n");
    drop(input);
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn help_shows_examples_that_work() {
    let help = wwr(&["decode", "--help"], b"").stdout;
    let examples: Vec<_> = help.lines().filter_map(|line| line.strip_prefix("  wwr ")).collect();
    assert!(examples.len() >= 3, "{help}");
    for example in examples.iter().filter(|example| !example.contains('<')) {
        let arguments: Vec<_> = example.split(' ').collect();
        let ran = wwr(&arguments, b"");
        assert_eq!(ran.code, 0, "{example}");
        assert!(!ran.stdout.contains("wrong"), "{example}: {}", ran.stdout);
    }
}
