//! The store of sessions that all servers share: slow, failing, losing answers.

use std::collections::BTreeMap;
use std::time::Duration;

use wwr::session::{Effect, StoreFailed, Ticket};
use wwr::{Session, SessionKey};

use crate::coverage::Fact;
use crate::event::{Event, ServerId, millis};
use crate::faults::Fault;
use crate::invariants::Invariant;
use crate::stage::Stage;
use crate::trace::Who;

pub(crate) type OperationId = u64;

/// How long a server waits for the store until it takes it for failed.
const PATIENCE: Duration = millis(5000);

/// How the store behaves. Numbers are of a hundred operations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// The most that each of the two halves of an operation takes.
    pub(crate) slowness: Duration,
    /// Fail and do nothing.
    pub(crate) failures: u64,
    /// Are done, but the answer is that they failed.
    pub(crate) lost_answers: u64,
    /// Are never answered; half of them are done. The server gives up in the end.
    pub(crate) silences: u64,
}

impl Habits {
    /// As it should be.
    pub(crate) const fn good() -> Self {
        Self { slowness: millis(5), failures: 0, lost_answers: 0, silences: 0 }
    }
}

/// How a look-up takes note of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// In one step with reading.
    Atomic,
    /// It writes back what it read when it answers, wherever the session is by then: what the
    /// registry has to bear from the store of one server.
    ReadThenWrite,
}

/// Where the answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) server: ServerId,
    pub(crate) epoch: u64,
    pub(crate) shard: usize,
    pub(crate) ticket: Ticket,
}

#[derive(Debug)]
struct Operation {
    asker: Asker,
    what: What,
    result: Result<(), StoreFailed>,
    /// Whether it is done at all.
    is_done: bool,
    /// What a look-up has found.
    found: Option<Box<Session>>,
}

#[derive(Clone, Debug)]
enum What {
    Lookup(SessionKey),
    Store(Box<Session>),
    Destroy(SessionKey),
}

impl What {
    fn name(&self) -> String {
        let verb = match self {
            Self::Lookup(_) => "look up",
            Self::Store(_) => "store",
            Self::Destroy(_) => "destroy",
        };
        format!("{verb} {}", short(self.key()))
    }

    const fn key(&self) -> &SessionKey {
        match self {
            Self::Lookup(key) | Self::Destroy(key) => key,
            Self::Store(session) => &session.key,
        }
    }
}

/// What a registry is to be told.
#[derive(Debug)]
pub(crate) enum Answer {
    LookedUp(Result<Option<Box<Session>>, StoreFailed>),
    Stored(Result<(), StoreFailed>),
    Destroyed(Result<(), StoreFailed>),
}

impl Answer {
    const fn name(&self) -> &'static str {
        match self {
            Self::LookedUp(Ok(Some(_))) => "found",
            Self::LookedUp(Ok(None)) => "not found",
            Self::Stored(Ok(())) => "stored",
            Self::Destroyed(Ok(())) => "destroyed",
            Self::LookedUp(Err(_)) | Self::Stored(Err(_)) | Self::Destroyed(Err(_)) => "failed",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) habits: Habits,
    style: Style,
    kept: BTreeMap<SessionKey, Session>,
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

    pub(crate) fn keeps(&self, key: &SessionKey) -> bool {
        self.kept.contains_key(key)
    }

    /// How much a client is told of a session, in bytes.
    pub(crate) fn length(&self, key: &SessionKey) -> usize {
        self.kept.get(key).map_or(0, |session| session.to_json().len())
    }

    /// Which server deleted a session, and in which of its lives.
    pub(crate) fn deleted_by(&self, key: &SessionKey) -> Option<(ServerId, u64)> {
        self.deleted.get(key).copied()
    }

    fn keep(&mut self, session: &Session) {
        self.kept.insert(session.key.clone(), session.clone());
    }

    fn delete(&mut self, key: &SessionKey, asker: Asker) {
        self.kept.remove(key);
        self.deleted.insert(key.clone(), (asker.server, asker.epoch));
    }

    /// A session that was deleted and is there again.
    pub(crate) fn resurrected(&self) -> Option<&SessionKey> {
        self.deleted.keys().find(|key| self.kept.contains_key(*key))
    }

    /// Whether nobody waits for an answer.
    pub(crate) fn is_idle(&self) -> bool {
        self.operations.is_empty()
    }
}

