//! Sessions that expire.

use super::*;

fn config() -> HubConfig {
    let expiry = Some(Expiry { unused_for: seconds(100), every: seconds(10) });
    HubConfig { expiry, ..HubConfig::default() }
}

const FOUND: fn() -> StoreAnswer = || StoreAnswer::LookedUp(Ok(Some(session("k"))));

#[test]
fn rounds_are_repeated_after_any_answer_of_the_store() {
    let mut script = Script::new(config());
    assert_eq!(script.next(), Some(0));
    script.pass(0, &["job 1 expire 100s at 0"]);
    script.pass(3, &[]);
    script.answers(1, StoreAnswer::Expired(Ok(())), &[]);
    assert_eq!(script.next(), Some(13));
    script.pass(9, &[]);
    script.pass(1, &["job 2 expire 100s at 13"]);
    script.answers(2, StoreAnswer::Expired(Err(StoreFailed)), &[]);
    script.pass(10, &["job 3 expire 100s at 23"]);
    script.pass(29, &[]);
    script.pass(1, &["job 3 timed out"]);
    script.pass(10, &["job 4 expire 100s at 63"]);
}

#[test]
fn sessions_in_use_are_looked_up_before_unless_they_are_fresh() {
    let mut script = Script::new(config());
    script.pass(0, &["job 1 expire 100s at 0"]);
    script.answers(1, StoreAnswer::Expired(Ok(())), &[]);
    for (id, name) in [(1, "b"), (2, "b"), (3, "a"), (4, "closed"), (5, "missing")] {
        script.admit().unwrap();
        script.opened(id, &[]);
        let job = script.hub.jobs.start(Purpose::Expire, Instant::EPOCH, Instant::EPOCH);
        script.hub.jobs.take(job);
        let (ask, key) = (format!("job {} look up {name}", job.0 + 1), key(name));
        script.asks(id, Command::Restore(key), &[&ask]);
        let found = (name != "missing").then(|| session(name));
        let change = if found.is_some() { "Restored" } else { "NotFound" };
        let told = format!("tell {id} {name} {change}");
        script.answers(job.0 + 1, StoreAnswer::LookedUp(Ok(found)), &[&told]);
    }
    script.pass(49, &["job 12 expire 100s at 49"]);
    script.answers(12, StoreAnswer::Expired(Ok(())), &[]);
    // Half of the time later they are: each session once, in order, one after another.
    script.pass(10, &["job 13 look up a"]);
    script.hub.close_session(script.now, key("closed"), false, &mut script.out);
    script.expect(&["tell 4 closed ClosedByKey { disconnect: false }", "job 14 destroy closed"]);
    script.answers(13, StoreAnswer::LookedUp(Ok(None)), &["job 15 look up b"]);
    script.answers(14, StoreAnswer::Destroyed(Ok(())), &["done 1 told 1 ok"]);
    script.answers(15, FOUND(), &["job 16 expire 100s at 59"]);
    script.answers(16, StoreAnswer::Expired(Ok(())), &[]);
    assert_eq!(script.next(), Some(69));
}

#[test]
fn nothing_expires_if_the_store_cannot_renew_sessions_in_use() {
    let mut script = Script::with(1, config());
    script.asks(1, Command::Restore(key("k")), &["job 1 look up k"]);
    script.answers(1, FOUND(), &["tell 1 k Restored"]);
    script.pass(50, &["job 2 look up k"]);
    script.answers(2, StoreAnswer::LookedUp(Err(StoreFailed)), &["expiry skipped"]);
    assert_eq!(script.next(), Some(60));
    script.pass(10, &["job 3 look up k"]);
    script.pass(30, &["job 3 timed out", "expiry skipped"]);
    script.pass(10, &["job 4 look up k"]);
    script.answers(4, FOUND(), &["job 5 expire 100s at 100"]);
}

#[test]
fn rounds_without_a_pause_do_not_spin() {
    let expiry = Some(Expiry { unused_for: Duration::ZERO, every: Duration::from_nanos(1) });
    let mut script = Script::new(HubConfig { expiry, ..HubConfig::default() });
    script.pass(0, &["job 1 expire 0ns at 0"]);
    script.answers(1, StoreAnswer::Expired(Ok(())), &[]);
    assert_eq!(script.next(), Some(1));
    script.pass(0, &[]);
}

