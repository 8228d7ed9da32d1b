//! Which connections had a session: not too many, and none once it was closed.

use std::collections::BTreeMap;

use super::seen::{Holding, Seen};
use super::{Promise, Promises, Violation};
use crate::history::{Ask, Outcome, Session, Time};

pub(super) fn check(promises: &Promises, seen: &Seen, found: &mut Vec<Violation>) {
    let mut of_sessions: BTreeMap<Session, Vec<&Holding>> = BTreeMap::new();
    for holding in &seen.holdings {
        if seen.is_strict(holding.session) {
            of_sessions.entry(holding.session).or_default().push(holding);
        }
    }
    for (session, holdings) in of_sessions {
        check_limit(promises, session, &holdings, found);
    }
    check_closed(promises, seen, found);
}

/// Counts those that had it at the same time.
fn check_limit(
    promises: &Promises,
    session: Session,
    holdings: &[&Holding],
    found: &mut Vec<Violation>,
) {
    // One that ends when another one begins comes first.
    let mut changes: Vec<(Time, bool, &Holding)> = Vec::new();
    for holding in holdings {
        changes.push((holding.from, true, holding));
        changes.push((holding.to, false, holding));
    }
    changes.sort_by_key(|(at, begins, _)| (*at, *begins));
    let mut now: Vec<&Holding> = Vec::new();
    for (at, begins, holding) in changes {
        if !begins {
            now.retain(|one| !std::ptr::eq(*one, holding));
            continue;
        }
        now.push(holding);
        if now.len() > promises.limit {
            let until = now.iter().map(|holding| holding.to).min().unwrap_or(at);
            let who: Vec<String> = now
                .iter()
                .map(|holding| format!("{} of node {}", holding.connection, holding.node))
                .collect();
            let what = format!(
                "session {session} had {} connections for {:?} ({}), and may have {}",
                now.len(),
                until.since(at),
                who.join(", "),
                promises.limit
            );
            found.push(Violation { promise: Promise::Limit, at, what });
            // Once is enough.
            return;
        }
    }
}

fn check_closed(promises: &Promises, seen: &Seen, found: &mut Vec<Violation>) {
    let closed =
        |session: &Session| seen.closed.get(session).copied().filter(|_| seen.is_strict(*session));
    let mut say = |promise, at, what| found.push(Violation { promise, at, what });
    for (op, call) in &seen.calls {
        if let (Ask::Restore(session), Some((at, Outcome::Restored(_)))) = (call.ask, call.ended)
            && let Some(closed) = closed(&session)
            && call.asked > closed
        {
            let late = call.asked.since(closed);
            let what =
                format!("{op} restored session {session}, asked {late:?} after it was closed");
            say(Promise::Closed, at, what);
        }
    }
    for stint in &seen.stints {
        if let Some(closed) = closed(&stint.session)
            && stint.dialled > closed
        {
            let (client, session) = (stint.client, stint.session);
            let late = stint.dialled.since(closed);
            let what = format!(
                "client {client} resumed session {session} on a connection that it opened {late:?} after \
                 the session was closed"
            );
            say(Promise::Closed, stint.from, what);
        }
    }
    for holding in &seen.holdings {
        if let Some(closed) = closed(&holding.session)
            && holding.to > closed.plus(promises.told_within)
        {
            let Holding { session, node, connection, to, .. } = holding;
            let late = to.since(closed);
            let what = format!(
                "connection {connection} of node {node} had session {session} {late:?} after it was closed"
            );
            say(Promise::ToldOfClosing, *to, what);
        }
    }
}
