//! Sessions and the store: jobs, time limits, waiters.

use super::*;

const FOUND: fn() -> StoreAnswer = || StoreAnswer::LookedUp(Ok(Some(session("k"))));

#[test]
fn a_session_is_created_restored_and_destroyed() {
    let mut script = Script::with(2, HubConfig::default());
    script.asks(1, Command::Create(session("k")), &["tell 1 k Created", "job 1 create k"]);
    script.answers(1, StoreAnswer::Created(Ok(())), &["tell 1 k Stored"]);
    script.asks(2, Command::Restore(key("k")), &["job 2 look up k"]);
    script.answers(2, FOUND(), &["tell 2 k Restored"]);
    assert_eq!(script.hub.active_sessions(), 1);
    assert!(script.hub.session_connections(&key("k")).eq([ConnectionId(1), ConnectionId(2)]));
    script.asks(1, Command::Close(key("k")), &["tell 1 k Detached"]);
    script.asks(2, Command::Close(key("k")), &["job 3 destroy k"]);
    script.answers(3, StoreAnswer::Destroyed(Ok(())), &["tell 2 k Closed"]);
    script.left(1, &[]);
    script.left(2, &[]);
    assert!(script.hub.is_idle());
}

#[test]
fn a_connection_that_just_leaves_releases_its_session() {
    let config = HubConfig {
        sessions: RegistryConfig { max_connections: NonZeroUsize::new(1), durable: false },
        ..HubConfig::default()
    };
    let mut script = Script::with(3, config);
    script.asks(1, Command::Restore(key("k")), &["job 1 look up k"]);
    script.answers(1, FOUND(), &["tell 1 k Restored"]);
    script.asks(2, Command::Restore(key("k")), &["tell 2 k LimitReached"]);
    script.left(1, &[]);
    assert_eq!(script.hub.active_sessions(), 0);
    // Also while it is being restored.
    script.asks(2, Command::Restore(key("k")), &["job 2 look up k"]);
    script.left(2, &[]);
    script.asks(3, Command::Restore(key("k")), &["job 3 look up k"]);
    script.answers(2, FOUND(), &[]);
    script.answers(3, FOUND(), &["tell 3 k Restored"]);
    // One that said so itself has nothing more to give up.
    script.asks(3, Command::Leave(key("k")), &[]);
    script.left(3, &[]);
    assert!(script.hub.is_idle());
}

#[test]
fn a_store_that_does_not_answer_has_failed_and_its_late_answer_is_ignored() {
    let mut script = Script::with(2, HubConfig::default());
    script.asks(1, Command::Restore(key("a")), &["job 1 look up a"]);
    script.pass(1, &[]);
    script.asks(2, Command::Create(session("b")), &["tell 2 b Created", "job 2 create b"]);
    assert_eq!(script.next(), Some(30));
    script.pass(28, &[]);
    script.pass(1, &["job 1 timed out", "tell 1 a LookupFailed"]);
    script.answers(1, FOUND(), &[]);
    script.pass(1, &["job 2 timed out", "tell 2 b Stored"]);
    script.answers(2, StoreAnswer::Created(Ok(())), &[]);
    assert_eq!(script.next(), None);
}

#[test]
fn an_answer_of_another_kind_or_to_another_job_is_ignored() {
    let mut script = Script::with(1, HubConfig::default());
    script.asks(1, Command::Restore(key("k")), &["job 1 look up k"]);
    for wrong in
        [StoreAnswer::Created(Ok(())), StoreAnswer::Destroyed(Ok(())), StoreAnswer::Expired(Ok(()))]
    {
        script.answers(1, wrong, &[]);
    }
    script.answers(2, FOUND(), &[]);
    script.answers(1, StoreAnswer::LookedUp(Ok(None)), &["tell 1 k NotFound"]);
    script.answers(1, FOUND(), &[]);
}

#[test]
fn closing_a_session_tells_its_connections_and_ends_once_for_each_caller() {
    let mut script = Script::with(2, HubConfig::default());
    script.asks(1, Command::Create(session("k")), &["tell 1 k Created", "job 1 create k"]);
    let first = script.hub.close_session(script.now, key("k"), true, &mut script.out);
    script.expect(&["tell 1 k ClosedByKey { disconnect: true }"]);
    let second = script.hub.close_session(script.now, key("k"), false, &mut script.out);
    assert_ne!(first, second);
    script.expect(&[]);
    // It is stored first, then destroyed.
    script.answers(1, StoreAnswer::Created(Ok(())), &["tell 1 k Stored", "job 2 destroy k"]);
    script.answers(
        2,
        StoreAnswer::Destroyed(Err(StoreFailed)),
        &["done 1 told 1 failed", "done 2 told 0 failed"],
    );
    script.answers(2, StoreAnswer::Destroyed(Ok(())), &[]);
    // A session without connections.
    script.hub.close_session(script.now, key("other"), false, &mut script.out);
    script.expect(&["job 3 destroy other"]);
    script.pass(30, &["job 3 timed out", "done 3 told 0 failed"]);
}

#[test]
fn a_failed_creation_is_not_reported_as_a_destroyed_session() {
    let sessions = RegistryConfig { durable: true, ..RegistryConfig::default() };
    let mut script = Script::with(1, HubConfig { sessions, ..HubConfig::default() });
    script.asks(1, Command::Create(session("k")), &["job 1 create k"]);
    script.hub.close_session(script.now, key("k"), false, &mut script.out);
    script.expect(&[]);
    script.pass(30, &["job 1 timed out", "tell 1 k CreateFailed", "done 1 told 0 failed"]);
    assert_eq!(script.next(), None);
}

#[test]
fn a_caller_waits_for_look_ups_that_were_under_way() {
    let mut script = Script::with(1, HubConfig::default());
    script.asks(1, Command::Restore(key("k")), &["job 1 look up k"]);
    script.hub.close_session(script.now, key("k"), false, &mut script.out);
    script.expect(&["tell 1 k NotFound"]);
    script.answers(1, FOUND(), &["job 2 destroy k"]);
    script.answers(2, StoreAnswer::Destroyed(Ok(())), &["done 1 told 0 ok"]);
    assert!(!script.hub.is_idle(), "the connection is still there");
    script.left(1, &[]);
    assert!(script.hub.is_idle());
}

#[test]
fn jobs_that_are_due_together_end_in_the_order_in_which_they_started() {
    let mut script = Script::with(3, HubConfig::default());
    for id in 1..=3 {
        let job = format!("job {id} look up k{id}");
        script.asks(id, Command::Restore(key(&format!("k{id}"))), &[&job]);
    }
    script.pass(
        31,
        &[
            "job 1 timed out",
            "tell 1 k1 LookupFailed",
            "job 2 timed out",
            "tell 2 k2 LookupFailed",
            "job 3 timed out",
            "tell 3 k3 LookupFailed",
        ],
    );
}
