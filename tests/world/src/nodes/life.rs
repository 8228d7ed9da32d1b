//! What connections, the application and chance do.

use std::collections::BTreeSet;

use bytes::Bytes;
use wwr::cluster::{Answer, Audience, ClusterAction, EngineFailed, EngineJobId, Epoch, News};
use wwr::server::{Hub, HubAction, HubConfig};
use wwr::session::{
    Change, Command, ConnectionId, Edit, EditCommand, NewKey, OtherConnections, Outcome,
    RegistryConfig,
};
use wwr::{Instant, Session, SessionInfo, SessionKey, UnixTime};

use super::net::{Event, number, number_of};
use super::node::{Conn, State};
use super::{NodeMistake, Nodes};
use crate::event::millis;
use crate::invariants::Invariant;

const GROUPS: [&str; 3] = ["a", "b", "c"];

impl Nodes {
    pub(super) fn plan_life(&mut self) {
        self.later(millis(1), Event::Act);
        self.later(millis(100), Event::Snapshot);
        self.later(millis(3_000), Event::Fault);
    }

    /// A process starts.
    pub(super) fn start(&mut self, id: usize) {
        if self.nodes[id].hub.is_some() {
            return;
        }
        let mut config = HubConfig::default();
        let mut sessions = RegistryConfig::default();
        sessions.max_connections = std::num::NonZeroUsize::new(self.limit);
        config.sessions = sessions;
        let config = config.validate().expect("settings that are valid");
        let cluster = self.nodes[id].config().validate().expect("settings that are valid");
        let node = &mut self.nodes[id];
        node.hub = Some(if self.keeps_histories {
            let recovery =
                super::histories::recovery().validate().expect("settings that are valid");
            let secret = (u128::from(node.run) << 64 | id as u128).to_le_bytes();
            Hub::clustered_with_recovery(&config, &cluster, &recovery, secret)
        } else {
            Hub::clustered(&config, &cluster)
        });
        node.run += 1;
        self.note(|| format!("node {id} starts"));
    }

    /// A process ends without a word.
    fn kill(&mut self, id: usize) {
        for conn in self.nodes[id].connections.keys().copied().collect::<Vec<_>>() {
            self.leaves(id, conn);
        }
        let node = &mut self.nodes[id];
        node.hub = None;
        node.run += 1;
        node.is_paused = false;
        node.is_member = false;
        node.out = wwr::Actions::new();
        node.connections.clear();
        node.missed.clear();
        node.messages.clear();
        node.waiters.clear();
        node.asked.clear();
        node.listens = None;
        self.saw("killed");
        self.note(|| format!("node {id} is killed"));
    }

    pub(super) fn call(
        &mut self,
        id: usize,
        call: impl FnOnce(&mut Hub, Instant, &mut wwr::Actions<HubAction>),
    ) {
        let now = self.nodes[id].clock(self.now);
        let node = &mut self.nodes[id];
        let Some(hub) = &mut node.hub else { return };
        call(hub, now, &mut node.out);
        self.carry_out(id);
    }

    pub(super) fn timeout(&mut self, id: usize) {
        self.call(id, |hub, now, out| hub.handle_timeout(now, out));
        let now = self.nodes[id].clock(self.now);
        let next = self.nodes[id].hub.as_ref().and_then(Hub::next_timeout);
        self.check(next.is_none_or(|next| next > now), Invariant::DeadlinesForward, || {
            format!("node {id} is due at {next:?}, and it is {now:?}")
        });
    }

    pub(super) fn answer(
        &mut self,
        id: usize,
        run: u64,
        job: EngineJobId,
        mut answer: Result<Answer, EngineFailed>,
    ) {
        let node = &mut self.nodes[id];
        if node.run != run || node.is_split {
            return;
        }
        if node.is_paused {
            return node.missed.push_back(Event::Answer { node: id, run, job, answer });
        }
        if self.mistake == Some(NodeMistake::BeginsLate)
            && let Ok(Answer::WithHistory { end, .. }) = &mut answer
        {
            *end = self.latest(*end);
        }
        let again = (self.dice.chance(1)).then(|| answer.clone());
        self.call(id, |hub, now, out| hub.engine_answered(now, job, answer, out));
        if let Some(answer) = again {
            self.call(id, |hub, now, out| hub.engine_answered(now, job, answer, out));
        }
    }

