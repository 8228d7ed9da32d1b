//! Changes of the info and the key of sessions.

use super::*;

fn update(text: &str) -> Command {
    let edit = Edit::Info(SessionInfo::new().public("a", 1));
    Command::Edit(Box::new(EditCommand { key: key(text), edit }))
}

fn new_key(text: &str, to: &str, others: OtherConnections) -> Command {
    let edit =
        Edit::NewKey(NewKey { key: key(to), now: UnixTime::from_seconds(0), info: None, others });
    Command::Edit(Box::new(EditCommand { key: key(text), edit }))
}

fn rotate(text: &str, to: &str) -> Command {
    new_key(text, to, OtherConnections::Keep)
}

fn found(text: &str) -> StoreAnswer {
    StoreAnswer::LookedUp(Ok(Some(session(text))))
}

/// Connections 1 and 2 hold `k`; the next job is 3.
fn shared(config: HubConfig) -> Script {
    let mut script = Script::with(3, config);
    for id in [1, 2] {
        script.asks(id, Command::Restore(key("k")), &[&format!("job {id} look up k")]);
        script.answers(id, found("k"), &[&format!("tell {id} k Restored")]);
    }
    script
}

/// Closes a session whatever that causes.
fn close_key(script: &mut Script, text: &str) {
    script.hub.close_session(script.now, key(text), false, &mut script.out);
    while script.out.pop().is_some() {}
}

fn expiring() -> HubConfig {
    let expiry = Some(Expiry { unused_for: seconds(100), every: seconds(10) });
    HubConfig { expiry, ..HubConfig::default() }
}

#[test]
fn an_update_is_a_job_with_a_deadline() {
    let mut script = shared(HubConfig::default());
    script.asks(1, update("k"), &["job 3 update k"]);
    script.asks(2, update("k"), &[]);
    script.answers(3, StoreAnswer::Destroyed(Ok(())), &[]);
    let timeout = HubConfig::default().store_timeout.as_secs();
    script.pass(timeout, &["job 3 timed out", "tell 1 k EditFailed(Store)", "job 4 update k"]);
    script.answers(3, StoreAnswer::Updated(Ok(true)), &[]);
    let told = ["tell 1 k Updated own false", "tell 2 k Updated own true"];
    script.answers(4, StoreAnswer::Updated(Ok(true)), &told);
    script.asks(1, update("k"), &["job 5 update k"]);
    script.answers(5, StoreAnswer::Updated(Ok(false)), &["tell 1 k EditFailed(NotStored)"]);
}

#[test]
fn a_rotation_takes_a_deadline_for_each_of_its_jobs() {
    let mut script = shared(HubConfig::default());
    let timeout = HubConfig::default().store_timeout.as_secs();
    script.asks(1, rotate("k", "n"), &["job 3 look up k"]);
    script.answers(3, found("k"), &["job 4 create n"]);
    script.answers(4, StoreAnswer::Created(Ok(())), &["job 5 destroy k"]);
    script.pass(timeout, &["job 5 timed out", "job 6 destroy n"]);
    script.pass(timeout, &["job 6 timed out", "tell 1 k EditFailed(Store)"]);
    assert!(script.hub.session_connections(&key("k")).count() == 2);
}

#[test]
fn a_connection_leaves_under_the_key_that_its_session_has() {
    let mut script = shared(expiring());
    script.asks(1, rotate("k", "n"), &["job 3 look up k"]);
    script.answers(3, found("k"), &["job 4 create n"]);
    script.answers(4, StoreAnswer::Created(Ok(())), &["job 5 destroy k"]);
    let told = ["tell 1 k Rotated n own true", "tell 2 k Rotated n own false"];
    script.answers(5, StoreAnswer::Destroyed(Ok(())), &told);
    assert!(script.hub.session_connections(&key("n")).eq([ConnectionId(1), ConnectionId(2)]));
    // Its session is renewed under that key, too.
    script.pass(60, &["job 6 look up n"]);
    script.answers(6, found("n"), &["job 7 expire 100s at 60"]);
    script.answers(7, StoreAnswer::Expired(Ok(())), &[]);
    script.left(1, &[]);
    // It has not heard of the new key yet.
    script.asks(2, Command::Close(key("k")), &["job 8 destroy n"]);
    script.answers(8, StoreAnswer::Destroyed(Ok(())), &["tell 2 n Closed"]);
    [2, 3].into_iter().for_each(|id| script.left(id, &[]));
    assert!(script.hub.is_idle());
}

