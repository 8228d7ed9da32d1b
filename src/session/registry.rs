//! Who holds which session.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use core::num::NonZeroUsize;

use smallvec::SmallVec;

use super::exchange::{Change, Command, ConnectionId, Effect, Outcome, StoreFailed, Ticket};
use super::key::SessionKey;
use super::object::Session;
use crate::actions::Actions;

/// The settings of a [`Registry`].
#[derive(Clone, Copy, Debug, Default)]
pub struct RegistryConfig {
    /// How many connections may hold one session; `None` for any number.
    pub max_connections: Option<NonZeroUsize>,
    /// Store a session before it is announced, and refuse to create it if that fails. Otherwise it
    /// is announced, then stored, and the store's errors only concern the log (protocol §5.5).
    pub durable: bool,
}

/// Who holds which session, and the limits on that. No store, no clock, no lock.
///
/// A session that is created or restored passes through here, so that limits hold however slow the
/// store is: a restoration **reserves** a place, **asks** the store, and the answer **commits** the
/// place or frees it. Leaving in between frees it too. Operations of one key on the store never
/// overlap in a way that could bring a closed session back: look-ups wait for a pending store,
/// destroying waits for it too, and once a session is being destroyed nobody finds it.
///
/// Calls:
///
/// * a connection asks: [`handle`](Self::handle);
/// * the store has answered: [`looked_up`](Self::looked_up), [`stored`](Self::stored),
///   [`destroyed`](Self::destroyed), once for each ticket; later or unknown tickets are ignored;
/// * the application closes a session everywhere: [`close_key`](Self::close_key).
///
/// Every call appends [`Effect`]s for the host to carry out. Cost: logarithmic in the number of
/// sessions; closing is linear in the number of connections concerned. Several registries may share
/// the work, each for its part of the keys.
#[derive(Debug, Default)]
pub struct Registry {
    config: RegistryConfig,
    entries: BTreeMap<SessionKey, Entry>,
    tickets: BTreeMap<Ticket, SessionKey>,
    last_ticket: u64,
    active: usize,
}

/// What is known of one key. Lives while somebody holds it, wants it, or the store works on it.
#[derive(Debug)]
struct Entry {
    holders: BTreeSet<ConnectionId>,
    /// Reserved places.
    restoring: SmallVec<[Restoring; 1]>,
    store: StoreWork,
}

/// A place reserved for a connection.
#[derive(Debug)]
struct Restoring {
    connection: ConnectionId,
    /// The look-up under way; `None` while it waits for the session to be stored.
    ticket: Option<Ticket>,
}

/// What the store is doing with a session, look-ups aside.
#[derive(Clone, Copy, Debug)]
enum StoreWork {
    Nothing,
    Storing {
        ticket: Ticket,
        creator: Creator,
        /// Who closed the session meanwhile: it is destroyed as soon as it is stored.
        closing: Option<Closer>,
    },
    Destroying {
        ticket: Ticket,
        closer: Closer,
    },
}

/// The connection whose session is being stored.
#[derive(Clone, Copy, Debug)]
enum Creator {
    /// It was told and is among the holders, unless it left.
    Announced(ConnectionId),
    /// Durable: it is told when the store has the session.
    Waiting(ConnectionId),
    /// Durable, and it left before it was told.
    Gone,
}

/// Who has a session destroyed.
#[derive(Clone, Copy, Debug)]
enum Closer {
    /// Its last holder, which waits for the outcome.
    Holder(ConnectionId),
    /// The application, by key, or a holder that has left since.
    Nobody,
}

/// Whether a connection that gave a session up was the last to hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Release {
    Last,
    NotLast,
}

impl Registry {
    /// An empty registry.
    pub const fn new(config: RegistryConfig) -> Self {
        Self {
            config,
            entries: BTreeMap::new(),
            tickets: BTreeMap::new(),
            last_ticket: 0,
            active: 0,
        }
    }

    /// How many sessions at least one connection holds.
    pub const fn active_sessions(&self) -> usize {
        self.active
    }

