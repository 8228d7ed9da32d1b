//! A history, put in order by who saw what.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::history::{
    Ask, Client, Connection, Entry, Event, Fault, Node, Op, Outcome, Session, Time,
};

/// If a node has not looked for so long, it stood still, and what it saw before may not have been so meanwhile.
const STILL: Duration = Duration::from_millis(200);

/// For so long after that, it may not have noticed yet that its lease is over.
const WAKING: Duration = Duration::from_millis(500);

/// For so long after a node was in trouble, the engine may not know yet what it follows.
const RETURNING: Duration = Duration::from_secs(2);

/// What a client asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) ask: Ask,
    pub(super) asked: Time,
    pub(super) ended: Option<(Time, Outcome)>,
    /// On which of its connections. `None`: on the one that it had when it asked, or on a later one.
    pub(super) line: Option<Line>,
}

impl Call {
    /// When it was acknowledged, if it was.
    pub(super) fn done(&self) -> Option<Time> {
        self.ended.and_then(|(at, outcome)| (outcome == Outcome::Done).then_some(at))
    }
}

/// A connection of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    pub(super) client: Client,
    /// When it was dialled.
    pub(super) dialled: Time,
    pub(super) node: Node,
}

/// A connection of a server that certainly had a session all this time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holding {
    pub(super) session: Session,
    pub(super) node: Node,
    pub(super) connection: Connection,
    pub(super) from: Time,
    pub(super) to: Time,
}

/// A signal that a client has heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) at: Time,
    pub(super) client: Client,
    pub(super) signal: Op,
    pub(super) line: Option<Line>,
}

/// A time in which a client had a session, on one connection.
#[derive(Clone, Debug)]
pub(super) struct Stint {
    pub(super) client: Client,
    pub(super) session: Session,
    /// When it was sure to have it.
    pub(super) from: Time,
    /// When it noticed that it does not have it any more, or not on this connection. Never: the end of the history.
    pub(super) to: Option<Time>,
    /// When its connection was dialled.
    pub(super) dialled: Time,
    /// The values that it saw, with the times.
    pub(super) values: Vec<(Time, Op)>,
}

#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) fault: Option<(Time, Fault)>,
    pub(super) mended: Option<Time>,
    pub(super) working: Option<Time>,
    pub(super) stuck: Vec<(Time, String)>,
    /// When a node was in trouble.
    pub(super) troubles: Vec<Time>,
    pub(super) end: Time,
    pub(super) calls: BTreeMap<Op, Call>,
    pub(super) holdings: Vec<Holding>,
    /// When it was known that a session is closed.
    pub(super) closed: BTreeMap<Session, Time>,
    /// When it was first asked to end a session, in whatever way.
    pub(super) endangered: BTreeMap<Session, Time>,
    pub(super) heard: Vec<Heard>,
    pub(super) stints: Vec<Stint>,
    /// Sessions that were not found when a client resumed: when it was dialled, when it was told, and who.
    pub(super) lost: Vec<(Time, Time, Client, Session)>,
    /// When a client dropped a session, or its connection ended.
    pub(super) left: BTreeMap<Client, Vec<Time>>,
    pub(super) dialled: BTreeMap<Client, Vec<Time>>,
    pub(super) disconnected: BTreeMap<Client, Vec<Time>>,
    pub(super) missed: BTreeSet<Client>,
    pub(super) resumes: BTreeSet<Client>,
    pub(super) gaps: BTreeMap<Client, Vec<Time>>,
}

/// What one node holds, as it was seen last.
#[derive(Default)]
struct Watch {
    looked: Option<Time>,
    holds: BTreeMap<(Connection, Session), Time>,
}