    pub(super) fn news(&mut self, id: usize, run: u64, epoch: Epoch, news: News) {
        let node = &mut self.nodes[id];
        if node.run != run || node.is_split {
            return;
        }
        if node.is_paused {
            return node.missed.push_back(Event::News { node: id, run, epoch, news });
        }
        self.call(id, |hub, now, out| hub.handle_news(now, epoch, news, out));
    }

    /// A process goes on, with what it had planned before.
    pub(super) fn wake(&mut self, id: usize) {
        if !std::mem::take(&mut self.nodes[id].is_paused) {
            return;
        }
        self.note(|| format!("node {id} goes on"));
        // It does anything first.
        match self.dice.below(3) {
            0 => self.act_on(id),
            1 => self.timeout(id),
            _ => {}
        }
        while let Some(event) = self.nodes[id].missed.pop_front() {
            self.happens(event);
        }
        self.timeout(id);
    }

    pub(super) fn carry_out(&mut self, id: usize) {
        while let Some(action) = self.nodes[id].out.pop() {
            match action {
                HubAction::Deliver { to, outcome } => self.told(id, to, outcome),
                HubAction::Recover { to, news } => self.recovered(id, to, news),
                HubAction::MoveAway { to } => {
                    self.saw("moved away");
                    if self.mistake == Some(NodeMistake::FencedGoesOn) {
                        continue;
                    }
                    self.note(|| format!("node {id}: {} moves away", to.0));
                    self.gone(id, to);
                }
                HubAction::Cluster(action) => self.of_cluster(id, *action),
                HubAction::Done { waiter, told: _, result } => {
                    let key = self.nodes[id].waiters.remove(&waiter);
                    self.check(key.is_some(), Invariant::WaitersAreTold, || {
                        format!("{waiter:?} of node {id} is told twice")
                    });
                    if let (Some(key), Ok(())) = (key, result) {
                        let open = self.engine.session(&key).is_some();
                        self.check(!open || self.lossy, Invariant::TrueOutcome, || {
                            format!("{key:?} was closed, says node {id}, and the engine has it")
                        });
                    }
                }
                HubAction::Stopped => {}
                other => self.check(false, Invariant::TrueOutcome, || format!("{other:?}")),
            }
        }
    }

    fn of_cluster(&mut self, id: usize, action: ClusterAction) {
        match action {
            ClusterAction::Engine(job) => self.ask(id, job),
            ClusterAction::EngineTimedOut { .. } => self.saw("timed out"),
            ClusterAction::Entered { epoch } => {
                self.note(|| format!("node {id} is {}", epoch.0));
                let run = self.nodes[id].run;
                self.nodes[id].listens = Some(epoch);
                self.nodes[id].is_member = true;
                self.later(millis(1), Event::Interrupted { node: id, run, epoch });
            }
            ClusterAction::Lost { cause, connections } => {
                self.lost += 1;
                self.nodes[id].is_member = false;
                self.note(|| format!("node {id} is lost by {cause:?}, {connections} move"));
            }
            ClusterAction::Message { to, message } => self.message(id, &to, &message),
            ClusterAction::Signal { to, signal } => {
                self.live(id, to, &signal);
                if self.mistake == Some(NodeMistake::LiveTwice) && self.dice.chance(10) {
                    self.live(id, to, &signal);
                }
            }
            ClusterAction::Sent { id: message, outcome } => {
                let was_open = self.nodes[id].messages.remove(&message);
                self.check(was_open, Invariant::OneOutcome, || {
                    format!("{message:?} of node {id} has two outcomes: {outcome:?}")
                });
            }
        }
    }

