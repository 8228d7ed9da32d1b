//! The store of sessions that all servers share: slow, failing, losing answers.

use std::collections::BTreeMap;
use std::time::Duration;

use wwr::server::{Job, JobId, StoreAnswer, Work};
use wwr::session::StoreFailed;
use wwr::{Instant, Session, SessionInfo, SessionKey};

use crate::coverage::Fact;
use crate::event::{Event, ServerId, millis};
use crate::faults::Fault;
use crate::invariants::Invariant;
use crate::stage::Stage;
use crate::trace::Actor;

pub(crate) type OperationId = u64;

/// How long the store keeps an operation that it never answers.
const FORGOTTEN: Duration = millis(5000);

/// How the store behaves. Numbers are of a hundred operations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// The most that each of the two halves of an operation takes.
    pub(crate) slowness: Duration,
    /// Fail and do nothing.
    pub(crate) failures: u64,
    /// Are done, but the answer is that they failed.
    pub(crate) lost_answers: u64,
    /// Are never answered; half of them are done.
    pub(crate) silences: u64,
}

impl Habits {
    /// As it should be.
    pub(crate) const fn good() -> Self {
        Self { slowness: millis(5), failures: 0, lost_answers: 0, silences: 0 }
    }
}

/// How a look-up records its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// In one step with reading.
    Atomic,
    /// It writes back what it read when it answers, wherever the session is by then: what the
    /// hub has to bear from the store of one server.
    ReadThenWrite,
}

/// Where the answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) server: ServerId,
    pub(crate) epoch: u64,
    pub(crate) job: JobId,
}

#[derive(Debug)]
struct Operation {
    asker: Asker,
    what: Work,
    begun: Instant,
    result: Result<(), StoreFailed>,
    /// Whether it is done at all.
    is_done: bool,
    /// Its outcome is never reported.
    is_silent: bool,
    /// What a look-up has found.
    found: Option<Box<Session>>,
}

fn name_of(work: &Work) -> String {
    match work {
        Work::LookUp(key) => format!("look up {}", short(key)),
        Work::Create(session) => format!("store {}", short(&session.key)),
        Work::Update(update) => format!("update {}", short(&update.key)),
        Work::Destroy(key) => format!("destroy {}", short(key)),
        Work::Expire { unused_for, .. } => format!("expire what was not used for {unused_for:?}"),
    }
}

/// The session that a job of the store is about, if it is about one.
pub(crate) const fn key_of(work: &Work) -> Option<&SessionKey> {
    match work {
        Work::LookUp(key) | Work::Destroy(key) => Some(key),
        Work::Create(session) => Some(&session.key),
        Work::Update(update) => Some(&update.key),
        Work::Expire { .. } => None,
    }
}

const fn answer_name(answer: &StoreAnswer) -> &'static str {
    match answer {
        StoreAnswer::LookedUp(Ok(Some(_))) => "found",
        StoreAnswer::LookedUp(Ok(None)) => "not found",
        StoreAnswer::Created(Ok(())) => "stored",
        StoreAnswer::Updated(Ok(true)) => "updated",
        StoreAnswer::Updated(Ok(false)) => "not there",
        StoreAnswer::Destroyed(Ok(())) => "destroyed",
        StoreAnswer::Expired(Ok(())) => "expired",
        StoreAnswer::LookedUp(Err(_))
        | StoreAnswer::Created(Err(_))
        | StoreAnswer::Updated(Err(_))
        | StoreAnswer::Destroyed(Err(_))
        | StoreAnswer::Expired(Err(_)) => "failed",
    }
}

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) habits: Habits,
    style: Style,
    /// With the time of the latest look-up.
    kept: BTreeMap<SessionKey, (Session, Instant)>,
    /// What was deleted, and by which server in which of its lives.
    deleted: BTreeMap<SessionKey, (ServerId, u64)>,
    operations: BTreeMap<OperationId, Operation>,
    last: OperationId,
}

impl Store {
    pub(crate) const fn new(habits: Habits, style: Style) -> Self {
        Self {
            habits,
            style,
            kept: BTreeMap::new(),
            deleted: BTreeMap::new(),
            operations: BTreeMap::new(),
            last: 0,
        }
    }