#[test]
fn updates_and_renewals_of_a_session_come_one_after_another() {
    let mut script = shared(expiring());
    script.pass(60, &["job 3 look up k"]);
    // The store could write back the old info.
    script.asks(1, update("k"), &[]);
    script.answers(3, found("k"), &["job 4 update k", "job 5 expire 100s at 60"]);
    let told = ["tell 1 k Updated own true", "tell 2 k Updated own false"];
    script.answers(4, StoreAnswer::Updated(Ok(true)), &told);
    script.answers(5, StoreAnswer::Expired(Ok(())), &[]);

    // The other way round: the renewal waits, and the rest of the round with it.
    script.asks(3, Command::Restore(key("z")), &["job 6 look up z"]);
    script.answers(6, found("z"), &["tell 3 z Restored"]);
    script.asks(1, update("k"), &["job 7 update k"]);
    script.pass(10, &[]);
    assert_ne!(script.next(), Some(70), "it has nothing to do now");
    let told = ["tell 1 k Updated own true", "tell 2 k Updated own false", "job 8 look up k"];
    script.answers(7, StoreAnswer::Updated(Ok(true)), &told);
    script.asks(1, update("k"), &[]);
    script.pass(49, &["job 8 timed out", "job 9 update k", "expiry skipped"]);
}

#[test]
fn a_round_that_waits_for_a_rotation_goes_on_after_it() {
    let mut script = shared(expiring());
    script.asks(1, rotate("k", "n"), &["job 3 look up k"]);
    script.pass(60, &["job 3 timed out", "tell 1 k EditFailed(Store)", "job 4 look up k"]);
    script.answers(4, found("k"), &["job 5 expire 100s at 60"]);
    script.answers(5, StoreAnswer::Expired(Ok(())), &[]);
    script.asks(1, rotate("k", "n"), &["job 6 look up k"]);
    script.pass(10, &[]);
    script.answers(6, found("k"), &["job 7 create n"]);
    script.answers(7, StoreAnswer::Created(Ok(())), &["job 8 destroy k"]);
    let told = ["tell 1 k Rotated n own true", "tell 2 k Rotated n own false", "job 9 look up n"];
    script.answers(8, StoreAnswer::Destroyed(Ok(())), &told);
    script.answers(9, found("n"), &["job 10 expire 100s at 70"]);
}

#[test]
fn the_application_closes_a_session_during_a_rotation() {
    let mut script = shared(HubConfig::default());
    script.asks(1, rotate("k", "n"), &["job 3 look up k"]);
    script.hub.close_session(script.now, key("k"), false, &mut script.out);
    script.expect(&[
        "tell 1 k ClosedByKey { disconnect: false }",
        "tell 2 k ClosedByKey { disconnect: false }",
    ]);
    script.answers(3, found("k"), &["job 4 destroy k"]);
    script.answers(4, StoreAnswer::Destroyed(Ok(())), &["done 1 told 2 ok"]);

    // The new key, which only the store has told it.
    let mut script = shared(HubConfig::default());
    script.asks(1, rotate("k", "n"), &["job 3 look up k"]);
    script.answers(3, found("k"), &["job 4 create n"]);
    script.hub.close_session(script.now, key("n"), false, &mut script.out);
    script.expect(&[]);
    script.answers(
        4,
        StoreAnswer::Created(Err(StoreFailed)),
        &["tell 1 k EditFailed(Store)", "done 1 told 0 failed"],
    );
}