    /// A message of another node comes to those that it concerns.
    fn message(&mut self, id: usize, to: &Audience, message: &Bytes) {
        let node = &mut self.nodes[id];
        let Some(hub) = &node.hub else { return };
        let to: Vec<ConnectionId> = match to {
            Audience::Session(key) => hub.session_connections(key).collect(),
            Audience::Group(name) => hub.members(name).collect(),
            Audience::All => node.connections.keys().copied().collect(),
        };
        let number = message.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let twice = to.iter().find(|to| {
            let conn = node.connections.get_mut(to);
            conn.is_some_and(|conn| !conn.got.insert(number))
        });
        let twice = twice.copied();
        self.check(twice.is_none(), Invariant::SignalsInOrder, || {
            format!("message {number} comes to {twice:?} of node {id} twice")
        });
    }

    /// A connection is told something.
    fn told(&mut self, id: usize, to: ConnectionId, outcome: Outcome) {
        let Some(conn) = self.nodes[id].connections.get_mut(&to) else { return };
        let (before, edits) = (conn.state.clone(), conn.edits);
        let Outcome { key, change } = outcome;
        let is_own = matches!(
            change,
            Change::Updated { own: true, .. }
                | Change::Rotated { own: true, .. }
                | Change::EditFailed(_)
        );
        let line = format!("node {id}: {} is told {} {}", to.0, key.as_str(), name(&change));
        self.note(|| line.clone());
        let holds = before.held() == Some(&key);
        let after = match (&before, change) {
            (State::Restoring(of, _), Change::Restored(session)) if *of == key => {
                self.commands.1 += 1;
                self.saw("restored");
                Some(State::Holding { number: number(&session), key })
            }
            (State::Restoring(of, _), Change::NotFound) if *of == key => {
                self.saw("not found");
                self.check_not_found(id, &key);
                Some(State::Idle)
            }
            (State::Restoring(of, _), Change::LimitReached | Change::LookupFailed)
                if *of == key =>
            {
                self.saw("not restored");
                Some(State::Idle)
            }
            (State::Creating(of), Change::Created) if *of == key => {
                self.commands.1 += 1;
                self.truth.entry(key.clone()).or_default().is_known = true;
                let number = self.engine.session(&key).map_or(0, |(session, _)| number(session));
                let first = self.truth[&key].revisions.iter().find(|(_, at)| **at == 1);
                let number = first.map_or(number, |(number, _)| *number);
                Some(State::Holding { key, number })
            }
            (State::Creating(of), Change::CreateFailed) if *of == key => Some(State::Idle),
            (State::Holding { .. }, Change::Stored) if holds => Some(before.clone()),
            (State::Closing { .. }, Change::Closed) if holds => {
                self.saw("closed");
                let open = self.engine.session(&key).is_some();
                self.check(!open || self.lossy, Invariant::TrueOutcome, || {
                    format!("{to:?} of node {id} has closed {key:?}, and the engine has it")
                });
                Some(State::Idle)
            }
            (State::Closing { .. }, Change::Detached) if holds => {
                self.saw("detached");
                Some(State::Idle)
            }
            (State::Closing { number, .. }, Change::CloseFailed) if holds => {
                self.saw("close failed");
                Some(State::Holding { key, number: *number })
            }
            (
                State::Holding { .. } | State::Closing { .. },
                Change::ClosedByKey { .. } | Change::ClosedByOther { .. },
            ) if holds => Some(State::Idle),
            (State::Holding { number, .. }, Change::Updated { info, .. }) if holds => {
                let new = number_of(&info);
                self.check_order(id, to, &key, *number, new);
                Some(State::Holding { key, number: new })
            }
            (State::Closing { number, .. }, Change::Updated { info, .. }) if holds => {
                let new = number_of(&info);
                self.check_order(id, to, &key, *number, new);
                Some(State::Closing { key, number: new })
            }
            (State::Holding { .. }, Change::Rotated { session, .. }) if holds => {
                self.truth.entry(session.key.clone()).or_default().is_known = true;
                self.saw("rotated");
                Some(State::Holding { number: number(&session), key: session.key })
            }
            (State::Closing { .. }, Change::Rotated { session, .. }) if holds => {
                self.truth.entry(session.key.clone()).or_default().is_known = true;
                Some(State::Closing { number: number(&session), key: session.key })
            }
            (State::Holding { .. } | State::Closing { .. }, Change::EditFailed(_)) if holds => {
                Some(before.clone())
            }
            _ => None,
        };
        self.mix(to.0 << 8 | id as u64);
        self.check(after.is_some() && (!is_own || edits > 0), Invariant::OneOutcome, || {
            format!("{line}, and is {before:?} with {edits} edits")
        });
        let Some(conn) = self.nodes[id].connections.get_mut(&to) else { return };
        conn.state = after.unwrap_or_default();
        conn.edits -= usize::from(is_own && conn.edits > 0);
        if conn.state == State::Idle {
            conn.edits = 0;
        }
        let held = conn.state.held().cloned();
        match (before.held(), held) {
            (None, Some(key)) => self.holds(id, to, &key),
            (Some(_), None) => self.holds_no_more(id, to, None),
            (Some(old), Some(new)) if *old != new => self.has_new_key(id, to),
            (None, None) | (Some(_), Some(_)) => {}
        }
    }

