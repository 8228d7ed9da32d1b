//! What is between the nodes and the engine, and the engine.

use std::time::Duration;

use wwr::cluster::{
    Answer, DataId, EngineFailed, EngineJob, EngineJobId, Epoch, HistoryStep, Membership,
    MemoryEngine, News, Request, Revision, SessionAnswer, Step,
};
use wwr::{Instant, Session, SessionKey};

use super::{LEASE, NodeMistake, Nodes, REQUEST_TIMEOUT, STORM};
use crate::dice::Dice;
use crate::event::millis;
use crate::invariants::Invariant;

#[derive(Debug)]
pub(super) enum Event {
    /// A request reaches the engine.
    Perform {
        node: usize,
        run: u64,
        request: Request,
        job: Option<EngineJobId>,
    },
    /// An answer reaches the node.
    Answer {
        node: usize,
        run: u64,
        job: EngineJobId,
        answer: Result<Answer, EngineFailed>,
    },
    News {
        node: usize,
        run: u64,
        epoch: Epoch,
        news: News,
    },
    Interrupted {
        node: usize,
        run: u64,
        epoch: Epoch,
    },
    Act,
    Fault,
    Split {
        node: usize,
    },
    Heal {
        node: usize,
    },
    EngineUp,
    Start {
        node: usize,
    },
    Wake {
        node: usize,
    },
    Snapshot,
    Read {
        node: usize,
        run: u64,
        conn: wwr::session::ConnectionId,
    },
}

/// How the network and the engine are.
#[derive(Debug)]
pub(super) struct Net {
    /// How many of a hundred requests, answers and news are lost.
    lost: u64,
    /// How many of a hundred are late.
    late: u64,
    latency: Duration,
    pub(super) engine_is_down: bool,
    pub(super) may_lose_data: bool,
    data: u64,
    /// A replica that is not up to date, and when it was.
    replica: Option<MemoryEngine>,
    /// The rate of the engine's clock.
    rate: u64,
    /// The highest number of each run, for a mistake.
    highest: std::collections::BTreeMap<Epoch, u64>,
    /// The first run of each process, for a mistake.
    first: std::collections::BTreeMap<usize, Epoch>,
}

impl Net {
    pub(super) fn new(dice: &mut Dice) -> Self {
        Self {
            lost: dice.choose(&[0, 1, 3, 10]),
            late: dice.choose(&[0, 1, 5]),
            latency: millis(dice.choose(&[1, 5, 40])),
            engine_is_down: false,
            may_lose_data: dice.chance(25),
            data: 1,
            replica: None,
            rate: 970_000 + dice.below(60_001),
            highest: std::collections::BTreeMap::new(),
            first: std::collections::BTreeMap::new(),
        }
    }
}

impl Nodes {
    pub(super) fn engine_clock(&self) -> Instant {
        let shown = u128::from(self.now.as_nanos()) * u128::from(self.net.rate) / 1_000_000;
        Instant::from_nanos(shown as u64)
    }

    fn is_lost(&mut self) -> bool {
        !self.is_settled && self.dice.chance(self.net.lost)
    }

    fn delay(&mut self) -> Duration {
        let latency = self.dice.up_to(self.net.latency);
        if self.is_settled || !self.dice.chance(self.net.late) {
            return latency;
        }
        self.saw("late");
        match self.dice.below(4) {
            0 => self.dice.up_to(millis(20_000)),
            _ => self.dice.up_to(millis(3_000)),
        }
    }

