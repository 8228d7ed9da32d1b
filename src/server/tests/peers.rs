//! What peers are taken for, and what strict servers do not put up with.

use super::*;

const HEARTBEAT: &[u8] = b"\x21";
const ADVERTISED: &str = "send 17 #020060ea000000200000";

#[test]
fn accept_conf_depends_on_the_server_alone() {
    for (protocol, sends_accept_conf) in [
        (Protocol::Any, true),
        (Protocol::AnyAs1_5, true),
        (Protocol::V1_4, false),
        (Protocol::V1_5, false),
        (Protocol::V2_0, true),
    ] {
        for observed in [Observed::Nothing, Observed::Preflight] {
            let mut script = Script::observed(&Config { protocol, ..config() }, observed);
            script.expect(if sends_accept_conf { &[ADVERTISED] } else { &[] });
        }
    }
    let advertised = Advertised {
        read_timeout: Duration::from_millis(1500),
        message_buffer: 64,
        sub_protocol: Some("my/1".into()),
    };
    let mut script = Script::observed(&Config { advertised, ..config() }, Observed::Nothing);
    script.expect(&["send 17 #0200dc050000400000006d792f31"]);
}

#[test]
fn a_heartbeat_shows_what_the_peer_speaks() {
    for (protocol, observed, first, learned) in [
        (Protocol::Any, Observed::Nothing, Dialect::Unknown, Some(Dialect::V2_0)),
        (Protocol::Any, Observed::Preflight, Dialect::V1_4, Some(Dialect::V2_0)),
        (Protocol::AnyAs1_5, Observed::Nothing, Dialect::Unknown, Some(Dialect::V2_0)),
        (Protocol::AnyAs1_5, Observed::Preflight, Dialect::V1_5, None),
        (Protocol::V1_4, Observed::Preflight, Dialect::V1_4, None),
        (Protocol::V1_5, Observed::Preflight, Dialect::V1_5, None),
        (Protocol::V2_0, Observed::Nothing, Dialect::V2_0, None),
    ] {
        let mut script = Script::observed(&Config { protocol, ..config() }, observed);
        script.lines();
        assert_eq!(script.connection.dialect(), first, "{protocol:?} {observed:?}");
        let told = learned.map(|dialect| format!("speaks {dialect}"));
        script.client(HEARTBEAT, &told.iter().map(String::as_str).collect::<Vec<_>>());
        script.client(HEARTBEAT, &[]);
        assert_eq!(script.connection.dialect(), learned.unwrap_or(first));
    }
}

#[test]
fn a_learned_version_counts_from_then_on() {
    let mut script = Script::logged_in(Dialect::Unknown, &config());
    let malformed = &b"\x7f\x01\0\0\0\0\0\0\0\x05a"[..];
    script.client(malformed, &["send 02 1"]);
    script.client(request(2, "a", ""), &["run 1 a"]);
    script.client(HEARTBEAT, &["speaks 2.0"]);
    let error = script.connection.reply(
        script.requests[0],
        Err(RequestError::SessionsDisabled),
        &mut script.out,
    );
    assert_eq!(error, Ok(()));
    script.expect(&["send 02 2"]);
    script.client(malformed, &[]);
    script.client(close_session(3), &["ask Close k1"]);
    script.told("k1", Change::Closed, &["send bf 3", "event Closed by Client"]);
}

/// A client that is taken for 1.x because of a preflight may speak 2.0: another's, from the same
/// address, or our own client's, whose heartbeats tell nothing if the preflight names 1.5.
#[test]
fn servers_of_all_versions_read_signals_without_payload_from_every_client() {
    for (protocol, observed, reads) in [
        (Protocol::Any, Observed::Preflight, true),
        (Protocol::AnyAs1_5, Observed::Preflight, true),
        (Protocol::Any, Observed::Nothing, true),
        (Protocol::V2_0, Observed::Nothing, true),
        (Protocol::V1_4, Observed::Preflight, false),
        (Protocol::V1_5, Observed::Preflight, false),
    ] {
        let mut script = Script::observed(&Config { protocol, ..config() }, observed);
        script.lines();
        let read: &[&str] = if reads { &["signal 1 a"] } else { &[] };
        script.client(&b"\x3f\x01a"[..], read);
    }
}

/// What the reference disconnects for (protocol §5.2), but for text.
const BREACHES: [(&[u8], CloseReason); 5] = [
    (b"", CloseReason::Unreadable),
    (b"\x07", CloseReason::Unreadable),
    (b"\x06\x01\0\0\0\0\0\0\0", CloseReason::Unreadable),
    (b"\x7f\x01\0\0\0\0\0\0\0\x05a", CloseReason::Unreadable),
    (&[0x3f; 8193], CloseReason::TooLarge),
];

#[test]
fn strict_servers_disconnect_known_2_0_peers_as_the_reference_does() {
    let strict = Config { strict: true, ..config() };
    for (frame, reason) in BREACHES {
        let closed = format!("close {reason:?}");
        Script::with(Dialect::V2_0, &strict).client(frame, &[&closed]);

        let mut learned = Script::with(Dialect::Unknown, &strict);
        learned.client(HEARTBEAT, &["speaks 2.0"]);
        learned.client(frame, &[&closed]);

        // What was asked before is answered before.
        let mut busy = Script::with(Dialect::V2_0, &strict);
        busy.client(request(1, "a", ""), &["run 1 a"]);
        busy.client(frame, &[]);
        busy.client(request(2, "b", ""), &[]);
        busy.reply(1, Ok("x"), &["send c0 1 x", "send 01 2", &closed]);
    }
    let mut script = Script::with(Dialect::V2_0, &strict);
    let text = request(1, "a", "");
    script.connection.handle_text(script.now, text, &mut script.out);
    script.expect(&["close Text"]);
    // Well-formed messages that only servers send are none of these (protocol §5.2).
    Script::with(Dialect::V2_0, &strict).client(&b"\x16"[..], &[]);
    Script::with(Dialect::V2_0, &strict).client(
        &[0x3f; 8192][..],
        &["signal 1 ".to_string() + &"?".repeat(0x3f) + " " + &"?".repeat(8192 - 2 - 0x3f)]
            .each_ref()
            .map(String::as_str),
    );
}

#[test]
fn no_other_peer_is_disconnected_for_that() {
    for (dialect, strict) in [
        (Dialect::V1_4, true),
        (Dialect::V1_5, true),
        (Dialect::Unknown, true),
        (Dialect::V1_4, false),
        (Dialect::V1_5, false),
        (Dialect::Unknown, false),
        (Dialect::V2_0, false),
    ] {
        for (frame, _) in BREACHES {
            let mut script = Script::with(dialect, &Config { strict, ..config() });
            script.connection.handle_message(script.now, frame.into(), &mut script.out);
            script.connection.handle_text(script.now, request(1, "a", ""), &mut script.out);
            script.lines();
            assert!(script.connection.is_open(), "{dialect} {frame:?}");
        }
    }
}

#[test]
fn nothing_is_learned_of_a_peer_once_its_connection_is_over() {
    let mut script = Script::with(Dialect::Unknown, &config());
    script.disconnect(&[]);
    script.client(HEARTBEAT, &[]);
    assert_eq!(script.connection.dialect(), Dialect::Unknown);
}