#[test]
fn groups_of_a_session_end_with_it() {
    let mut script = shared(HubConfig::default());
    let [one, two, three] = [1, 2, 3].map(ConnectionId);
    assert_eq!(script.hub.join_for_session(three, &key("k"), "room"), Err(GroupError::NoSession));
    assert_eq!(script.hub.join_for_session(one, &key("k"), "room"), Ok(true));
    assert_eq!(script.hub.join_for_session(two, &key("k"), "room"), Ok(true));
    assert_eq!(script.hub.join_for_session(two, &key("k"), "room"), Ok(false));
    assert_eq!(script.hub.join(one, "other"), Ok(true));
    assert_eq!(script.hub.join_for_session(one, &key("k"), "other"), Ok(false), "it stays in it");
    assert_eq!(script.hub.join_for_session(one, &key("k"), "kept"), Ok(true));
    assert_eq!(script.hub.join(one, "kept"), Ok(false), "from now on it stays in it");
    // They outlive a rotation.
    script.asks(1, rotate("k", "n"), &["job 3 look up k"]);
    script.answers(3, found("k"), &["job 4 create n"]);
    script.answers(4, StoreAnswer::Created(Ok(())), &["job 5 destroy k"]);
    let told = ["tell 1 k Rotated n own true", "tell 2 k Rotated n own false"];
    script.answers(5, StoreAnswer::Destroyed(Ok(())), &told);
    assert!(script.hub.members("room").eq([one, two]));

    script.asks(1, Command::Close(key("k")), &["tell 1 n Detached"]);
    assert!(script.hub.members("room").eq([two]));
    assert!(script.hub.groups_of(one).eq(["other", "kept"]));
    // A close that fails takes nothing away.
    script.asks(2, Command::Close(key("n")), &["job 6 destroy n"]);
    script.answers(6, StoreAnswer::Destroyed(Err(StoreFailed)), &["tell 2 n CloseFailed"]);
    assert!(script.hub.members("room").eq([two]));
    script.hub.close_session(script.now, key("n"), false, &mut script.out);
    assert_eq!(script.hub.member_count("room"), 0, "before the connection hears of it");
    [one, two, three].into_iter().for_each(|id| script.hub.left(script.now, id, &mut script.out));
    assert_eq!(script.hub.group_count(), 0);
    assert_eq!(
        script.hub.join_for_session(one, &key("k"), "room"),
        Err(GroupError::UnknownConnection)
    );
}

#[test]
fn a_group_is_joined_for_the_session_that_is_named_and_for_no_other() {
    let mut script = shared(HubConfig::default());
    let one = ConnectionId(1);
    let other = Err(GroupError::OtherSession);
    assert_eq!(script.hub.join_for_session(one, &key("z"), "room"), other);
    assert_eq!(
        script.hub.join_for_session(one, &key("k"), ""),
        Err(GroupError::InvalidName { length: 0 })
    );
    // After a rotation, it has two names.
    let mut job = 3;
    let mut rotates = |script: &mut Script, from: &str, to: &str| {
        let told = [
            format!("tell 1 {from} Rotated {to} own true"),
            format!("tell 2 {from} Rotated {to} own false"),
        ];
        script.asks(1, rotate(from, to), &[&format!("job {job} look up {from}")]);
        script.answers(job, found(from), &[&format!("job {} create {to}", job + 1)]);
        let destroys = format!("job {} destroy {from}", job + 2);
        script.answers(job + 1, StoreAnswer::Created(Ok(())), &[&destroys]);
        let told = told.each_ref().map(String::as_str);
        script.answers(job + 2, StoreAnswer::Destroyed(Ok(())), &told);
        job += 3;
    };
    rotates(&mut script, "k", "n0");
    for (held, group) in [("n0", "new"), ("k", "old")] {
        assert_eq!(script.hub.join_for_session(one, &key(held), group), Ok(true));
    }
    // It is not known by all its names for ever.
    for number in 1..=FORMER_KEYS {
        rotates(&mut script, &format!("n{}", number - 1), &format!("n{number}"));
    }
    assert_eq!(script.hub.join_for_session(one, &key("n0"), "late"), Ok(true));
    assert_eq!(script.hub.join_for_session(one, &key("k"), "late"), other);

    let last = format!("n{FORMER_KEYS}");
    script.asks(1, Command::Close(key(&last)), &[&format!("tell 1 {last} Detached")]);
    let gone = Err(GroupError::NoSession);
    assert_eq!(script.hub.join_for_session(one, &key(&last), "room"), gone);
    script.asks(1, Command::Restore(key("z")), &[&format!("job {job} look up z")]);
    script.answers(job, found("z"), &["tell 1 z Restored"]);
    for former in ["n0", &last] {
        assert_eq!(script.hub.join_for_session(one, &key(former), "room"), other);
    }
    assert_eq!(script.hub.member_count("room"), 0);
    assert_eq!(script.hub.join_for_session(one, &key("z"), "room"), Ok(true));
}

