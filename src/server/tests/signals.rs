//! Signals to the client.

use super::*;

const ALL: [Dialect; 4] = [Dialect::V1_4, Dialect::V1_5, Dialect::V2_0, Dialect::Unknown];

#[test]
fn signals_go_out_at_once_in_their_encoding() {
    for (payload, sent) in [
        (Payload::binary(&b"\x01\x02"[..]), "send 3f #036f64640102"),
        (Payload::utf8("hi"), "send 40 #036f64646869"),
        (Payload::utf16("h"), "send 41 #036f6464006800"),
    ] {
        let mut script = Script::new();
        script.client(request(1, "a", ""), &["run 1 a"]);
        assert_eq!(script.connection.signal(&name("odd"), &payload, &mut script.out), Ok(()));
        script.expect(&[sent]);
        script.reply(1, Ok(""), &["send c0 1"]);
    }
}

#[test]
fn a_signal_needs_a_name_or_a_payload() {
    for dialect in ALL {
        let mut script = Script::with(dialect, &config());
        for encoding in [Encoding::Binary, Encoding::Utf8, Encoding::Utf16] {
            let payload = Payload::new(encoding, Bytes::new()).unwrap();
            let refused = script.connection.signal(&Name::NONE, &payload, &mut script.out);
            assert!(refused.is_err(), "{encoding:?} to {dialect:?}");
            script.expect(&[]);
        }
        let nameless = Payload::utf8("x");
        assert_eq!(script.connection.signal(&Name::NONE, &nameless, &mut script.out), Ok(()));
        script.expect(&["send 40 #0078"]);
    }
}

#[test]
fn name_only_signals_go_to_those_who_read_them() {
    for dialect in ALL {
        let sends = matches!(dialect, Dialect::V2_0 | Dialect::Unknown);
        for (encoding, readable, sent) in [
            (Encoding::Binary, sends, "send 3f #0161"),
            (Encoding::Utf8, sends, "send 40 #0161"),
            (Encoding::Utf16, false, ""),
        ] {
            let mut script = Script::with(dialect, &config());
            let payload = Payload::new(encoding, Bytes::new()).unwrap();
            let result = script.connection.signal(&name("a"), &payload, &mut script.out);
            let expected: &[&str] = if readable { &[sent] } else { &[] };
            script.expect(expected);
            assert_eq!(result.is_ok(), readable, "{encoding:?} to {dialect:?}");
        }
    }
}
