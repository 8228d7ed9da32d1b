//! Closing, shutting down, losing the socket (protocol §5.8 to §5.10).

use super::*;
use crate::close::CloseFrame;

#[test]
fn an_idle_connection_closes_at_once() {
    let mut script = Script::new();
    assert!(script.connection.is_open() && script.connection.wants_input());
    script.close(&["close Requested"]);
    assert!(!script.connection.is_open() && !script.connection.wants_input());
    script.close(&[]);
    script.disconnect(&[]);

    let mut script = Script::logged_in(Dialect::V1_4, &config());
    script.shut_down(10_000);
    script.expect(&["ask Leave k1", "close Shutdown"]);
}

#[test]
fn the_application_may_say_code_and_reason() {
    let banned = CloseFrame::new(4003, "banned").unwrap();
    let other = CloseFrame::new(1013, "later").unwrap();
    let closed = |script: &mut Script| {
        let Some(Action::Close(reason)) = script.out.pop() else { panic!() };
        assert!(script.out.is_empty());
        reason.frame()
    };
    let mut script = Script::new();
    script.connection.close_with(script.now, banned.clone(), &mut script.out);
    assert_eq!(closed(&mut script), banned);
    script.connection.close_with(script.now, other.clone(), &mut script.out);
    script.expect(&[]);

    // As late as other closings, and the first word counts.
    let mut script = Script::new();
    script.client(request(1, "slow", ""), &["run 1 slow"]);
    script.connection.close_with(script.now, banned.clone(), &mut script.out);
    script.connection.close_with(script.now, other.clone(), &mut script.out);
    script.close(&[]);
    assert!(!script.connection.is_open());
    script.client(request(2, "new", ""), &["send 01 2"]);
    let next = script.connection.next_timeout().unwrap();
    script.connection.handle_timeout(next, &mut script.out);
    assert_eq!(closed(&mut script), banned);

    let mut script = Script::new();
    script.client(request(1, "slow", ""), &["run 1 slow"]);
    script.close(&[]);
    script.connection.close_with(script.now, banned, &mut script.out);
    script.reply(1, Ok("done"), &["send c0 1 done", "close Requested"]);
}

#[test]
fn a_running_handler_finishes_and_its_reply_goes_out_first() {
    let mut script = Script::logged_in(Dialect::V1_4, &config());
    script.client(request(1, "slow", ""), &["run 1 slow"]);
    script.client(request(2, "queued", ""), &[]);
    script.client(signal("queued", "x"), &[]);
    script.client(close_session(3), &[]);
    script.client(&b"\x7f"[..], &[]);
    script.close(&["send 01 2", "send 01 3", "send 06 0"]);
    assert!(!script.connection.is_open());
    assert!(script.connection.wants_input(), "so that what is new can be refused");

    script.client(request(4, "new", ""), &["send 01 4"]);
    script.client(signal("new", "x"), &[]);
    script.client(restore(5, "k2"), &["send 01 5"]);
    script.client(&b"\x7f"[..], &["send 06 0"]);
    script.client(&b"\x21"[..], &[]);
    script.close(&[]);

    // The application may still use it.
    let payload = Payload::utf8("bye");
    assert_eq!(script.connection.signal(&Name::NONE, &payload, &mut script.out), Ok(()));
    script.expect(&["send 40 #00627965"]);
    script.reply(1, Ok("done"), &["send c0 1 done", "ask Leave k1", "close Requested"]);
}

#[test]
fn a_handler_may_close_its_own_connection() {
    let mut script = Script::new();
    script.client(request(1, "close-me", ""), &["run 1 close-me"]);
    script.close(&[]);
    script.reply(1, Ok("closing"), &["send c0 1 closing", "close Requested"]);
}

