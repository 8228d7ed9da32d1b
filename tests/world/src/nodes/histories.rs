//! Signals to sessions that have histories: clients that move from node to node, and what they may be told.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use wwr::PreparedSignal;
use wwr::SessionKey;
use wwr::cluster::{Answer, HistoryAnswer, HistoryRequest, HistoryStep, NodeSignal, SessionAnswer};
use wwr::server::{RecoveryCommand, RecoveryConfig, RecoveryNews};
use wwr::session::{Batch, ConnectionId, HistoryConfig, Position};

use super::net::Event;
use super::node::State;
use super::{NodeMistake, Nodes};
use crate::event::millis;
use crate::invariants::Invariant;

/// What is true of all signals.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// Which signal has which place.
    contents: BTreeMap<(u64, u64), u64>,
    places: BTreeMap<u64, Position>,
    clients: BTreeMap<u64, Client>,
    last_client: u64,
    /// The clients that may come back to a session.
    away: BTreeMap<SessionKey, Vec<u64>>,
    /// Where the history of a session ended when a node was given its last place of it.
    ends: BTreeMap<(usize, SessionKey), Position>,
}

/// A client, over all its connections.
#[derive(Debug, Default)]
struct Client {
    /// Whether it reads the history.
    follows: bool,
    place: Option<Position>,
    seen: BTreeSet<u64>,
}

/// What a connection knows of the history of its session, as a server has it.
#[derive(Debug, Default)]
pub(super) struct Follow {
    client: Option<u64>,
    /// Whether the client has said that it reads histories.
    said: bool,
    /// Where the history has to begin for it: where it ended when it came to hold the session, or behind the last
    /// signal that it has got since.
    begins: Option<Position>,
    cursor: Option<Position>,
    wanted: Option<Position>,
    until: Option<u64>,
    number: u32,
    is_reading: bool,
    may_go_on: bool,
    waits: bool,
}

impl Follow {
    fn reset(&mut self) {
        let (said, number) = (self.said, self.number + 1);
        *self = Self { said, number, ..Self::default() };
    }
}

/// The settings of all nodes.
pub(super) fn recovery() -> RecoveryConfig {
    let mut history = HistoryConfig::default();
    (history.max_signals, history.max_bytes) = (6, 60);
    history.max_total_bytes = 3_000;
    history.max_age = millis(20_000);
    let mut recovery = RecoveryConfig::default();
    recovery.history = Some(history);
    recovery
}

fn number_in(payload: &[u8]) -> u64 {
    std::str::from_utf8(payload).ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX)
}

impl Nodes {
    /// A connection says that it reads histories.
    pub(super) fn follow(&mut self, id: usize, conn: ConnectionId) {
        let Some(of) = self.nodes[id].connections.get_mut(&conn) else { return };
        if !self.keeps_histories || std::mem::replace(&mut of.follow.said, true) {
            return;
        }
        if let Some(client) = of.follow.client.and_then(|of| self.signals.clients.get_mut(&of)) {
            client.follows = true;
        }
        self.saw("follows");
        self.call(id, |hub, now, out| hub.recover(now, conn, RecoveryCommand::Follow, out));
    }

    /// A connection has come to hold a session: a client is back, or a new one is there.
    pub(super) fn holds(&mut self, id: usize, conn: ConnectionId, key: &SessionKey) {
        if !self.keeps_histories {
            return;
        }
        let back = self.dice.chance(80);
        let Some(of) = self.nodes[id].connections.get_mut(&conn) else { return };
        let said = of.follow.said;
        let Signals { clients, last_client, away, ends, .. } = &mut self.signals;
        let mut waiting = away.get_mut(key);
        let same = waiting.as_mut().and_then(|waiting| {
            let at = waiting.iter().position(|one| clients[one].follows == said);
            at.filter(|_| back).map(|at| waiting.remove(at))
        });
        let client = same.unwrap_or_else(|| {
            *last_client += 1;
            let client = Client { follows: said, ..Client::default() };
            clients.insert(*last_client, client);
            *last_client
        });
        of.follow.reset();
        of.follow.client = Some(client);
        of.follow.begins = ends.get(&(id, key.clone())).copied();
        if same.is_some() && said {
            let none = Position { incarnation: 0, offset: 0 };
            of.follow.wanted = Some(clients[&client].place.unwrap_or(none));
            self.saw("resumes");
        }
        self.note(|| format!("node {id}: {} is client {client}", conn.0));
    }

