//! Edits of sessions: updates of the info, rotations of the key, renewals.

use super::*;

const FAILED: Result<(), StoreFailed> = Err(StoreFailed);

/// Connections 1 and 2 hold `k`; the next question is 3.
fn shared() -> Desk {
    let mut desk = Desk::new();
    desk.create(1, "k", &["tell 1 k Created", "ask 1 store k"]);
    desk.stored(1, Ok(()), &["tell 1 k Stored"]);
    desk.restore(2, "k", &["ask 2 lookup k"]);
    desk.found(2, &["tell 2 k Restored"]);
    desk
}

#[test]
fn updates_are_made_one_after_another_and_all_are_told() {
    let mut desk = shared();
    desk.update(1, "k", 1, &["ask 3 update k"]);
    desk.update(2, "k", 2, &[]);
    desk.update(1, "k", 3, &[]);
    desk.updated(
        3,
        Ok(true),
        &["tell 1 k Updated 1 own true", "tell 2 k Updated 1 own false", "ask 4 update k"],
    );
    desk.updated(4, Err(StoreFailed), &["tell 2 k EditFailed(Store)", "ask 5 update k"]);
    desk.updated(5, Ok(false), &["tell 1 k EditFailed(NotStored)"]);
    // Answers to nothing, and of another kind.
    desk.updated(5, Ok(true), &[]);
    desk.update(1, "k", 4, &["ask 6 update k"]);
    desk.destroyed(6, Ok(()), &[]);
    desk.looked_up(6, Ok(()), &[]);
    desk.stored(6, Ok(()), &[]);
    desk.updated(6, Ok(true), &["tell 1 k Updated 4 own true", "tell 2 k Updated 4 own false"]);
    desk.leave(1, "k");
    desk.leave(2, "k");
    desk.expect_idle();
}

#[test]
fn edits_wait_for_the_store_and_restorations_wait_for_edits() {
    let mut desk = Desk::new();
    desk.create(1, "k", &["tell 1 k Created", "ask 1 store k"]);
    desk.update(1, "k", 1, &[]);
    desk.restore(2, "k", &[]);
    desk.stored(1, Ok(()), &["tell 1 k Stored", "ask 2 lookup k"]);
    // What the look-up found before the update would be older.
    desk.restore(3, "k", &[]);
    desk.found(2, &["tell 2 k Restored", "ask 3 update k"]);
    desk.updated(
        3,
        Ok(true),
        &["tell 1 k Updated 1 own true", "tell 2 k Updated 1 own false", "ask 4 lookup k"],
    );
    desk.found(4, &["tell 3 k Restored"]);
    assert_eq!(desk.holders("k"), [1, 2, 3]);
}

#[test]
fn strangers_cannot_edit() {
    let mut desk = shared();
    desk.update(9, "k", 1, &["tell 9 k EditFailed(Ended)"]);
    desk.rotate(9, "k", "new", &["tell 9 k EditFailed(Ended)"]);
    desk.update(9, "unknown", 1, &["tell 9 unknown EditFailed(Ended)"]);
}

#[test]
fn an_update_goes_on_without_the_connection_that_asked() {
    let mut desk = shared();
    desk.update(1, "k", 1, &["ask 3 update k"]);
    desk.update(1, "k", 2, &[]);
    desk.leave(1, "k");
    desk.updated(3, Ok(true), &["tell 2 k Updated 1 own false"]);
    desk.update(2, "k", 3, &["ask 4 update k"]);
    desk.update(2, "k", 4, &[]);
    desk.leave(2, "k");
    desk.restore(3, "k", &[]);
    desk.updated(4, Ok(true), &["ask 5 lookup k"]);
    desk.leave(3, "k");
    desk.found(5, &[]);
    desk.expect_idle();
}

