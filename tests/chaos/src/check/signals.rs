//! Who heard which signals.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::seen::{Call, Heard, Line, Seen, any_between};
use super::{Promise, Promises, Violation};
use crate::history::{Ask, Client, Op, Outcome, Time};

/// For so long after it was sent, a client has to stay if it has to hear a signal.
const STAYS: Duration = Duration::from_secs(3);

pub(super) fn check(_: &Promises, seen: &Seen, found: &mut Vec<Violation>) {
    let mut heard: BTreeMap<(Op, Client), Heard> = BTreeMap::new();
    let mut last: BTreeMap<(Line, Line), Op> = BTreeMap::new();
    for heard_now in &seen.heard {
        let Heard { at, client, signal, line } = *heard_now;
        let mut say = |promise, what| found.push(Violation { promise, at, what });
        let Some(call) = seen.calls.get(&signal) else {
            say(Promise::Concern, format!("client {client} heard {signal}, which nobody has sent"));
            continue;
        };
        // A client that goes to another node meanwhile may hear it there as well, unless it resumes the signals to its
        // session.
        let is_resumed = matches!(call.ask, Ask::ToSession(_)) && seen.resumes.contains(&client);
        if let Some(first) = heard.insert((signal, client), *heard_now)
            && (first.line == line || is_resumed)
        {
            let again = at.since(first.at);
            say(Promise::Once, format!("client {client} heard {signal} again after {again:?}"));
            continue;
        }
        if let Some(why) = stranger(seen, heard_now, call) {
            let ask = call.ask;
            say(Promise::Concern, format!("client {client} heard {signal}, {ask:?}: {why}"));
        }
        let (Some(to), Some(from)) = (line, call.line) else { continue };
        if let Some(later) = last.insert((from, to), signal)
            && later > signal
        {
            let what = format!("client {client} heard {signal} after {later}");
            say(Promise::SenderOrder, what);
        }
        if let Some((_, Outcome::NotSent)) = call.ended
            && to.node != from.node
        {
            let what = format!(
                "client {client} on node {} heard {signal}, which node {} has not passed on",
                to.node, from.node
            );
            say(Promise::NotSent, what);
        }
    }
    check_sent(seen, &heard, found);
}

/// Says why a signal does not concern a client that has heard it.
fn stranger(seen: &Seen, heard: &Heard, call: &Call) -> Option<String> {
    let Heard { at, client, line, .. } = *heard;
    let Some(line) = line else { return Some("it has no connection".into()) };
    let mine = seen.calls.range(Op::new(client, 0)..=Op::new(client, u32::MAX));
    match call.ask {
        Ask::ToAll => None,
        Ask::ToGroup(group) => {
            let joined = mine.into_iter().any(|(_, mine)| {
                let is_here = mine.line.is_none_or(|of| of == line)
                    && mine.ended.is_none_or(|(ended, _)| ended >= line.dialled);
                mine.ask == Ask::Join(group) && is_here && mine.asked < at
            });
            (!joined).then(|| format!("it has not joined {group} on this connection"))
        }
        Ask::ToSession(session) => {
            // It may have it since it asked for it, or since it began to resume it, until it was told otherwise.
            let mut begins: Vec<Time> = mine
                .into_iter()
                .filter(|(op, mine)| {
                    mine.ask == Ask::Restore(session) || mine.ask == Ask::Login && **op == session
                })
                .map(|(_, mine)| mine.asked)
                .collect();
            let had = seen.stints.iter().filter(|stint| {
                stint.client == client && stint.session == session && stint.from <= at
            });
            begins.extend(had.map(|stint| stint.dialled.max(last_left(seen, client, stint.from))));
            let begins = begins.into_iter().filter(|begin| *begin <= at);
            let concerned = begins.into_iter().any(|begin| {
                // It was told that it does not have it any more, before the signal was sent.
                !any_between(seen.left.get(&client), begin, call.asked)
            });
            (!concerned).then(|| "it did not have the session then".into())
        }
        _ => Some("it is no signal".into()),
    }
}

/// When a client last left a session before this.
fn last_left(seen: &Seen, client: Client, before: Time) -> Time {
    let left = seen.left.get(&client);
    left.and_then(|left| left.iter().rev().find(|left| **left < before)).copied().unwrap_or(Time(0))
}

/// What was passed on while nothing was broken has to be heard by all that stay.
fn check_sent(seen: &Seen, heard: &BTreeMap<(Op, Client), Heard>, found: &mut Vec<Violation>) {
    for (signal, call) in &seen.calls {
        let Some((done, Outcome::Sent(_))) = call.ended else { continue };
        let until = done.plus(STAYS);
        if !seen.is_calm(call.asked, until) || until > seen.end {
            continue;
        }
        let stays = |client: Client| {
            let went = [seen.dialled.get(&client), seen.disconnected.get(&client)];
            !seen.missed.contains(&client)
                && !went.iter().any(|times| any_between(*times, call.asked, until))
        };
        let members: BTreeSet<Client> = match call.ask {
            Ask::ToSession(session) => seen
                .stints
                .iter()
                .filter(|stint| stint.session == session && stint.from < call.asked)
                .filter(|stint| stint.to.is_none_or(|to| to > until))
                .map(|stint| stint.client)
                .collect(),
            Ask::ToGroup(group) => seen
                .calls
                .iter()
                .filter(|(_, join)| join.ask == Ask::Join(group))
                .filter(|(_, join)| join.done().is_some_and(|done| done < call.asked))
                // Groups end with the connection.
                .filter(|(op, join)| {
                    let dialled = seen.dialled.get(&op.client());
                    !any_between(dialled, join.asked, call.asked)
                })
                .map(|(op, _)| op.client())
                .collect(),
            Ask::ToAll => seen
                .dialled
                .iter()
                .filter(|(client, dialled)| {
                    let settled = Time(call.asked.0.saturating_sub(STAYS.as_nanos() as u64));
                    dialled.first().is_some_and(|first| *first < settled)
                        && !any_between(Some(*dialled), settled, call.asked)
                        && !any_between(seen.disconnected.get(client), settled, call.asked)
                })
                .map(|(client, _)| *client)
                .collect(),
            _ => continue,
        };
        let missing: Vec<Client> = members
            .into_iter()
            .filter(|client| stays(*client) && !heard.contains_key(&(*signal, *client)))
            .collect();
        if !missing.is_empty() {
            let ask = call.ask;
            let what = format!("{signal}, {ask:?}, was not heard by clients {missing:?}");
            found.push(Violation { promise: Promise::Sent, at: until, what });
        }
    }
}