    /// A node asks the engine.
    pub(super) fn ask(&mut self, node: usize, job: EngineJob) {
        let (now, run) = (self.now, self.nodes[node].run);
        let asked = &mut self.nodes[node].asked;
        asked.push_back(now);
        while asked.front().is_some_and(|at| now.saturating_since(*at) > millis(1_000)) {
            asked.pop_front();
        }
        let count = asked.len() as u64;
        self.check(count < STORM, Invariant::QueuesBounded, || {
            format!("node {node} has asked {count} times in a second")
        });
        let EngineJob { id, request } = job;
        let mut request = *request;
        if let Some(NodeMistake::HintTakenForState) = self.mistake
            && let Request::Session(asked) = &mut request
            && let Step::Confirm { known, .. } = &mut asked.step
            && known.0 > 0
        {
            // As if the news had been enough.
            let revision = self.engine.session(&asked.key).map(|(_, revision)| revision);
            *known = revision.unwrap_or(Revision(0)).max(*known);
        }
        if self.mistake == Some(NodeMistake::ReadTakenForAll)
            && let Request::History(asked) = &request
            && let HistoryStep::Read { after, .. } = asked.step
            && self.dice.chance(50)
        {
            let (incarnation, last) = (after.incarnation, after.offset);
            let (first, gap, signals) = (last + 1, false, Vec::new());
            let batch = wwr::session::Batch { incarnation, first, gap, signals, last };
            let answer = Ok(Answer::History(wwr::cluster::HistoryAnswer::Read(Box::new(batch))));
            return self.later(millis(1), Event::Answer { node, run, job: id, answer });
        }
        if self.mistake == Some(NodeMistake::NotConfirmed)
            && let Request::Session(asked) = &request
            && let Step::Confirm { known, .. } = asked.step
            && known.0 > 0
        {
            let answer = Ok(self.same(node, &asked.key));
            return self.later(millis(1), Event::Answer { node, run, job: id, answer });
        }
        if self.mistake == Some(NodeMistake::NotFreed)
            && let Request::Session(asked) = &request
            && let Step::Place { .. } = asked.step
        {
            let answer = Ok(Answer::Session(SessionAnswer::Placed));
            return self.later(millis(1), Event::Answer { node, run, job: id, answer });
        }
        if self.nodes[node].is_split || self.net.engine_is_down {
            if self.dice.chance(50) {
                let after = self.delay();
                let answer = Err(EngineFailed);
                self.later(after, Event::Answer { node, run, job: id, answer });
            }
            return;
        }
        if self.is_lost() {
            self.saw("request lost");
            self.repeat(node, run, &request);
            return;
        }
        let repeats = [Some(NodeMistake::RepeatedAsNew), Some(NodeMistake::AppendRepeated)];
        if repeats.contains(&self.mistake) && self.dice.chance(10) {
            self.repeat(node, run, &request);
        }
        let after = self.delay();
        if matches!(request, Request::Session(_)) && !self.is_settled && self.dice.chance(1) {
            self.saw("request twice");
            let (after, request) = (after + self.delay(), request.clone());
            self.later(after, Event::Perform { node, run, request, job: None });
        }
        self.later(after, Event::Perform { node, run, request, job: Some(id) });
    }

    /// Mistakes: what may be lost is asked again.
    fn repeat(&mut self, node: usize, run: u64, request: &Request) {
        let again = match request {
            Request::Session(asked) if self.mistake == Some(NodeMistake::RepeatedAsNew) => {
                let mut asked = asked.clone();
                let highest = self.net.highest.get(&asked.epoch).copied().unwrap_or(0);
                asked.number = asked.number.max(highest + 1_000);
                Some(Request::Session(asked))
            }
            Request::History(asked) if self.mistake == Some(NodeMistake::AppendRepeated) => {
                matches!(asked.step, HistoryStep::Append { .. }).then(|| request.clone())
            }
            _ => None,
        };
        if let Some(request) = again {
            self.later(millis(2_500), Event::Perform { node, run, request, job: None });
        }
    }

