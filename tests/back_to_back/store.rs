//! A store of sessions that takes its time and may fail.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wwr::session::{Effect, StoreFailed, Ticket};
use wwr::{Session, SessionKey};

use crate::dice::Dice;

/// How the store behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// How long an operation takes.
    pub(crate) slowness: Duration,
    /// How many of a hundred operations fail.
    pub(crate) failures: u64,
}

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) habits: Habits,
    kept: BTreeMap<SessionKey, Session>,
    /// What was deleted, and must never be seen again.
    pub(crate) deleted: BTreeSet<SessionKey>,
    under_way: BTreeMap<Ticket, Operation>,
}

#[derive(Debug)]
enum Operation {
    Lookup(SessionKey),
    Store(Box<Session>),
    Destroy(SessionKey),
}

/// What the registry is to be told.
pub(crate) enum Answer {
    LookedUp(Result<Option<Box<Session>>, StoreFailed>),
    Stored(Result<(), StoreFailed>),
    Destroyed(Result<(), StoreFailed>),
}

impl Store {
    pub(crate) const fn new(habits: Habits) -> Self {
        Self { habits, kept: BTreeMap::new(), deleted: BTreeSet::new(), under_way: BTreeMap::new() }
    }

    /// Begins what the registry wants; gives the ticket and how long it takes.
    pub(crate) fn begin(&mut self, effect: Effect) -> (Ticket, Duration) {
        let (ticket, operation) = match effect {
            Effect::Lookup { ticket, key } => (ticket, Operation::Lookup(key)),
            Effect::Store { ticket, session } => (ticket, Operation::Store(session)),
            Effect::Destroy { ticket, key } => (ticket, Operation::Destroy(key)),
            Effect::Deliver { .. } => panic!("{effect:?} is none of the store's business"),
        };
        assert!(self.under_way.insert(ticket, operation).is_none(), "{ticket:?} twice");
        (ticket, self.habits.slowness)
    }

    pub(crate) fn finish(&mut self, ticket: Ticket, dice: &mut Dice) -> Answer {
        let operation = self.under_way.remove(&ticket).expect("an operation ends once");
        let result = if dice.chance(self.habits.failures) { Err(StoreFailed) } else { Ok(()) };
        match operation {
            Operation::Lookup(key) => {
                Answer::LookedUp(result.map(|()| self.kept.get(&key).cloned().map(Box::new)))
            }
            Operation::Store(session) => {
                if result.is_ok() {
                    assert!(!self.deleted.contains(&session.key), "a deleted session comes back");
                    self.kept.insert(session.key.clone(), *session);
                }
                Answer::Stored(result)
            }
            Operation::Destroy(key) => {
                if result.is_ok() {
                    self.kept.remove(&key);
                    self.deleted.insert(key);
                }
                Answer::Destroyed(result)
            }
        }
    }

    /// The server is gone: what it wanted is done now, or never will be.
    pub(crate) fn abandon(&mut self, dice: &mut Dice) {
        for (ticket, operation) in std::mem::take(&mut self.under_way) {
            if dice.chance(50) {
                self.under_way.insert(ticket, operation);
                self.finish(ticket, dice);
            }
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    pub(crate) fn keeps(&self, key: &SessionKey) -> bool {
        self.kept.contains_key(key)
    }
}