#[test]
fn a_session_that_is_closed_during_an_update_is_destroyed_afterwards() {
    let mut desk = shared();
    desk.leave(2, "k");
    desk.update(1, "k", 1, &["ask 3 update k"]);
    desk.update(1, "k", 2, &[]);
    desk.close(1, "k", &[]);
    assert!(desk.registry.is_closing(&key("k")));
    desk.restore(3, "k", &["tell 3 k NotFound"]);
    // It may hold the session again, so it is told.
    desk.updated(
        3,
        Ok(true),
        &["tell 1 k Updated 1 own true", "tell 1 k EditFailed(Ended)", "ask 4 destroy k"],
    );
    desk.destroyed(4, FAILED, &["tell 1 k CloseFailed"]);
    desk.update(1, "k", 3, &["ask 5 update k"]);
    desk.close_key("k", 1, &["tell 1 k ClosedByKey { disconnect: false }"]);
    desk.updated(5, Ok(true), &["ask 6 destroy k"]);
    desk.destroyed(6, Ok(()), &[]);
    desk.expect_idle();
}

#[test]
fn a_session_that_is_closed_while_an_update_waits_is_not_updated() {
    let mut desk = shared();
    desk.leave(2, "k");
    desk.restore(3, "k", &["ask 3 lookup k"]);
    desk.update(1, "k", 1, &[]);
    desk.close(1, "k", &["tell 3 k NotFound", "tell 1 k EditFailed(Ended)"]);
    desk.found(3, &["ask 4 destroy k"]);
    desk.destroyed(4, Ok(()), &["tell 1 k Closed"]);
    desk.expect_idle();
}

#[test]
fn a_rotation_stores_then_destroys_then_tells() {
    let mut desk = shared();
    desk.rotate(1, "k", "new", &["ask 3 lookup k"]);
    desk.update(2, "k", 5, &[]);
    desk.restore(3, "k", &[]);
    desk.found(3, &["ask 4 store new"]);
    // Nobody can know it yet.
    desk.restore(4, "new", &["tell 4 new NotFound"]);
    desk.create(4, "new", &["tell 4 new CreateFailed"]);
    desk.stored(4, Ok(()), &["ask 5 destroy k"]);
    desk.destroyed(
        5,
        Ok(()),
        &[
            "tell 3 k NotFound",
            "tell 1 k Rotated new 0 own true",
            "tell 2 k Rotated new 0 own false",
            "ask 6 update new",
        ],
    );
    assert_eq!((desk.holders("k"), desk.holders("new")), ([].into(), [1, 2].into()));
    assert_eq!(desk.registry.active_sessions(), 1);
    desk.updated(6, Ok(true), &["tell 1 new Updated 5 own false", "tell 2 new Updated 5 own true"]);
    // Commands that were on the way under the old key.
    desk.rotate(2, "k", "newer", &["ask 7 lookup new"]);
    desk.close(1, "k", &["tell 1 new Detached"]);
    desk.found(7, &["ask 8 store newer"]);
    desk.stored(8, Ok(()), &["ask 9 destroy new"]);
    desk.destroyed(9, Ok(()), &["tell 2 new Rotated newer 0 own true"]);
    desk.leave(2, "k");
    desk.expect_idle();
}

#[test]
fn what_is_stored_under_the_new_key_is_found_and_counts_as_looked_up() {
    let mut desk = shared();
    desk.rotate(1, "k", "new", &["ask 3 lookup k"]);
    let found = Box::new(Session { info: numbered(8), ..*session("k") });
    desk.registry.looked_up(desk.tickets[&3].0, Ok(Some(found)), &mut desk.out);
    let Some(Effect::Store { session, .. }) = desk.out.pop() else { panic!() };
    assert_eq!((session.key, number(&session.info)), (key("new"), 8));
    assert_eq!(session.last_lookup, UnixTime::from_seconds(7));
    assert_eq!(session.created, UnixTime::from_seconds(1));
}