#[test]
fn closing_waits_for_handlers_of_signals_too() {
    let mut script = Script::with(Dialect::V1_4, &concurrent(3));
    script.client(request(1, "a", ""), &["run 1 a"]);
    script.client(signal("s", "x"), &["signal 1 s x"]);
    script.client(request(2, "b", ""), &["run 2 b"]);
    script.shut_down(10_000);
    script.expect(&[]);
    script.reply(2, Ok(""), &["send c0 2"]);
    script.reply(1, Ok(""), &["send c0 1"]);
    script.handled(1, &["close Shutdown"]);
}

#[test]
fn the_registry_is_waited_for() {
    let mut script = Script::new();
    script.client(restore(1, "k1"), &["ask Restore k1"]);
    script.client(request(2, "queued", ""), &[]);
    script.close(&["send 01 2"]);
    let reply = format!("send c0 1 {}", session("k1").to_json());
    let rest = ["event Restored", "ask Leave k1", "close Requested"];
    script.told("k1", restored("k1"), &[&[&reply[..]], &rest[..]].concat());

    let mut script = Script::logged_in(Dialect::V1_4, &config());
    script.client(close_session(1), &["ask Close k1"]);
    script.close(&[]);
    let closed = ["send 16", "send bf 1", "event Closed by Client", "close Requested"];
    script.told("k1", Change::Closed, &closed);

    let mut script = Script::new();
    assert_eq!(script.create("k1"), Ok(()));
    script.expect(&["ask Create k1"]);
    script.close(&[]);
    script.told("k1", Change::CreateFailed, &["event CreateFailed", "close Requested"]);
}

#[test]
fn a_session_can_be_created_and_closed_while_draining() {
    let mut script = Script::new();
    script.client(request(1, "a", ""), &["run 1 a"]);
    script.close(&[]);
    assert_eq!(script.create("k1"), Ok(()));
    script.expect(&["ask Create k1"]);
    let created = format!("send 15 {}", session("k1").to_json());
    script.told("k1", Change::Created, &[&created]);
    script.told("k1", Change::Stored, &["event Created"]);
    assert_eq!(script.connection.close_session(&mut script.out), Ok(true));
    script.expect(&["ask Close k1"]);
    script.reply(1, Ok(""), &["send c0 1"]);
    script.told(
        "k1",
        Change::Closed,
        &["send 16", "event Closed by Application", "close Requested"],
    );
}

#[test]
fn a_deadline_bounds_the_wait() {
    let mut script = Script::logged_in(Dialect::V1_4, &config());
    assert_eq!(script.connection.next_timeout(), None);
    script.client(request(1, "slow", ""), &["run 1 slow"]);
    script.close(&[]);
    let deadline = script.now + Duration::from_secs(10);
    assert_eq!(script.connection.next_timeout(), Some(deadline));
    script.pass(9_999, &[]);
    // Asking again does not put it off.
    script.close(&[]);
    script.shut_down(10_000);
    script.expect(&[]);
    assert_eq!(script.connection.next_timeout(), Some(deadline));
    script.pass(1, &["ask Leave k1", "close Requested"]);
    script.pass(1, &[]);
    assert_eq!(script.connection.next_timeout(), None);
    let late = script.connection.reply(script.requests[0], Ok(Payload::EMPTY), &mut script.out);
    assert_eq!(late, Err(Misuse::Closed));
    script.expect(&[]);
}

#[test]
fn a_shutdown_can_only_shorten_the_deadline() {
    let mut script = Script::new();
    script.client(request(1, "slow", ""), &["run 1 slow"]);
    script.shut_down(30_000);
    script.expect(&[]);
    let deadline = script.now + Duration::from_secs(30);
    assert_eq!(script.connection.next_timeout(), Some(deadline));
    script.shut_down(40_000);
    assert_eq!(script.connection.next_timeout(), Some(deadline));
    script.shut_down(500);
    script.pass(499, &[]);
    script.pass(1, &["close Shutdown"]);
}