#[test]
fn updates_without_a_pause_do_not_keep_sessions_from_expiring() {
    let mut script = shared(expiring());
    script.asks(1, update("k"), &["job 3 update k"]);
    script.pass(60, &["job 3 timed out", "tell 1 k EditFailed(Store)", "job 4 look up k"]);
    script.answers(4, found("k"), &["job 5 expire 100s at 60"]);
    script.answers(5, StoreAnswer::Expired(Ok(())), &[]);
    // One of the two always asks for the next update before that of the other has ended.
    script.asks(1, update("k"), &["job 6 update k"]);
    script.asks(2, update("k"), &[]);
    script.pass(10, &[]);
    let told = ["tell 1 k Updated own true", "tell 2 k Updated own false", "job 7 update k"];
    script.answers(6, StoreAnswer::Updated(Ok(true)), &told);
    script.asks(1, update("k"), &[]);
    let told = ["tell 1 k Updated own false", "tell 2 k Updated own true", "job 8 look up k"];
    script.answers(7, StoreAnswer::Updated(Ok(true)), &told);
    script.asks(2, update("k"), &[]);
    // A restoration waits for all this, and the updates for nothing but the renewal.
    script.asks(3, Command::Restore(key("k")), &[]);
    let next = ["job 9 look up k", "job 10 expire 100s at 70"];
    script.answers(8, found("k"), &next);
}

#[test]
fn a_session_that_is_closed_while_its_old_key_is_destroyed_is_closed_when_the_new_one_is() {
    for others in [OtherConnections::Keep, OtherConnections::Close] {
        for result in [Ok(()), Err(StoreFailed)] {
            let mut script = shared(HubConfig::default());
            script.asks(1, new_key("k", "n", others), &["job 3 look up k"]);
            script.answers(3, found("k"), &["job 4 create n"]);
            script.answers(4, StoreAnswer::Created(Ok(())), &["job 5 destroy k"]);
            script.hub.close_session(script.now, key("k"), false, &mut script.out);
            script.expect(&[
                "tell 1 k ClosedByKey { disconnect: false }",
                "tell 2 k ClosedByKey { disconnect: false }",
            ]);
            script.answers(5, StoreAnswer::Destroyed(Ok(())), &["job 6 destroy n"]);
            let done = if result.is_ok() { "done 1 told 2 ok" } else { "done 1 told 2 failed" };
            script.answers(6, StoreAnswer::Destroyed(result), &[done]);
            assert!(script.hub.is_idle() || script.hub.admitted_count() == 3);
            assert_eq!(script.hub.active_sessions(), 0);
        }
    }
}

#[test]
fn a_close_by_key_ends_once_if_the_new_key_is_undone() {
    let mut script = shared(HubConfig::default());
    script.asks(1, rotate("k", "n"), &["job 3 look up k"]);
    script.answers(3, found("k"), &["job 4 create n"]);
    script.answers(4, StoreAnswer::Created(Ok(())), &["job 5 destroy k"]);
    close_key(&mut script, "k");
    script.answers(5, StoreAnswer::Destroyed(Err(StoreFailed)), &["job 6 destroy n"]);
    script.answers(6, StoreAnswer::Destroyed(Ok(())), &["job 7 destroy k"]);
    script.answers(7, StoreAnswer::Destroyed(Ok(())), &["done 1 told 2 ok"]);
}