#[test]
fn a_rotation_that_fails_leaves_the_old_key() {
    for (failing, told) in [(3, "Store"), (4, "Store"), (5, "Store"), (0, "NotStored")] {
        let mut desk = shared();
        desk.rotate(2, "k", "new", &["ask 3 lookup k"]);
        desk.restore(3, "k", &[]);
        let failed = format!("tell 2 k EditFailed({told})");
        let mut next = 4;
        match failing {
            0 => desk.looked_up(3, Ok(()), &[&failed, "ask 4 lookup k"]),
            3 => desk.looked_up(3, FAILED, &[&failed, "ask 4 lookup k"]),
            4 => {
                desk.found(3, &["ask 4 store new"]);
                next = 5;
                desk.stored(4, FAILED, &[&failed, "ask 5 lookup k"]);
            }
            _ => {
                desk.found(3, &["ask 4 store new"]);
                desk.stored(4, Ok(()), &["ask 5 destroy k"]);
                desk.destroyed(5, FAILED, &["ask 6 destroy new"]);
                desk.restore(4, "new", &["tell 4 new NotFound"]);
                next = 7;
                desk.destroyed(6, Ok(()), &[&failed, "ask 7 lookup k"]);
            }
        }
        desk.found(next, &["tell 3 k Restored"]);
        assert_eq!((desk.holders("k"), desk.holders("new")), ([1, 2, 3].into(), [].into()));
        for connection in 1..=3 {
            desk.leave(connection, "k");
        }
        desk.expect_idle();
    }
}

#[test]
fn a_key_in_use_is_refused_and_the_next_edit_goes_on() {
    let mut desk = shared();
    desk.restore(3, "other", &["ask 3 lookup other"]);
    desk.found(3, &["tell 3 other Restored"]);
    for (question, used) in [(4, "other"), (5, "k")] {
        desk.rotate(1, "k", used, &[&format!("ask {question} lookup k")]);
        desk.found(question, &["tell 1 k EditFailed(Store)"]);
    }
    assert_eq!((desk.holders("k"), desk.holders("other")), ([1, 2].into(), [3].into()));
    desk.update(1, "k", 1, &["ask 6 update k"]);
}

#[test]
fn a_rotation_is_undone_if_nobody_is_left_for_the_new_key() {
    for left_at in 3..=5 {
        let mut desk = shared();
        desk.leave(2, "k");
        desk.rotate(1, "k", "new", &["ask 3 lookup k"]);
        let leave = |desk: &mut Desk, stage| {
            if left_at == stage {
                desk.leave(1, "k");
            }
        };
        leave(&mut desk, 3);
        if left_at == 3 {
            desk.found(3, &[]);
        } else {
            desk.found(3, &["ask 4 store new"]);
            leave(&mut desk, 4);
            if left_at == 4 {
                desk.stored(4, Ok(()), &["ask 5 destroy new"]);
                desk.destroyed(5, Ok(()), &[]);
            } else {
                desk.stored(4, Ok(()), &["ask 5 destroy k"]);
                leave(&mut desk, 5);
                desk.destroyed(5, Ok(()), &["ask 6 destroy new"]);
                desk.destroyed(6, FAILED, &[]);
            }
        }
        desk.expect_idle();
    }
}

