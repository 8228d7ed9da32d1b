//! The sub-protocol `wwr.1`: both sides state the longest message that they read (protocol §10).

use super::*;
use crate::wire::{ClientSettings, PreparedSignal, UnreadableSignal};

fn agreed(config: &Config) -> Script {
    Script::with(Dialect::Wwr1, config)
}

fn settings(max_message_size: u32) -> Bytes {
    Encoder::new().client_settings(ClientSettings::new(max_message_size))
}

fn letters(count: usize) -> String {
    "x".repeat(count)
}

/// What a request is answered with whose handler replies with this many letters.
fn reply_of(script: &mut Script, letters_: usize) -> Vec<String> {
    script.client(request(1, "a", ""), &[&format!("run {} a", script.requests.len() + 1)]);
    let id = *script.requests.last().unwrap();
    let payload = Ok(Payload::utf8(letters(letters_)));
    assert_eq!(script.connection.reply(id, payload, &mut script.out), Ok(()));
    script.lines()
}

#[test]
fn the_server_states_what_it_reads_in_its_first_message() {
    for (most, stated) in [(8192, "00200000"), (1 << 20, "00001000"), (u32::MAX, "ffffffff")] {
        for protocol in [Protocol::Any, Protocol::AnyAs1_5, Protocol::V2_0] {
            let advertised = Advertised { message_buffer: 100, ..Advertised::default() };
            let config = Config { protocol, advertised, max_message_size: most, ..config() };
            let mut script = Script::observed(&config, Observed::SubProtocol);
            assert_eq!(script.connection.dialect(), Dialect::Wwr1);
            script.expect(&[&format!("send 17 #020060ea0000{stated}")]);
            assert_eq!(script.connection.peer_reads(), 8192, "before it has stated anything");
        }
    }
}

#[test]
fn a_server_without_wwr_1_takes_no_client_for_a_peer_of_it() {
    let advertised = Advertised { message_buffer: 8191, ..Advertised::default() };
    for (config, dialect) in [
        (Config { wwr1: false, ..config() }, Dialect::Unknown),
        (Config { max_message_size: 8191, advertised, ..config() }, Dialect::Unknown),
        (Config { wwr1: false, protocol: Protocol::V2_0, ..config() }, Dialect::V2_0),
        (Config { protocol: Protocol::V1_4, ..config() }, Dialect::V1_4),
    ] {
        let script = Script::observed(&config, Observed::SubProtocol);
        assert_eq!(script.connection.dialect(), dialect);
    }
}

#[test]
fn replies_are_as_long_as_the_client_has_stated() {
    let mut script = agreed(&config());
    let refused =
        |length, most| [format!("reply of {length} bytes, at most {most}"), "send 02 1".into()];
    assert_eq!(reply_of(&mut script, 8192 - 9).len(), 1);
    assert_eq!(reply_of(&mut script, 8192 - 8), refused(8193, 8192));
    script.client(settings(20_000), &["reads 20000"]);
    assert_eq!(script.connection.peer_reads(), 20_000);
    assert_eq!(reply_of(&mut script, 9000).len(), 1);
    assert_eq!(reply_of(&mut script, 20_000 - 9).len(), 1);
    assert_eq!(reply_of(&mut script, 20_000 - 8), refused(20_001, 20_000));
}

#[test]
fn signals_and_sessions_are_as_long_as_the_client_has_stated() {
    let mut script = agreed(&config());
    let long = Payload::utf8(letters(9000));
    let prepared = PreparedSignal::new(name("s"), &long).unwrap();
    let info = || SessionInfo::new().public("x", letters(9000));
    let too_large = UnreadableSignal::TooLarge { length: 9003, buffer: 8192 };
    let Script { connection, out, .. } = &mut script;
    let refused = Err(Misuse::UnreadableSignal(too_large));
    assert_eq!(connection.signal(&name("s"), &long, out), refused);
    assert_eq!(connection.signal_prepared(&prepared, out), refused);
    let created = connection.create_session(key("k1"), UnixTime::from_seconds(0), info(), out);
    assert!(matches!(created, Err(Misuse::SessionTooLarge { most: 8191, .. })), "{created:?}");
    script.client(settings(1 << 20), &["reads 1048576"]);
    let Script { connection, out, .. } = &mut script;
    assert_eq!(connection.signal(&name("s"), &long, out), Ok(()));
    assert_eq!(connection.signal_prepared(&prepared, out), Ok(()));
    assert_eq!(connection.signal(&name("s"), &Payload::EMPTY, out), Ok(()), "a name alone, too");
    assert_eq!(
        connection.create_session(key("k1"), UnixTime::from_seconds(0), info(), out).map(drop),
        Ok(())
    );
    assert_eq!(script.lines().len(), 4);
}

#[test]
fn the_statement_of_a_client_counts_once_and_has_a_minimum() {
    for (stated, counts) in [(0, 8192), (8191, 8192), (8193, 8193), (u32::MAX, u32::MAX)] {
        let mut script = agreed(&config());
        script.client(settings(stated), &[&format!("reads {counts}")]);
        script.client(settings(100_000), &[]);
        assert_eq!(script.connection.peer_reads(), counts as usize);
    }
}

