//! Edits of sessions: updates of the info, rotations of the key, both in one step, and renewals.

use alloc::boxed::Box;

use super::entry::{Closer, EditKind, EditStage, Entry, QueuedEdit, StoreWork};
use super::{QuestionKind, Registry, deliver};
use crate::actions::Actions;
use crate::session::exchange::{
    Change, ConnectionId, Edit, EditFailure, Effect, NewKey, OtherConnections, StoreFailed, Ticket,
    Update,
};
use crate::session::key::SessionKey;
use crate::session::object::Session;

/// Answers of the store about edits.
impl Registry {
    /// Handles the store's answer to [`Effect::Update`]: whether it has the session.
    pub fn updated(
        &mut self,
        ticket: Ticket,
        answer: Result<bool, StoreFailed>,
        out: &mut Actions<Effect>,
    ) {
        let is_right = |kind| matches!(kind, QuestionKind::Edit(EditStage::Updating));
        let Some((key, _)) = self.answered(ticket, is_right) else { return };
        let failure = match answer {
            Ok(true) => return self.apply_update(&key, out),
            Ok(false) => EditFailure::NotStored,
            Err(StoreFailed) => EditFailure::Store,
        };
        self.fail_edit(&key, failure, out);
    }

    fn apply_update(&mut self, key: &SessionKey, out: &mut Actions<Effect>) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let Some(QueuedEdit { by, what: EditKind::Info(info) }) = entry.take_edit() else { return };
        // The one that waits for its close may hold the session again, if the store cannot destroy it.
        for connection in entry.present() {
            let info = Box::new(info.clone());
            let change = Change::Updated { info, own: by == Some(connection) };
            deliver(connection, key, change, out);
        }
        self.end_edit(key, out);
    }

    /// Handles the store's answer about the session whose key is being rotated.
    pub(super) fn found(
        &mut self,
        key: &SessionKey,
        answer: Result<Option<Box<Session>>, StoreFailed>,
        out: &mut Actions<Effect>,
    ) {
        let found = match answer {
            Ok(Some(session)) => session,
            Ok(None) => return self.fail_edit(key, EditFailure::NotStored, out),
            Err(StoreFailed) => return self.fail_edit(key, EditFailure::Store, out),
        };
        let Some(entry) = self.entries.get_mut(key) else { return };
        let is_wanted = entry.is_edit_wanted();
        let what = entry.edit_mut().map(|edit| &mut edit.what);
        let Some(EditKind::NewKey { new, renamed }) = what else { return };
        let (to, info) = (new.key.clone(), new.info.clone().unwrap_or(found.info));
        let stored =
            Session { key: to.clone(), created: found.created, last_lookup: new.now, info };
        let stored = Box::new(stored);
        *renamed = Some(stored.clone());
        // A key that exists already belongs to another session, or is reserved for one.
        if !is_wanted || stored.check().is_err() || self.entries.contains_key(&to) {
            return self.fail_edit(key, EditFailure::Store, out);
        }
        let mut reserved = Entry::empty();
        reserved.store = StoreWork::Reserved { closing: None };
        self.entries.insert(to, reserved);
        let ticket = self.ask_for_edit(key, EditStage::Storing);
        out.push(Effect::Store { ticket, session: stored });
    }

    /// Handles the store's answer about the session under its new key.
    pub(super) fn stored_again(
        &mut self,
        key: &SessionKey,
        answer: Result<(), StoreFailed>,
        out: &mut Actions<Effect>,
    ) {
        // What the store may have kept in spite of a failure is of no use, because nobody knows the key.
        // It is not destroyed: it may be another session, whose key was generated twice.
        if answer.is_err() {
            return self.fail_edit(key, EditFailure::Store, out);
        }
        if !self.entries.get(key).is_some_and(Entry::is_edit_wanted) {
            return self.undo(key, out);
        }
        let ticket = self.ask_for_edit(key, EditStage::Destroying);
        out.push(Effect::Destroy { ticket, key: key.clone() });
    }

    /// Handles the store's answer about the session under its old key.
    pub(super) fn destroyed_before(
        &mut self,
        key: &SessionKey,
        answer: Result<(), StoreFailed>,
        out: &mut Actions<Effect>,
    ) {
        let Some(entry) = self.entries.get(key) else { return };
        // A session that was closed meanwhile is destroyed under the key that it has in the store. So is one
        // whose only connection was to be the one that has left.
        let is_used = !entry.holders.is_empty() || entry.store.is_closing();
        if answer.is_ok() && is_used {
            self.rename(key, out);
        } else {
            self.undo(key, out);
        }
    }

    /// Destroys the session under its new key.
    fn undo(&mut self, key: &SessionKey, out: &mut Actions<Effect>) {
        let reserved = self.entries.get(key).and_then(Entry::reserved_key);
        let Some(to) = reserved.cloned() else { return };
        let ticket = self.ask_for_edit(key, EditStage::Undoing);
        out.push(Effect::Destroy { ticket, key: to });
    }

    /// Handles the end of a rotation that has failed, whatever the store has answered: nobody knows the
    /// new key.
    pub(super) fn undone(&mut self, key: &SessionKey, out: &mut Actions<Effect>) {
        self.fail_edit(key, EditFailure::Store, out);
    }

    /// Handles the store's answer about the session that is in use.
    pub(super) fn renewed(
        &mut self,
        key: &SessionKey,
        answer: Result<(), StoreFailed>,
        out: &mut Actions<Effect>,
    ) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.take_edit();
        }
        self.end_edit(key, out);
        out.push(Effect::Renewed(answer));
    }

    /// Moves everything to the new key: what stays of the session, and the news of it, in one step.
    fn rename(&mut self, key: &SessionKey, out: &mut Actions<Effect>) {
        let Some(mut old) = self.entries.remove(key) else { return };
        for connection in core::mem::take(&mut old.restoring).into_keys() {
            deliver(connection, key, Change::NotFound, out);
        }
        let Some(QueuedEdit { by, what }) = old.take_edit() else { return };
        let EditKind::NewKey { new, renamed: Some(session) } = what else { return };
        let NewKey { key: to, others, .. } = new;
        let Some(StoreWork::Reserved { closing }) = self.entries.get(&to).map(|entry| entry.store)
        else {
            return;
        };
        self.active -= usize::from(!old.holders.is_empty());
        let mut closer = old.store.closer();
        if others == OtherConnections::Close {
            self.close_others(key, by, &mut old, &mut closer, out);
        }
        let waiting = closer.and_then(Closer::holder);
        for &connection in old.holders.iter().chain(&waiting) {
            self.rotated.insert(connection, to.clone());
            let change = Change::Rotated { session: session.clone(), own: by == Some(connection) };
            deliver(connection, key, change, out);
        }
        self.active += usize::from(!old.holders.is_empty());
        if old.holders.is_empty() {
            // No connection knows the new key, or those that do have closed the session.
            closer.get_or_insert(Closer::NoWaiter);
        }
        if let Some(entry) = self.entries.get_mut(&to) {
            entry.store = StoreWork::Nothing;
            (entry.holders, entry.edits) = (old.holders, old.edits);
        }
        match (closer, closing) {
            (Some(closer), _) => self.destroy(to, closer, out),
            (None, Some(disconnect)) => {
                self.close_key(to, disconnect, out);
            }
            (None, None) => self.start_edit(&to, out),
        }
    }

    /// Closes the session of an edit for all connections but the one that has asked for it, even if that one
    /// has left.
    fn close_others(
        &mut self,
        key: &SessionKey,
        by: Option<ConnectionId>,
        old: &mut Entry,
        closer: &mut Option<Closer>,
        out: &mut Actions<Effect>,
    ) {
        let mut closed = core::mem::take(&mut old.holders);
        if let Some(by) = by
            && closed.remove(&by)
        {
            old.holders.insert(by);
        }
        if let Some(Closer::Holder(connection)) = *closer
            && by != Some(connection)
        {
            // It waits for its own close.
            *closer = Some(Closer::NoWaiter);
            closed.insert(connection);
        }
        old.forget_edits_of_others(by);
        // As if one after another had closed it: the last one ends it, if nobody else holds it.
        let ends = old.holders.is_empty();
        let mut left = closed.len();
        for connection in closed {
            left -= 1;
            self.rotated.remove(&connection);
            deliver(connection, key, Change::ClosedByOther { destroyed: ends && left == 0 }, out);
        }
    }
}

