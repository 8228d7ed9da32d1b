//! Which connections hold which session.

mod edit;
mod entry;
mod shared;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry as MapEntry;
use alloc::vec::Vec;
use core::num::NonZeroUsize;

use self::edit::fail;
use self::entry::{Closer, Creator, EditKind, EditStage, Entry, QueuedEdit, StoreWork};
pub(crate) use self::shared::Asked;
use super::exchange::{
    Change, Command, ConnectionId, EditCommand, EditFailure, Effect, Outcome, StoreFailed, Ticket,
};
use super::key::SessionKey;
use super::object::Session;
use crate::actions::Actions;

/// The settings of a [`Registry`]. Every combination is valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistryConfig {
    /// How many connections may hold one session; `None` for any number.
    pub max_connections: Option<NonZeroUsize>,
    /// Whether a session is stored before it is announced, and not created if that fails. Otherwise
    /// it is announced, then stored, and errors of the store only go to the log (protocol §5.5).
    pub durable: bool,
}

/// Knows which connections hold which session, and enforces the limits on that. Has no store, clock
/// or lock.
///
/// All sessions that are created or restored pass through here, so that limits hold however slow
/// the store is. A restoration **reserves** a slot and **asks** the store. The answer **commits**
/// the slot or frees it. Leaving in between frees it, too. Store operations on one key never
/// overlap in a way that could bring back a closed session: look-ups wait until the session is
/// stored, and destroying waits for that and for all look-ups (which may write the time of the
/// look-up). Once a session is being destroyed, no look-up finds it.
///
/// Calls:
///
/// * a connection asks: [`handle`](Self::handle);
/// * the store has answered: [`looked_up`](Self::looked_up), [`stored`](Self::stored),
///   [`updated`](Self::updated), [`destroyed`](Self::destroyed). Each ticket is answered once, even if the connection that
///   caused it has gone. Repeated and unknown tickets are ignored;
/// * the application closes a session everywhere: [`close_key`](Self::close_key);
/// * a session in use must not expire: [`renew`](Self::renew).
///
/// **Edits** of a session (updates of its info, rotations of its key, renewals) are carried out one after
/// another, in the order in which they come, so that the last one wins for all connections. Restorations
/// wait meanwhile, and an edit waits for the look-ups that came before. A rotation finds the session, stores
/// it under the new key, destroys that of the old one, and only then do the connections learn of it, and is
/// the session closed for those that are not to have the new key
/// ([`OtherConnections::Close`](super::OtherConnections)). If the store fails on the way, what was stored
/// under the new key is destroyed (if storing it has failed, it is left alone), and the session keeps the old
/// key and all its connections. The same
/// happens if the only connection that is to have the new key leaves before the old one is destroyed. If it
/// leaves after that, the session is closed for the others, and destroyed. A connection that has not heard of
/// its new key yet may still use the old one in its commands.
///
/// A registry that is [shared](Self::shared) knows the connections of one node of several, which have the same
/// store. The last connection here may not be the last one: the store says whether the session was destroyed, or
/// [detached](Self::detached) from this node. Restorations wait for that. The store has the limit too, and may
/// answer that it is [reached](Self::limit_reached).
///
/// Every call appends [`Effect`]s for the host to carry out. The store may answer in any order. The
/// commands of a connection, and its news, must each stay in order: a host that shares the registry
/// under a lock queues [`Effect::Deliver`] for its connection before it releases the lock.
///
/// Cost: logarithmic in the number of sessions and of their connections; linear in the number of
/// connections that a call notifies, or asks the store for. Several registries may share the work,
/// each for its part of the keys, if no key is rotated.
#[derive(Debug, Default)]
pub struct Registry {
    config: RegistryConfig,
    entries: BTreeMap<SessionKey, Entry>,
    /// What the store has not answered yet.
    tickets: BTreeMap<Ticket, Question>,
    last_ticket: u64,
    active: usize,
    /// Whether connections of other nodes may hold the same sessions.
    is_shared: bool,
    /// The holders of sessions whose key was rotated: they may not know the new key yet.
    rotated: BTreeMap<ConnectionId, SessionKey>,
}

/// What the store was asked.
#[derive(Debug)]
struct Question {
    key: SessionKey,
    kind: QuestionKind,
}

