//! The registries of a server, and what is between them, the store and the connections.

use wwr::SessionKey;
use wwr::session::{Change, ConnectionId, Effect, Outcome};

use super::Server;
use crate::coverage::{EntryState, Fact};
use crate::event::Event;
use crate::invariants::Invariant;
use crate::network::SocketId;
use crate::stage::Stage;
use crate::store::{self, Answer, Asker, short};

/// What the store was asked.
#[derive(Clone, Debug)]
pub(super) struct Question {
    key: SessionKey,
    kind: QuestionKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QuestionKind {
    Lookup,
    Store,
    Destroy,
}

impl Server {
    /// Which registry is responsible for a session.
    pub(super) fn shard(&self, key: &SessionKey) -> usize {
        let sum =
            key.as_str().bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31) ^ u32::from(byte));
        sum as usize % self.shards.len()
    }

    pub(super) fn close_everywhere(
        &mut self,
        key: &SessionKey,
        disconnect: bool,
        stage: &mut Stage,
    ) -> usize {
        stage.ledger.session(key).unwanted = true;
        let shard = self.shard(key);
        let effects = &mut self.effects[shard];
        let told = self.shards[shard].close_key(key.clone(), disconnect, effects);
        stage.note(self.who(0), u64::from(disconnect), || {
            format!("{} is closed everywhere, {told} told", short(key))
        });
        self.touch(key, stage);
        told
    }

    /// Carries out what the registries want.
    pub(super) fn take_effects(&mut self, stage: &mut Stage) {
        for shard in 0..self.effects.len() {
            while let Some(effect) = self.effects[shard].pop() {
                let (ticket, key, kind) = match &effect {
                    Effect::Deliver { .. } => {
                        if let Effect::Deliver { connection, outcome } = effect {
                            self.deliver(connection, outcome, stage);
                        }
                        continue;
                    }
                    Effect::Lookup { ticket, key } => (*ticket, key.clone(), QuestionKind::Lookup),
                    Effect::Store { ticket, session } => {
                        (*ticket, session.key.clone(), QuestionKind::Store)
                    }
                    Effect::Destroy { ticket, key } => {
                        (*ticket, key.clone(), QuestionKind::Destroy)
                    }
                };
                if kind == QuestionKind::Destroy {
                    let known = stage.ledger.session(&key).clone();
                    let wanted = known.unwanted || !known.announced;
                    stage.check(wanted, Invariant::AnnouncedIsDurable, || {
                        format!("{} is destroyed, though nobody closed it", short(&key))
                    });
                }
                let question = Question { key: key.clone(), kind };
                let before = self.questions.insert((shard, ticket), question);
                stage.check(before.is_none(), Invariant::CallsAreHonoured, || {
                    format!("{ticket:?} is given out twice")
                });
                store::begin(stage, self.id, self.epoch, shard, effect);
                self.touch(&key, stage);
            }
        }
    }

    /// The store has answered.
    pub(crate) fn answered(&mut self, asker: Asker, answer: Answer, stage: &mut Stage) {
        if asker.epoch != self.epoch {
            return;
        }
        let Asker { shard, ticket, .. } = asker;
        let Some(question) = self.questions.remove(&(shard, ticket)) else { return };
        let effects = &mut self.effects[shard];
        let registry = &mut self.shards[shard];
        let is_destroyed = matches!(answer, Answer::Destroyed(Ok(())));
        match answer {
            Answer::LookedUp(answer) => registry.looked_up(ticket, answer, effects),
            Answer::Stored(answer) => registry.stored(ticket, answer, effects),
            Answer::Destroyed(answer) => registry.destroyed(ticket, answer, effects),
        }
        let holders = registry.connection_count(&question.key);
        stage.check(!is_destroyed || holders == 0, Invariant::ClosedStaysClosed, || {
            format!("{} is destroyed and held by {holders}", short(&question.key))
        });
        self.touch(&question.key, stage);
        self.carry_out(stage);
    }

    /// Takes news to a connection, at once or later.
    fn deliver(&mut self, connection: ConnectionId, outcome: Outcome, stage: &mut Stage) {
        let ConnectionId(socket) = connection;
        self.check_news(&outcome, stage);
        let delay = stage.dice.up_to(self.settings.inbox_delay);
        let Some(served) = self.connections.get_mut(&socket) else { return };
        if delay.is_zero() && served.inbox.is_empty() {
            return self.tell(socket, outcome, stage);
        }
        served.inbox.push_back(outcome);
        served.inbox_last = served.inbox_last.max(stage.now + delay);
        stage.queue.schedule(served.inbox_last, Event::Inbox { socket });
    }

    pub(super) fn tell(&mut self, socket: SocketId, outcome: Outcome, stage: &mut Stage) {
        let now = self.clock.read(stage.now);
        let Some(served) = self.connections.get_mut(&socket) else { return };
        self.touched.insert(outcome.key.clone());
        stage.note(super::Who::Server(self.id, socket), 30, || {
            format!("{}: {}", short(&outcome.key), name_of(&outcome.change))
        });
        served.hears(&outcome.change);
        served.machine.handle_session(now, outcome, &mut self.out);
        self.collect(socket, stage);
    }

    /// Something was done to a session.
    pub(super) fn touch(&mut self, key: &SessionKey, stage: &mut Stage) {
        self.touched.insert(key.clone());
        let registry = &self.shards[self.shard(key)];
        let of_key = |question: &&Question| question.key == *key;
        let asked =
            |kind| self.questions.values().filter(of_key).any(|question| question.kind == kind);
        let state = EntryState {
            held: registry.connection_count(key) > 0,
            storing: asked(QuestionKind::Store),
            looking_up: asked(QuestionKind::Lookup),
            destroying: asked(QuestionKind::Destroy),
            closing: registry.is_closing(key),
        };
        let before = self.entries.insert(key.clone(), state).unwrap_or_default();
        if before != state {
            stage.count(Fact::Entry(before, state));
        }
    }

    /// The connections that a registry knows to hold a session.
    pub(crate) fn known_holders(&self, key: &SessionKey) -> impl Iterator<Item = SocketId> + '_ {
        self.shards[self.shard(key)].connections(key).map(|ConnectionId(socket)| socket)
    }

    /// Whether the registries hold nothing and wait for nothing.
    pub(crate) fn is_idle(&self) -> bool {
        self.shards.iter().all(|registry| registry.is_idle() && registry.active_sessions() == 0)
    }

    pub(super) fn active_sessions(&self) -> usize {
        self.shards.iter().map(|registry| registry.active_sessions()).sum()
    }
}

pub(super) const fn name_of(change: &Change) -> &'static str {
    match change {
        Change::Restored(_) => "restored",
        Change::NotFound => "not found",
        Change::LimitReached => "limit reached",
        Change::LookupFailed => "look-up failed",
        Change::Created => "created",
        Change::Stored => "stored",
        Change::CreateFailed => "creation failed",
        Change::Closed => "closed",
        Change::CloseFailed => "closing failed",
        Change::ClosedByKey { disconnect: false } => "closed by key",
        Change::ClosedByKey { disconnect: true } => "closed by key, disconnect",
    }
}