    /// The info of a session that is kept.
    pub(crate) fn info(&self, key: &SessionKey) -> Option<&SessionInfo> {
        self.kept.get(key).map(|(session, _)| &session.info)
    }

    pub(crate) fn keeps(&self, key: &SessionKey) -> bool {
        self.kept.contains_key(key)
    }

    /// How much a client is told of a session, in bytes.
    pub(crate) fn length(&self, key: &SessionKey) -> usize {
        self.kept.get(key).map_or(0, |(session, _)| session.to_json().len())
    }

    /// Which server deleted a session, and in which of its lives.
    pub(crate) fn deleted_by(&self, key: &SessionKey) -> Option<(ServerId, u64)> {
        self.deleted.get(key).copied()
    }

    fn keep(&mut self, session: &Session, now: Instant) {
        self.kept.insert(session.key.clone(), (session.clone(), now));
    }

    /// What was not looked up for so long by then.
    pub(crate) fn unused(&self, then: Instant, unused_for: Duration) -> Vec<SessionKey> {
        let is_old = |used: Instant| used + unused_for < then;
        let old = self.kept.iter().filter(|(_, (_, used))| is_old(*used));
        old.map(|(key, _)| key.clone()).collect()
    }

    fn delete(&mut self, key: &SessionKey, asker: Asker) {
        self.kept.remove(key);
        self.deleted.insert(key.clone(), (asker.server, asker.epoch));
    }

    /// A session that was deleted and is there again.
    pub(crate) fn resurrected(&self) -> Option<&SessionKey> {
        self.deleted.keys().find(|key| self.kept.contains_key(*key))
    }

    /// Whether no caller waits for an answer.
    pub(crate) fn is_idle(&self) -> bool {
        self.operations.is_empty()
    }
}

/// Begins what a hub wants.
pub(crate) fn begin(stage: &mut Stage, server: ServerId, epoch: u64, job: Job) {
    let Job { id: job, work } = job;
    let code = match work {
        Work::LookUp(_) => 1,
        Work::Create(_) => 2,
        Work::Destroy(_) => 3,
        Work::Expire { .. } => 5,
        Work::Update(_) => 6,
    };
    let Habits { slowness, failures, lost_answers, silences } = stage.store.habits;
    let fate = stage.dice.below(100);
    let (mut apply, mut answer) = (stage.dice.up_to(slowness), stage.dice.up_to(slowness));
    let mut is_silent = false;
    let (result, is_done) = if fate < failures {
        stage.count(Fact::Fault(Fault::StoreFails));
        (Err(StoreFailed), false)
    } else if fate < failures + lost_answers {
        stage.count(Fact::Fault(Fault::StoreLosesAnswer));
        (Err(StoreFailed), true)
    } else if fate < failures + lost_answers + silences {
        stage.count(Fact::Fault(Fault::StoreNeverAnswers));
        is_silent = true;
        answer = FORGOTTEN.saturating_sub(apply);
        (Err(StoreFailed), stage.dice.chance(50))
    } else {
        (Ok(()), true)
    };
    if stage.dice.chance(20) {
        apply = Duration::ZERO;
    }
    let id = stage.store.last + 1;
    stage.store.last = id;
    stage.note(Actor::Store, id << 8 | code, || {
        let name = name_of(&work);
        format!("operation {id} for server {server}: {name}, {result:?}, done: {is_done}")
    });
    let asker = Asker { server, epoch, job };
    let (what, begun) = (work, stage.now);
    let operation = Operation { asker, what, begun, result, is_done, is_silent, found: None };
    stage.store.operations.insert(id, operation);
    stage.after(apply, Event::Apply { operation: id });
    stage.after(apply + answer, Event::Answer { operation: id });
}