#[test]
fn a_session_that_is_closed_during_a_rotation_dies_with_both_keys() {
    for by_key in [false, true] {
        for closed_at in 3..=6 {
            let mut desk = shared();
            desk.leave(2, "k");
            desk.rotate(1, "k", "new", &["ask 3 lookup k"]);
            let close = |desk: &mut Desk, stage| match (closed_at == stage, by_key) {
                (true, false) => desk.close(1, "k", &[]),
                (true, true) => {
                    desk.close_key("k", 1, &["tell 1 k ClosedByKey { disconnect: false }"]);
                }
                (false, _) => {}
            };
            let failed = "tell 1 k EditFailed(Ended)";
            let ends = |last| if by_key { [last].into() } else { Vec::from([failed, last]) };
            close(&mut desk, 3);
            let last = if closed_at == 3 {
                desk.found(3, &ends("ask 4 destroy k"));
                4
            } else {
                desk.found(3, &["ask 4 store new"]);
                close(&mut desk, 4);
                if closed_at == 4 {
                    desk.stored(4, Ok(()), &["ask 5 destroy new"]);
                    desk.destroyed(5, Ok(()), &ends("ask 6 destroy k"));
                    6
                } else {
                    desk.stored(4, Ok(()), &["ask 5 destroy k"]);
                    close(&mut desk, 5);
                    if closed_at == 5 {
                        // It is closed under the key that it has by now.
                        let rotated = "tell 1 k Rotated new 0 own true";
                        let told = Vec::from([rotated, "ask 6 destroy new"]);
                        desk.destroyed(5, Ok(()), &told[usize::from(by_key)..]);
                        let told: &[&str] = if by_key { &[] } else { &["tell 1 new Closed"] };
                        desk.destroyed(6, Ok(()), told);
                        desk.expect_idle();
                        continue;
                    }
                    desk.destroyed(5, FAILED, &["ask 6 destroy new"]);
                    close(&mut desk, 6);
                    desk.destroyed(6, Ok(()), &ends("ask 7 destroy k"));
                    7
                }
            };
            let told: &[&str] = if by_key { &[] } else { &["tell 1 k Closed"] };
            assert!(desk.registry.is_closing(&key("k")));
            desk.destroyed(last, Ok(()), told);
            desk.expect_idle();
        }
    }
}

#[test]
fn a_new_key_that_is_closed_before_it_is_known_is_closed_with_its_session() {
    let mut desk = shared();
    desk.rotate(1, "k", "new", &["ask 3 lookup k"]);
    desk.found(3, &["ask 4 store new"]);
    desk.close_key("new", 0, &[]);
    assert!(desk.registry.is_closing(&key("new")) && !desk.registry.is_closing(&key("k")));
    desk.stored(4, Ok(()), &["ask 5 destroy k"]);
    desk.destroyed(
        5,
        Ok(()),
        &[
            "tell 1 k Rotated new 0 own true",
            "tell 2 k Rotated new 0 own false",
            "tell 1 new ClosedByKey { disconnect: false }",
            "tell 2 new ClosedByKey { disconnect: false }",
            "ask 6 destroy new",
        ],
    );
    desk.destroyed(6, Ok(()), &[]);
    desk.expect_idle();
}

#[test]
fn a_renewal_takes_its_turn_among_the_edits() {
    let mut desk = shared();
    desk.renew("unknown", &[]);
    desk.update(1, "k", 1, &["ask 3 update k"]);
    desk.renew("k", &[]);
    desk.update(2, "k", 2, &[]);
    let told = ["tell 1 k Updated 1 own true", "tell 2 k Updated 1 own false", "ask 4 lookup k"];
    desk.updated(3, Ok(true), &told);
    desk.updated(4, Ok(true), &[]);
    desk.restore(3, "k", &[]);
    desk.found(4, &["ask 5 lookup k", "renewed Ok(())"]);
    desk.found(5, &["tell 3 k Restored", "ask 6 update k"]);
    // Nothing but a failure of the store matters.
    for (answer, renewed) in [(Ok(()), "renewed Ok(())"), (FAILED, "renewed Err(StoreFailed)")] {
        let mut desk = shared();
        desk.renew("k", &["ask 3 lookup k"]);
        desk.looked_up(3, answer, &[renewed]);
        assert_eq!(desk.holders("k"), [1, 2]);
        [1, 2].into_iter().for_each(|connection| desk.leave(connection, "k"));
        desk.expect_idle();
    }
}

