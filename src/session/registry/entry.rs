//! What the registry knows about one session.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::session::exchange::{ConnectionId, Ticket};

/// What is known of one key. Exists while a connection holds it or asks for it, or the store works
/// on it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) holders: BTreeSet<ConnectionId>,
    /// The connections with a reserved slot, and the look-up under way. `None` while the look-up
    /// waits for the session to be stored.
    pub(super) restoring: BTreeMap<ConnectionId, Option<Ticket>>,
    /// How many look-ups the store has not answered, including those that no connection waits for
    /// any more.
    pub(super) lookups: usize,
    pub(super) store: StoreWork,
}

/// What the store is doing with a session, apart from look-ups.
#[derive(Clone, Copy, Debug)]
pub(super) enum StoreWork {
    Nothing,
    Storing {
        creator: Creator,
        /// Set if the session was closed meanwhile: it is destroyed as soon as it is stored.
        closing: Option<Closer>,
    },
    /// It is destroyed as soon as all look-ups are answered.
    AwaitingLookups(Closer),
    Destroying(Closer),
}

/// The connection whose session is being stored.
#[derive(Clone, Copy, Debug)]
pub(super) enum Creator {
    /// It was told and is among the holders, unless it has left.
    Advertised(ConnectionId),
    /// Durable: it is told when the store has the session.
    Waiting(ConnectionId),
    /// Durable, and it left before it was told.
    Gone,
}

/// What caused the destruction of a session.
#[derive(Clone, Copy, Debug)]
pub(super) enum Closer {
    /// Its last holder, which waits for the outcome.
    Holder(ConnectionId),
    /// The application, by key, or a holder that has left since.
    NoWaiter,
}

impl Entry {
    pub(super) fn empty() -> Self {
        Self {
            holders: BTreeSet::new(),
            restoring: BTreeMap::new(),
            lookups: 0,
            store: StoreWork::Nothing,
        }
    }

    /// Returns how many connections hold the session, or will if the store agrees.
    pub(super) fn taken(&self) -> usize {
        let created = matches!(
            self.store,
            StoreWork::Storing { creator: Creator::Waiting(_), closing: None }
        );
        self.holders.len() + self.restoring.len() + usize::from(created)
    }

    pub(super) fn is_empty(&self) -> bool {
        let idle = matches!(self.store, StoreWork::Nothing) && self.lookups == 0;
        idle && self.holders.is_empty() && self.restoring.is_empty()
    }
}

impl StoreWork {
    /// Returns whether the session is to be destroyed, now or later.
    pub(super) const fn is_closing(self) -> bool {
        match self {
            Self::Nothing | Self::Storing { closing: None, .. } => false,
            Self::Storing { closing: Some(_), .. }
            | Self::AwaitingLookups(_)
            | Self::Destroying(_) => true,
        }
    }

    /// Returns what causes the destruction of the session, now or later.
    pub(super) const fn closer(&mut self) -> Option<&mut Closer> {
        match self {
            Self::Nothing => None,
            Self::Storing { closing, .. } => closing.as_mut(),
            Self::AwaitingLookups(closer) | Self::Destroying(closer) => Some(closer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Command, Effect, SessionKey};

    // On 64-bit targets.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn sizes_do_not_grow_unnoticed() {
        for (what, size, most) in [
            ("a session in the registry", size_of::<(SessionKey, Entry)>(), 112),
            ("Command", size_of::<Command>(), 24),
            ("Effect", size_of::<Effect>(), 40),
        ] {
            assert!(size <= most, "{what} takes {size} bytes, at most {most} are meant");
        }
    }
}
