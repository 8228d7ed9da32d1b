//! The message buffer: nothing longer goes to peers that may speak 2.0 (protocol §4.6).

use super::*;
use crate::wire::UnreadableSignal;

/// A message buffer of 64 bytes.
fn config() -> Config {
    let advertised = Advertised { message_buffer: 64, ..Advertised::default() };
    Config { advertised, ..super::config() }
}

fn script(dialect: Dialect) -> Script {
    let mut script = Script::accept(dialect, &config());
    script.lines();
    script
}

const UNBOUNDED: [Dialect; 2] = [Dialect::V1_4, Dialect::V1_5];
const BOUNDED: [Dialect; 2] = [Dialect::V2_0, Dialect::Unknown];

fn letters(count: usize) -> String {
    "x".repeat(count)
}

/// What a request is answered with whose handler ends like this.
fn answer(dialect: Dialect, result: Result<Payload, RequestError>) -> Vec<String> {
    let mut script = script(dialect);
    script.client(request(1, "a", ""), &["run 1 a"]);
    assert_eq!(script.connection.reply(script.requests[0], result, &mut script.out), Ok(()));
    script.lines()
}

#[test]
fn a_reply_that_is_too_long_is_an_internal_error() {
    let refused = ["reply of 65 bytes, at most 64", "send 02 1"];
    let utf16 = |bytes: usize| Payload::utf16(&letters(bytes / 2));
    let error = |length| RequestError::failed("CODE", letters(length));
    for dialect in BOUNDED {
        let fits = format!("send c0 1 {}", letters(55));
        assert_eq!(answer(dialect, Ok(Payload::utf8(letters(55)))), [fits]);
        assert_eq!(answer(dialect, Ok(Payload::utf8(letters(56)))), refused);
        assert!(answer(dialect, Ok(utf16(54)))[0].starts_with("send c1 1"));
        let refused_utf16 = ["reply of 66 bytes, at most 64", "send 02 1"];
        assert_eq!(answer(dialect, Ok(utf16(56))), refused_utf16);
        assert!(answer(dialect, Err(error(50)))[0].starts_with("send 00 1"));
        assert_eq!(answer(dialect, Err(error(51))), refused);
    }
    for dialect in UNBOUNDED {
        assert_eq!(answer(dialect, Ok(Payload::utf8(letters(56)))).len(), 1);
        assert!(answer(dialect, Err(error(51)))[0].starts_with("send 00 1"));
    }
}

#[test]
fn a_signal_that_is_too_long_is_refused() {
    let send = |dialect, length| {
        let Script { mut connection, mut out, .. } = script(dialect);
        connection.signal(&name("s"), &Payload::utf8(letters(length)), &mut out)
    };
    for dialect in BOUNDED {
        assert_eq!(send(dialect, 61), Ok(()));
        let too_large = UnreadableSignal::TooLarge { length: 65, buffer: 64 };
        assert_eq!(send(dialect, 62), Err(Misuse::UnreadableSignal(too_large)));
    }
    UNBOUNDED.iter().for_each(|dialect| assert_eq!(send(*dialect, 62), Ok(())));
}

fn session(room: usize) -> Session {
    let info = SessionInfo::new().public("x", letters(room));
    Session::new(key("k1"), UnixTime::from_seconds(0), info)
}

#[test]
fn a_session_that_is_too_large_is_not_created() {
    let length = session(0).to_json().len();
    let advertised = Advertised { message_buffer: length as u32 + 1, ..Advertised::default() };
    for (dialect, room, expected) in [
        (Protocol::Any, 0, Ok(())),
        (Protocol::Any, 1, Err(Misuse::SessionTooLarge { length: length + 1, most: length })),
        (Protocol::V2_0, 1, Err(Misuse::SessionTooLarge { length: length + 1, most: length })),
        (Protocol::V1_4, 1, Ok(())),
    ] {
        let config = Config { advertised: advertised.clone(), protocol: dialect, ..config() };
        let mut out = Actions::new();
        let mut connection = Connection::accept(
            &config.validate().unwrap(),
            Observed::Nothing,
            Instant::EPOCH,
            &mut out,
        );
        let Session { key, info, created, .. } = session(room);
        assert_eq!(connection.create_session(key, created, info, &mut out).map(drop), expected);
    }
}

#[test]
fn a_session_that_became_too_large_meanwhile_is_not_announced() {
    let mut script = Script::observed(&config(), Observed::Preflight);
    script.lines();
    assert_eq!(script.connection.dialect(), Dialect::V1_4);
    let Session { key, info, created, .. } = session(64);
    assert_eq!(
        script.connection.create_session(key, created, info, &mut script.out).map(drop),
        Ok(())
    );
    script.expect(&["ask Create k1"]);
    script.client(&b"\x21"[..], &["speaks 2.0"]);
    script.told("k1", Change::Created, &["ask Close k1", "ask Leave k1", "event CreateFailed"]);
    assert_eq!(script.connection.session(), None);
}

#[test]
fn a_session_created_message_fits_into_the_buffer() {
    let length = session(0).to_json().len() as u32 + 1;
    for (buffer, fits) in [(length, true), (length - 1, false)] {
        let advertised = Advertised { message_buffer: buffer, ..Advertised::default() };
        let mut script = Script::observed(&Config { advertised, ..config() }, Observed::Preflight);
        let Session { key, info, created, .. } = session(0);
        assert_eq!(
            script.connection.create_session(key, created, info, &mut script.out).map(drop),
            Ok(())
        );
        script.connection.handle_message(script.now, (&b"\x21"[..]).into(), &mut script.out);
        assert_eq!(script.connection.dialect(), Dialect::V2_0);
        let outcome = Outcome { key: super::key("k1"), change: Change::Created };
        script.connection.handle_session(script.now, outcome, &mut script.out);
        assert_eq!(script.lines().iter().any(|line| line.starts_with("send 15")), fits);
    }
}

#[test]
fn a_session_that_is_too_large_is_not_restored() {
    let length = session(64).to_json().len() + 9;
    for dialect in BOUNDED {
        let mut script = script(dialect);
        script.client(restore(1, "k1"), &["ask Restore k1"]);
        let refused = format!("reply of {length} bytes, at most 64");
        let restored = Change::Restored(session(64).into());
        script.told("k1", restored, &[&refused, "send 02 1", "ask Leave k1"]);
        assert_eq!(script.connection.session(), None);
        script.client(close_session(2), &["send bf 2"]);
    }
    for dialect in UNBOUNDED {
        let mut script = script(dialect);
        script.client(restore(1, "k1"), &["ask Restore k1"]);
        let reply = format!("send c0 1 {}", session(64).to_json());
        let restored = Change::Restored(session(64).into());
        script.told("k1", restored, &[&reply, "event Restored"]);
    }
}

#[test]
fn longer_messages_of_the_client_are_read() {
    for dialect in UNBOUNDED.into_iter().chain(BOUNDED) {
        let line = format!("signal 1 s {}", letters(100));
        let frame = Encoder::new().signal(&name("s"), &Payload::utf8(letters(100)));
        script(dialect).client(frame, &[&line]);
    }
}