#[test]
fn an_idle_connection_may_stay_during_a_shutdown_and_refuses_new_requests() {
    let mut script = Script::logged_in(Dialect::V1_4, &config());
    script.shut_down_idle(10_000, IdleConnections::Stay);
    script.expect(&["drained"]);
    assert!(!script.connection.is_open() && script.connection.wants_input());
    script.client(request(1, "new", ""), &["send 01 1"]);
    script.client(signal("new", "x"), &[]);
    script.client(restore(2, "k2"), &["send 01 2"]);
    script.shut_down_idle(10_000, IdleConnections::Stay);
    script.expect(&[]);
    assert_eq!(script.connection.next_timeout(), Some(script.now + Duration::from_secs(10)));
    script.pass(9_999, &[]);
    script.close(&["ask Leave k1", "close Shutdown"]);
}

#[test]
fn a_busy_connection_that_stays_is_drained_when_nothing_runs_and_closes_by_the_deadline() {
    let mut script = Script::with(Dialect::V1_4, &concurrent(2));
    script.client(request(1, "a", ""), &["run 1 a"]);
    script.client(signal("s", "x"), &["signal 1 s x"]);
    script.shut_down_idle(10_000, IdleConnections::Stay);
    script.expect(&[]);
    script.reply(1, Ok(""), &["send c0 1"]);
    script.handled(1, &["drained"]);
    script.pass(9_999, &[]);
    script.pass(1, &["close Shutdown"]);

    // Told to close while something runs, it does not stay.
    let mut script = Script::new();
    script.client(request(1, "a", ""), &["run 1 a"]);
    script.shut_down_idle(10_000, IdleConnections::Stay);
    script.close(&[]);
    script.shut_down_idle(10_000, IdleConnections::Stay);
    script.reply(1, Ok(""), &["send c0 1", "close Shutdown"]);
}

#[test]
fn a_connection_that_closes_already_does_not_stay() {
    let mut script = Script::new();
    script.client(request(1, "a", ""), &["run 1 a"]);
    script.close(&[]);
    script.shut_down_idle(10_000, IdleConnections::Stay);
    script.reply(1, Ok(""), &["send c0 1", "close Requested"]);

    // One that stays is closed for other reasons as well.
    let mut script = Script::logged_in(Dialect::V1_4, &config());
    script.shut_down_idle(10_000, IdleConnections::Stay);
    script.expect(&["drained"]);
    let by_key = Change::ClosedByKey { disconnect: true };
    script.told("k1", by_key, &["send 16", "event Closed by Key", "close Shutdown"]);

    let mut script = Script::new();
    script.shut_down_idle(10_000, IdleConnections::Stay);
    script.expect(&["drained"]);
    script.shut_down(10_000);
    script.expect(&["close Shutdown"]);
}

#[test]
fn waiting_requests_are_refused_before_a_close_for_ignored_messages() {
    let ignored = NonZeroU32::new(1).unwrap();
    let config = Config { max_ignored_in_a_row: ignored, concurrency: NonZeroU16::MIN, ..config() };
    let mut script = Script::with(Dialect::V1_4, &config);
    script.client(restore(1, "k1"), &["ask Restore k1"]);
    script.client(&b"\x7f"[..], &[]);
    script.client(request(2, "queued", ""), &[]);
    script.shut_down_idle(10_000, IdleConnections::Stay);
    script.expect(&["send 06 0", "send 01 2"]);
    script.told("k1", Change::NotFound, &["send 03 1", "close Shutdown"]);

    // While it stays, a message that means nothing is one too many.
    let mut script = Script::with(Dialect::V1_4, &config);
    script.shut_down_idle(10_000, IdleConnections::Stay);
    script.expect(&["drained"]);
    script.client(request(1, "new", ""), &["send 01 1"]);
    script.client(&b"\x7f"[..], &["send 06 0", "close Shutdown"]);
}

