//! The registry and its store.

use std::collections::{BTreeMap, BTreeSet};

use wwr::session::{
    Change, Command, ConnectionId, Effect, Outcome, Registry, RegistryConfig, StoreFailed, Ticket,
};
use wwr::{Actions, Session, SessionKey};

pub(crate) struct Registrar {
    pub(crate) registry: Registry,
    limit: Option<usize>,
    effects: Actions<Effect>,
    told: Vec<(ConnectionId, Outcome)>,
    tasks: Vec<Task>,
    stored: BTreeMap<SessionKey, Session>,
    /// Destroyed, and not stored again since.
    gone: BTreeSet<SessionKey>,
    /// What the registry has to answer.
    open: BTreeMap<ConnectionId, Open>,
}

/// What the store was asked and has not answered.
enum Task {
    /// With what it found when it was asked; it writes that back when it answers.
    Lookup(Ticket, SessionKey, Option<Session>),
    Store(Ticket, Box<Session>),
    Destroy(Ticket, SessionKey),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Restore,
    Create,
    Close,
}

impl Registrar {
    pub(crate) fn new(config: RegistryConfig) -> Self {
        Self {
            registry: Registry::new(config),
            limit: config.max_connections.map(usize::from),
            effects: Actions::new(),
            told: Vec::new(),
            tasks: Vec::new(),
            stored: BTreeMap::new(),
            gone: BTreeSet::new(),
            open: BTreeMap::new(),
        }
    }

    pub(crate) fn is_busy(&self) -> bool {
        !self.tasks.is_empty()
    }

    pub(crate) fn take_told(&mut self) -> Vec<(ConnectionId, Outcome)> {
        std::mem::take(&mut self.told)
    }

    pub(crate) fn handle(&mut self, from: ConnectionId, command: Command) {
        let open = match &command {
            Command::Restore(_) => Some(Open::Restore),
            Command::Create(_) => Some(Open::Create),
            Command::Close(_) => Some(Open::Close),
            Command::Leave(_) => None,
        };
        let before = self.open.remove(&from);
        if let Some(open) = open {
            assert_eq!(before, None, "one thing at a time");
            self.open.insert(from, open);
        }
        self.registry.handle(from, command, &mut self.effects);
        self.carry_out();
    }

    pub(crate) fn forget(&mut self, connection: ConnectionId) {
        self.open.remove(&connection);
    }

    pub(crate) fn close_key(&mut self, key: SessionKey, disconnect: bool) {
        let closed = self.registry.close_key(key, disconnect, &mut self.effects);
        let told = self.told.len();
        self.carry_out();
        let by_key = |(_, outcome): &&(ConnectionId, Outcome)| {
            matches!(outcome.change, Change::ClosedByKey { .. })
        };
        assert_eq!(self.told[told..].iter().filter(by_key).count(), closed);
    }

    pub(crate) fn store_answers(&mut self, which: u8, fails: bool) {
        if self.tasks.is_empty() {
            return;
        }
        let answer = if fails { Err(StoreFailed) } else { Ok(()) };
        match self.tasks.remove(usize::from(which) % self.tasks.len()) {
            Task::Lookup(ticket, key, found) => {
                if let Some(session) = &found {
                    self.stored.insert(key, session.clone());
                }
                let answer = answer.map(|()| found.map(Box::new));
                self.registry.looked_up(ticket, answer, &mut self.effects);
            }
            Task::Store(ticket, session) => {
                if answer.is_ok() {
                    self.gone.remove(&session.key);
                    self.stored.insert(session.key.clone(), *session);
                }
                self.registry.stored(ticket, answer, &mut self.effects);
                self.repeat(ticket);
            }
            Task::Destroy(ticket, key) => {
                if answer.is_ok() {
                    self.stored.remove(&key);
                    self.gone.insert(key);
                }
                self.registry.destroyed(ticket, answer, &mut self.effects);
                self.repeat(ticket);
            }
        }
        self.carry_out();
    }

    /// Answers once more, to every question: nothing happens.
    fn repeat(&mut self, ticket: Ticket) {
        let effects = self.effects.len();
        self.registry.looked_up(ticket, Ok(None), &mut self.effects);
        self.registry.stored(ticket, Ok(()), &mut self.effects);
        self.registry.destroyed(ticket, Ok(()), &mut self.effects);
        assert_eq!(self.effects.len(), effects);
    }

    fn carry_out(&mut self) {
        while let Some(effect) = self.effects.pop() {
            match effect {
                Effect::Lookup { ticket, key } => {
                    let found = self.stored.get(&key).cloned();
                    self.tasks.push(Task::Lookup(ticket, key, found));
                }
                Effect::Store { ticket, session } => {
                    self.tasks.push(Task::Store(ticket, session));
                }
                Effect::Destroy { ticket, key } => self.tasks.push(Task::Destroy(ticket, key)),
                Effect::Deliver { connection, outcome } => {
                    self.answered(connection, &outcome);
                    self.told.push((connection, outcome));
                }
            }
        }
    }

    /// Each question of a connection that has not left is answered once.
    fn answered(&mut self, connection: ConnectionId, outcome: &Outcome) {
        let open = self.open.get(&connection).copied();
        let answers = match &outcome.change {
            Change::Restored(session) => {
                assert_eq!(session.key, outcome.key);
                assert!(!self.gone.contains(&outcome.key), "restored after its end");
                Some(Open::Restore)
            }
            Change::NotFound | Change::LimitReached | Change::LookupFailed => Some(Open::Restore),
            Change::Created | Change::CreateFailed => Some(Open::Create),
            Change::Closed | Change::CloseFailed => Some(Open::Close),
            Change::ClosedByKey { .. } => open.filter(|open| *open == Open::Close),
            Change::Stored => None,
        };
        if answers.is_some() {
            assert_eq!(open, answers, "{:?}", outcome.change);
            self.open.remove(&connection);
        }
    }

    pub(crate) fn check(&self, key: &SessionKey) {
        let count = self.registry.connection_count(key);
        assert!(self.limit.is_none_or(|limit| count <= limit), "the limit is exceeded");
        assert!(!self.tasks.is_empty() || self.open.is_empty(), "something was never answered");
    }
}