#[test]
fn a_session_that_ends_needs_no_renewal() {
    // While it waits for its turn.
    let mut desk = shared();
    desk.restore(3, "k", &["ask 3 lookup k"]);
    desk.renew("k", &[]);
    desk.leave(1, "k");
    desk.close(2, "k", &["tell 3 k NotFound", "renewed Ok(())"]);
    desk.renew("k", &[]);
    desk.found(3, &["ask 4 destroy k"]);
    desk.destroyed(4, Ok(()), &["tell 2 k Closed"]);
    desk.expect_idle();
    // During the look-up: it would write back what was destroyed.
    let mut desk = shared();
    desk.renew("k", &["ask 3 lookup k"]);
    desk.leave(1, "k");
    desk.close(2, "k", &[]);
    desk.found(3, &["ask 4 destroy k", "renewed Ok(())"]);
    desk.destroyed(4, Ok(()), &["tell 2 k Closed"]);
    desk.expect_idle();
    // A rotation takes it along, and connections may leave.
    let mut desk = shared();
    desk.rotate(1, "k", "new", &["ask 3 lookup k"]);
    desk.renew("k", &[]);
    desk.found(3, &["ask 4 store new"]);
    desk.stored(4, Ok(()), &["ask 5 destroy k"]);
    let told = ["tell 1 k Rotated new 0 own true", "tell 2 k Rotated new 0 own false"];
    desk.destroyed(5, Ok(()), &[&told[..], &["ask 6 lookup new"]].concat());
    [1, 2].into_iter().for_each(|connection| desk.leave(connection, "new"));
    desk.found(6, &["renewed Ok(())"]);
    desk.expect_idle();
}

#[test]
fn a_new_key_may_be_for_one_connection_only_in_the_same_step() {
    let mut desk = shared();
    desk.restore(3, "k", &["ask 3 lookup k"]);
    desk.found(3, &["tell 3 k Restored"]);
    desk.take_over(1, "k", "new", 9, &["ask 4 lookup k"]);
    // Their edits end with the session, the one of the connection that keeps it goes on.
    desk.update(2, "k", 5, &[]);
    desk.rotate(3, "k", "other", &[]);
    desk.update(1, "k", 6, &[]);
    desk.restore(4, "k", &[]);
    let found = Box::new(Session { info: numbered(8), ..*session("k") });
    desk.registry.looked_up(desk.tickets[&4].0, Ok(Some(found)), &mut desk.out);
    let Some(Effect::Store { session, ticket }) = desk.out.pop() else { panic!() };
    assert_eq!((session.key, number(&session.info)), (key("new"), 9));
    assert_eq!(session.created, UnixTime::from_seconds(1));
    assert_eq!(session.last_lookup, UnixTime::from_seconds(7));
    desk.registry.stored(ticket, Ok(()), &mut desk.out);
    desk.expect(&["ask 5 destroy k"]);
    desk.destroyed(
        5,
        Ok(()),
        &[
            "tell 4 k NotFound",
            "tell 2 k ClosedByOther",
            "tell 3 k ClosedByOther",
            "tell 1 k Rotated new 9 own true",
            "ask 6 update new",
        ],
    );
    assert_eq!((desk.holders("k"), desk.holders("new")), ([].into(), [1].into()));
    assert_eq!(desk.registry.active_sessions(), 1);
    // Commands that were on the way.
    desk.close(2, "k", &["tell 2 k Detached"]);
    desk.update(3, "k", 7, &["tell 3 k EditFailed(Ended)"]);
    desk.leave(3, "k");
    desk.updated(6, Ok(true), &["tell 1 new Updated 6 own true"]);
    desk.restore(2, "k", &["ask 7 lookup k"]);
    desk.looked_up(7, Ok(()), &["tell 2 k NotFound"]);
    desk.leave(1, "k");
    desk.expect_idle();
}