impl Seen {
    pub(super) fn of(history: &[Entry]) -> Self {
        let mut seen = Self::default();
        let mut watches: BTreeMap<Node, Watch> = BTreeMap::new();
        let mut lines: BTreeMap<Client, Line> = BTreeMap::new();
        // What a client hears waits until it takes it, so it may dial before it has taken what came before.
        let (mut next, mut connected) = (BTreeMap::new(), BTreeSet::new());
        let mut stints: BTreeMap<Client, Stint> = BTreeMap::new();
        for Entry { at, event } in history {
            let at = *at;
            seen.end = seen.end.max(at);
            match event {
                Event::Fault(fault) => seen.fault = Some((at, *fault)),
                Event::Mended => seen.mended = Some(at),
                Event::Working => seen.working = Some(at),
                Event::Stuck(what) => seen.stuck.push((at, what.clone())),
                Event::Starts(node) => {
                    let watch = watches.remove(node).unwrap_or_default();
                    seen.end_watch(*node, watch);
                }
                Event::Look(node) => seen.look(*node, at, watches.entry(*node).or_default()),
                Event::Held(node, connection, session) => {
                    let watch = watches.entry(*node).or_default();
                    watch.holds.insert((*connection, *session), at);
                }
                Event::Dropped(node, connection, session) => {
                    let watch = watches.entry(*node).or_default();
                    if let Some(from) = watch.holds.remove(&(*connection, *session)) {
                        seen.held(*node, *connection, *session, from, watch.looked);
                    }
                }
                Event::Troubled(_) => seen.troubles.push(at),
                Event::Destroyed(_, session) => seen.close(*session, at),
                Event::Dials(client, node) => {
                    let line = Line { client: *client, dialled: at, node: *node };
                    if connected.contains(client) {
                        next.insert(*client, line);
                    } else {
                        seen.end_stint(&mut stints, *client, at);
                        lines.insert(*client, line);
                    }
                    seen.dialled.entry(*client).or_default().push(at);
                }
                Event::Connected(client) => drop(connected.insert(*client)),
                Event::Disconnected(client) => {
                    seen.end_stint(&mut stints, *client, at);
                    connected.remove(client);
                    lines.extend(next.remove_entry(client));
                    seen.disconnected.entry(*client).or_default().push(at);
                }
                Event::Asks(op, ask) => {
                    let line = lines.get(&op.client()).copied();
                    let line = line.filter(|_| !next.contains_key(&op.client()));
                    seen.calls.insert(*op, Call { ask: *ask, asked: at, ended: None, line });
                    if let Ask::Logout(session) | Ask::Close(session) = ask {
                        seen.endangered.entry(*session).or_insert(at);
                    }
                }
                Event::Ends(op, outcome) => {
                    if let Some(call) = seen.calls.get_mut(op) {
                        call.ended = Some((at, *outcome));
                        // A call waits for a connection, if there is none.
                        let is_one = !next.contains_key(&op.client());
                        let line = lines.get(&op.client()).filter(|_| is_one);
                        call.line = call.line.filter(|of| line == Some(of));
                        if let (Ask::Close(session), Outcome::Done) = (call.ask, outcome) {
                            seen.close(session, at);
                        }
                    }
                }
                Event::Has(client, session, value) => {
                    seen.end_stint(&mut stints, *client, at);
                    let dialled = lines.get(client).map_or(Time(0), |line| line.dialled);
                    let (client, session, values) = (*client, *session, vec![(at, *value)]);
                    let stint = Stint { client, session, from: at, to: None, dialled, values };
                    stints.insert(client, stint);
                }
                Event::Updated(client, session, value) => {
                    if let Some(stint) = stints.get_mut(client)
                        && stint.session == *session
                    {
                        stint.values.push((at, *value));
                    }
                }
                Event::Left(client) => {
                    seen.end_stint(&mut stints, *client, at);
                    seen.left.entry(*client).or_default().push(at);
                }
                Event::Lost(client, session) => {
                    seen.end_stint(&mut stints, *client, at);
                    seen.left.entry(*client).or_default().push(at);
                    let dialled = lines.get(client).map_or(Time(0), |line| line.dialled);
                    seen.lost.push((dialled, at, *client, *session));
                }
                Event::Heard(client, signal) => {
                    let (client, signal, line) = (*client, *signal, lines.get(client).copied());
                    seen.heard.push(Heard { at, client, signal, line });
                }
                Event::Missed(client) => drop(seen.missed.insert(*client)),
                Event::Resumes(client) => drop(seen.resumes.insert(*client)),
                Event::Resumed(..) => {}
                Event::Gap(client) => seen.gaps.entry(*client).or_default().push(at),
            }
        }
        for (node, watch) in watches {
            seen.end_watch(node, watch);
        }
        seen.stints.extend(stints.into_values());
        for (op, call) in seen.calls.iter_mut().filter(|(_, call)| call.ended.is_none()) {
            call.line = call.line.filter(|line| lines.get(&op.client()) == Some(line));
        }
        seen
    }

    fn look(&mut self, node: Node, at: Time, watch: &mut Watch) {
        if let Some(looked) = watch.looked
            && at.since(looked) > STILL
        {
            for ((connection, session), from) in &mut watch.holds {
                self.held(node, *connection, *session, *from, Some(looked));
                *from = at.plus(WAKING);
            }
        }
        watch.looked = Some(at);
    }

    fn end_watch(&mut self, node: Node, watch: Watch) {
        for ((connection, session), from) in watch.holds {
            self.held(node, connection, session, from, watch.looked);
        }
    }

    fn held(
        &mut self,
        node: Node,
        connection: Connection,
        session: Session,
        from: Time,
        to: Option<Time>,
    ) {
        if let Some(to) = to.filter(|to| *to > from) {
            self.holdings.push(Holding { session, node, connection, from, to });
        }
    }

    fn close(&mut self, session: Session, at: Time) {
        self.closed.entry(session).or_insert(at);
        self.endangered.entry(session).or_insert(at);
    }

    fn end_stint(&mut self, stints: &mut BTreeMap<Client, Stint>, client: Client, at: Time) {
        if let Some(mut stint) = stints.remove(&client) {
            stint.to = Some(at);
            self.stints.push(stint);
        }
    }

    /// Whether all promises hold for a session: no data was lost since it was there.
    pub(super) fn is_strict(&self, session: Session) -> bool {
        if !self.fault.is_some_and(|(_, fault)| fault.loses_data()) {
            return true;
        }
        let created = self.calls.get(&session).map(|call| call.asked);
        matches!((created, self.working), (Some(created), Some(working)) if created > working)
    }

    /// Whether nothing was broken between these times, and no node was in trouble. That it was may be noticed a look later.
    pub(super) fn is_calm(&self, from: Time, to: Time) -> bool {
        let (before, after) = (Time(from.0.saturating_sub(nanos(RETURNING))), to.plus(STILL));
        if any_between(Some(&self.troubles), before, after) {
            return false;
        }
        match (self.fault, self.working) {
            (None | Some((_, Fault::Nothing)), _) => true,
            (Some((broken, _)), None) => to < broken,
            (Some((broken, _)), Some(working)) => to < broken || from > working,
        }
    }

    /// Whether a write was over before the other one was begun.
    pub(super) fn is_before(&self, one: Op, other: Op) -> bool {
        let done = self.calls.get(&one).and_then(Call::done);
        let asked = self.calls.get(&other).map(|call| call.asked);
        matches!((done, asked), (Some(done), Some(asked)) if done < asked)
    }
}

const fn nanos(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

/// Whether one of these times lies between the two.
pub(super) fn any_between(times: Option<&Vec<Time>>, from: Time, to: Time) -> bool {
    times.is_some_and(|times| {
        let first = times.partition_point(|time| *time < from);
        times.get(first).is_some_and(|time| *time <= to)
    })
}