#[test]
fn a_session_that_is_taken_over_is_closed_for_the_others_with_its_groups() {
    let mut script = shared(expiring());
    assert_eq!(script.hub.join_for_session(ConnectionId(2), &key("k"), "room"), Ok(true));
    script.asks(1, new_key("k", "n", OtherConnections::Close), &["job 3 look up k"]);
    script.answers(3, found("k"), &["job 4 create n"]);
    script.answers(4, StoreAnswer::Created(Ok(())), &["job 5 destroy k"]);
    let told = ["tell 2 k ClosedByOther", "tell 1 k Rotated n own true"];
    script.answers(5, StoreAnswer::Destroyed(Ok(())), &told);
    assert_eq!(script.hub.member_count("room"), 0);
    let refused = script.hub.join_for_session(ConnectionId(2), &key("k"), "room");
    assert_eq!(refused, Err(GroupError::NoSession));
    assert!(script.hub.session_connections(&key("n")).eq([ConnectionId(1)]));
    // Only the new key is in use.
    script.pass(60, &["job 6 look up n"]);
    let sessions = &script.hub.counters().sessions;
    assert_eq!((sessions.rotated, sessions.closed), (1, 1));
    // A close that was on the way closes nothing again.
    script.asks(2, Command::Close(key("k")), &["tell 2 k Detached"]);
    assert_eq!(script.hub.counters().sessions.closed, 1);
}

#[test]
fn a_session_that_is_closed_by_key_and_by_its_connection_is_closed_once() {
    let mut script = shared(HubConfig::default());
    close_key(&mut script, "k");
    // It had asked for that before it heard.
    script.asks(1, Command::Close(key("k")), &["tell 1 k Detached"]);
    assert_eq!(script.hub.counters().sessions.closed, 2, "once for each connection");
    script.answers(3, StoreAnswer::Destroyed(Ok(())), &["done 1 told 2 ok"]);
    // Another session of the same connection counts anew.
    script.asks(1, Command::Restore(key("z")), &["job 4 look up z"]);
    script.answers(4, found("z"), &["tell 1 z Restored"]);
    script.asks(1, Command::Close(key("z")), &["job 5 destroy z"]);
    close_key(&mut script, "z");
    script.answers(5, StoreAnswer::Destroyed(Ok(())), &["done 2 told 1 ok"]);
    assert_eq!(script.hub.counters().sessions.closed, 3);
    assert_eq!(script.hub.counters().sessions.lost, 0);
}

#[test]
fn a_connection_that_ends_before_its_close_counts_as_closed_and_not_as_lost() {
    let mut script = shared(HubConfig::default());
    script.asks(1, Command::Close(key("k")), &["tell 1 k Detached"]);
    script.asks(2, Command::Close(key("k")), &["job 3 destroy k"]);
    script.asks(2, Command::Leave(key("k")), &[]);
    let sessions = script.hub.counters().sessions;
    assert_eq!((sessions.closed, sessions.lost), (2, 0));
    script.answers(3, StoreAnswer::Destroyed(Ok(())), &[]);
    assert_eq!(script.hub.counters().sessions.closed, 2);
}

/// The hook of the application may take its time, and is not called again if the close fails.
#[test]
fn a_connection_that_waits_for_its_close_still_joins_for_its_session() {
    let two = ConnectionId(2);
    for (answer, news, stays) in
        [(Ok(()), "tell 2 k Closed", false), (Err(StoreFailed), "tell 2 k CloseFailed", true)]
    {
        let mut script = shared(HubConfig::default());
        script.asks(1, Command::Close(key("k")), &["tell 1 k Detached"]);
        let late = script.hub.join_for_session(ConnectionId(1), &key("k"), "room");
        assert_eq!(late, Err(GroupError::NoSession), "another one holds it");
        script.asks(2, Command::Close(key("k")), &["job 3 destroy k"]);
        assert_eq!(script.hub.join_for_session(two, &key("k"), "room"), Ok(true));
        script.answers(3, StoreAnswer::Destroyed(answer), &[news]);
        assert_eq!(script.hub.members("room").eq([two]), stays);
    }
}