#[test]
fn without_a_drain_timeout_the_first_timeout_closes() {
    let config = Config { drain_timeout: Duration::ZERO, ..config() };
    let mut script = Script::with(Dialect::V1_4, &config);
    script.client(request(1, "slow", ""), &["run 1 slow"]);
    script.close(&[]);
    assert_eq!(script.connection.next_timeout(), Some(script.now));
    script.pass(0, &["close Requested"]);
}

#[test]
fn time_that_runs_backwards_stands_still() {
    let mut script = Script::new();
    script.client(request(1, "slow", ""), &["run 1 slow"]);
    let before = script.now;
    script.now = before + Duration::from_secs(5);
    script.client(&b"\x21"[..], &[]);
    script.connection.close(before, &mut script.out);
    assert_eq!(script.connection.next_timeout(), Some(before + Duration::from_secs(15)));
    script.connection.handle_timeout(Instant::EPOCH, &mut script.out);
    script.expect(&[]);
    script.pass(10_000, &["close Requested"]);

    // Nor is there an end of time.
    let mut script = Script::new();
    script.now = Instant::from_nanos(u64::MAX);
    script.client(request(1, "slow", ""), &["run 1 slow"]);
    script.close(&[]);
    script.pass(0, &["close Requested"]);
}

#[test]
fn timeouts_without_need_do_nothing() {
    let mut script = Script::new();
    script.pass(1_000_000, &[]);
    script.client(request(1, "a", ""), &["run 1 a"]);
    script.pass(1_000_000, &[]);
    script.reply(1, Ok(""), &["send c0 1"]);
}

#[test]
fn a_lost_socket_ends_everything_in_every_state() {
    // Open: idle, serving, with messages waiting.
    Script::new().disconnect(&[]);
    let mut script = Script::new();
    script.client(request(1, "a", ""), &["run 1 a"]);
    script.client(request(2, "b", ""), &[]);
    script.disconnect(&[]);
    assert_eq!(script.connection.running_handlers(), 0);
    // Draining.
    let mut script = Script::new();
    script.client(request(1, "a", ""), &["run 1 a"]);
    script.close(&[]);
    script.disconnect(&[]);
    assert_eq!(script.connection.next_timeout(), None);
    // Closed.
    script.disconnect(&[]);
}

#[test]
fn a_session_closed_by_key_may_take_the_connection_along() {
    let mut script = Script::logged_in(Dialect::V1_4, &config());
    script.client(request(1, "slow", ""), &["run 1 slow"]);
    script.client(request(2, "queued", ""), &[]);
    let by_key = Change::ClosedByKey { disconnect: true };
    script.told("k1", by_key.clone(), &["send 16", "event Closed by Key", "send 01 2"]);
    script.reply(1, Ok("done"), &["send c0 1 done", "close SessionClosed"]);

    let mut script = Script::logged_in(Dialect::V2_0, &config());
    script.told("k1", by_key, &["send 16", "event Closed by Key", "close SessionClosed"]);
}

#[test]
fn each_reason_has_a_close_code_and_a_text_of_its_own() {
    let reasons = [
        (CloseReason::Requested, 1000),
        (CloseReason::SessionClosed, 1000),
        (CloseReason::Shutdown, 1001),
        (CloseReason::TooManyIgnored, 1008),
        (CloseReason::TooManyWaiting, 1008),
        (CloseReason::Silent, 1008),
        (CloseReason::Unreadable, 1002),
        (CloseReason::Text, 1003),
        (CloseReason::TooLarge, 1009),
    ];
    for (reason, code) in &reasons {
        assert_eq!(reason.code(), *code);
        assert_eq!(CloseFrame::new(*code, reason.text().to_string()), Ok(reason.frame()));
        assert!((1..=123).contains(&reason.text().len()), "it fits a close frame");
        let same = reasons.iter().filter(|(other, _)| other.text() == reason.text());
        assert_eq!(same.count(), 1, "{reason:?}");
    }
}
