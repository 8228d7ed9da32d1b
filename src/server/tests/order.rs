//! Order, concurrency and what waits (protocol §5.3).

use super::*;

#[test]
fn one_handler_at_a_time_is_the_default() {
    let mut script = Script::new();
    script.client(request(1, "a", ""), &["run 1 a"]);
    script.client(signal("s", "x"), &[]);
    script.client(request(2, "b", ""), &[]);
    script.client(&b"\x7f"[..], &[]);
    script.client(request(3, "c", ""), &[]);
    assert_eq!(script.connection.running_handlers(), 1);
    script.reply(1, Ok(""), &["send c0 1", "signal 1 s x"]);
    script.handled(1, &["run 2 b"]);
    script.reply(2, Ok(""), &["send c0 2", "send 06 0", "run 3 c"]);
    script.reply(3, Ok(""), &["send c0 3"]);
}

#[test]
fn two_handlers_may_answer_out_of_order() {
    let mut script = Script::with(Dialect::V2_0, &concurrent(2));
    script.client(request(1, "a", ""), &["run 1 a"]);
    script.client(signal("s", "x"), &["signal 1 s x"]);
    script.client(request(2, "b", ""), &[]);
    script.client(request(3, "c", ""), &[]);
    script.handled(1, &["run 2 b"]);
    script.reply(2, Ok(""), &["send c0 2", "run 3 c"]);
    script.reply(3, Ok(""), &["send c0 3"]);
    script.reply(1, Ok(""), &["send c0 1"]);
}

#[test]
fn with_the_highest_limit_nothing_waits() {
    let mut script = Script::with(Dialect::V1_5, &concurrent(u16::MAX));
    for id in 1..=1_000 {
        script.client(request(id, "a", ""), &[&format!("run {id} a")]);
    }
    assert_eq!(script.connection.running_handlers(), 1_000);
    assert!(script.connection.wants_input());
    for number in (1..=1_000).rev() {
        let sent = describe(
            &Encoder::new()
                .reply(Identifier::from_counter(number as u64), &Payload::utf8_static("")),
        );
        script.reply(number, Ok(""), &[&format!("send {sent}")]);
    }
}

#[test]
fn messages_wait_for_the_registry() {
    let mut script = Script::with(Dialect::V1_4, &concurrent(5));
    script.client(restore(1, "k1"), &["ask Restore k1"]);
    script.client(request(2, "a", ""), &[]);
    script.client(restore(3, "k1"), &[]);
    script.client(close_session(4), &[]);
    script.client(request(5, "b", ""), &[]);
    script.told("k1", Change::NotFound, &["send 03 1", "run 1 a", "ask Restore k1"]);
    let json = format!("send c0 3 {}", session("k1").to_json());
    script.told("k1", restored("k1"), &[&json, "event Restored", "ask Close k1"]);
    script.told(
        "k1",
        Change::Closed,
        &["send 16", "send bf 4", "event Closed by Client", "run 2 b"],
    );
}

#[test]
fn creating_a_session_holds_nothing_up() {
    let mut script = Script::with(Dialect::V1_4, &concurrent(5));
    assert_eq!(script.create("k1"), Ok(()));
    script.expect(&["ask Create k1"]);
    script.client(request(2, "a", ""), &["run 1 a"]);
}

#[test]
fn a_bounded_number_of_messages_waits() {
    let max_queued_messages = NonZeroU16::new(3).unwrap();
    let mut script = Script::with(Dialect::V1_4, &Config { max_queued_messages, ..config() });
    script.client(request(1, "a", ""), &["run 1 a"]);
    for id in 2..=4 {
        assert!(script.connection.wants_input());
        script.client(request(id, "b", ""), &[]);
        assert_eq!(script.connection.waiting_messages() as u64, id - 1);
    }
    assert!(!script.connection.wants_input());
    script.reply(1, Ok(""), &["send c0 1", "run 2 b"]);
    assert!(script.connection.wants_input());
    script.client(request(5, "b", ""), &[]);
    assert!(!script.connection.wants_input());

    // What the host feeds nevertheless is refused, and ends the connection.
    script.client(request(6, "c", ""), &["send 01 3", "send 01 4", "send 01 5", "send 01 6"]);
    assert_eq!(script.connection.waiting_messages(), 0);
    script.reply(2, Ok("x"), &["send c0 2 x", "close TooManyWaiting"]);
}

#[test]
fn the_bytes_that_wait_are_bounded_but_one_message_always_may() {
    let mut script = Script::with(Dialect::V1_4, &Config { max_queued_bytes: 0, ..config() });
    script.client(request(1, "a", ""), &["run 1 a"]);
    assert!(script.connection.wants_input());
    script.client(request(2, "b", "payload"), &[]);
    assert!(!script.connection.wants_input());
    script.reply(1, Ok(""), &["send c0 1", "run 2 b payload"]);
    assert!(script.connection.wants_input());

    let frame = request(1, "b", "");
    let max_queued_bytes = frame.len() as u32 + 1;
    let mut script = Script::with(Dialect::V1_4, &Config { max_queued_bytes, ..config() });
    script.client(request(1, "a", ""), &["run 1 a"]);
    script.client(frame.clone(), &[]);
    assert!(script.connection.wants_input(), "one byte may still come");
    script.client(frame.clone(), &[]);
    assert!(!script.connection.wants_input());
    script.reply(1, Ok(""), &["send c0 1", "run 2 b"]);
    assert!(script.connection.wants_input());

    let max_queued_bytes = frame.len() as u32;
    let mut script = Script::with(Dialect::V1_4, &Config { max_queued_bytes, ..config() });
    script.client(request(1, "a", ""), &["run 1 a"]);
    script.client(frame, &[]);
    assert!(!script.connection.wants_input(), "no byte more may come");
}

#[test]
fn heartbeats_cost_nothing() {
    for dialect in [Dialect::V1_4, Dialect::V1_5, Dialect::V2_0] {
        let max_queued_messages = NonZeroU16::MIN;
        let max_ignored_in_a_row = NonZeroU32::MIN;
        let config = Config { max_queued_messages, max_ignored_in_a_row, ..config() };
        let mut script = Script::with(dialect, &config);
        script.client(&b"\x21"[..], &[]);
        script.client(request(1, "a", ""), &["run 1 a"]);
        script.client(request(2, "b", ""), &[]);
        for _ in 0..10_000 {
            script.client(&b"\x21"[..], &[]);
        }
        script.reply(1, Ok(""), &["send c0 1", "run 2 b"]);
        script.reply(2, Ok(""), &["send c0 2"]);
        assert!(script.connection.is_open());
    }
}
