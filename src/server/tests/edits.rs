//! Changes of the info and the key of a session (protocol §5.13).

use alloc::boxed::Box;

use super::*;

fn info(number: u64) -> SessionInfo {
    SessionInfo::new().public("number", number)
}

fn updated(number: u64, own: bool) -> Change {
    Change::Updated { info: Box::new(info(number)), own }
}

fn rotated(to: &str, own: bool) -> Change {
    Change::Rotated { session: Box::new(session(to)), own }
}

/// The session-created message of `k` with this number.
fn told(text: &str, number: u64) -> String {
    format!("send 15 {}", Session { info: info(number), ..session(text) }.to_json())
}

#[test]
fn every_dialect_is_told_by_a_session_created_message() {
    for dialect in Dialect::ALL {
        let mut script = Script::logged_in(dialect, &config());
        assert_eq!(script.update(info(1)).map(EditId::as_u64), Ok(1));
        script.expect(&["ask Update k1"]);
        script.told("k1", updated(1, true), &[&told("k1", 1), "event Updated 1"]);
        // Another connection has caused it.
        script.told("k1", updated(2, false), &[&told("k1", 2), "event Updated"]);
        assert_eq!(script.connection.session().map(|session| &session.info), Some(&info(2)));

        assert_eq!(script.rotate("k2").map(EditId::as_u64), Ok(2));
        script.expect(&["ask Rotate k1 k2"]);
        let created = format!("send 15 {}", session("k2").to_json());
        script.told("k1", rotated("k2", true), &[&created, "event Rotated 2"]);
        script.told("k1", updated(3, false), &[]);
        script.told("k2", updated(3, false), &[&told("k2", 3), "event Updated"]);
        script.disconnect(&["ask Leave k2"]);
    }
}

#[test]
fn a_change_says_what_was_and_what_is_and_the_times_stay() {
    let mut script = Script::logged_in(Dialect::V2_0, &config());
    let mut new = Box::new(session("k2"));
    (new.info, new.last_lookup) = (info(4), UnixTime::from_seconds(99));
    let change = Change::Rotated { session: new, own: false };
    let outcome = Outcome { key: key("k1"), change };
    script.connection.handle_session(script.now, outcome, &mut script.out);
    let mut actions: Vec<_> = core::iter::from_fn(|| script.out.pop()).collect();
    let Some(Action::SessionEvent(SessionEvent::Rotated(edited))) = actions.pop() else { panic!() };
    let Edited { before, after, edit, too_long } = *edited;
    assert_eq!((before, edit, too_long), (session("k1"), None, None));
    // The last look-up is still that before the restoration of this connection.
    assert_eq!(after, Session { info: info(4), ..session("k2") });
}

#[test]
fn edits_end_in_order_and_eight_at_most_are_under_way() {
    let mut script = Script::logged_in(Dialect::V2_0, &config());
    for number in 1..=8 {
        assert_eq!(script.update(info(number)).map(EditId::as_u64), Ok(number));
    }
    assert_eq!(script.update(info(9)), Err(Misuse::SessionBusy));
    assert_eq!(script.rotate("k2"), Err(Misuse::SessionBusy));
    script.lines();
    script.told("k1", updated(1, true), &[&told("k1", 1), "event Updated 1"]);
    let failed = Change::EditFailed(EditFailure::NotStored);
    script.told("k1", failed, &["event EditFailed 2 NotStored"]);
    assert_eq!(script.update(info(9)).map(EditId::as_u64), Ok(9));
}

#[test]
fn what_waits_when_the_session_ends_has_failed() {
    let mut script = Script::logged_in(Dialect::V1_4, &config());
    let edits = [script.update(info(1)), script.rotate("k2")];
    assert_eq!(edits.map(|edit| edit.map(EditId::as_u64)), [Ok(1), Ok(2)]);
    script.lines();
    script.told(
        "k1",
        Change::ClosedByKey { disconnect: false },
        &["send 16", "event EditFailed 1 Ended", "event EditFailed 2 Ended", "event Closed by Key"],
    );
    for late in [updated(1, true), rotated("k2", true), Change::EditFailed(EditFailure::Ended)] {
        script.told("k1", late, &[]);
    }
    assert_eq!(script.update(info(1)), Err(Misuse::NoSession));
}

