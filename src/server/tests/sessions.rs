//! Sessions, as clients see them (protocol §5.5 to §5.8, §5.12).

use alloc::boxed::Box;

use serde_json::json;

use super::*;

#[test]
fn a_session_is_announced_before_the_reply_of_its_request() {
    let mut script = Script::new();
    script.client(request(1, "login", ""), &["run 1 login"]);
    assert_eq!(script.create("k1"), Ok(()));
    script.expect(&["ask Create k1"]);
    assert_eq!(script.connection.session(), None);
    let created = format!("send 15 {}", session("k1").to_json());
    script.told("k1", Change::Created, &[&created]);
    assert_eq!(script.connection.session(), Some(&session("k1")));
    script.told("k1", Change::Stored, &["event Created"]);
    script.reply(1, Ok("ok"), &["send c0 1 ok"]);
}

#[test]
fn each_creation_is_told_by_the_number_that_it_got() {
    let Script { mut connection, mut out, now, .. } = Script::new();
    let mut create = |connection: &mut Connection, text| {
        let info = SessionInfo::new();
        connection.create_session(key(text), UnixTime::from_seconds(0), info, &mut out)
    };
    let first = create(&mut connection, "k1").unwrap();
    assert_eq!(create(&mut connection, "k2"), Err(Misuse::SessionBusy));
    let tell = |connection: &mut Connection, text, change| {
        let mut out = Actions::new();
        connection.handle_session(now, Outcome { key: key(text), change }, &mut out);
        out.drain().find(|action| matches!(action, Action::SessionEvent(_)))
    };
    let failed = Action::SessionEvent(SessionEvent::CreateFailed(first));
    assert_eq!(tell(&mut connection, "k1", Change::CreateFailed), Some(failed));
    let second = create(&mut connection, "k2").unwrap();
    assert_eq!((first.as_u64(), second.as_u64()), (1, 2));
    assert_eq!(tell(&mut connection, "k2", Change::Created), None);
    let created = SessionEvent::Created(second, session("k2").into());
    let created = Action::SessionEvent(created);
    assert_eq!(tell(&mut connection, "k2", Change::Stored), Some(created));
}

#[test]
fn private_fields_stay_on_the_server() {
    let info = SessionInfo::new().public("user", "ada").private("quota", 10);
    let mut script = Script::new();
    let (now, out) = (UnixTime::from_seconds(0), &mut script.out);
    assert_eq!(
        script.connection.create_session(key("k1"), now, info.clone(), out).map(drop),
        Ok(())
    );
    let Some(Action::Session(Command::Create(stored))) = script.out.pop() else {
        panic!("the registry was not asked")
    };
    assert_eq!(stored.info, info, "the store gets all of it");
    let times = "\"c\":\"1970-01-01T00:00:00Z\",\"l\":\"1970-01-01T00:00:00Z\"";
    let json = format!("{{\"k\":\"k1\",{times},\"i\":{{\"user\":\"ada\"}}}}");
    script.told("k1", Change::Created, &[&format!("send 15 {json}")]);
    let known = script.connection.session().unwrap();
    assert_eq!(known.info.value("quota"), Some(&10.into()));

    let mut script = Script::new();
    script.client(restore(1, "k1"), &["ask Restore k1"]);
    let reply = format!("send c0 1 {json}");
    script.told("k1", Change::Restored(stored), &[&reply, "event Restored"]);
}

#[test]
fn restoring_over_a_session_is_refused_and_leaves_it_alone() {
    for (dialect, refusal) in [
        (Dialect::V1_4, "send 06 1"),
        (Dialect::V1_5, "send 06 1"),
        (Dialect::V2_0, "send 02 1"),
        (Dialect::Unknown, "send 02 1"),
    ] {
        let mut script = Script::logged_in(dialect, &config());
        for key in ["k2", "k1", "wrong format"] {
            script.client(restore(1, key), &[refusal]);
        }
        assert_eq!(script.connection.session(), Some(&session("k1")));
        script.disconnect(&["ask Leave k1"]);
    }
}

#[test]
fn keys_of_a_wrong_format_never_reach_the_registry() {
    for frame in [
        &b"\x20\x01\0\0\0\0\0\0\0x"[..],
        b"\x20\x01\0\0\0\0\0\0\0\0\0",
        b"\x20\x01\0\0\0\0\0\0\0\xff\xfe",
        b"\x20\x01\0\0\0\0\0\0\0../k",
    ] {
        Script::new().client(frame, &["send 03 1"]);
        Script::with(Dialect::V2_0, &config()).client(frame, &["send 03 1"]);
        Script::with(Dialect::V1_4, &Config::default()).client(frame, &["send 03 1"]);
    }
    let mut script = Script::with(Dialect::V1_4, &Config::default());
    script.client(restore(1, &"k".repeat(63)), &["send 03 1"]);
    script.client(restore(2, &"k".repeat(64)), &[&format!("ask Restore {}", "k".repeat(64))]);
}

