//! Stories of several connections and one store.

use serde_json::json;

use super::*;

const FAILED: Result<(), StoreFailed> = Err(StoreFailed);

#[test]
fn a_session_is_created_left_and_restored() {
    let mut desk = Desk::new();
    desk.create(1, "k", &["tell 1 k Created", "ask 1 store k"]);
    desk.stored(1, Ok(()), &["tell 1 k Stored"]);
    assert_eq!((desk.holders("k"), desk.registry.active_sessions()), ([1].into(), 1));
    desk.leave(1, "k");
    desk.expect_idle();

    desk.restore(2, "k", &["ask 2 lookup k"]);
    assert_eq!(desk.registry.active_sessions(), 0, "nobody holds it before the store has answered");
    desk.found(2, &["tell 2 k Restored"]);
    desk.restore(3, "k", &["ask 3 lookup k"]);
    desk.found(3, &["tell 3 k Restored"]);
    assert_eq!((desk.holders("k"), desk.registry.active_sessions()), ([2, 3].into(), 1));
    desk.leave(2, "k");
    desk.leave(3, "k");
    desk.expect_idle();
}

#[test]
fn the_last_to_close_has_the_session_destroyed_first() {
    let mut desk = Desk::new();
    desk.create(1, "k", &["tell 1 k Created", "ask 1 store k"]);
    desk.stored(1, Ok(()), &["tell 1 k Stored"]);
    desk.restore(2, "k", &["ask 2 lookup k"]);
    desk.found(2, &["tell 2 k Restored"]);

    desk.close(1, "k", &["tell 1 k Detached"]);
    assert_eq!(desk.holders("k"), [2]);
    desk.close(2, "k", &["ask 3 destroy k"]);
    assert_eq!((desk.holders("k"), desk.registry.active_sessions()), ([].into(), 0));
    desk.restore(3, "k", &["tell 3 k NotFound"]);
    desk.create(3, "k", &["tell 3 k CreateFailed"]);
    desk.destroyed(3, Ok(()), &["tell 2 k Closed"]);
    desk.expect_idle();
}

#[test]
fn a_session_that_cannot_be_destroyed_is_still_held() {
    let mut desk = Desk::limited(1);
    desk.create(1, "k", &["tell 1 k Created", "ask 1 store k"]);
    desk.stored(1, Ok(()), &["tell 1 k Stored"]);
    desk.close(1, "k", &["ask 2 destroy k"]);
    desk.destroyed(2, FAILED, &["tell 1 k CloseFailed"]);
    assert_eq!((desk.holders("k"), desk.registry.active_sessions()), ([1].into(), 1));
    desk.restore(2, "k", &["tell 2 k LimitReached"]);

    desk.close(1, "k", &["ask 3 destroy k"]);
    desk.leave(1, "k");
    desk.destroyed(3, FAILED, &[]);
    desk.expect_idle();
}

#[test]
fn slow_look_ups_do_not_race_past_the_limit() {
    let mut desk = Desk::limited(2);
    desk.restore(1, "k", &["ask 1 lookup k"]);
    desk.restore(2, "k", &["ask 2 lookup k"]);
    desk.restore(3, "k", &["tell 3 k LimitReached"]);
    desk.restore(3, "other", &["ask 3 lookup other"]);
    desk.found(2, &["tell 2 k Restored"]);
    desk.restore(4, "k", &["tell 4 k LimitReached"]);
    desk.looked_up(1, FAILED, &["tell 1 k LookupFailed"]);
    desk.restore(4, "k", &["ask 4 lookup k"]);
    desk.leave(4, "k");
    desk.restore(5, "k", &["ask 5 lookup k"]);
    desk.found(4, &[]);
    desk.found(5, &["tell 5 k Restored"]);
    assert_eq!(desk.holders("k"), [2, 5]);
}

#[test]
fn a_session_being_created_durably_takes_a_slot() {
    let max_connections = NonZeroUsize::new(1);
    let mut desk = Desk::with(RegistryConfig { max_connections, durable: true });
    desk.create(1, "k", &["ask 1 store k"]);
    desk.restore(2, "k", &["tell 2 k LimitReached"]);
    desk.stored(1, Ok(()), &["tell 1 k Created", "tell 1 k Stored"]);
    assert_eq!(desk.holders("k"), [1]);
}