    /// A connection is lost, and its client may come back.
    fn leaves(&mut self, id: usize, conn: ConnectionId) {
        let key = self.nodes[id].connections.get(&conn).and_then(|one| one.state.held().cloned());
        self.holds_no_more(id, conn, key);
    }

    /// A connection ends.
    pub(super) fn gone(&mut self, id: usize, conn: ConnectionId) {
        self.leaves(id, conn);
        if self.nodes[id].connections.remove(&conn).is_some() {
            self.call(id, |hub, now, out| hub.left(now, conn, out));
        }
    }

    pub(super) fn act(&mut self) {
        let after = self.dice.up_to(millis(150));
        self.later(after, Event::Act);
        let running = self.running();
        if let Some(index) = self.dice.index(running.len()) {
            self.act_on(running[index]);
        }
    }

    fn new_key(&mut self) -> SessionKey {
        self.keys += 1;
        SessionKey::new(format!("key-{}", self.keys)).expect("a key")
    }

    fn new_info(&mut self) -> SessionInfo {
        self.numbers += 1;
        SessionInfo::new().public("number", self.numbers)
    }

    fn act_on(&mut self, id: usize) {
        if self.nodes[id].hub.is_none() {
            return;
        }
        if self.nodes[id].connections.len() < 12 && self.dice.chance(30) {
            self.connect(id);
        }
        if self.keeps_histories && self.dice.chance(40) {
            self.signal_any(id);
        }
        match self.dice.below(20) {
            0 => {
                self.send(id, None);
            }
            1 => self.close_by_key(id),
            _ => {
                let ids: Vec<_> = self.nodes[id].connections.keys().copied().collect();
                if let Some(index) = self.dice.index(ids.len()) {
                    self.conn_acts(id, ids[index]);
                }
            }
        }
    }

    pub(super) fn connect(&mut self, id: usize) -> Option<ConnectionId> {
        let now = self.nodes[id].clock(self.now);
        let node = &mut self.nodes[id];
        let conn = node.hub.as_mut()?.admit(now).ok()?;
        node.connections.insert(conn, Conn::default());
        self.call(id, |hub, now, out| hub.opened(now, conn, out));
        if self.keeps_histories && self.dice.chance(60) {
            self.follow(id, conn);
        }
        Some(conn)
    }