#[test]
fn a_store_with_hardly_any_time_fails_and_nothing_spins() {
    let expiry = Some(Expiry { unused_for: Duration::ZERO, every: Duration::from_nanos(1) });
    let mut script = Script::with(
        1,
        HubConfig { expiry, store_timeout: Duration::from_nanos(1), ..HubConfig::default() },
    );
    script.asks(1, Command::Create(session("k")), &["tell 1 k Created", "job 1 create k"]);
    script.answers(1, StoreAnswer::Created(Ok(())), &["tell 1 k Stored"]);
    script.pass(0, &["job 2 look up k"]);
    script.pass(1, &["job 2 timed out", "expiry skipped"]);
    assert_eq!(script.next(), Some(2));
    script.left(1, &[]);
    script.pass(1, &["job 3 expire 0ns at 2"]);
    script.pass(1, &["job 3 timed out"]);
    assert_eq!(script.next(), Some(4));
}

#[test]
fn a_server_that_has_stopped_expires_nothing() {
    let mut script = Script::new(config());
    script.shut_down(10, &["stopped"]);
    script.pass(100, &[]);
    assert_eq!(script.next(), None);

    let mut script = Script::new(config());
    script.pass(0, &["job 1 expire 100s at 0"]);
    script.shut_down(10, &["stopped"]);
    script.answers(1, StoreAnswer::Expired(Ok(())), &[]);
    assert_eq!(script.next(), None);
}

#[test]
fn a_session_is_destroyed_after_the_look_up_that_keeps_it_from_expiring() {
    let mut script = Script::with(1, config());
    script.asks(1, Command::Restore(key("k")), &["job 1 look up k"]);
    script.answers(1, FOUND(), &["tell 1 k Restored"]);
    script.pass(50, &["job 2 look up k"]);
    // Stores may write back what they have read: it would be there again.
    script.asks(1, Command::Close(key("k")), &[]);
    script.answers(2, FOUND(), &["job 3 destroy k", "job 4 expire 100s at 50"]);
    script.answers(3, StoreAnswer::Destroyed(Ok(())), &["tell 1 k Closed"]);
    script.answers(4, StoreAnswer::Expired(Ok(())), &[]);

    // The same if the look-up times out, and the server has stopped by then.
    let mut script = Script::with(1, config());
    script.asks(1, Command::Restore(key("k")), &["job 1 look up k"]);
    script.answers(1, FOUND(), &["tell 1 k Restored"]);
    script.pass(50, &["job 2 look up k"]);
    script.hub.close_session(script.now, key("k"), false, &mut script.out);
    script.expect(&["tell 1 k ClosedByKey { disconnect: false }"]);
    script.shut_down(10, &["shut down 1 by 60 Stay"]);
    script.left(1, &["stopped"]);
    script.pass(30, &["job 2 timed out", "job 3 destroy k"]);
    assert!(!script.hub.is_idle());
    script.answers(3, StoreAnswer::Destroyed(Ok(())), &["done 1 told 1 ok"]);
    assert!(script.hub.is_idle());
}

#[test]
fn a_round_that_takes_long_does_not_count_against_the_sessions_in_use() {
    let mut script = Script::with(2, config());
    for (id, name) in [(1, "a"), (2, "b")] {
        script.asks(id, Command::Restore(key(name)), &[&format!("job {id} look up {name}")]);
        let told = format!("tell {id} {name} Restored");
        script.answers(id, StoreAnswer::LookedUp(Ok(Some(session(name)))), &[&told]);
    }
    script.pass(50, &["job 3 look up a"]);
    script.pass(29, &[]);
    script.answers(3, FOUND(), &["job 4 look up b"]);
    script.pass(29, &[]);
    // Nothing expires that was not unused for 100 s when the round started.
    script.answers(4, FOUND(), &["job 5 expire 100s at 50"]);
}