#[test]
fn a_connection_that_leaves_during_the_look_up_gets_no_news() {
    let mut desk = Desk::limited(1);
    desk.restore(1, "k", &["ask 1 lookup k"]);
    desk.leave(1, "k");
    assert!(!desk.registry.is_idle(), "the store has not answered");
    desk.found(1, &[]);
    desk.expect_idle();
}

#[test]
fn the_store_never_destroys_what_it_is_looking_up() {
    let mut desk = Desk::new();
    desk.create(1, "k", &["tell 1 k Created", "ask 1 store k"]);
    desk.stored(1, Ok(()), &["tell 1 k Stored"]);
    desk.restore(2, "k", &["ask 2 lookup k"]);
    desk.restore(3, "k", &["ask 3 lookup k"]);
    desk.leave(3, "k");
    desk.close(1, "k", &["tell 2 k NotFound"]);
    desk.restore(4, "k", &["tell 4 k NotFound"]);
    desk.found(2, &[]);
    desk.found(3, &["ask 4 destroy k"]);
    desk.destroyed(4, Ok(()), &["tell 1 k Closed"]);
    desk.expect_idle();
}

#[test]
fn closing_by_key_waits_for_abandoned_look_ups() {
    let mut desk = Desk::new();
    desk.restore(1, "k", &["ask 1 lookup k"]);
    desk.leave(1, "k");
    desk.close_key("k", 0, &[]);
    desk.close_key("k", 0, &[]);
    desk.looked_up(1, FAILED, &["ask 2 destroy k"]);
    desk.close_key("k", 0, &[]);
    desk.destroyed(2, Ok(()), &[]);
    desk.expect_idle();
}

#[test]
fn a_look_up_waits_until_the_session_is_stored() {
    let mut desk = Desk::limited(2);
    desk.create(1, "k", &["tell 1 k Created", "ask 1 store k"]);
    desk.restore(2, "k", &[]);
    desk.restore(3, "k", &["tell 3 k LimitReached"]);
    desk.stored(1, Ok(()), &["tell 1 k Stored", "ask 2 lookup k"]);
    desk.found(2, &["tell 2 k Restored"]);
    assert_eq!(desk.holders("k"), [1, 2]);
}

#[test]
fn without_durability_a_session_the_store_refused_lives_as_long_as_it_is_held() {
    let mut desk = Desk::new();
    desk.create(1, "k", &["tell 1 k Created", "ask 1 store k"]);
    desk.restore(2, "k", &[]);
    desk.stored(1, FAILED, &["tell 1 k Stored", "ask 2 lookup k"]);
    desk.looked_up(2, Ok(()), &["tell 2 k NotFound"]);
    assert_eq!(desk.holders("k"), [1]);
    desk.close(1, "k", &["ask 3 destroy k"]);
    desk.destroyed(3, Ok(()), &["tell 1 k Closed"]);
    desk.expect_idle();
}

#[test]
fn a_durable_session_is_announced_when_it_is_stored() {
    let mut desk = Desk::durable();
    desk.create(1, "k", &["ask 1 store k"]);
    assert_eq!((desk.holders("k"), desk.registry.active_sessions()), ([].into(), 0));
    desk.restore(2, "k", &[]);
    desk.stored(1, Ok(()), &["tell 1 k Created", "tell 1 k Stored", "ask 2 lookup k"]);
    desk.found(2, &["tell 2 k Restored"]);

    desk.create(3, "refused", &["ask 3 store refused"]);
    desk.restore(4, "refused", &[]);
    desk.stored(3, FAILED, &["tell 3 refused CreateFailed", "tell 4 refused NotFound"]);
    assert_eq!((desk.holders("k"), desk.registry.active_sessions()), ([1, 2].into(), 1));
}