#[test]
fn the_others_keep_their_session_if_a_take_over_fails() {
    for failing in 3..=5 {
        let mut desk = shared();
        desk.take_over(1, "k", "new", 9, &["ask 3 lookup k"]);
        let failed = "tell 1 k EditFailed(Store)";
        match failing {
            3 => desk.looked_up(3, FAILED, &[failed]),
            4 => {
                desk.found(3, &["ask 4 store new"]);
                desk.stored(4, FAILED, &[failed]);
            }
            _ => {
                desk.found(3, &["ask 4 store new"]);
                desk.stored(4, Ok(()), &["ask 5 destroy k"]);
                desk.destroyed(5, FAILED, &["ask 6 destroy new"]);
                desk.destroyed(6, FAILED, &[failed]);
            }
        }
        assert_eq!((desk.holders("k"), desk.holders("new")), ([1, 2].into(), [].into()));
        desk.leave(1, "k");
        desk.leave(2, "k");
        desk.expect_idle();
    }
}

#[test]
fn a_take_over_is_undone_if_its_connection_leaves_before_the_old_key_is_destroyed() {
    for closes in [false, true] {
        for left_at in 3..=6 {
            let mut desk = shared();
            desk.take_over(1, "k", "new", 9, &["ask 3 lookup k"]);
            let leave = |desk: &mut Desk, stage| match (left_at == stage, closes) {
                (true, true) => desk.close(1, "k", &["tell 1 k Detached"]),
                (true, false) => desk.leave(1, "k"),
                (false, _) => {}
            };
            leave(&mut desk, 3);
            if left_at == 3 {
                desk.found(3, &[]);
            } else {
                desk.found(3, &["ask 4 store new"]);
                leave(&mut desk, 4);
                if left_at == 4 {
                    desk.stored(4, Ok(()), &["ask 5 destroy new"]);
                    desk.destroyed(5, Ok(()), &[]);
                } else {
                    desk.stored(4, Ok(()), &["ask 5 destroy k"]);
                    leave(&mut desk, 5);
                    if left_at == 5 {
                        // Nobody may have the new key, and there is no other any more.
                        desk.restore(3, "new", &["tell 3 new NotFound"]);
                        desk.destroyed(
                            5,
                            Ok(()),
                            &["tell 2 k ClosedByOther destroyed", "ask 6 destroy new"],
                        );
                        assert_eq!(desk.registry.active_sessions(), 0);
                        assert!(desk.registry.is_closing(&key("new")));
                        desk.restore(3, "new", &["tell 3 new NotFound"]);
                        desk.destroyed(6, Ok(()), &[]);
                        desk.expect_idle();
                        continue;
                    }
                    desk.destroyed(5, FAILED, &["ask 6 destroy new"]);
                    leave(&mut desk, 6);
                    desk.destroyed(6, Ok(()), &[]);
                }
            }
            assert_eq!((desk.holders("k"), desk.holders("new")), ([2].into(), [].into()));
            desk.update(2, "k", 1, &[&format!("ask {} update k", desk.tickets.len() + 1)]);
        }
    }
}

/// An application may free something for a session that is destroyed, and must not do so twice.
#[test]
fn one_connection_is_told_that_a_session_nobody_took_over_is_destroyed() {
    let mut desk = shared();
    desk.restore(3, "k", &["ask 3 lookup k"]);
    desk.found(3, &["tell 3 k Restored"]);
    desk.take_over(1, "k", "new", 9, &["ask 4 lookup k"]);
    desk.found(4, &["ask 5 store new"]);
    desk.stored(5, Ok(()), &["ask 6 destroy k"]);
    desk.leave(1, "k");
    let told = ["tell 2 k ClosedByOther", "tell 3 k ClosedByOther destroyed", "ask 7 destroy new"];
    desk.destroyed(6, Ok(()), &told);
    desk.destroyed(7, Ok(()), &[]);
    desk.expect_idle();
}