#[test]
fn without_sessions_everything_about_them_is_refused() {
    let config = Config { sessions: Sessions::Disabled, ..config() };
    for dialect in [Dialect::V1_4, Dialect::V2_0] {
        let mut script = Script::with(dialect, &config);
        script.client(restore(1, "k1"), &["send 05 1"]);
        script.client(close_session(2), &["send 05 2"]);
        assert_eq!(script.create("k1"), Err(Misuse::SessionsDisabled));
        let closed = script.connection.close_session(&mut script.out);
        assert_eq!(closed, Err(Misuse::SessionsDisabled));
        script.expect(&[]);
        script.disconnect(&[]);
    }
}

#[test]
fn a_client_that_closes_its_session_is_answered_as_its_version_expects() {
    for (dialect, sent) in [
        (Dialect::V1_4, &["send 16", "send bf 1", "event Closed by Client"][..]),
        (Dialect::V1_5, &["send 16", "send bf 1", "event Closed by Client"]),
        (Dialect::V2_0, &["send bf 1", "event Closed by Client"]),
        (Dialect::Unknown, &["send 16", "send bf 1", "event Closed by Client"]),
    ] {
        let mut script = Script::logged_in(dialect, &config());
        script.client(close_session(1), &["ask Close k1"]);
        script.client(request(2, "next", ""), &[]);
        let next = [sent, &["run 1 next"]].concat();
        script.told("k1", Change::Closed, &next);
        assert_eq!(script.connection.session(), None);
        script.reply(1, Ok(""), &["send c0 2"]);
        script.client(close_session(3), &["send bf 3"]);
    }
}

#[test]
fn the_event_of_a_closed_session_has_it_as_it_was() {
    for (change, by, fate) in [
        (Change::Closed, ClosedBy::Client, Fate::Destroyed),
        (Change::Detached, ClosedBy::Client, Fate::LivesOn),
        (Change::ClosedByKey { disconnect: true }, ClosedBy::Key, Fate::Destroyed),
    ] {
        let mut script = Script::logged_in(Dialect::V2_0, &config());
        let session = Box::new(script.connection.session().unwrap().clone());
        script.client(close_session(1), &["ask Close k1"]);
        let news = Outcome { key: key("k1"), change };
        script.connection.handle_session(script.now, news, &mut script.out);
        let event = script.out.drain().find(|action| matches!(action, Action::SessionEvent(_)));
        let closed = SessionEvent::Closed { session, by, fate };
        assert_eq!(event, Some(Action::SessionEvent(closed)));
    }
}

#[test]
fn a_session_the_application_closes_is_announced_to_all_versions() {
    for dialect in [Dialect::V1_4, Dialect::V1_5, Dialect::V2_0, Dialect::Unknown] {
        let mut script = Script::logged_in(dialect, &config());
        script.client(request(1, "logout", ""), &["run 1 logout"]);
        assert_eq!(script.connection.close_session(&mut script.out), Ok(true));
        script.expect(&["ask Close k1"]);
        assert!(script.connection.session().is_some(), "until it is closed");
        script.told("k1", Change::Closed, &["send 16", "event Closed by Application"]);
        script.reply(1, Ok("bye"), &["send c0 1 bye"]);
        assert_eq!(script.connection.close_session(&mut script.out), Ok(false));
        assert_eq!(script.create("k2"), Ok(()));
        script.expect(&["ask Create k2"]);
    }
}

#[test]
fn a_session_closed_by_key_is_announced_and_the_connection_lives_on() {
    for dialect in [Dialect::V1_4, Dialect::V2_0] {
        let mut script = Script::logged_in(dialect, &config());
        let by_key = Change::ClosedByKey { disconnect: false };
        script.told("k1", by_key, &["send 16", "event Closed by Key"]);
        script.client(restore(1, "k1"), &["ask Restore k1"]);
    }
}

#[test]
fn a_session_that_could_not_be_destroyed_stays_and_can_be_closed_again() {
    let mut script = Script::logged_in(Dialect::V1_4, &config());
    script.client(close_session(1), &["ask Close k1"]);
    script.told("k1", Change::CloseFailed, &["send 02 1", "event CloseFailed"]);
    assert_eq!(script.connection.session(), Some(&session("k1")));
    script.client(close_session(2), &["ask Close k1"]);
    script.told("k1", Change::Closed, &["send 16", "send bf 2", "event Closed by Client"]);
}

#[test]
fn a_failed_restoration_leaves_the_connection_usable() {
    let mut script = Script::new();
    for (change, reply) in [
        (Change::NotFound, "send 03 1"),
        (Change::LimitReached, "send 04 1"),
        (Change::LookupFailed, "send 02 1"),
    ] {
        script.client(restore(1, "k1"), &["ask Restore k1"]);
        script.told("k1", change, &[reply]);
    }
    script.client(request(2, "still", "here"), &["run 1 still here"]);
}