    /// The session of a connection has another key, and with that another history.
    pub(super) fn has_new_key(&mut self, id: usize, conn: ConnectionId) {
        self.follow_of(id, conn, |follow| follow.begins = None);
    }

    /// A connection does not hold its session any more. Its client may come back if the connection was lost.
    pub(super) fn holds_no_more(&mut self, id: usize, conn: ConnectionId, key: Option<SessionKey>) {
        let Some(of) = self.nodes[id].connections.get_mut(&conn) else { return };
        let client = of.follow.client.take();
        of.follow.reset();
        if let (Some(client), Some(key)) = (client, key) {
            self.signals.away.entry(key).or_default().push(client);
        }
    }

    /// A node signals a session.
    pub(super) fn signal(&mut self, id: usize, key: &SessionKey) -> u64 {
        self.numbers += 1;
        let number = self.numbers;
        let signal = PreparedSignal::new("n", number.to_string()).expect("a signal");
        self.note(|| format!("node {id} signals {number} to {}", key.as_str()));
        let now = self.nodes[id].clock(self.now);
        let node = &mut self.nodes[id];
        let Some(hub) = &mut node.hub else { return number };
        let told = hub.signal_session(now, key, &signal, &mut node.out);
        node.messages.extend(told.appending);
        self.saw("signalled");
        self.carry_out(id);
        number
    }

    pub(super) fn signal_any(&mut self, id: usize) {
        let known = self.known_keys();
        let known = &known[known.len().saturating_sub(8)..];
        let Some(index) = self.dice.index(known.len()) else { return };
        let key = known[index].clone();
        for _ in 0..self.dice.choose(&[1, 1, 2, 9]) {
            self.signal(id, &key);
        }
    }

    /// The engine has appended a signal, or read some.
    pub(super) fn check_history(&mut self, request: &HistoryRequest, answer: &HistoryAnswer) {
        if let (HistoryStep::Append { signal }, HistoryAnswer::Appended { end, .. }) =
            (&request.step, answer)
        {
            let signal = NodeSignal::decode(signal.clone()).expect("a signal").signal;
            let number = number_in(&signal.frame()[3..]);
            let place = (end.incarnation, end.offset);
            let other = self.signals.contents.insert(place, number);
            self.check(other.is_none(), Invariant::SignalsInOrder, || {
                format!("signal {number} has the place {place:?} of {other:?}")
            });
            let twice = self.signals.places.insert(number, *end);
            self.check(twice.is_none(), Invariant::SignalsInOrder, || {
                format!("signal {number} is at {twice:?} and at {end:?}")
            });
        }
    }

    /// The engine has given a node a place.
    pub(super) fn placed(&mut self, id: usize, key: SessionKey, end: Position) {
        self.signals.ends.insert((id, key), end);
    }

    /// Returns the answer that nothing has changed.
    pub(super) fn same(&self, id: usize, key: &SessionKey) -> Answer {
        let answer = SessionAnswer::Same;
        match self.signals.ends.get(&(id, key.clone())) {
            Some(end) => Answer::WithHistory { answer, end: self.latest(*end) },
            None => Answer::Session(answer),
        }
    }

    /// Returns where the history ends now.
    pub(super) fn latest(&self, end: Position) -> Position {
        let of_it = (end.incarnation, 0)..=(end.incarnation, u64::MAX);
        let last = self.signals.contents.range(of_it).next_back();
        Position { offset: last.map_or(0, |((_, offset), _)| *offset), ..end }
    }