/// Does what was asked for. Returns which sessions expired without a close, and at whose
/// wish.
pub(crate) fn apply(stage: &mut Stage, id: OperationId) -> Option<(Asker, Vec<SessionKey>)> {
    let (store, now) = (&mut stage.store, stage.now);
    let operation = store.operations.get_mut(&id)?;
    if !operation.is_done {
        return None;
    }
    let (asker, begun) = (operation.asker, operation.begun);
    let mut expired = None;
    match operation.what.clone() {
        Work::LookUp(key) => {
            operation.found = store.kept.get(&key).map(|(session, _)| Box::new(session.clone()));
            if store.style == Style::Atomic
                && let Some((_, used)) = store.kept.get_mut(&key)
            {
                *used = now;
            }
        }
        Work::Create(session) => store.keep(&session, now),
        Work::Update(update) => {
            if let Some((session, _)) = store.kept.get_mut(&update.key) {
                session.info = update.info;
                operation.found = Some(Box::new(session.clone()));
            }
        }
        Work::Destroy(key) => store.delete(&key, asker),
        Work::Expire { unused_for, .. } => {
            let mut wanted = Vec::new();
            for key in store.unused(begun, unused_for) {
                store.kept.remove(&key);
                if !std::mem::replace(&mut stage.ledger.session(&key).unwanted, true) {
                    wanted.push(key);
                }
            }
            expired = Some((asker, wanted));
        }
    }
    check(stage);
    expired
}

/// Ends an operation: whom to tell what, unless it is never answered.
pub(crate) fn finish(stage: &mut Stage, id: OperationId) -> Option<(Asker, StoreAnswer)> {
    let (store, now) = (&mut stage.store, stage.now);
    let operation = store.operations.remove(&id)?;
    let Operation { asker, what, result, found, is_silent, is_done, .. } = operation;
    if is_silent {
        return None;
    }
    let name = name_of(&what);
    let answer = match what {
        Work::LookUp(_) => {
            if store.style == Style::ReadThenWrite
                && is_done
                && let Some(session) = &found
            {
                store.keep(session, now);
            }
            StoreAnswer::LookedUp(result.map(|()| found))
        }
        Work::Create(_) => StoreAnswer::Created(result),
        Work::Update(_) => StoreAnswer::Updated(result.map(|()| found.is_some())),
        Work::Destroy(_) => StoreAnswer::Destroyed(result),
        Work::Expire { .. } => StoreAnswer::Expired(result),
    };
    stage.note(Actor::Store, id << 8 | 4, || {
        format!("operation {id}, {name}: {}", answer_name(&answer))
    });
    check(stage);
    Some((asker, answer))
}

/// A server does not wait any longer: what was not done is not done any more. It may be answered
/// nevertheless.
pub(crate) fn give_up(stage: &mut Stage, server: ServerId, epoch: u64, job: JobId) {
    let given_up = Asker { server, epoch, job };
    let mut operations = stage.store.operations.values_mut();
    if let Some(operation) = operations.find(|operation| operation.asker == given_up) {
        operation.is_done = false;
    }
}

fn check(stage: &mut Stage) {
    if let Some(key) = stage.store.resurrected().cloned() {
        stage.check(false, Invariant::ClosedStaysClosed, || {
            format!("the store has {} again", short(&key))
        });
    }
}

/// A server is gone silently. What it was storing is stored now or never; what it wrote back
/// is not written any more; what it deletes may be deleted at any time, if no look-up can bring it
/// back.
pub(crate) fn abandon(stage: &mut Stage, server: ServerId) {
    let Stage { store, dice, now, .. } = stage;
    let mut done_now = Vec::new();
    for operation in store.operations.values_mut() {
        if operation.asker.server != server || !operation.is_done {
            continue;
        }
        if matches!(operation.what, Work::Destroy(_)) && store.style == Style::Atomic {
            continue;
        }
        operation.is_done = false;
        operation.found = None;
        if dice.chance(50) {
            done_now.push((operation.asker, operation.what.clone()));
        }
    }
    for (asker, what) in done_now {
        match what {
            Work::Create(session) if store.deleted_by(&session.key).is_none() => {
                store.keep(&session, *now);
            }
            Work::Destroy(key) => store.delete(&key, asker),
            Work::Create(_) | Work::Update(_) | Work::LookUp(_) | Work::Expire { .. } => {}
        }
    }
}

/// The beginning of a key, for people: enough to tell sessions apart.
pub(crate) fn short(key: &SessionKey) -> String {
    format!("session {}", key.as_str().get(..11).unwrap_or_default())
}