#[test]
fn a_durable_session_whose_creator_left_is_destroyed() {
    let mut desk = Desk::durable();
    desk.create(1, "k", &["ask 1 store k"]);
    desk.restore(2, "k", &[]);
    desk.leave(1, "k");
    desk.stored(1, Ok(()), &["tell 2 k NotFound", "ask 2 destroy k"]);
    desk.destroyed(2, Ok(()), &[]);
    desk.expect_idle();

    desk.create(3, "k", &["ask 3 store k"]);
    desk.leave(3, "k");
    desk.stored(3, FAILED, &[]);
    desk.expect_idle();
}

#[test]
fn closing_while_storing_destroys_afterwards() {
    let mut desk = Desk::new();
    desk.create(1, "k", &["tell 1 k Created", "ask 1 store k"]);
    desk.restore(2, "k", &[]);
    desk.close(1, "k", &["tell 2 k NotFound"]);
    desk.restore(2, "k", &["tell 2 k NotFound"]);
    desk.stored(1, Ok(()), &["tell 1 k Stored", "ask 2 destroy k"]);
    desk.destroyed(2, Ok(()), &["tell 1 k Closed"]);
    desk.expect_idle();

    // The same, and the closing connection does not wait for the end.
    desk.create(3, "k", &["tell 3 k Created", "ask 3 store k"]);
    desk.close(3, "k", &[]);
    desk.leave(3, "k");
    desk.stored(3, FAILED, &["tell 3 k Stored", "ask 4 destroy k"]);
    desk.destroyed(4, Ok(()), &[]);
    desk.expect_idle();
}

#[test]
fn closing_by_key_while_storing_durably_takes_the_session_back() {
    let mut desk = Desk::durable();
    desk.create(1, "k", &["ask 1 store k"]);
    desk.close_key("k", 0, &[]);
    desk.stored(1, Ok(()), &["tell 1 k CreateFailed", "ask 2 destroy k"]);
    desk.destroyed(2, Ok(()), &[]);
    desk.expect_idle();

    desk.create(1, "k", &["ask 3 store k"]);
    desk.close_key("k", 0, &[]);
    desk.stored(3, FAILED, &["tell 1 k CreateFailed"]);
    desk.expect_idle();
}

#[test]
fn closing_by_key_tells_each_connection_once() {
    let mut desk = Desk::new();
    desk.create(1, "k", &["tell 1 k Created", "ask 1 store k"]);
    desk.stored(1, Ok(()), &["tell 1 k Stored"]);
    desk.restore(2, "k", &["ask 2 lookup k"]);
    desk.found(2, &["tell 2 k Restored"]);
    let told = "k ClosedByKey { disconnect: false }";
    let (first, second) = (format!("tell 1 {told}"), format!("tell 2 {told}"));
    desk.close_key("k", 2, &[&first, &second, "ask 3 destroy k"]);
    // They had asked to close it before they were told.
    desk.close(1, "k", &["tell 1 k Detached"]);
    desk.close_key("k", 0, &[]);
    desk.destroyed(3, FAILED, &[]);
    desk.expect_idle();
}

#[test]
fn closing_by_key_reaches_a_connection_that_waits_for_its_own_closing() {
    let mut desk = Desk::new();
    desk.create(1, "k", &["tell 1 k Created", "ask 1 store k"]);
    desk.close(1, "k", &[]);
    desk.close_key("k", 1, &["tell 1 k ClosedByKey { disconnect: false }"]);
    desk.stored(1, Ok(()), &["tell 1 k Stored", "ask 2 destroy k"]);
    desk.destroyed(2, FAILED, &[]);
    desk.expect_idle();

    desk.restore(2, "k", &["ask 3 lookup k"]);
    desk.found(3, &["tell 2 k Restored"]);
    desk.close(2, "k", &["ask 4 destroy k"]);
    desk.registry.close_key(key("k"), true, &mut desk.out);
    desk.expect(&["tell 2 k ClosedByKey { disconnect: true }"]);
    desk.destroyed(4, FAILED, &[]);
    desk.expect_idle();
}