    fn conn_acts(&mut self, id: usize, from: ConnectionId) {
        let state = self.nodes[id].connections[&from].state.clone();
        let what = self.dice.below(100);
        match state {
            State::Idle if what < 30 => {
                let key = self.new_key();
                let info = self.new_info();
                let session = Session::new(key.clone(), UnixTime::from_seconds(0), info);
                self.command(id, from, State::Creating(key), Command::Create(Box::new(session)));
            }
            State::Idle if what < 85 => {
                let known = self.known_keys();
                let known = &known[known.len().saturating_sub(12)..];
                if let Some(index) = self.dice.index(known.len()) {
                    let key = known[index].clone();
                    self.restore(id, from, key);
                }
            }
            State::Holding { key, number } if what < 20 => {
                let state = State::Closing { key: key.clone(), number };
                self.command(id, from, state, Command::Close(key));
            }
            State::Holding { key, .. } if what < 60 => self.edit(id, from, key),
            State::Holding { key, .. } if what < 68 => {
                let to = self.new_key();
                let others = if self.dice.chance(50) {
                    OtherConnections::Keep
                } else {
                    OtherConnections::Close
                };
                let now = UnixTime::from_seconds(1);
                let new = NewKey { key: to, now, info: None, others };
                self.edited(id, from, key, Edit::NewKey(new));
            }
            _ if what < 72 => self.follow(id, from),
            _ if what < 85 => {
                let group = self.dice.choose(&GROUPS);
                let node = &mut self.nodes[id];
                let Some(hub) = &mut node.hub else { return };
                let Some(conn) = node.connections.get_mut(&from) else { return };
                if conn.groups.remove(group) {
                    hub.leave(from, group);
                } else if hub.join(from, group).is_ok() {
                    conn.groups.insert(group.into());
                }
            }
            _ => self.gone(id, from),
        }
    }

    pub(super) fn restore(&mut self, id: usize, from: ConnectionId, key: SessionKey) {
        let closes = self.nodes[id].connections.values().any(
            |other| matches!(&other.state, State::Closing { key: closed, .. } if *closed == key),
        );
        let now = self.now;
        self.command(id, from, State::Restoring(key.clone(), now), Command::Restore(key.clone()));
        if closes && self.mistake == Some(NodeMistake::NotFoundTooEarly) {
            let still = matches!(
                self.nodes[id].connections.get(&from).map(|conn| &conn.state),
                Some(State::Restoring(..))
            );
            if still {
                let leave = Command::Leave(key.clone());
                self.call(id, |hub, now, out| hub.handle(now, from, leave, out));
                self.told(id, from, Outcome { key, change: Change::NotFound });
            }
        }
    }

    pub(super) fn edit(&mut self, id: usize, from: ConnectionId, key: SessionKey) {
        let info = self.new_info();
        self.edited(id, from, key, Edit::Info(info));
    }

    fn edited(&mut self, id: usize, from: ConnectionId, key: SessionKey, edit: Edit) {
        let Some(conn) = self.nodes[id].connections.get_mut(&from) else { return };
        conn.edits += 1;
        let state = conn.state.clone();
        let command = Command::Edit(Box::new(EditCommand { key, edit }));
        self.command(id, from, state, command);
    }

    pub(super) fn command(&mut self, id: usize, from: ConnectionId, state: State, what: Command) {
        self.commands.0 += 1;
        let Some(conn) = self.nodes[id].connections.get_mut(&from) else { return };
        conn.state = state;
        self.note(|| format!("node {id}: {} asks {what:?}", from.0));
        self.call(id, |hub, now, out| hub.handle(now, from, what, out));
    }

    fn close_by_key(&mut self, id: usize) {
        let known = self.known_keys();
        let Some(index) = self.dice.index(known.len()) else { return };
        let key = known[index].clone();
        self.note(|| format!("node {id} closes {}", key.as_str()));
        self.saw("closed by key");
        let now = self.nodes[id].clock(self.now);
        let node = &mut self.nodes[id];
        let Some(hub) = &mut node.hub else { return };
        let waiter = hub.close_session(now, key.clone(), false, &mut node.out);
        node.waiters.insert(waiter, key);
        self.carry_out(id);
    }