#[test]
fn an_application_may_use_the_connection_before_it_is_read() {
    let mut script = Script::with(Dialect::V2_0, &config());
    assert_eq!(script.create("k1"), Ok(()));
    script.expect(&["ask Create k1"]);
    let created = format!("send 15 {}", session("k1").to_json());
    script.told("k1", Change::Created, &[&created]);
    let welcome = Payload::utf8("x");
    assert_eq!(script.connection.signal(&name("w"), &welcome, &mut script.out), Ok(()));
    script.expect(&["send 40 #017778"]);
}

#[test]
fn a_session_that_clients_would_refuse_is_not_created() {
    let mut script = Script::new();
    let now = UnixTime::from_seconds(0);
    let info = |length| SessionInfo::new().public("x", "a".repeat(length)).private("y", "b");
    let mut create = |length| {
        let Script { connection, out, .. } = &mut script;
        connection.create_session(key("k1"), now, info(length), out).map(drop)
    };
    let room = Session::MAX_JSON - Session::new(key("k1"), now, info(0)).to_json().len();
    let too_large =
        Misuse::SessionTooLarge { length: Session::MAX_JSON + 1, most: Session::MAX_JSON };
    assert_eq!(create(room + 1), Err(too_large));
    assert_eq!(create(room), Ok(()));
    script.expect(&["ask Create k1"]);
    let hidden = SessionInfo::new().private("x", "a".repeat(Session::MAX_JSON));
    let mut script = Script::new();
    assert_eq!(
        script.connection.create_session(key("k1"), now, hidden, &mut script.out).map(drop),
        Ok(())
    );
}

#[test]
fn a_session_that_could_not_be_read_back_is_not_created() {
    let now = UnixTime::from_seconds(0);
    let nested = |levels| (0..levels).fold(json!(1), |inner, _| json!({ "a": [inner] }));
    let half = SessionInfo::MAX_DEPTH / 2;
    let too_deep = Misuse::SessionTooDeep { most: SessionInfo::MAX_DEPTH };
    let most = Session::MAX_STORED;
    let large = |length| SessionInfo::new().public("n", 1).private("x", "a".repeat(length));
    let room = most - Session::new(key("k1"), now, large(0)).to_stored().len();
    let too_large = Misuse::StoredTooLarge { length: most + 1, most };
    for (info, expected) in [
        (SessionInfo::new().public("x", nested(half + 1)), Err(too_deep)),
        (SessionInfo::new().private("x", nested(half + 1)), Err(too_deep)),
        (SessionInfo::new().public("x", nested(half)), Ok(())),
        (large(room + 1), Err(too_large)),
        (large(room), Ok(())),
    ] {
        let mut script = Script::new();
        let Script { connection, out, .. } = &mut script;
        assert_eq!(connection.create_session(key("k1"), now, info, out).map(drop), expected);
        script.expect(if expected.is_ok() { &["ask Create k1"] } else { &[] });
    }
}

#[test]
fn a_session_that_no_client_could_restore_is_not_created() {
    let mut script = Script::new();
    assert_eq!(script.create("other"), Err(Misuse::InvalidKey));
    assert_eq!(script.create("k1"), Ok(()));
    script.expect(&["ask Create k1"]);
}

#[test]
fn keys_are_not_shown() {
    let mut script = Script::new();
    let shows = |script: &Script| format!("{:?}", script.connection).contains("k-secret");
    assert_eq!(script.create("k-secret"), Ok(()));
    assert!(!shows(&script));
    script.client(request(1, "login", ""), &["ask Create k-secret", "run 1 login"]);
    script.client(restore(2, "k-secret"), &[]);
    assert!(!shows(&script));
}

#[test]
fn the_creator_of_a_session_gets_one_event_even_if_it_is_closed_meanwhile() {
    let closing = || {
        let mut script = Script::new();
        assert_eq!(script.create("k1"), Ok(()));
        script.expect(&["ask Create k1"]);
        let created = format!("send 15 {}", session("k1").to_json());
        script.told("k1", Change::Created, &[&created]);
        assert_eq!(script.connection.close_session(&mut script.out), Ok(true));
        script.expect(&["ask Close k1"]);
        script
    };
    let mut script = closing();
    script.told("k1", Change::Stored, &["event Created"]);
    script.told("k1", Change::Closed, &["send 16", "event Closed by Application"]);

    let mut script = closing();
    script.told("k1", Change::Closed, &["send 16", "event Created", "event Closed by Application"]);
    script.told("k1", Change::Stored, &[]);

    let mut script = closing();
    script.told("k1", Change::CloseFailed, &["event CloseFailed"]);
    script.told("k1", Change::Stored, &["event Created"]);
    script.told("k1", Change::Stored, &[]);
}