#[derive(Clone, Copy, Debug)]
enum QuestionKind {
    /// For this connection, which may have left since.
    Lookup(ConnectionId),
    Store,
    Destroy,
    /// For this stage of the edit that is under way.
    Edit(EditStage),
}

/// Whether a connection that gave up a session was the last to hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Release {
    Last,
    NotLast,
}

impl Registry {
    /// Creates an empty registry.
    pub const fn new(config: RegistryConfig) -> Self {
        Self {
            config,
            entries: BTreeMap::new(),
            tickets: BTreeMap::new(),
            last_ticket: 0,
            active: 0,
            is_shared: false,
            rotated: BTreeMap::new(),
        }
    }

    /// Creates an empty registry for the connections of one node of several. Sessions are
    /// [durable](RegistryConfig::durable).
    pub const fn shared(config: RegistryConfig) -> Self {
        let mut shared = Self::new(RegistryConfig { durable: true, ..config });
        shared.is_shared = true;
        shared
    }

    /// Returns how many sessions at least one connection holds.
    pub const fn active_sessions(&self) -> usize {
        self.active
    }

    /// Returns the connections that hold a session. Empty if the session is unknown.
    pub fn connections(&self, key: &SessionKey) -> impl Iterator<Item = ConnectionId> + '_ {
        self.entries.get(key).into_iter().flat_map(|entry| entry.holders.iter().copied())
    }

    /// Returns whether a connection holds a session.
    pub fn holds(&self, connection: ConnectionId, key: &SessionKey) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.holders.contains(&connection))
    }

    /// Returns whether a connection that held a session waits for its close of it. It holds the session again
    /// if that fails.
    pub fn awaits_close(&self, connection: ConnectionId, key: &SessionKey) -> bool {
        let key = self.rotated.get(&connection).unwrap_or(key);
        let closer = self.entries.get(key).and_then(|entry| entry.store.closer());
        matches!(closer, Some(Closer::Holder(holder)) if holder == connection)
    }

    /// Returns how many connections hold a session. 0 if it is unknown.
    pub fn connection_count(&self, key: &SessionKey) -> usize {
        self.entries.get(key).map_or(0, |entry| entry.holders.len())
    }

    /// Returns whether a session is being destroyed, or will be once the store has answered earlier
    /// questions about it.
    pub fn is_closing(&self, key: &SessionKey) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.store.is_closing())
    }

    /// Returns the new key of a session, if it is being stored under that, and not known to anybody yet.
    pub fn reserved_key(&self, key: &SessionKey) -> Option<&SessionKey> {
        self.entries.get(key).and_then(Entry::reserved_key)
    }

    /// Returns whether no session is held or reserved, and the store has answered everything.
    pub fn is_idle(&self) -> bool {
        self.entries.is_empty() && self.tickets.is_empty()
    }

    /// Carries out the command of a connection.
    pub fn handle(&mut self, from: ConnectionId, command: Command, out: &mut Actions<Effect>) {
        match command {
            Command::Restore(key) => {
                self.rotated.remove(&from);
                self.restore(from, key, out);
            }
            Command::Create(session) => {
                self.rotated.remove(&from);
                self.create(from, session, out);
            }
            Command::Close(key) => self.close(from, self.current(from, key), out),
            Command::Edit(command) => {
                let EditCommand { key, edit } = *command;
                let key = self.current(from, key);
                self.edit(from, &key, edit, out);
            }
            Command::Leave(key) => {
                let key = self.current(from, key);
                self.rotated.remove(&from);
                self.leave(from, &key);
            }
        }
    }

    /// Closes a session for all its connections, tells them, and destroys it, even if no connection
    /// holds it. Returns how many connections were told. A connection that is waiting for its own
    /// close of the session is one of them.
    pub fn close_key(
        &mut self,
        key: SessionKey,
        disconnect: bool,
        out: &mut Actions<Effect>,
    ) -> usize {
        self.close_for_all(key, disconnect, || Change::ClosedByKey { disconnect }, out)
    }

    /// Does so, and tells the connections this.
    fn close_for_all(
        &mut self,
        key: SessionKey,
        disconnect: bool,
        change: impl Fn() -> Change,
        out: &mut Actions<Effect>,
    ) -> usize {
        let entry = self.entries.entry(key.clone()).or_insert_with(Entry::empty);
        let mut told = core::mem::take(&mut entry.holders);
        self.active -= usize::from(!told.is_empty());
        if let Some(closer) = entry.store.closer_mut()
            && let Closer::Holder(connection) =
                core::mem::replace(closer, Closer::ForAll { disconnect })
        {
            told.insert(connection);
        }
        for edit in entry.edits.iter_mut().flat_map(|edits| edits.iter_mut()) {
            // These connections learn that the session has ended.
            edit.by = None;
        }
        if let StoreWork::Reserved { closing } = &mut entry.store {
            *closing = Some(closing.is_some_and(|before| before) || disconnect);
            return 0;
        }
        for &connection in &told {
            self.rotated.remove(&connection);
            deliver(connection, &key, change(), out);
        }
        self.destroy(key, Closer::ForAll { disconnect }, out);
        told.len()
    }

    /// Has the store look up a session that connections hold, so that it does not expire. The renewal
    /// takes its turn among the edits of the session: stores may write back what they have read. Returns
    /// whether any connection holds the session. If so, ends with [`Effect::Renewed`].
    pub fn renew(&mut self, key: &SessionKey, out: &mut Actions<Effect>) -> bool {
        let Some(entry) = self.entries.get_mut(key) else { return false };
        if entry.holders.is_empty() {
            return false;
        }
        entry.push_edit(QueuedEdit { by: None, what: EditKind::Renew });
        self.start_edit(key, out);
        true
    }

    /// Handles the store's answer to [`Effect::Lookup`]: the session, or `None` if it does not
    /// exist.
    pub fn looked_up(
        &mut self,
        ticket: Ticket,
        answer: Result<Option<Box<Session>>, StoreFailed>,
        out: &mut Actions<Effect>,
    ) {
        let is_right = |kind| {
            matches!(
                kind,
                QuestionKind::Lookup(_)
                    | QuestionKind::Edit(EditStage::Finding | EditStage::Renewing)
            )
        };
        match self.answered(ticket, is_right) {
            Some((key, QuestionKind::Lookup(connection))) => {
                let answer = answer.map_err(|StoreFailed| Change::LookupFailed);
                self.restored(key, connection, ticket, answer, out);
            }
            Some((key, QuestionKind::Edit(EditStage::Renewing))) => {
                self.renewed(&key, answer.map(drop), out);
            }
            Some((key, _)) => self.found(&key, answer, out),
            None => {}
        }
    }

    /// Handles the answer to the look-up of a restoration: the session if there is one, or what to tell the
    /// connection.
    fn restored(
        &mut self,
        key: SessionKey,
        connection: ConnectionId,
        ticket: Ticket,
        answer: Result<Option<Box<Session>>, Change>,
        out: &mut Actions<Effect>,
    ) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.lookups -= 1;
        // The connection may have left, and even asked again.
        if entry.restoring.get(&connection) == Some(&Some(ticket)) {
            entry.restoring.remove(&connection);
            let change = match answer {
                Ok(Some(mut session)) => {
                    // The connection will leave by this key, whatever key the store wrote.
                    session.key = key.clone();
                    // A client that cannot read the session would not know what it holds.
                    if session.check().is_ok() {
                        self.active += usize::from(entry.holders.is_empty());
                        entry.holders.insert(connection);
                        Change::Restored(session)
                    } else {
                        Change::LookupFailed
                    }
                }
                Ok(None) => Change::NotFound,
                Err(change) => change,
            };
            deliver(connection, &key, change, out);
        }
        match entry.store {
            StoreWork::AwaitingLookups(_) if self.is_shared && entry.lookups > 0 => {}
            StoreWork::AwaitingLookups(closer)
                if self.is_shared && !entry.holders.is_empty() && !closer.is_for_all() =>
            {
                entry.store = StoreWork::Nothing;
                self.detach(&key, closer, out);
            }
            StoreWork::AwaitingLookups(closer) => {
                entry.store = StoreWork::Nothing;
                self.destroy(key, closer, out);
            }
            StoreWork::Editing { stage: EditStage::Lookups, .. } => {
                entry.store = StoreWork::Nothing;
                self.start_edit(&key, out);
            }
            _ => self.forget_if_empty(&key),
        }
    }

    /// Handles the store's answer to [`Effect::Store`].
    pub fn stored(
        &mut self,
        ticket: Ticket,
        answer: Result<(), StoreFailed>,
        out: &mut Actions<Effect>,
    ) {
        let is_right =
            |kind| matches!(kind, QuestionKind::Store | QuestionKind::Edit(EditStage::Storing));
        let Some((key, kind)) = self.answered(ticket, is_right) else { return };
        if let QuestionKind::Edit(_) = kind {
            return self.stored_again(&key, answer, out);
        }
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let StoreWork::Storing { creator, closing } = entry.store else { return };
        entry.store = StoreWork::Nothing;
        let exists = match (creator, answer) {
            (Creator::Advertised(connection), _) => {
                deliver(connection, &key, Change::Stored, out);
                true
            }
            (Creator::Waiting(connection), Ok(())) if closing.is_none() => {
                self.active += usize::from(entry.holders.is_empty());
                entry.holders.insert(connection);
                deliver(connection, &key, Change::Created, out);
                deliver(connection, &key, Change::Stored, out);
                true
            }
            (Creator::Waiting(connection), answer) => {
                deliver(connection, &key, Change::CreateFailed, out);
                answer.is_ok()
            }
            (Creator::Gone, answer) => answer.is_ok(),
        };
        // A session that no client was told about is useless.
        let orphaned = matches!(creator, Creator::Gone);
        match closing {
            Some(closer) if exists => self.destroy(key, closer, out),
            None if exists && orphaned => self.destroy(key, Closer::NoWaiter, out),
            _ => {
                self.resume_lookups(&key, exists, out);
                self.start_edit(&key, out);
            }
        }
    }

    /// Handles the store's answer to [`Effect::Destroy`].
    pub fn destroyed(
        &mut self,
        ticket: Ticket,
        answer: Result<(), StoreFailed>,
        out: &mut Actions<Effect>,
    ) {
        let is_right = |kind| {
            matches!(
                kind,
                QuestionKind::Destroy
                    | QuestionKind::Edit(EditStage::Destroying | EditStage::Undoing)
            )
        };
        let Some((key, kind)) = self.answered(ticket, is_right) else { return };
        match kind {
            QuestionKind::Edit(EditStage::Undoing) => return self.undone(&key, out),
            QuestionKind::Edit(_) => return self.destroyed_before(&key, answer, out),
            _ => {}
        }
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let StoreWork::Destroying(closer) = entry.store else { return };
        entry.store = StoreWork::Nothing;
        if let Closer::Holder(connection) = closer {
            let change = match answer {
                Ok(()) => {
                    self.rotated.remove(&connection);
                    Change::Closed
                }
                Err(StoreFailed) => {
                    self.active += usize::from(entry.holders.is_empty());
                    entry.holders.insert(connection);
                    Change::CloseFailed
                }
            };
            deliver(connection, &key, change, out);
        }
        self.resume_lookups(&key, answer.is_err(), out);
        self.forget_if_empty(&key);
    }

    fn restore(&mut self, from: ConnectionId, key: SessionKey, out: &mut Actions<Effect>) {
        let entry = self.entries.entry(key.clone()).or_insert_with(Entry::empty);
        let waits = match entry.store {
            StoreWork::Nothing => false,
            StoreWork::Storing { closing: None, .. } | StoreWork::Editing { closing: None, .. } => {
                true
            }
            // Whether other nodes have it will be known.
            StoreWork::Editing { closing: Some(closer), .. }
            | StoreWork::AwaitingLookups(closer)
            | StoreWork::Destroying(closer)
                if self.is_shared && !closer.is_for_all() =>
            {
                true
            }
            StoreWork::Storing { closing: Some(_), .. }
            | StoreWork::Editing { closing: Some(_), .. }
            | StoreWork::Reserved { .. }
            | StoreWork::AwaitingLookups(_)
            | StoreWork::Destroying(_) => return deliver(from, &key, Change::NotFound, out),
        };
        if self.config.max_connections.is_some_and(|most| entry.taken() >= most.get()) {
            return deliver(from, &key, Change::LimitReached, out);
        }
        entry.restoring.insert(from, None);
        if !waits {
            self.look_up(&key, from, out);
        }
    }

    fn create(&mut self, from: ConnectionId, session: Box<Session>, out: &mut Actions<Effect>) {
        if self.entries.contains_key(&session.key) {
            return deliver(from, &session.key, Change::CreateFailed, out);
        }
        let key = session.key.clone();
        let ticket = self.ask(&key, QuestionKind::Store);
        let mut entry = Entry::empty();
        let creator = if self.config.durable {
            Creator::Waiting(from)
        } else {
            self.active += 1;
            entry.holders.insert(from);
            deliver(from, &key, Change::Created, out);
            Creator::Advertised(from)
        };
        entry.store = StoreWork::Storing { creator, closing: None };
        self.entries.insert(key, entry);
        out.push(Effect::Store { ticket, session });
    }

    fn close(&mut self, from: ConnectionId, key: SessionKey, out: &mut Actions<Effect>) {
        if self.release(from, &key) == Release::Last {
            self.destroy(key, Closer::Holder(from), out);
        } else {
            // Other connections still hold it, or it was closed everywhere a moment ago.
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.forget_edits_of(from);
            }
            self.rotated.remove(&from);
            deliver(from, &key, Change::Detached, out);
        }
    }

    /// Removes a connection from the holders.
    fn release(&mut self, from: ConnectionId, key: &SessionKey) -> Release {
        let Some(entry) = self.entries.get_mut(key) else { return Release::NotLast };
        if entry.holders.remove(&from) && entry.holders.is_empty() {
            self.active -= 1;
            Release::Last
        } else {
            Release::NotLast
        }
    }

    fn leave(&mut self, from: ConnectionId, key: &SessionKey) {
        self.release(from, key);
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.restoring.remove(&from);
        entry.forget_edits_of(from);
        if let StoreWork::Storing { creator, .. } = &mut entry.store
            && matches!(*creator, Creator::Waiting(connection) if connection == from)
        {
            *creator = Creator::Gone;
        }
        if let Some(closer) = entry.store.closer_mut()
            && matches!(*closer, Closer::Holder(connection) if connection == from)
        {
            *closer = Closer::NoWaiter;
        }
        self.forget_if_empty(key);
    }

    /// Destroys a session that no connection holds any more. Pending restorations do not find it, unless
    /// other nodes may have it.
    fn destroy(&mut self, key: SessionKey, closer: Closer, out: &mut Actions<Effect>) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if !self.is_shared || closer.is_for_all() {
            for connection in core::mem::take(&mut entry.restoring).into_keys() {
                deliver(connection, &key, Change::NotFound, out);
            }
        }
        if let StoreWork::Editing { stage: EditStage::Lookups, .. } = entry.store {
            entry.store = StoreWork::Nothing;
        }
        if let StoreWork::Nothing = entry.store {
            while let Some(edit) = entry.take_edit() {
                fail(&key, &edit, EditFailure::Ended, out);
            }
        }
        match &mut entry.store {
            StoreWork::Nothing if entry.lookups > 0 => {
                entry.store = StoreWork::AwaitingLookups(closer);
            }
            StoreWork::Nothing => {
                entry.store = StoreWork::Destroying(closer);
                let ticket = self.ask(&key, QuestionKind::Destroy);
                out.push(Effect::Destroy { ticket, key });
            }
            StoreWork::Storing { closing, .. } | StoreWork::Editing { closing, .. } => {
                closing.get_or_insert(closer);
            }
            // The rotation destroys it.
            StoreWork::Reserved { .. } => {}
            // One that was restored since closes it, or has closed it for all.
            StoreWork::AwaitingLookups(before) if self.is_shared => {
                let before = core::mem::replace(before, closer);
                if let Some(connection) = before.holder().filter(|_| closer.holder().is_some()) {
                    deliver(connection, &key, Change::Detached, out);
                }
            }
            // Already under way. No connection can have come to hold it since.
            StoreWork::AwaitingLookups(_) | StoreWork::Destroying(_) => {}
        }
    }

    /// Starts the look-ups that waited for the session to be stored.
    fn resume_lookups(&mut self, key: &SessionKey, exists: bool, out: &mut Actions<Effect>) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if exists {
            let waits = |(connection, look_up): (&ConnectionId, &Option<Ticket>)| {
                look_up.is_none().then_some(*connection)
            };
            let waiting: Vec<_> = entry.restoring.iter().filter_map(waits).collect();
            for connection in waiting {
                self.look_up(key, connection, out);
            }
        } else {
            for connection in core::mem::take(&mut entry.restoring).into_keys() {
                deliver(connection, key, Change::NotFound, out);
            }
        }
    }

    /// Starts the look-up for a reserved slot.
    fn look_up(&mut self, key: &SessionKey, connection: ConnectionId, out: &mut Actions<Effect>) {
        let ticket = self.ask(key, QuestionKind::Lookup(connection));
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.restoring.insert(connection, Some(ticket));
        entry.lookups += 1;
        out.push(Effect::Lookup { ticket, key: key.clone() });
    }

    fn ask(&mut self, key: &SessionKey, kind: QuestionKind) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.tickets.insert(ticket, Question { key: key.clone(), kind });
        ticket
    }

    /// Removes a ticket that was issued for this kind of question, and returns the question.
    fn answered(
        &mut self,
        ticket: Ticket,
        is_right: impl FnOnce(QuestionKind) -> bool,
    ) -> Option<(SessionKey, QuestionKind)> {
        match self.tickets.entry(ticket) {
            MapEntry::Occupied(question) if is_right(question.get().kind) => {
                let Question { key, kind } = question.remove();
                Some((key, kind))
            }
            MapEntry::Occupied(_) | MapEntry::Vacant(_) => None,
        }
    }

    /// Panics if the state is inconsistent.
    #[cfg(test)]
    pub(super) fn assert_consistent(&self) {
        let held = self.entries.values().filter(|entry| !entry.holders.is_empty()).count();
        assert_eq!(self.active, held, "active sessions");
        for (key, entry) in &self.entries {
            assert!(!entry.is_empty(), "{key:?} is kept for nothing");
            let mut asked = [0; 4];
            for question in self.tickets.values().filter(|question| question.key == *key) {
                asked[match question.kind {
                    QuestionKind::Lookup(_) => 0,
                    QuestionKind::Store => 1,
                    QuestionKind::Destroy => 2,
                    QuestionKind::Edit(_) => 3,
                }] += 1;
            }
            let storing = matches!(entry.store, StoreWork::Storing { .. });
            let destroying = matches!(entry.store, StoreWork::Destroying(_));
            let editing = match entry.store {
                StoreWork::Editing { stage, .. } => stage != EditStage::Lookups,
                _ => false,
            };
            let expected = [
                entry.lookups,
                usize::from(storing),
                usize::from(destroying),
                usize::from(editing),
            ];
            assert_eq!(asked, expected, "look-ups, stores, destroys, edits");
            let edits = entry.edits.as_ref().map_or(0, |edits| edits.len());
            let waits_in_vain = matches!(entry.store, StoreWork::Nothing) && edits > 0;
            assert!(!waits_in_vain, "{key:?} has edits that nothing starts");
            let edited = matches!(entry.store, StoreWork::Editing { .. });
            assert!(!edited || edits > 0, "{key:?} is edited without an edit");
            if let Some(most) = self.config.max_connections {
                assert!(entry.taken() <= most.get(), "the limit is exceeded");
            }
        }
        for (connection, key) in &self.rotated {
            let entry = self.entries.get(key);
            let closer = entry.and_then(|entry| match entry.store {
                StoreWork::Destroying(Closer::Holder(closer))
                | StoreWork::AwaitingLookups(Closer::Holder(closer))
                | StoreWork::Editing { closing: Some(Closer::Holder(closer)), .. } => Some(closer),
                _ => None,
            });
            let holds = entry.is_some_and(|entry| entry.holders.contains(connection));
            assert!(holds || closer == Some(*connection), "an alias is kept for nothing");
        }
        assert!(self.tickets.values().all(|question| self.entries.contains_key(&question.key)));
    }

    fn forget_if_empty(&mut self, key: &SessionKey) {
        if self.entries.get(key).is_some_and(Entry::is_empty) {
            self.entries.remove(key);
        }
    }
}

fn deliver(connection: ConnectionId, key: &SessionKey, change: Change, out: &mut Actions<Effect>) {
    let outcome = Outcome { key: key.clone(), change };
    out.push(Effect::Deliver { connection, outcome });
}