    /// A node sends a message, and its own connections get it at once.
    pub(super) fn send(&mut self, id: usize, to: Option<Audience>) -> u64 {
        let known = self.known_keys();
        let to = to.unwrap_or_else(|| match (self.dice.below(3), self.dice.index(known.len())) {
            (0, Some(index)) => Audience::Session(known[index].clone()),
            (0 | 1, _) => Audience::Group(self.dice.choose(&GROUPS).into()),
            (_, _) => Audience::All,
        });
        self.numbers += 1;
        let number = self.numbers;
        let message = Bytes::copy_from_slice(&number.to_be_bytes());
        self.message(id, &to, &message);
        let now = self.nodes[id].clock(self.now);
        let node = &mut self.nodes[id];
        let Some(hub) = &mut node.hub else { return number };
        node.messages.extend(hub.send(now, to, message, &mut node.out));
        self.saw("sent");
        self.carry_out(id);
        number
    }

    /// Something goes wrong.
    pub(super) fn fault(&mut self) {
        if self.is_settled {
            return;
        }
        let after = millis(500 + self.dice.below(12_000));
        self.later(after, Event::Fault);
        let node = self.dice.index(self.nodes.len()).unwrap_or(0);
        let long = millis(500 + self.dice.below(20_000));
        match self.dice.below(7) {
            0 | 1 => {
                self.saw("split");
                self.note(|| format!("node {node} is split off"));
                self.nodes[node].is_split = true;
                self.later(long, Event::Heal { node });
            }
            2 => {
                self.saw("engine down");
                self.note(|| "the engine is down".into());
                self.net.engine_is_down = true;
                let long = if self.dice.chance(50) { long } else { long / 5 };
                self.later(long, Event::EngineUp);
            }
            3 => self.fail_over(),
            4 => {
                self.kill(node);
                self.later(long, Event::Start { node });
            }
            _ => {
                if self.nodes[node].hub.is_some() {
                    self.saw("paused");
                    self.note(|| format!("node {node} stands still"));
                    self.nodes[node].is_paused = true;
                    self.later(long, Event::Wake { node });
                    self.hold_back(node);
                }
            }
        }
    }

    /// What a process that stands still has asked last is not on its way yet.
    fn hold_back(&mut self, node: usize) {
        let is_its =
            |event: &Event| matches!(event, Event::Perform { node: of, .. } if *of == node);
        let its: Vec<_> =
            self.events.iter().filter(|(_, event)| is_its(event)).map(|(at, _)| *at).collect();
        for at in its {
            if let Some(event) = self.events.remove(&at).filter(|_| self.dice.chance(90)) {
                self.nodes[node].missed.push_back(event);
            }
        }
    }

    /// All faults are over: all recover. Then all leave, and nothing is left.
    pub(super) fn end(&mut self) {
        self.is_settled = true;
        self.events.retain(|_, event| !matches!(event, Event::Act | Event::Snapshot));
        for id in 0..self.nodes.len() {
            self.nodes[id].is_split = false;
            self.start(id);
            self.wake(id);
        }
        self.net.engine_is_down = false;
        self.run_for(super::RECOVERY);
        self.check_recovered();
        self.check_messages();
        self.check_signals();
        let keys: BTreeSet<_> = self
            .nodes
            .iter()
            .flat_map(|node| node.connections.values())
            .collect::<Vec<_>>()
            .into_iter()
            .filter_map(|conn| conn.state.held().cloned())
            .collect();
        for id in 0..self.nodes.len() {
            if let Some(from) = self.nodes[id].with_session().first().copied()
                && let Some(State::Holding { key, .. }) =
                    self.nodes[id].connections.get(&from).map(|conn| conn.state.clone())
            {
                self.edit(id, from, key);
            }
        }
        self.run_for(super::LEASE * 2);
        self.check_recovered();
        for id in 0..self.nodes.len() {
            for conn in self.nodes[id].connections.keys().copied().collect::<Vec<_>>() {
                self.gone(id, conn);
            }
        }
        self.run_for(super::LEASE);
        self.check_nothing_left(&keys);
    }
}

fn name(change: &Change) -> String {
    match change {
        Change::Restored(session) => format!("Restored with {}", number(session)),
        Change::Updated { info, own } => format!("Updated to {}, own: {own}", number_of(info)),
        Change::Rotated { session, own } => {
            format!("Rotated to {}, own: {own}", session.key.as_str())
        }
        other => format!("{other:?}"),
    }
}