/// The course of edits.
impl Registry {
    /// Returns the key of the session that a connection names by this one: it may not know yet that the
    /// key was rotated.
    pub(crate) fn current(&self, connection: ConnectionId, key: SessionKey) -> SessionKey {
        self.rotated.get(&connection).cloned().unwrap_or(key)
    }

    /// Queues an edit.
    pub(super) fn edit(
        &mut self,
        from: ConnectionId,
        key: &SessionKey,
        what: Edit,
        out: &mut Actions<Effect>,
    ) {
        let edit = QueuedEdit { by: Some(from), what: what.into() };
        match self.entries.get_mut(key) {
            Some(entry) if entry.holders.contains(&from) => {
                entry.push_edit(edit);
                self.start_edit(key, out);
            }
            // It was closed everywhere a moment ago.
            Some(_) | None => fail(key, &edit, EditFailure::Ended, out),
        }
    }

    /// Starts the first edit, if the store does nothing else with the session.
    pub(super) fn start_edit(&mut self, key: &SessionKey, out: &mut Actions<Effect>) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if !matches!(entry.store, StoreWork::Nothing) {
            return;
        }
        let lookups = entry.lookups;
        let start = |stage| StoreWork::Editing { stage, closing: None };
        match entry.edit().map(|edit| &edit.what) {
            None => self.forget_if_empty(key),
            Some(_) if lookups > 0 => entry.store = start(EditStage::Lookups),
            Some(EditKind::Info(info)) => {
                let update = Box::new(Update { key: key.clone(), info: info.clone() });
                entry.store = start(EditStage::Updating);
                let ticket = self.ask_for_edit(key, EditStage::Updating);
                out.push(Effect::Update { ticket, update });
            }
            Some(EditKind::NewKey { .. }) => self.find_for_edit(key, EditStage::Finding, out),
            Some(EditKind::Renew) => self.find_for_edit(key, EditStage::Renewing, out),
        }
    }

    fn find_for_edit(&mut self, key: &SessionKey, stage: EditStage, out: &mut Actions<Effect>) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.store = StoreWork::Editing { stage, closing: None };
        }
        let ticket = self.ask_for_edit(key, stage);
        out.push(Effect::Lookup { ticket, key: key.clone() });
    }

    fn ask_for_edit(&mut self, key: &SessionKey, next: EditStage) -> Ticket {
        if let Some(entry) = self.entries.get_mut(key)
            && let StoreWork::Editing { stage, .. } = &mut entry.store
        {
            *stage = next;
        }
        self.ask(key, QuestionKind::Edit(next))
    }

    /// Ends the edit that is under way without a change.
    fn fail_edit(&mut self, key: &SessionKey, failure: EditFailure, out: &mut Actions<Effect>) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let failure = if entry.store.is_closing() { EditFailure::Ended } else { failure };
        let reserved = entry.reserved_key().cloned();
        let Some(edit) = entry.take_edit() else { return };
        if let Some(reserved) = reserved {
            self.entries.remove(&reserved);
        }
        fail(key, &edit, failure, out);
        self.end_edit(key, out);
    }

    /// Goes on with what has waited for the edit.
    fn end_edit(&mut self, key: &SessionKey, out: &mut Actions<Effect>) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let StoreWork::Editing { closing, .. } = entry.store else { return };
        entry.store = StoreWork::Nothing;
        if let Some(closer) = closing {
            return self.destroy(key.clone(), closer, out);
        }
        self.resume_lookups(key, true, out);
        self.start_edit(key, out);
    }
}

/// Tells the connection that waits for an edit that it has failed. A session that ends needs no renewal.
pub(super) fn fail(
    key: &SessionKey,
    edit: &QueuedEdit,
    failure: EditFailure,
    out: &mut Actions<Effect>,
) {
    if let Some(connection) = edit.by {
        deliver(connection, key, Change::EditFailed(failure), out);
    }
    if let EditKind::Renew = edit.what {
        out.push(Effect::Renewed(Ok(())));
    }
}
