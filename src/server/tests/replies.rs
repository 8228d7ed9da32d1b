//! From requests to replies (protocol §5.4).

use super::*;
use crate::wire::ErrorCode;

#[test]
fn a_payload_goes_back_in_its_encoding() {
    let odd_name = b"\x81\x03\0\0\0\0\0\0\0\x03odd\0h\0i\0";
    for (request, reply) in [
        (&b"\x7f\x01\0\0\0\0\0\0\0\x04echo\x00\xff"[..], &b"\xbf\x01\0\0\0\0\0\0\0\x00\xff"[..]),
        (b"\x80\x02\0\0\0\0\0\0\0\0hi", b"\xc0\x02\0\0\0\0\0\0\0hi"),
        (odd_name, b"\xc1\x03\0\0\0\0\0\0\0\0h\0i\0"),
        // Without payload the encoding is still that of the request.
        (b"\x7f\x04\0\0\0\0\0\0\0\x01a", b"\xbf\x04\0\0\0\0\0\0\0"),
        (b"\x80\x05\0\0\0\0\0\0\0\x01a", b"\xc0\x05\0\0\0\0\0\0\0"),
        (b"\x81\x06\0\0\0\0\0\0\0\x02ab", b"\xc1\x06\0\0\0\0\0\0\0\0"),
    ] {
        let mut script = Script::new();
        let frame = Bytes::from_static(request);
        script.connection.handle_message(script.now, frame, &mut script.out);
        let Some(Action::Request(request)) = script.out.pop() else { panic!("no request") };
        let payload = request.content.into_payload();
        assert_eq!(script.connection.reply(request.id, Ok(payload), &mut script.out), Ok(()));
        assert_eq!(script.out.pop(), Some(Action::Send(Bytes::from_static(reply))));
        script.expect(&[]);
    }
}

#[test]
fn errors_are_translated_as_the_dialect_wants() {
    let failed = RequestError::failed("CODE", "message");
    let bad_code = RequestError::failed("", "message");
    let long_code = RequestError::failed("C".repeat(256), "");
    for (error, v1_4, v2_0, unknown) in [
        (failed, "00 1 #04434f44456d657373616765", None, None),
        (RequestError::failed("C", ""), "00 1 #0143", None, None),
        (bad_code, "02 1", None, None),
        (long_code, "02 1", None, None),
        (RequestError::Internal, "02 1", None, None),
        (RequestError::SessionNotFound, "03 1", Some("02 1"), None),
        (RequestError::MaxSessionConnections, "04 1", Some("02 1"), None),
        (RequestError::SessionsDisabled, "05 1", Some("02 1"), None),
        (RequestError::Protocol, "06 1", Some("02 1"), Some("02 1")),
    ] {
        for (dialect, expected) in [
            (Dialect::V1_4, v1_4),
            (Dialect::V1_5, v1_4),
            (Dialect::V2_0, v2_0.unwrap_or(v1_4)),
            (Dialect::Unknown, unknown.unwrap_or(v1_4)),
        ] {
            let mut script = Script::with(dialect, &config());
            script.client(request(1, "r", ""), &["run 1 r"]);
            script.reply(1, Err(error.clone()), &[&format!("send {expected}")]);
        }
    }
}

#[test]
fn codes_are_checked_before_they_are_sent() {
    assert_eq!(RequestError::failed("C\u{d6}DE", "bad"), RequestError::Internal);
    let code = ErrorCode::from_static("C").unwrap();
    let error = RequestError::Failed { code, message: "m".into() };
    assert_eq!(RequestError::failed("C", "m"), error);
    assert_eq!(RequestError::from(Misuse::SessionsDisabled), RequestError::SessionsDisabled);
    assert_eq!(RequestError::from(Misuse::SessionExists), RequestError::Internal);
}

#[test]
fn identifiers_may_repeat() {
    let mut script = Script::with(Dialect::V1_4, &concurrent(3));
    script.client(request(5, "a", ""), &["run 1 a"]);
    script.client(request(5, "b", ""), &["run 2 b"]);
    script.client(request(0, "c", ""), &["run 3 c"]);
    script.reply(2, Ok("second"), &["send c0 5 second"]);
    script.reply(3, Ok("third"), &["send c0 0 third"]);
    script.reply(1, Ok("first"), &["send c0 5 first"]);
}

#[test]
fn a_handler_answers_once() {
    let mut script = Script::with(Dialect::V1_4, &concurrent(2));
    script.client(request(1, "a", ""), &["run 1 a"]);
    script.client(signal("s", "x"), &["signal 1 s x"]);
    script.reply(1, Ok("x"), &["send c0 1 x"]);
    script.handled(1, &[]);
    let (id, signal) = (script.requests[0], script.signals[0]);
    let connection = &mut script.connection;
    let again = connection.reply(id, Ok(Payload::EMPTY), &mut script.out);
    assert_eq!(again, Err(Misuse::UnknownHandler));
    assert_eq!(connection.signal_handled(signal, &mut script.out), Err(Misuse::UnknownHandler));
    script.expect(&[]);

    // The next handler takes the place of the first, but not its number.
    script.client(request(2, "b", ""), &["run 2 b"]);
    let stale = script.connection.reply(id, Ok(Payload::EMPTY), &mut script.out);
    assert_eq!(stale, Err(Misuse::UnknownHandler));
    script.expect(&[]);
    script.reply(2, Ok(""), &["send c0 2"]);
}

#[test]
fn calls_after_the_end_are_refused() {
    let mut script = Script::with(Dialect::V1_4, &concurrent(2));
    script.client(request(1, "a", ""), &["run 1 a"]);
    script.client(signal("s", "x"), &["signal 1 s x"]);
    script.disconnect(&[]);
    let (id, signal) = (script.requests[0], script.signals[0]);
    let (connection, out) = (&mut script.connection, &mut script.out);
    assert_eq!(connection.reply(id, Ok(Payload::EMPTY), out), Err(Misuse::Closed));
    assert_eq!(connection.signal_handled(signal, out), Err(Misuse::Closed));
    assert_eq!(connection.signal(&name("n"), &Payload::EMPTY, out), Err(Misuse::Closed));
    assert_eq!(connection.close_session(out), Err(Misuse::Closed));
    assert_eq!(script.create("k1"), Err(Misuse::Closed));
    script.close(&[]);
    script.shut_down(10_000);
    script.expect(&[]);
    script.disconnect(&[]);
    script.client(request(2, "b", ""), &[]);
    script.told("k1", restored("k1"), &[]);
    script.pass(100_000, &[]);
    assert!(!script.connection.is_open() && !script.connection.wants_input());
    assert_eq!((script.connection.running_handlers(), script.connection.session()), (0, None));
}