/// Begins what a registry wants.
pub(crate) fn begin(stage: &mut Stage, server: ServerId, epoch: u64, shard: usize, effect: Effect) {
    let (ticket, what, code) = match effect {
        Effect::Lookup { ticket, key } => (ticket, What::Lookup(key), 1),
        Effect::Store { ticket, session } => (ticket, What::Store(session), 2),
        Effect::Destroy { ticket, key } => (ticket, What::Destroy(key), 3),
        Effect::Deliver { .. } => return,
    };
    let Habits { slowness, failures, lost_answers, silences } = stage.store.habits;
    let fate = stage.dice.below(100);
    let (mut apply, mut answer) = (stage.dice.up_to(slowness), stage.dice.up_to(slowness));
    let (result, is_done) = if fate < failures {
        stage.count(Fact::Fault(Fault::StoreFails));
        (Err(StoreFailed), false)
    } else if fate < failures + lost_answers {
        stage.count(Fact::Fault(Fault::StoreLosesAnswer));
        (Err(StoreFailed), true)
    } else if fate < failures + lost_answers + silences {
        stage.count(Fact::Fault(Fault::StoreNeverAnswers));
        answer = PATIENCE.saturating_sub(apply);
        (Err(StoreFailed), stage.dice.chance(50))
    } else {
        (Ok(()), true)
    };
    if stage.dice.chance(20) {
        apply = Duration::ZERO;
    }
    let id = stage.store.last + 1;
    stage.store.last = id;
    stage.note(Who::Store, id << 8 | code, || {
        format!("operation {id} for server {server}: {}, {result:?}, done: {is_done}", what.name())
    });
    let asker = Asker { server, epoch, shard, ticket };
    stage.store.operations.insert(id, Operation { asker, what, result, is_done, found: None });
    stage.after(apply, Event::Apply { operation: id });
    stage.after(apply + answer, Event::Answer { operation: id });
}

/// Does what was asked for.
pub(crate) fn apply(stage: &mut Stage, id: OperationId) {
    let store = &mut stage.store;
    let Some(operation) = store.operations.get_mut(&id) else { return };
    if !operation.is_done {
        return;
    }
    let asker = operation.asker;
    match operation.what.clone() {
        What::Lookup(key) => operation.found = store.kept.get(&key).cloned().map(Box::new),
        What::Store(session) => store.keep(&session),
        What::Destroy(key) => store.delete(&key, asker),
    }
    check(stage);
}

/// Ends an operation: gives whom to tell what, and the key.
pub(crate) fn finish(stage: &mut Stage, id: OperationId) -> Option<(Asker, Answer, SessionKey)> {
    let store = &mut stage.store;
    let Operation { asker, what, result, found, .. } = store.operations.remove(&id)?;
    let key = what.key().clone();
    let answer = match what {
        What::Lookup(_) => {
            if store.style == Style::ReadThenWrite
                && let Some(session) = &found
            {
                store.keep(session);
            }
            Answer::LookedUp(result.map(|()| found))
        }
        What::Store(_) => Answer::Stored(result),
        What::Destroy(_) => Answer::Destroyed(result),
    };
    stage.note(Who::Store, id << 8 | 4, || {
        format!("operation {id} on {}: {}", short(&key), answer.name())
    });
    check(stage);
    Some((asker, answer, key))
}

fn check(stage: &mut Stage) {
    if let Some(key) = stage.store.resurrected().cloned() {
        stage.check(false, Invariant::ClosedStaysClosed, || {
            format!("the store has {} again", short(&key))
        });
    }
}

/// A server is gone without a word. What it was storing is stored now or never; what it wrote back
/// is not written any more; what it deletes may be deleted at any time, if no look-up can bring it
/// back.
pub(crate) fn abandon(stage: &mut Stage, server: ServerId) {
    let Stage { store, dice, .. } = stage;
    let mut done_now = Vec::new();
    for operation in store.operations.values_mut() {
        if operation.asker.server != server || !operation.is_done {
            continue;
        }
        if matches!(operation.what, What::Destroy(_)) && store.style == Style::Atomic {
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
            What::Store(session) if store.deleted_by(&session.key).is_none() => {
                store.keep(&session)
            }
            What::Destroy(key) => store.delete(&key, asker),
            What::Store(_) | What::Lookup(_) => {}
        }
    }
}

/// The beginning of a key, for people: enough to tell sessions apart.
pub(crate) fn short(key: &SessionKey) -> String {
    format!("session {}", key.as_str().get(..11).unwrap_or_default())
}