    /// A connection gets a signal as it comes.
    pub(super) fn live(&mut self, id: usize, to: ConnectionId, signal: &PreparedSignal) {
        self.saw("live");
        let number = number_in(&signal.frame()[3..]);
        let Some(of) = self.nodes[id].connections.get(&to) else { return };
        let holds = of.state.held().is_some();
        let client = of.follow.client;
        let lossy = self.lossy;
        let Some(client) = client else {
            return self.check(!holds, Invariant::SignalsInOrder, || "nobody reads".into());
        };
        let place = self.signals.places[&number];
        self.follow_of(id, to, |follow| follow.begins = Some(place));
        let Some(client) = self.signals.clients.get_mut(&client) else { return };
        let before = client.place.replace(place);
        let is_new = client.seen.insert(number);
        let is_behind = before.is_some_and(|before| {
            before.incarnation == place.incarnation && before.offset >= place.offset
        });
        self.check((is_new && !is_behind) || lossy, Invariant::SignalsInOrder, || {
            format!("{to:?} of node {id} gets {number} at {place:?} behind {before:?}")
        });
    }

    /// News of the history of its session come to a connection.
    pub(super) fn recovered(&mut self, id: usize, to: ConnectionId, news: RecoveryNews) {
        self.note(|| format!("node {id}: {} hears {news:?}", to.0));
        if let RecoveryNews::Mark(end) = news
            && let Some(Some(begins)) = self.follow_of(id, to, |follow| follow.begins.take())
        {
            self.saw("begins");
            self.check(begins == end, Invariant::SignalsInOrder, || {
                format!("for {to:?} of node {id}, the history begins at {end:?}, not at {begins:?}")
            });
        }
        let Some(of) = self.nodes[id].connections.get_mut(&to) else { return };
        let follow = &mut of.follow;
        match news {
            RecoveryNews::Mark(_) if of.state.held().is_none() => {}
            RecoveryNews::Mark(end) => match follow.wanted.take() {
                None => {
                    follow.cursor = Some(end);
                    self.told_place(id, to, end, "started");
                }
                Some(place) if place == end => {
                    follow.cursor = Some(end);
                    self.saw("resumed at once");
                    self.told_place(id, to, end, "resumed");
                }
                Some(place) => {
                    (follow.cursor, follow.until) = (Some(place), Some(end.offset));
                    self.read(id, to);
                }
            },
            RecoveryNews::Signalled => self.read_later(id, to),
            RecoveryNews::Batch { number, batch } => {
                if follow.is_reading && follow.number == number {
                    follow.is_reading = false;
                    self.take_batch(id, to, *batch);
                }
            }
            other => self.check(false, Invariant::TrueOutcome, || format!("{other:?}")),
        }
    }

    /// The socket may not take anything at the moment.
    fn read_later(&mut self, id: usize, to: ConnectionId) {
        let after = self.dice.choose(&[0, 0, 0, 5, 300, 3_000]);
        let Some(of) = self.nodes[id].connections.get_mut(&to) else { return };
        if after == 0 || self.is_settled {
            self.read(id, to);
        } else if !std::mem::replace(&mut of.follow.waits, true) {
            let run = self.nodes[id].run;
            self.later(millis(after), Event::Read { node: id, run, conn: to });
        }
    }

    pub(super) fn read(&mut self, id: usize, to: ConnectionId) {
        let Some(of) = self.nodes[id].connections.get_mut(&to) else { return };
        let follow = &mut of.follow;
        follow.waits = false;
        let Some(after) = follow.cursor else { return };
        if follow.is_reading {
            follow.may_go_on = true;
            return;
        }
        (follow.is_reading, follow.may_go_on) = (true, false);
        follow.number += 1;
        let command = RecoveryCommand::Read { number: follow.number, after };
        self.call(id, |hub, now, out| hub.recover(now, to, command, out));
    }

