//! What clients that resume signals have heard: all of it in one order, or of a gap.

use std::collections::BTreeMap;

use super::order::Order;
use super::seen::{Seen, any_between};
use super::{Promise, Promises, Violation};
use crate::history::{Ask, Client, Op, Outcome, Session, Time};

pub(super) fn check(promises: &Promises, seen: &Seen, found: &mut Vec<Violation>) {
    if seen.resumes.is_empty() {
        return;
    }
    let mut sent: BTreeMap<Session, Vec<(Time, Time, Op)>> = BTreeMap::new();
    for (op, call) in &seen.calls {
        if let (Ask::ToSession(session), Some((done, Outcome::Sent(_)))) = (call.ask, call.ended) {
            sent.entry(session).or_default().push((call.asked, done, *op));
        }
    }
    let mut heard: BTreeMap<(Client, Session), Vec<Op>> = BTreeMap::new();
    for one in seen.heard.iter().filter(|heard| seen.resumes.contains(&heard.client)) {
        if let Some(Ask::ToSession(session)) = seen.calls.get(&one.signal).map(|call| call.ask) {
            heard.entry((one.client, session)).or_default().push(one.signal);
        }
    }
    check_order(seen, &heard, found);
    for ((client, session), (from, to)) in having(seen) {
        if seen.missed.contains(&client) || !seen.is_strict(session) {
            continue;
        }
        let heard = heard.get(&(client, session));
        for (asked, done, signal) in sent.get(&session).into_iter().flatten() {
            let had = *asked > from && to.is_none_or(|to| done.plus(promises.told_within) < to);
            let is_told = any_between(seen.gaps.get(&client), *asked, seen.end);
            if had && !is_told && !heard.is_some_and(|heard| heard.contains(signal)) {
                let what = format!(
                    "client {client} resumes the signals to session {session}, and has heard neither \
                     {signal} nor of a gap"
                );
                found.push(Violation { promise: Promise::Resumed, at: *done, what });
            }
        }
    }
}

/// From when to when clients had a session for the first time, connected or not.
fn having(seen: &Seen) -> BTreeMap<(Client, Session), (Time, Option<Time>)> {
    let mut having = BTreeMap::new();
    for stint in seen.stints.iter().filter(|stint| seen.resumes.contains(&stint.client)) {
        let first = having.entry((stint.client, stint.session)).or_insert(stint.from);
        *first = stint.from.min(*first);
    }
    let until = |client: &Client, from: Time| {
        seen.left.get(client).and_then(|left| left.iter().find(|left| **left >= from)).copied()
    };
    having.into_iter().map(|(who, from)| (who, (from, until(&who.0, from)))).collect()
}

/// The history of a session is one, so all of its clients hear it in one order.
fn check_order(
    seen: &Seen,
    heard: &BTreeMap<(Client, Session), Vec<Op>>,
    found: &mut Vec<Violation>,
) {
    let mut orders: BTreeMap<Session, Order> = BTreeMap::new();
    for ((_, session), heard) in heard.iter().filter(|((_, session), _)| seen.is_strict(*session)) {
        orders.entry(*session).or_default().saw(heard);
    }
    for (session, order) in orders {
        if let Some(circle) = order.contradiction() {
            let what = format!(
                "of the signals to session {session}, each was heard before the next, and the last before \
                 the first: {circle:?}"
            );
            found.push(Violation { promise: Promise::Resumed, at: seen.end, what });
        }
    }
}