#[test]
fn settings_may_be_longer_than_known_and_not_shorter() {
    let mut script = agreed(&config());
    script.client(&b"\x18\0\0\x10"[..], &[]);
    assert_eq!(script.connection.peer_reads(), 8192);
    script.client(&b"\x18\0\0\x10\0later"[..], &["reads 1048576"]);
}

#[test]
fn settings_that_come_again_and_again_end_the_connection() {
    let ignored = NonZeroU32::MIN.saturating_add(1);
    let config = Config { max_ignored_in_a_row: ignored, ..config() };
    let mut script = agreed(&config);
    script.client(settings(9000), &["reads 9000"]);
    script.client(settings(9000), &[]);
    script.client(settings(9000), &["close TooManyIgnored"]);
    // So do malformed ones.
    let mut script = agreed(&config);
    script.client(&b"\x18"[..], &[]);
    script.client(&b"\x18"[..], &["close TooManyIgnored"]);
}

#[test]
fn settings_are_taken_while_messages_wait() {
    let mut script = agreed(&config());
    script.client(request(1, "a", ""), &["run 1 a"]);
    script.client(request(2, "b", ""), &[]);
    script.client(settings(9000), &["reads 9000"]);
    script.close(&["send 01 2"]);
    let mut draining = agreed(&config());
    draining.client(request(1, "a", ""), &["run 1 a"]);
    draining.close(&[]);
    draining.client(settings(20_000), &["reads 20000"]);
    let id = draining.requests[0];
    let long = Ok(Payload::utf8(letters(9000)));
    assert_eq!(draining.connection.reply(id, long, &mut draining.out), Ok(()));
    assert_eq!(draining.lines().last().unwrap(), "close Requested");
}

#[test]
fn a_message_longer_than_the_server_has_stated_ends_the_connection() {
    let config = Config { max_message_size: 8192, ..config() };
    let long = |length: usize| request_of(letters(length - 11));
    let mut script = Script::observed(&config, Observed::SubProtocol);
    script.lines();
    let run = format!("run 1 n {}", letters(8192 - 11));
    script.client(long(8192), &[&run]);
    script.handled_reply(1);
    script.client(long(8193), &["close TooLarge"]);
    // It is not what was advertised to clients of 2.0.
    let advertised = Advertised { message_buffer: 64, ..Advertised::default() };
    let mut script = Script::observed(&Config { advertised, ..config }, Observed::SubProtocol);
    script.lines();
    script.client(long(8192), &[&run]);
}

fn request_of(payload: String) -> Bytes {
    let id = Identifier::from_counter(1);
    Encoder::new().request(id, &name("n"), &Payload::utf8(payload))
}

impl Script {
    #[track_caller]
    fn handled_reply(&mut self, number: usize) {
        self.reply(number, Ok(""), &["send c0 1"]);
    }
}

#[test]
fn errors_are_sent_with_their_own_types() {
    for (error, sent) in [
        (RequestError::SessionNotFound, "send 03 1"),
        (RequestError::MaxSessionConnections, "send 04 1"),
        (RequestError::SessionsDisabled, "send 05 1"),
        (RequestError::Protocol, "send 06 1"),
        (RequestError::Internal, "send 02 1"),
    ] {
        let mut script = agreed(&config());
        script.client(request(1, "a", ""), &["run 1 a"]);
        script.reply(1, Err(error), &[sent]);
    }
    let mut script = agreed(&config());
    let malformed = b"\x80\x01\0\0\0\0\0\0\0\xffname";
    script.client(&malformed[..], &["send 06 1"]);
    script.client(&b"\x80\x01"[..], &["send 06 0"]);
}

#[test]
fn nothing_is_learned_by_a_heartbeat_and_silence_is_the_end() {
    for protocol in [Protocol::Any, Protocol::AnyAs1_5, Protocol::V2_0] {
        let config = Config { protocol, ..config() };
        let mut script = Script::observed(&config, Observed::SubProtocol);
        script.lines();
        script.client(&b"\x21"[..], &[]);
        assert_eq!(script.connection.dialect(), Dialect::Wwr1);
        let end = script.connection.next_timeout().unwrap();
        assert_eq!(end, Instant::EPOCH + Duration::from_secs(60));
        script.connection.handle_timeout(end, &mut script.out);
        script.expect(&["close Silent"]);
    }
}

#[test]
fn only_the_reply_tells_a_client_that_its_session_is_closed() {
    let mut script = Script::logged_in(Dialect::Wwr1, &config());
    script.client(close_session(5), &["ask Close k1"]);
    script.told("k1", Change::Closed, &["send bf 5", "event Closed by Client"]);
}

#[test]
fn text_is_read_even_by_a_strict_server() {
    let mut script = agreed(&Config { strict: true, ..config() });
    script.connection.handle_text(script.now, request(1, "a", ""), &mut script.out);
    script.expect(&["run 1 a"]);
}