#[test]
fn a_key_in_use_cannot_be_created_again() {
    let mut desk = Desk::new();
    desk.create(1, "k", &["tell 1 k Created", "ask 1 store k"]);
    desk.create(2, "k", &["tell 2 k CreateFailed"]);
    desk.stored(1, Ok(()), &["tell 1 k Stored"]);
    desk.create(2, "k", &["tell 2 k CreateFailed"]);
    assert_eq!(desk.holders("k"), [1]);
}

#[test]
fn tickets_work_once_and_for_their_own_question() {
    let mut desk = Desk::new();
    desk.create(1, "k", &["tell 1 k Created", "ask 1 store k"]);
    desk.found(1, &[]);
    desk.destroyed(1, Ok(()), &[]);
    desk.stored(1, Ok(()), &["tell 1 k Stored"]);
    desk.stored(1, Ok(()), &[]);

    desk.restore(2, "k", &["ask 2 lookup k"]);
    desk.stored(2, Ok(()), &[]);
    desk.destroyed(2, Ok(()), &[]);
    desk.found(2, &["tell 2 k Restored"]);
    desk.found(2, &[]);
    desk.leave(2, "k");

    desk.close(1, "k", &["ask 3 destroy k"]);
    desk.stored(3, Ok(()), &[]);
    desk.found(3, &[]);
    desk.destroyed(3, Ok(()), &["tell 1 k Closed"]);
    desk.destroyed(3, Ok(()), &[]);
    desk.expect_idle();
}

#[test]
fn a_session_has_the_key_it_was_asked_for() {
    let mut desk = Desk::new();
    desk.restore(1, "k", &["ask 1 lookup k"]);
    let ticket = desk.tickets[&1].0;
    desk.registry.looked_up(ticket, Ok(Some(session("another"))), &mut desk.out);
    desk.expect(&["tell 1 k Restored"]);
}

#[test]
fn many_connections_restore_one_session_with_any_order_of_answers() {
    const CROWD: u64 = 1000;
    let mut desk = Desk::new();
    for number in 1..=CROWD {
        desk.restore(number, "k", &[&format!("ask {number} lookup k")]);
    }
    // Some give up, and some of those ask again: what was asked before is not for them any more.
    for number in (1..=CROWD).step_by(10) {
        desk.leave(number, "k");
    }
    for number in (1..=CROWD).step_by(20) {
        desk.restore(number, "k", &[&format!("ask {} lookup k", CROWD + number.div_ceil(20))]);
    }
    for number in (1..=CROWD).rev() {
        let told = format!("tell {number} k Restored");
        let told = [&*told];
        desk.found(number, if number % 10 == 1 { &[] } else { &told });
    }
    assert_eq!(desk.holders("k").len() as u64, CROWD / 10 * 9);
    for number in (1..=CROWD).step_by(20) {
        desk.found(CROWD + number.div_ceil(20), &[&format!("tell {number} k Restored")]);
    }
    assert_eq!(desk.holders("k").len() as u64, CROWD / 20 * 19);
    desk.close_key(
        "k",
        950,
        &{
            let told = (1..=CROWD).filter(|number| number % 20 != 11);
            let mut told: Vec<_> = told
                .map(|number| format!("tell {number} k ClosedByKey {{ disconnect: false }}"))
                .collect();
            told.push("ask 1051 destroy k".into());
            told
        }
        .iter()
        .map(|line| &**line)
        .collect::<Vec<_>>(),
    );
    desk.destroyed(1051, Ok(()), &[]);
    desk.expect_idle();
}

#[test]
fn a_stored_session_that_clients_could_not_read_is_not_restored() {
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    let long = json!("x".repeat(Session::MAX_JSON));
    for unreadable in [deep, long] {
        let mut desk = Desk::limited(1);
        desk.restore(5, "k", &["ask 1 lookup k"]);
        let info = SessionInfo::new().public("a", unreadable);
        let session = Box::new(Session { info, ..*session("k") });
        desk.registry.looked_up(desk.tickets[&1].0, Ok(Some(session)), &mut desk.out);
        desk.expect(&["tell 5 k LookupFailed"]);
        desk.expect_idle();
    }
}