    /// The engine carries a request out.
    pub(super) fn perform(
        &mut self,
        node: usize,
        run: u64,
        mut request: Request,
        job: Option<EngineJobId>,
    ) {
        if self.net.engine_is_down {
            return;
        }
        self.requests += 1;
        let answers_after = self.delay();
        let answers_after = self.spoil(node, &mut request).unwrap_or(answers_after);
        let key = match &request {
            Request::Session(asked) => Some(asked.key.clone()),
            _ => None,
        };
        let before = key.as_ref().map(|key| self.engine.places(self.engine_clock(), key));
        let close = match &request {
            Request::Session(asked) if asked.step == Step::Close => Some(asked.epoch),
            _ => None,
        };
        let now = self.engine_clock();
        self.note(|| format!("engine: node {node} {}", show(&request)));
        let mut news = Vec::new();
        let is_message = matches!(request, Request::Send { .. });
        let gives_place = matches!(&request, Request::Session(asked)
            if matches!(asked.step, Step::Join { .. } | Step::Create { .. }));
        let history = match &request {
            Request::History(asked) => Some(asked.clone()),
            _ => None,
        };
        let mut answer = self.engine.perform(now, request, &mut news);
        if let (Some(asked), Answer::History(answered)) = (&history, &mut answer) {
            self.check_history(asked, answered);
            if self.mistake == Some(NodeMistake::FirstMissedForgotten)
                && let wwr::cluster::HistoryAnswer::Read(batch) = answered
                && batch.signals.len() > 1
            {
                batch.signals.remove(0);
            }
        }
        if self.mistake == Some(NodeMistake::LastIsDetached)
            && close.is_some()
            && answer == Answer::Session(SessionAnswer::Closed)
            && self.dice.chance(50)
        {
            answer = Answer::Session(SessionAnswer::Detached);
        }
        self.note(|| format!("engine: {}", show_answer(&answer)));
        if let Some(key) = &key {
            self.learn(key);
            let is_closed = self.engine.session(key).is_none();
            if answer == Answer::Session(SessionAnswer::Detached) && before == Some(0) {
                self.saw("detached without places");
            }
            let is_wrong = answer == Answer::Session(SessionAnswer::Detached) && is_closed;
            self.check(!is_wrong || job.is_none() || self.lossy, Invariant::TrueOutcome, || {
                format!("{key:?} is closed, and its last holder is told that others have it")
            });
        }
        for (epoch, news) in news {
            self.pass_on(epoch, news, is_message);
        }
        let Some(job) = job else { return };
        if let (Some(key), Answer::WithHistory { end, .. }, true) = (key, &answer, gives_place) {
            self.placed(node, key, *end);
        }
        if self.is_lost() {
            self.saw("answer lost");
            if is_message && self.mistake == Some(NodeMistake::MessageRepeated) {
                // The sender does not know.
                self.saw("message repeated");
            }
            return;
        }
        self.later(answers_after, Event::Answer { node, run, job, answer: Ok(answer) });
    }

    /// The engine tells a node.
    fn pass_on(&mut self, epoch: Epoch, news: News, is_message: bool) {
        let listener = self.nodes.iter().find(|node| node.listens == Some(epoch));
        let Some((node, run)) = listener.map(|node| (node.id, node.run)) else { return };
        if self.nodes[node].is_split || self.is_lost() {
            self.saw("news lost");
            if self.dice.chance(50) {
                let after = self.dice.up_to(millis(2_000));
                self.later(after, Event::Interrupted { node, run, epoch });
            }
            return;
        }
        let again = match (is_message, self.mistake) {
            (true, Some(NodeMistake::MessageRepeated)) => self.dice.chance(20),
            (true, _) => false,
            (false, _) => !self.is_settled && self.dice.chance(5),
        };
        if again {
            let (after, news) = (self.delay(), news.clone());
            self.later(after, Event::News { node, run, epoch, news });
        }
        let after = self.delay();
        self.later(after, Event::News { node, run, epoch, news });
    }