#[test]
fn a_session_that_is_being_closed_takes_its_new_key_along() {
    let mut script = Script::logged_in(Dialect::V2_0, &config());
    assert!(script.rotate("k2").is_ok());
    script.lines();
    script.client(close_session(98), &["ask Close k1"]);
    let created = format!("send 15 {}", session("k2").to_json());
    script.told("k1", rotated("k2", true), &[&created, "event Rotated 1"]);
    script.told("k2", Change::Closed, &["send bf 98", "event Closed by Client"]);
}

#[test]
fn a_client_that_cannot_read_the_session_is_not_told() {
    let mut config = config();
    config.advertised.message_buffer = 512;
    let mut script = Script::accept(Dialect::V2_0, &config);
    script.client(restore(99, "k1"), &["send 17 #020060ea000000020000", "ask Restore k1"]);
    let outcome = Outcome { key: key("k1"), change: restored("k1") };
    script.connection.handle_session(script.now, outcome, &mut script.out);
    script.lines();
    let long = SessionInfo::new().public("a", "x".repeat(512));
    let length = Session { info: long.clone(), ..session("k1") }.to_json().len();
    let too_large = Misuse::SessionTooLarge { length, most: 511 };
    assert_eq!(script.update(long.clone()), Err(too_large));
    // Another connection may have a client that reads more.
    let line = format!("event Updated, {length} bytes, at most 511");
    let change = Change::Updated { info: Box::new(long.clone()), own: false };
    script.told("k1", change, &[&line]);
    assert_eq!(script.connection.session().map(|session| &session.info), Some(&long));
    let deep = (0..126).fold(serde_json::json!(1), |inner, _| serde_json::json!([inner]));
    let deep = script.update(SessionInfo::new().private("a", deep));
    assert_eq!(deep, Err(Misuse::SessionTooDeep { most: 125 }));
}

#[test]
fn a_key_that_no_client_could_use_is_refused() {
    let mut config = config();
    config.sessions = Sessions::Enabled(KeyFormat::Generated);
    let (one, two) = (SessionKey::from_entropy([1; 48]), SessionKey::from_entropy([2; 48]));
    let mut script = Script::with(Dialect::V2_0, &config);
    let now = UnixTime::from_seconds(0);
    script.connection.create_session(one.clone(), now, info(1), &mut script.out).unwrap();
    let outcome = Outcome { key: one.clone(), change: Change::Created };
    script.connection.handle_session(script.now, outcome, &mut script.out);
    script.lines();
    for bad in [key("k2"), one] {
        assert_eq!(script.new_key(bad, None, OtherConnections::Keep), Err(Misuse::InvalidKey));
    }
    script.new_key(two, None, OtherConnections::Keep).unwrap();
}

#[test]
fn a_new_key_with_new_info_is_one_edit() {
    let mut script = Script::logged_in(Dialect::V2_0, &config());
    let edit = script.new_key(key("k2"), Some(info(7)), OtherConnections::Close);
    assert_eq!(edit.map(EditId::as_u64), Ok(1));
    script.expect(&["ask Rotate k1 k2, info, close others"]);
    let change = Change::Rotated {
        session: Box::new(Session { info: info(7), ..session("k2") }),
        own: true,
    };
    script.told("k1", change, &[&told("k2", 7), "event Rotated 1"]);
    let deep = (0..126).fold(serde_json::json!(1), |inner, _| serde_json::json!([inner]));
    let deep = SessionInfo::new().private("a", deep);
    let refused = script.new_key(key("k3"), Some(deep), OtherConnections::Close);
    assert_eq!(refused, Err(Misuse::SessionTooDeep { most: 125 }));
    script.expect(&[]);
}

#[test]
fn a_session_that_another_connection_has_taken_over_is_closed() {
    for dialect in Dialect::ALL {
        let mut script = Script::logged_in(dialect, &config());
        assert!(script.update(info(1)).is_ok());
        script.lines();
        script.told(
            "k1",
            Change::ClosedByOther { destroyed: false },
            &["send 16", "event EditFailed 1 Ended", "event Closed by OtherConnection, lives on"],
        );
        assert_eq!(script.connection.session(), None);
        assert!(script.connection.is_open());
        script.client(restore(7, "k3"), &["ask Restore k3"]);
    }
}

