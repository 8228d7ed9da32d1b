//! What a registry of one node of several has more.

use alloc::vec::Vec;

use super::entry::{Closer, Creator, EditKind, EditStage, StoreWork};
use super::{QuestionKind, Registry, deliver};
use crate::actions::Actions;
use crate::session::exchange::{Change, ConnectionId, Effect, OtherConnections, Ticket};
use crate::session::info::SessionInfo;
use crate::session::key::SessionKey;

/// What a question to the store is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A connection restores the session.
    Join {
        /// Whether it still waits for that.
        wanted: bool,
    },
    /// A session is created.
    Create {
        /// Whether its connection still waits for that.
        wanted: bool,
    },
    /// A holder changes the info.
    Edit,
    /// A holder changes the key: the session is found under the old one.
    Find,
    /// The session is stored under the new key.
    Move {
        /// How many connections will hold it.
        places: u32,
    },
    /// It is destroyed under the old key.
    CloseOld,
    /// It is destroyed under the new key.
    Undo,
    /// The last holder here closes it.
    Close,
    /// The application closes it for all.
    CloseForAll {
        /// Whether the connections are closed as well.
        disconnect: bool,
    },
}

impl Registry {
    /// Returns what a question that is not answered yet is for.
    pub(crate) fn asked(&self, ticket: Ticket) -> Option<Asked> {
        let question = self.tickets.get(&ticket)?;
        let entry = self.entries.get(&question.key)?;
        Some(match question.kind {
            QuestionKind::Lookup(connection) => {
                let wanted = entry.restoring.get(&connection) == Some(&Some(ticket));
                Asked::Join { wanted }
            }
            QuestionKind::Store => {
                let wanted = matches!(
                    entry.store,
                    StoreWork::Storing { creator: Creator::Waiting(_), closing: None }
                );
                Asked::Create { wanted }
            }
            QuestionKind::Destroy => match entry.store.closer() {
                Some(Closer::ForAll { disconnect }) => Asked::CloseForAll { disconnect },
                _ => Asked::Close,
            },
            QuestionKind::Edit(EditStage::Storing) => {
                let places = match entry.edit().map(|edit| &edit.what) {
                    Some(EditKind::NewKey { new, .. }) if new.others == OtherConnections::Close => {
                        1
                    }
                    _ => count(entry.present()),
                };
                Asked::Move { places }
            }
            QuestionKind::Edit(EditStage::Destroying) => Asked::CloseOld,
            QuestionKind::Edit(EditStage::Undoing) => Asked::Undo,
            QuestionKind::Edit(EditStage::Updating) => Asked::Edit,
            QuestionKind::Edit(EditStage::Finding | EditStage::Renewing | EditStage::Lookups) => {
                Asked::Find
            }
        })
    }

    /// Returns how many connections hold a session or wait for their close of it, which may fail.
    pub(crate) fn places(&self, key: &SessionKey) -> u32 {
        self.entries.get(key).map_or(0, |entry| count(entry.present()))
    }

    /// Returns whether this is the new key of a session, which no client knows yet.
    pub(crate) fn is_reserved(&self, key: &SessionKey) -> bool {
        let entry = self.entries.get(key);
        entry.is_some_and(|entry| matches!(entry.store, StoreWork::Reserved { .. }))
    }

    /// Returns the limit of connections.
    pub(crate) const fn limit(&self) -> Option<core::num::NonZeroUsize> {
        self.config.max_connections
    }

    /// Handles the answer to [`Effect::Destroy`] of a [shared](Self::shared) registry that connections of other
    /// nodes hold the session, which lives on.
    pub fn detached(&mut self, ticket: Ticket, out: &mut Actions<Effect>) {
        let is_right = |kind| matches!(kind, QuestionKind::Destroy);
        let Some((key, _)) = self.answered(ticket, is_right) else { return };
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let StoreWork::Destroying(closer) = entry.store else { return };
        entry.store = StoreWork::Nothing;
        if closer.is_for_all() {
            // The application closes it meanwhile.
            return self.destroy(key, closer, out);
        }
        self.detach(&key, closer, out);
    }

    /// Tells the one that closes a session that others hold it, and goes on with what has waited.
    pub(super) fn detach(&mut self, key: &SessionKey, closer: Closer, out: &mut Actions<Effect>) {
        if let Some(connection) = closer.holder() {
            self.rotated.remove(&connection);
            deliver(connection, key, Change::Detached, out);
        }
        self.resume_lookups(key, true, out);
        self.start_edit(key, out);
    }

    /// Handles the answer to [`Effect::Lookup`] of a [shared](Self::shared) registry that the session has all
    /// the connections that it may have on all nodes.
    pub fn limit_reached(&mut self, ticket: Ticket, out: &mut Actions<Effect>) {
        let is_right = |kind| matches!(kind, QuestionKind::Lookup(_));
        let Some((key, QuestionKind::Lookup(connection))) = self.answered(ticket, is_right) else {
            return;
        };
        self.restored(key, connection, ticket, Err(Change::LimitReached), out);
    }

    /// Another node has changed the info of a session: its connections are told.
    pub fn refresh(&mut self, key: &SessionKey, info: &SessionInfo, out: &mut Actions<Effect>) {
        let Some(entry) = self.entries.get(key) else { return };
        for connection in entry.present() {
            let change = Change::Updated { info: alloc::boxed::Box::new(info.clone()), own: false };
            deliver(connection, key, change, out);
        }
    }

    /// The session has another key, which connections of another node have got: closes it here like
    /// [`close_key`](Self::close_key).
    pub fn close_by_other(&mut self, key: SessionKey, out: &mut Actions<Effect>) {
        self.close_for_all(key, false, || Change::ClosedByOther { destroyed: false }, out);
    }

    /// The store has no place for the connections of a session here any more. They are dropped without being
    /// told anything: the session may live. Returns them.
    pub fn evict(&mut self, key: &SessionKey) -> Vec<ConnectionId> {
        let Some(entry) = self.entries.get_mut(key) else { return Vec::new() };
        let evicted: Vec<_> = entry.present().collect();
        self.active -= usize::from(!core::mem::take(&mut entry.holders).is_empty());
        if let Some(closer) = entry.store.closer_mut()
            && closer.holder().is_some()
        {
            *closer = Closer::NoWaiter;
        }
        for connection in &evicted {
            self.rotated.remove(connection);
            entry.forget_edits_of(*connection);
        }
        self.forget_if_empty(key);
        evicted
    }

    /// Forgets everything, as if it had just been made, but uses no ticket again. Returns the connections that
    /// held, restored or created a session. They are told nothing.
    pub fn clear(&mut self) -> Vec<ConnectionId> {
        let mut all = Vec::new();
        for entry in core::mem::take(&mut self.entries).into_values() {
            all.extend(entry.present().chain(entry.restoring.keys().copied()));
            if let StoreWork::Storing {
                creator: Creator::Waiting(connection) | Creator::Advertised(connection),
                ..
            } = entry.store
            {
                all.push(connection);
            }
        }
        all.sort_unstable();
        all.dedup();
        self.tickets.clear();
        self.rotated.clear();
        self.active = 0;
        all
    }
}

fn count(connections: impl Iterator<Item = ConnectionId>) -> u32 {
    u32::try_from(connections.count()).unwrap_or(u32::MAX)
}