    /// What is to go wrong on purpose. Returns when the answer comes, if that is part of it.
    fn spoil(&mut self, node: usize, request: &mut Request) -> Option<Duration> {
        let mistake = self.mistake?;
        match (mistake, request) {
            (NodeMistake::EpochIgnored, Request::Session(asked)) => {
                let first = *self.net.first.entry(node).or_insert(asked.epoch);
                asked.epoch = first;
                asked.membership = Membership::default();
            }
            (NodeMistake::BurialWithoutClock, Request::Renew { epoch, .. }) => {
                let other = self.nodes.iter().filter_map(|node| node.listens);
                let other = other.filter(|other| other != epoch).min();
                if let Some(epoch) = other.filter(|_| self.dice.chance(20)) {
                    let now = self.engine_clock();
                    self.engine.perform(now, Request::Retire { epoch }, &mut Vec::new());
                }
            }
            (NodeMistake::CountedFromAnswer, Request::Renew { lease, .. }) => {
                // The node counts for longer than the engine, by as much as the answer takes. Then it is cut off.
                let late = REQUEST_TIMEOUT - millis(100);
                *lease = LEASE - late;
                if !self.is_settled && self.dice.chance(20) {
                    self.later(late + millis(1), Event::Split { node });
                    self.later(millis(15_000), Event::Heal { node });
                }
                return Some(late);
            }
            (NodeMistake::NoTombstone, Request::Session(asked)) => {
                let is_closed = self.engine.session(&asked.key).is_none();
                if is_closed && let Step::Edit { info } = &asked.step {
                    let now = wwr::UnixTime::from_seconds(0);
                    let session = Box::new(Session::new(asked.key.clone(), now, info.clone()));
                    self.engine.expire(&asked.key);
                    asked.step = Step::Create { session, places: 1 };
                }
            }
            (NodeMistake::FreedTwice, Request::Session(asked)) => match &mut asked.step {
                Step::Place { places } | Step::Confirm { places, .. } => {
                    *places = places.saturating_sub(1);
                }
                _ => {}
            },
            (NodeMistake::RepeatedAsNew, Request::Session(asked)) => {
                let highest = self.net.highest.entry(asked.epoch).or_default();
                *highest = (*highest).max(asked.number);
            }
            (NodeMistake::SameIncarnation, Request::History(asked)) => asked.incarnation = 7,
            (NodeMistake::LimitIgnored, Request::Session(asked)) => match &mut asked.step {
                Step::Join { limit, .. } | Step::Confirm { limit, .. } => *limit = None,
                _ => {}
            },
            _ => {}
        }
        None
    }

    /// Notes what the engine has of a session.
    pub(super) fn learn(&mut self, key: &SessionKey) {
        let (now, lossy) = (self.now, self.lossy);
        let found = self.engine.session(key).map(|(session, revision)| (number(session), revision));
        let truth = self.truth.entry(key.clone()).or_default();
        match found {
            Some((number, revision)) => {
                let came_back = truth.closed.is_some();
                truth.revisions.entry(number).or_insert(revision.0);
                self.check(!came_back || lossy, Invariant::ClosedStaysClosed, || {
                    format!("{key:?} was closed, and is there again")
                });
            }
            None if !truth.revisions.is_empty() => {
                truth.closed.get_or_insert(now);
            }
            None => {}
        }
    }

    /// A replica takes over, without some of the last changes or with all of them.
    pub(super) fn fail_over(&mut self) {
        let loses = self.net.may_lose_data && self.net.replica.is_some() && self.dice.chance(60);
        if loses {
            if let Some(replica) = self.net.replica.take() {
                self.engine = replica;
            }
            self.lossy = true;
            self.saw("failover with loss");
            // What was true may be so no more.
            for truth in self.truth.values_mut() {
                truth.closed = None;
                truth.revisions.clear();
            }
            let keys: Vec<_> = self.truth.keys().cloned().collect();
            keys.iter().for_each(|key| self.learn(key));
        } else {
            self.saw("failover");
        }
        if self.mistake != Some(NodeMistake::OffsetsReused) {
            self.net.data += 1;
        }
        self.has_failed_over = true;
        self.engine.take_over(DataId(self.net.data));
        self.note(|| format!("engine: a replica takes over, with loss: {loses}"));
    }

    pub(super) fn snapshot(&mut self) {
        self.net.replica = Some(self.engine.clone());
        let after = millis(500 + self.dice.below(5_000));
        self.later(after, Event::Snapshot);
    }
}

/// The number of the info of a session.
pub(super) fn number(session: &Session) -> u64 {
    number_of(&session.info)
}

pub(super) fn number_of(info: &wwr::SessionInfo) -> u64 {
    info.value("number").and_then(|value| value.as_u64()).unwrap_or_default()
}

fn show(request: &Request) -> String {
    match request {
        Request::Session(asked) => format!(
            "{} #{} of {}: {:?}",
            asked.key.as_str(),
            asked.number,
            asked.epoch.0,
            asked.step
        ),
        other => format!("{other:?}"),
    }
}

fn show_answer(answer: &Answer) -> String {
    match answer {
        Answer::Session(SessionAnswer::Found { session, revision }) => {
            format!("found {} of revision {}", number(session), revision.0)
        }
        Answer::WithHistory { answer, end } => {
            let answer = show_answer(&Answer::Session(answer.clone()));
            format!("{answer}, {} of {:x}", end.offset, end.incarnation)
        }
        other => format!("{other:?}"),
    }
}
