//! Signals to the client.

use super::*;
use crate::wire::{InvalidSignal, PreparedSignal, UnreadableSignal};

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
fn name_only_signals_go_to_peers_that_read_them() {
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

/// Names and payloads of all kinds, in all encodings, short and long.
fn contents() -> impl Iterator<Item = (Name, Payload)> {
    let encodings = [Encoding::Binary, Encoding::Utf8, Encoding::Utf16];
    let payloads = [0, 2, 8188, 8190, 8192].map(|length| "xy".repeat(length / 2));
    encodings.into_iter().flat_map(move |encoding| {
        let payloads = payloads.clone().map(|text| Payload::new(encoding, text).unwrap());
        let names = ["", "a", "ab"].map(name);
        payloads
            .into_iter()
            .flat_map(move |payload| names.clone().map(|name| (name, payload.clone())))
    })
}

#[test]
fn a_prepared_signal_is_sent_and_refused_as_if_it_were_not() {
    for dialect in ALL {
        for (name, payload) in contents() {
            let what = format!("{name:?} and {} bytes to {dialect}", payload.len());
            let mut script = Script::with(dialect, &config());
            let plain = script.connection.signal(&name, &payload, &mut script.out);
            let sent = script.lines();
            let prepared = match PreparedSignal::new(&name, &payload) {
                Ok(signal) => script.connection.signal_prepared(&signal, &mut script.out),
                Err(InvalidSignal::Unreadable(error)) => Err(Misuse::UnreadableSignal(error)),
                Err(InvalidSignal::Name(error)) => panic!("{error}"),
            };
            assert_eq!((prepared, script.lines()), (plain, sent), "{what}");
        }
    }
}

#[test]
fn a_signal_that_no_peer_reads_cannot_be_prepared() {
    for encoding in [Encoding::Binary, Encoding::Utf8, Encoding::Utf16] {
        let nothing = Payload::new(encoding, Bytes::new()).unwrap();
        let empty = Err(UnreadableSignal::Empty.into());
        assert_eq!(PreparedSignal::new(&Name::NONE, &nothing), empty);
        let only_name = PreparedSignal::new(name("a"), &nothing);
        let needs_payload = Err(UnreadableSignal::NeedsPayload.into());
        assert_eq!(only_name.is_err(), encoding == Encoding::Utf16, "{encoding:?}");
        assert!(only_name.is_ok() || only_name == needs_payload);
    }
}

#[test]
fn a_prepared_signal_follows_what_is_learned_and_ends_with_the_connection() {
    let only_name = PreparedSignal::new(name("a"), &Payload::EMPTY).unwrap();
    let mut script = Script::observed(&config(), Observed::Preflight);
    script.lines();
    let refused = Err(Misuse::UnreadableSignal(UnreadableSignal::NeedsPayload));
    assert_eq!(script.connection.signal_prepared(&only_name, &mut script.out), refused);
    script.client(&b"\x21"[..], &["speaks 2.0"]);
    script.client(request(1, "r", ""), &["run 1 r"]);
    script.connection.close(script.now, &mut script.out);
    assert_eq!(script.connection.signal_prepared(&only_name, &mut script.out), Ok(()));
    script.expect(&["send 3f #0161"]);
    script.disconnect(&[]);
    let closed = Err(Misuse::Closed);
    assert_eq!(script.connection.signal_prepared(&only_name, &mut script.out), closed);
    script.expect(&[]);
}

#[test]
fn a_prepared_signal_shares_its_memory() {
    for length in [1, 100_000] {
        let signal = PreparedSignal::new(name("a"), Payload::utf8("x".repeat(length))).unwrap();
        for dialect in [Dialect::V1_4, Dialect::V1_5] {
            let mut script = Script::with(dialect, &config());
            assert_eq!(script.connection.signal_prepared(&signal, &mut script.out), Ok(()));
            let Some(Action::Send(frame)) = script.out.pop() else { panic!("it is sent") };
            assert_eq!((frame.as_ptr(), frame.len()), (signal.frame().as_ptr(), 3 + length));
        }
    }
}