    /// The connections that hold a session; none if it is unknown.
    pub fn connections(&self, key: &SessionKey) -> impl Iterator<Item = ConnectionId> + '_ {
        self.entries.get(key).into_iter().flat_map(|entry| entry.holders.iter().copied())
    }

    /// How many connections hold a session; 0 if it is unknown.
    pub fn connection_count(&self, key: &SessionKey) -> usize {
        self.entries.get(key).map_or(0, |entry| entry.holders.len())
    }

    /// Whether nothing is held, reserved or in the hands of the store.
    pub fn is_idle(&self) -> bool {
        self.entries.is_empty() && self.tickets.is_empty()
    }

    /// Carries out what a connection asks.
    pub fn handle(&mut self, from: ConnectionId, command: Command, out: &mut Actions<Effect>) {
        match command {
            Command::Restore(key) => self.restore(from, key, out),
            Command::Create(session) => self.create(from, session, out),
            Command::Close(key) => self.close(from, key, out),
            Command::Leave(key) => self.leave(from, &key),
        }
    }

    /// Closes a session for all its connections, tells them, and has it destroyed, also when
    /// nobody holds it. Returns how many connections were told.
    pub fn close_key(
        &mut self,
        key: SessionKey,
        disconnect: bool,
        out: &mut Actions<Effect>,
    ) -> usize {
        let entry = self.entries.entry(key.clone()).or_insert_with(Entry::empty);
        let holders = core::mem::take(&mut entry.holders);
        self.active -= usize::from(!holders.is_empty());
        for &connection in &holders {
            deliver(connection, &key, Change::ClosedByKey { disconnect }, out);
        }
        self.destroy(key, Closer::Nobody, out);
        holders.len()
    }

    /// The store's answer to [`Effect::Lookup`]: the session, or that there is none.
    pub fn looked_up(
        &mut self,
        ticket: Ticket,
        answer: Result<Option<Box<Session>>, StoreFailed>,
        out: &mut Actions<Effect>,
    ) {
        let Some(key) = self.tickets.get(&ticket).cloned() else { return };
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let Some(place) = entry.restoring.iter().position(|place| place.ticket == Some(ticket))
        else {
            return;
        };
        self.tickets.remove(&ticket);
        let Restoring { connection, .. } = entry.restoring.swap_remove(place);
        let change = match answer {
            Ok(Some(session)) => {
                self.active += usize::from(entry.holders.is_empty());
                entry.holders.insert(connection);
                Change::Restored(session)
            }
            Ok(None) => Change::NotFound,
            Err(StoreFailed) => Change::LookupFailed,
        };
        deliver(connection, &key, change, out);
        self.forget_if_empty(&key);
    }

    /// The store's answer to [`Effect::Store`].
    pub fn stored(
        &mut self,
        ticket: Ticket,
        answer: Result<(), StoreFailed>,
        out: &mut Actions<Effect>,
    ) {
        let Some(key) = self.tickets.get(&ticket).cloned() else { return };
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let StoreWork::Storing { ticket: awaited, creator, closing } = entry.store else { return };
        if awaited != ticket {
            return;
        }
        self.tickets.remove(&ticket);
        entry.store = StoreWork::Nothing;
        let exists = match (creator, answer) {
            (Creator::Announced(connection), _) => {
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
        // A session nobody was told of is of no use to anybody.
        let orphaned = matches!(creator, Creator::Gone);
        match closing {
            Some(closer) if exists => self.destroy(key, closer, out),
            None if exists && orphaned => self.destroy(key, Closer::Nobody, out),
            _ => {
                self.resume_lookups(&key, exists, out);
                self.forget_if_empty(&key);
            }
        }
    }

    /// The store's answer to [`Effect::Destroy`].
    pub fn destroyed(
        &mut self,
        ticket: Ticket,
        answer: Result<(), StoreFailed>,
        out: &mut Actions<Effect>,
    ) {
        let Some(key) = self.tickets.get(&ticket).cloned() else { return };
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let StoreWork::Destroying { ticket: awaited, closer } = entry.store else { return };
        if awaited != ticket {
            return;
        }
        self.tickets.remove(&ticket);
        entry.store = StoreWork::Nothing;
        if let Closer::Holder(connection) = closer {
            let change = match answer {
                Ok(()) => Change::Closed,
                Err(StoreFailed) => {
                    self.active += usize::from(entry.holders.is_empty());
                    entry.holders.insert(connection);
                    Change::CloseFailed
                }
            };
            deliver(connection, &key, change, out);
        }
        self.forget_if_empty(&key);
    }

    fn restore(&mut self, from: ConnectionId, key: SessionKey, out: &mut Actions<Effect>) {
        let entry = self.entries.entry(key.clone()).or_insert_with(Entry::empty);
        let waits = match entry.store {
            StoreWork::Nothing => false,
            StoreWork::Storing { closing: None, .. } => true,
            StoreWork::Storing { closing: Some(_), .. } | StoreWork::Destroying { .. } => {
                return deliver(from, &key, Change::NotFound, out);
            }
        };
        let taken = entry.holders.len() + entry.restoring.len();
        if self.config.max_connections.is_some_and(|most| taken >= most.get()) {
            return deliver(from, &key, Change::LimitReached, out);
        }
        let ticket = (!waits).then(|| issue(&mut self.last_ticket, &mut self.tickets, &key));
        entry.restoring.push(Restoring { connection: from, ticket });
        if let Some(ticket) = ticket {
            out.push(Effect::Lookup { ticket, key });
        }
    }

    fn create(&mut self, from: ConnectionId, session: Box<Session>, out: &mut Actions<Effect>) {
        if self.entries.contains_key(&session.key) {
            return deliver(from, &session.key, Change::CreateFailed, out);
        }
        let key = session.key.clone();
        let ticket = issue(&mut self.last_ticket, &mut self.tickets, &key);
        let mut entry = Entry::empty();
        let creator = if self.config.durable {
            Creator::Waiting(from)
        } else {
            self.active += 1;
            entry.holders.insert(from);
            deliver(from, &key, Change::Created, out);
            Creator::Announced(from)
        };
        entry.store = StoreWork::Storing { ticket, creator, closing: None };
        self.entries.insert(key, entry);
        out.push(Effect::Store { ticket, session });
    }

    fn close(&mut self, from: ConnectionId, key: SessionKey, out: &mut Actions<Effect>) {
        if self.release(from, &key) == Release::Last {
            self.destroy(key, Closer::Holder(from), out);
        } else {
            // Others hold it still, or it was closed everywhere a moment ago.
            deliver(from, &key, Change::Closed, out);
        }
    }

    /// Takes a connection off the holders.
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
        let tickets = &mut self.tickets;
        entry.restoring.retain(|place| {
            let leaves = place.connection == from;
            if let Some(ticket) = place.ticket.filter(|_| leaves) {
                tickets.remove(&ticket);
            }
            !leaves
        });
        match &mut entry.store {
            StoreWork::Storing { creator, closing, .. } => {
                if matches!(*creator, Creator::Waiting(connection) if connection == from) {
                    *creator = Creator::Gone;
                }
                if let Some(closer) = closing {
                    closer.leave(from);
                }
            }
            StoreWork::Destroying { closer, .. } => closer.leave(from),
            StoreWork::Nothing => {}
        }
        self.forget_if_empty(key);
    }

    /// Has a session destroyed that nobody holds any more. Whoever waits for it does not find it.
    fn destroy(&mut self, key: SessionKey, closer: Closer, out: &mut Actions<Effect>) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        for place in entry.restoring.drain(..) {
            if let Some(ticket) = place.ticket {
                self.tickets.remove(&ticket);
            }
            deliver(place.connection, &key, Change::NotFound, out);
        }
        match &mut entry.store {
            StoreWork::Nothing => {
                let ticket = issue(&mut self.last_ticket, &mut self.tickets, &key);
                entry.store = StoreWork::Destroying { ticket, closer };
                out.push(Effect::Destroy { ticket, key });
            }
            StoreWork::Storing { closing, .. } => {
                closing.get_or_insert(closer);
            }
            // Already under way; nobody can have come to hold it since.
            StoreWork::Destroying { .. } => {}
        }
    }

    /// Starts the look-ups that waited for the session to be stored.
    fn resume_lookups(&mut self, key: &SessionKey, exists: bool, out: &mut Actions<Effect>) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if !exists {
            for place in entry.restoring.drain(..) {
                deliver(place.connection, key, Change::NotFound, out);
            }
        }
        for place in entry.restoring.iter_mut().filter(|place| place.ticket.is_none()) {
            let ticket = issue(&mut self.last_ticket, &mut self.tickets, key);
            place.ticket = Some(ticket);
            out.push(Effect::Lookup { ticket, key: key.clone() });
        }
    }

    fn forget_if_empty(&mut self, key: &SessionKey) {
        if self.entries.get(key).is_some_and(Entry::is_empty) {
            self.entries.remove(key);
        }
    }
}

impl Entry {
    fn empty() -> Self {
        Self { holders: BTreeSet::new(), restoring: SmallVec::new(), store: StoreWork::Nothing }
    }

    fn is_empty(&self) -> bool {
        let idle = matches!(self.store, StoreWork::Nothing);
        idle && self.holders.is_empty() && self.restoring.is_empty()
    }
}

impl Closer {
    fn leave(&mut self, connection: ConnectionId) {
        if matches!(*self, Self::Holder(closer) if closer == connection) {
            *self = Self::Nobody;
        }
    }
}

fn deliver(connection: ConnectionId, key: &SessionKey, change: Change, out: &mut Actions<Effect>) {
    let outcome = Outcome { key: key.clone(), change };
    out.push(Effect::Deliver { connection, outcome });
}

fn issue(last: &mut u64, tickets: &mut BTreeMap<Ticket, SessionKey>, key: &SessionKey) -> Ticket {
    *last += 1;
    let ticket = Ticket(*last);
    tickets.insert(ticket, key.clone());
    ticket
}