    fn take_batch(&mut self, id: usize, to: ConnectionId, batch: Batch<Bytes>) {
        let Batch { incarnation, first, mut gap, signals, last } = batch;
        if self.mistake == Some(NodeMistake::GapNotTold) {
            gap = false;
        }
        let mut place = Position { incarnation, offset: first - 1 };
        if gap {
            self.saw("gap");
            self.follow_of(id, to, |follow| follow.until = None);
            self.told_place(id, to, place, "gap");
        }
        for frame in signals {
            place.offset += 1;
            let mut offset = [0; 8];
            offset.copy_from_slice(&frame[1..9]);
            let is_its = u64::from_le_bytes(offset) == place.offset;
            self.check(is_its, Invariant::SignalsInOrder, || format!("{frame:?} at {place:?}"));
            self.got(id, to, place, number_in(&frame[11..]));
        }
        let until = self.follow_of(id, to, |follow| {
            follow.cursor = Some(place);
            follow.until.take_if(|until| place.offset >= *until)
        });
        if let Some(Some(_)) = until {
            self.saw("resumed");
            self.told_place(id, to, place, "resumed");
        }
        let may_go_on = self.follow_of(id, to, |follow| follow.may_go_on);
        if place.offset < last || may_go_on == Some(true) {
            self.read_later(id, to);
        }
    }

    fn follow_of<T>(
        &mut self,
        id: usize,
        to: ConnectionId,
        with: impl FnOnce(&mut Follow) -> T,
    ) -> Option<T> {
        self.nodes[id].connections.get_mut(&to).map(|of| with(&mut of.follow))
    }

    /// A client gets a signal with its place.
    fn got(&mut self, id: usize, to: ConnectionId, place: Position, number: u64) {
        let client = self.follow_of(id, to, |follow| follow.client).flatten();
        let Some(client) = client.and_then(|client| self.signals.clients.get_mut(&client)) else {
            return;
        };
        let before = client.place.replace(place);
        let is_new = client.seen.insert(number);
        let expected = Position { offset: place.offset - 1, ..place };
        let truth = self.signals.contents.get(&(place.incarnation, place.offset)).copied();
        self.check(before == Some(expected), Invariant::SignalsInOrder, || {
            format!("{to:?} of node {id} gets {number} at {place:?} behind {before:?}, and no gap is told")
        });
        self.check(truth == Some(number), Invariant::SignalsInOrder, || {
            format!("{to:?} of node {id} gets {number} at {place:?}, where {truth:?} is")
        });
        self.check(is_new, Invariant::SignalsInOrder, || {
            format!("{to:?} of node {id} gets {number} twice")
        });
    }

    /// A client is told where it is.
    fn told_place(&mut self, id: usize, to: ConnectionId, place: Position, what: &str) {
        let client = self.follow_of(id, to, |follow| follow.client).flatten();
        let Some(client) = client.and_then(|client| self.signals.clients.get_mut(&client)) else {
            return;
        };
        let before = client.place.replace(place);
        self.check(what != "resumed" || before == Some(place), Invariant::SignalsInOrder, || {
            format!("{to:?} of node {id} has resumed at {place:?}, and is at {before:?}")
        });
    }

    /// All that hold a session get a signal to it.
    pub(super) fn check_signals(&mut self) {
        if !self.keeps_histories {
            return;
        }
        let mut sent = Vec::new();
        for (key, _) in self.holders() {
            self.run_for(millis(200));
            let from = self.dice.index(self.nodes.len()).unwrap_or(0);
            sent.push((key.clone(), self.signal(from, &key)));
        }
        self.run_for(millis(2_000));
        let mut missed = None;
        for (key, number) in sent {
            for node in &self.nodes {
                for (to, conn) in &node.connections {
                    let holds = matches!(&conn.state, State::Holding { key: of, .. } if *of == key);
                    let client = conn.follow.client.and_then(|of| self.signals.clients.get(&of));
                    if holds && !client.is_some_and(|client| client.seen.contains(&number)) {
                        missed = Some(format!(
                            "{to:?} of node {} does not get {number} to {key:?}: {:?}, {client:?}",
                            node.id, conn.follow
                        ));
                    }
                }
            }
        }
        self.check(missed.is_none(), Invariant::SignalsInOrder, || missed.unwrap_or_default());
    }
}