#[test]
fn the_last_connection_that_closes_during_a_take_over_never_learns_the_new_key() {
    let mut desk = shared();
    desk.take_over(1, "k", "new", 9, &["ask 3 lookup k"]);
    desk.found(3, &["ask 4 store new"]);
    desk.stored(4, Ok(()), &["ask 5 destroy k"]);
    desk.leave(1, "k");
    desk.close(2, "k", &[]);
    desk.destroyed(5, Ok(()), &["tell 2 k ClosedByOther destroyed", "ask 6 destroy new"]);
    desk.destroyed(6, Ok(()), &[]);
    desk.expect_idle();

    // The one that has asked for it is told, and its close ends with the session of the new key.
    let mut desk = shared();
    desk.take_over(1, "k", "new", 9, &["ask 3 lookup k"]);
    desk.found(3, &["ask 4 store new"]);
    desk.stored(4, Ok(()), &["ask 5 destroy k"]);
    desk.leave(2, "k");
    desk.close(1, "k", &[]);
    desk.destroyed(5, Ok(()), &["tell 1 k Rotated new 9 own true", "ask 6 destroy new"]);
    desk.destroyed(6, Ok(()), &["tell 1 new Closed"]);
    desk.expect_idle();
}

#[test]
fn a_session_that_is_closed_by_key_during_a_take_over_dies_with_both_keys() {
    let by_key = |connection| format!("tell {connection} k ClosedByKey {{ disconnect: false }}");
    let mut desk = shared();
    desk.take_over(1, "k", "new", 9, &["ask 3 lookup k"]);
    desk.found(3, &["ask 4 store new"]);
    desk.stored(4, Ok(()), &["ask 5 destroy k"]);
    assert_eq!(desk.registry.reserved_key(&key("k")), Some(&key("new")));
    desk.close_key("k", 2, &[&by_key(1), &by_key(2)]);
    desk.destroyed(5, Ok(()), &["ask 6 destroy new"]);
    desk.destroyed(6, Ok(()), &[]);
    desk.expect_idle();
}

#[test]
fn a_new_key_that_another_edit_has_reserved_fails_only_the_later_edit() {
    let mut desk = shared();
    desk.restore(3, "other", &["ask 3 lookup other"]);
    desk.found(3, &["tell 3 other Restored"]);
    desk.rotate(1, "k", "same", &["ask 4 lookup k"]);
    desk.found(4, &["ask 5 store same"]);
    desk.rotate(3, "other", "same", &["ask 6 lookup other"]);
    desk.found(6, &["tell 3 other EditFailed(Store)"]);
    // It is still reserved for the first one.
    desk.create(4, "same", &["tell 4 same CreateFailed"]);
    desk.stored(5, Ok(()), &["ask 7 destroy k"]);
    desk.destroyed(
        7,
        Ok(()),
        &["tell 1 k Rotated same 0 own true", "tell 2 k Rotated same 0 own false"],
    );
    assert_eq!((desk.holders("same"), desk.holders("other")), ([1, 2].into(), [3].into()));
}

#[test]
fn a_renewal_that_waits_for_a_take_over_ends() {
    let mut desk = shared();
    desk.take_over(1, "k", "new", 9, &["ask 3 lookup k"]);
    desk.renew("k", &[]);
    desk.found(3, &["ask 4 store new"]);
    desk.stored(4, Ok(()), &["ask 5 destroy k"]);
    let told = ["tell 2 k ClosedByOther", "tell 1 k Rotated new 9 own true", "ask 6 lookup new"];
    desk.destroyed(5, Ok(()), &told);
    desk.found(6, &["renewed Ok(())"]);

    let mut desk = shared();
    desk.take_over(1, "k", "new", 9, &["ask 3 lookup k"]);
    desk.renew("k", &[]);
    desk.found(3, &["ask 4 store new"]);
    desk.stored(4, Ok(()), &["ask 5 destroy k"]);
    desk.leave(1, "k");
    let told = ["tell 2 k ClosedByOther destroyed", "renewed Ok(())", "ask 6 destroy new"];
    desk.destroyed(5, Ok(()), &told);
    desk.destroyed(6, Ok(()), &[]);
    desk.expect_idle();
}