#[test]
fn a_connection_that_drains_waits_for_its_edits() {
    let mut script = Script::logged_in(Dialect::V1_4, &config());
    assert!(script.rotate("k2").is_ok());
    script.lines();
    script.close(&[]);
    let created = format!("send 15 {}", session("k2").to_json());
    script.told(
        "k1",
        rotated("k2", true),
        &[&created, "event Rotated 1", "ask Leave k2", "close Requested"],
    );
    assert_eq!(script.update(info(1)), Err(Misuse::Closed));
}

#[test]
fn a_client_that_does_not_read_is_told_the_last_state_only() {
    for dialect in Dialect::ALL {
        let mut script = Script::logged_in(dialect, &config());
        script.writable(false, &[]);
        for number in 1..=1000 {
            script.told("k1", updated(number, false), &["event Updated"]);
            script.writable(false, &[]);
        }
        // The application has it at once.
        assert_eq!(script.connection.session().map(|session| &session.info), Some(&info(1000)));
        script.writable(true, &[&told("k1", 1000)]);
        script.writable(true, &[]);
        script.told("k1", updated(7, false), &[&told("k1", 7), "event Updated"]);
        // A new key is part of the state.
        script.writable(false, &[]);
        script.told("k1", rotated("k2", false), &["event Rotated"]);
        script.told("k2", updated(8, false), &["event Updated"]);
        script.writable(true, &[&told("k2", 8)]);
    }
}

#[test]
fn what_the_client_is_not_told_yet_comes_before_the_reply() {
    let mut script = Script::logged_in(Dialect::V2_0, &config());
    script.client(request(1, "a", ""), &["run 1 a"]);
    assert!(script.update(info(1)).is_ok());
    script.lines();
    script.writable(false, &[]);
    script.told("k1", updated(1, true), &["event Updated 1"]);
    script.reply(1, Ok("done"), &[&told("k1", 1), "send c0 1 done"]);
    script.writable(true, &[]);
}

#[test]
fn a_client_that_did_not_read_comes_back_with_the_new_key() {
    let mut script = Script::logged_in(Dialect::V1_4, &config());
    script.writable(false, &[]);
    script.told("k1", rotated("k2", false), &["event Rotated"]);
    let created = format!("send 15 {}", session("k2").to_json());
    script.close(&[&created, "ask Leave k2", "close Requested"]);
}

#[test]
fn a_client_that_did_not_read_is_not_told_of_a_session_that_has_ended() {
    let mut script = Script::logged_in(Dialect::V2_0, &config());
    script.writable(false, &[]);
    script.told("k1", updated(1, false), &["event Updated"]);
    let closed = Change::ClosedByKey { disconnect: false };
    script.told("k1", closed, &["send 16", "event Closed by Key"]);
    script.writable(true, &[]);
    // A close that fails ends nothing.
    let mut script = Script::logged_in(Dialect::V2_0, &config());
    script.writable(false, &[]);
    script.told("k1", updated(1, false), &["event Updated"]);
    script.client(close_session(98), &["ask Close k1"]);
    script.told("k1", updated(2, false), &["event Updated"]);
    script.told("k1", Change::CloseFailed, &["send 02 98", "event CloseFailed"]);
    script.writable(true, &[&told("k1", 2)]);
}

#[test]
fn a_client_that_does_not_read_is_told_the_last_state_that_it_can_read() {
    let mut config = config();
    config.advertised.message_buffer = 512;
    let mut script = Script::accept(Dialect::V2_0, &config);
    script.client(restore(99, "k1"), &["send 17 #020060ea000000020000", "ask Restore k1"]);
    let outcome = Outcome { key: key("k1"), change: restored("k1") };
    script.connection.handle_session(script.now, outcome, &mut script.out);
    script.lines();
    script.writable(false, &[]);
    script.told("k1", rotated("k2", false), &["event Rotated"]);
    let long = SessionInfo::new().public("a", "x".repeat(512));
    let length = Session { info: long.clone(), ..session("k2") }.to_json().len();
    let line = format!("event Updated, {length} bytes, at most 511");
    script.told("k2", Change::Updated { info: Box::new(long), own: false }, &[&line]);
    script.writable(true, &[&format!("send 15 {}", session("k2").to_json())]);
}
