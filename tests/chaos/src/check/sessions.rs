//! What sessions hold: they are there, with what was written last.

use std::collections::{BTreeMap, BTreeSet};

use super::order::Order;
use super::seen::{Call, Seen, Stint};
use super::{Promise, Promises, Violation};
use crate::history::{Ask, Op, Outcome, Session, Time};

pub(super) fn check(promises: &Promises, seen: &Seen, found: &mut Vec<Violation>) {
    check_kept(seen, found);
    let mut updates: BTreeMap<Session, Vec<(Time, Op)>> = BTreeMap::new();
    for (op, call) in &seen.calls {
        if let (Ask::Update(session), Some(done)) = (call.ask, call.done())
            && seen.is_strict(session)
        {
            updates.entry(session).or_default().push((done, *op));
        }
    }
    let updates = Updates { seen, of: updates };
    check_read(&updates, found);
    check_order(seen, found);
    check_told(promises, &updates, found);
}

/// Updates that were acknowledged.
struct Updates<'a> {
    seen: &'a Seen,
    of: BTreeMap<Session, Vec<(Time, Op)>>,
}

impl Updates<'_> {
    /// Returns an update that was acknowledged by this time, though a value is older.
    fn missing(&self, session: Session, value: Op, by: Time) -> Option<(Time, Op)> {
        let updates = self.of.get(&session)?;
        updates
            .iter()
            .copied()
            .find(|(done, op)| *done < by && *op != value && self.seen.is_before(value, *op))
    }
}

/// A session that is not found has to have been closed.
fn check_kept(seen: &Seen, found: &mut Vec<Violation>) {
    let asked = seen.calls.iter().filter_map(|(op, call)| match (call.ask, call.ended) {
        (Ask::Restore(session), Some((at, Outcome::NotFound))) => {
            Some((call.asked, at, op.client(), session))
        }
        _ => None,
    });
    for (asked, at, client, session) in asked.chain(seen.lost.iter().copied()) {
        let created = seen.calls.get(&session).and_then(Call::done);
        let was_there = created.is_some_and(|created| created < asked);
        let may_be_closed = seen.endangered.get(&session).is_some_and(|first| *first < at);
        if was_there && !may_be_closed && seen.is_strict(session) {
            let what =
                format!("client {client} did not find session {session}, which nobody has closed");
            found.push(Violation { promise: Promise::Kept, at, what });
        }
    }
}

/// What is restored has the last value.
fn check_read(updates: &Updates<'_>, found: &mut Vec<Violation>) {
    let restored =
        updates.seen.calls.iter().filter_map(|(op, call)| match (call.ask, call.ended) {
            (Ask::Restore(session), Some((at, Outcome::Restored(value)))) => {
                Some((call.asked, at, op.client(), session, value))
            }
            _ => None,
        });
    let resumed = updates.seen.stints.iter().filter_map(|stint| {
        let (at, value) = stint.values.first().copied()?;
        Some((stint.dialled, at, stint.client, stint.session, value))
    });
    for (asked, at, client, session, value) in restored.chain(resumed) {
        if let Some((done, update)) = updates.missing(session, value, asked) {
            let what = format!(
                "client {client} got session {session} with {value}, asked {:?} after the later update \
                 {update} was acknowledged",
                asked.since(done)
            );
            found.push(Violation { promise: Promise::Updated, at, what });
        }
    }
}

/// All see the same order.
fn check_order(seen: &Seen, found: &mut Vec<Violation>) {
    let mut orders: BTreeMap<Session, (Time, Order)> = BTreeMap::new();
    for stint in seen.stints.iter().filter(|stint| seen.is_strict(stint.session)) {
        let values: Vec<Op> = stint.values.iter().map(|(_, value)| *value).collect();
        let mut once = BTreeSet::new();
        let again = stint.values.iter().find(|(_, value)| !once.insert(*value));
        if let Some((at, value)) = again {
            let Stint { client, session, .. } = stint;
            let what =
                format!("client {client} saw {value} of session {session} twice: {values:?}");
            found.push(Violation { promise: Promise::OneOrder, at: *at, what });
            continue;
        }
        let (at, order) = orders.entry(stint.session).or_default();
        *at = (*at).max(stint.from);
        order.saw(&values);
    }
    for (session, (at, order)) in orders {
        if let Some(circle) = order.contradiction() {
            let what = format!(
                "for session {session}, each of these was seen before the next, and the last \
                                before the first: {circle:?}"
            );
            found.push(Violation { promise: Promise::OneOrder, at, what });
        }
    }
}

/// Connections that stay hear of an update.
fn check_told(promises: &Promises, updates: &Updates<'_>, found: &mut Vec<Violation>) {
    for stint in &updates.seen.stints {
        let ends = stint.to.unwrap_or(updates.seen.end);
        for (done, update) in updates.of.get(&stint.session).into_iter().flatten() {
            let by = done.plus(promises.told_within);
            if stint.from > *done
                || ends < by
                || !updates.seen.is_calm(*done, by)
                || updates.seen.missed.contains(&stint.client)
            {
                continue;
            }
            let last = stint.values.iter().rev().find(|(at, _)| *at <= by);
            if let Some((_, value)) = last
                && value != update
                && updates.seen.is_before(*value, *update)
            {
                let Stint { client, session, .. } = stint;
                let what = format!(
                    "client {client} still had {value} of session {session} {:?} after {update} was \
                     acknowledged",
                    promises.told_within
                );
                found.push(Violation { promise: Promise::ToldOfUpdate, at: by, what });
            }
        }
    }
}
