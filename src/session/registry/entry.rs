//! What the registry knows about one session.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::session::exchange::{ConnectionId, Edit, NewKey, OtherConnections, Ticket};
use crate::session::info::SessionInfo;
use crate::session::key::SessionKey;
use crate::session::object::Session;

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
    /// The edits without an outcome, oldest first.
    pub(super) edits: Option<Box<Edits>>,
}

/// The edits of a session. The first is under way while its entry is in [`StoreWork::Editing`].
pub(super) type Edits = VecDeque<QueuedEdit>;

/// An edit without an outcome.
#[derive(Debug)]
pub(super) struct QueuedEdit {
    /// The connection that waits for the outcome. `None` once it holds the session no more, and for
    /// renewals.
    pub(super) by: Option<ConnectionId>,
    pub(super) what: EditKind,
}

#[derive(Debug)]
pub(super) enum EditKind {
    Info(SessionInfo),
    NewKey {
        new: NewKey,
        /// The session under its new key, once the store has found it under the old one.
        renamed: Option<Box<Session>>,
    },
    /// The store notes that the session is in use.
    Renew,
}

impl From<Edit> for EditKind {
    fn from(edit: Edit) -> Self {
        match edit {
            Edit::Info(info) => Self::Info(info),
            Edit::NewKey(new) => Self::NewKey { new, renamed: None },
        }
    }
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
    /// The first edit is under way.
    Editing {
        stage: EditStage,
        /// Set if the session was closed meanwhile: it is destroyed as soon as the store has answered.
        closing: Option<Closer>,
    },
    /// The key is the new one of a rotation, and no client knows it yet.
    Reserved {
        /// Set if the application has closed the session of this key: whether to disconnect.
        closing: Option<bool>,
    },
    /// It is destroyed as soon as all look-ups are answered.
    AwaitingLookups(Closer),
    Destroying(Closer),
}

/// What an edit waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EditStage {
    /// The answers to all look-ups.
    Lookups,
    /// The store replaces the info.
    Updating,
    /// The store looks the session up, to note that it is in use.
    Renewing,
    /// The store finds the session of the old key.
    Finding,
    /// The store keeps the session under the new key.
    Storing,
    /// The store destroys the session of the old key.
    Destroying,
    /// The rotation has failed: the store destroys the session of the new key.
    Undoing,
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
    /// A holder that has left since.
    NoWaiter,
    /// The application, by key, for all connections.
    ForAll {
        /// Whether they are closed as well.
        disconnect: bool,
    },
}

impl Closer {
    /// Returns the connection that waits for the outcome.
    pub(super) const fn holder(self) -> Option<ConnectionId> {
        match self {
            Self::Holder(connection) => Some(connection),
            Self::NoWaiter | Self::ForAll { .. } => None,
        }
    }

    /// Returns whether the session ends for all connections, whoever else holds it.
    pub(super) const fn is_for_all(self) -> bool {
        matches!(self, Self::ForAll { .. })
    }
}

impl Entry {
    pub(super) fn empty() -> Self {
        Self {
            holders: BTreeSet::new(),
            restoring: BTreeMap::new(),
            lookups: 0,
            store: StoreWork::Nothing,
            edits: None,
        }
    }

    /// Returns the connections that hold the session, with the one that waits for its close of it.
    pub(super) fn present(&self) -> impl Iterator<Item = ConnectionId> + '_ {
        let closer = self.store.closer().and_then(Closer::holder);
        self.holders.iter().copied().chain(closer)
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
        idle && self.holders.is_empty() && self.restoring.is_empty() && self.edits.is_none()
    }

    pub(super) fn push_edit(&mut self, edit: QueuedEdit) {
        self.edits.get_or_insert_default().push_back(edit);
    }

    /// Returns the first edit.
    pub(super) fn edit(&self) -> Option<&QueuedEdit> {
        self.edits.as_ref().and_then(|edits| edits.front())
    }

    /// Returns the first edit, to change it.
    pub(super) fn edit_mut(&mut self) -> Option<&mut QueuedEdit> {
        self.edits.as_mut().and_then(|edits| edits.front_mut())
    }

    /// Returns the new key of the rotation that is under way, if it is reserved.
    pub(super) fn reserved_key(&self) -> Option<&SessionKey> {
        let StoreWork::Editing { stage, .. } = self.store else { return None };
        match (stage, self.edit()?) {
            (
                EditStage::Storing | EditStage::Destroying | EditStage::Undoing,
                QueuedEdit { what: EditKind::NewKey { new, .. }, .. },
            ) => Some(&new.key),
            _ => None,
        }
    }

    /// Returns whether the edit that is under way has to go on: some connection will use what it makes.
    pub(super) fn is_edit_wanted(&self) -> bool {
        let others = match self.edit() {
            Some(QueuedEdit { by: None, what: EditKind::NewKey { new, .. } }) => new.others,
            _ => OtherConnections::Keep,
        };
        let is_used = others == OtherConnections::Keep && !self.holders.is_empty();
        is_used && !self.store.is_closing()
    }

    /// Removes the first edit.
    pub(super) fn take_edit(&mut self) -> Option<QueuedEdit> {
        let edit = self.edits.as_mut().and_then(|edits| edits.pop_front());
        self.edits.take_if(|edits| edits.is_empty());
        edit
    }

    /// Forgets the edits of all connections but this one. Renewals are of no connection.
    pub(super) fn forget_edits_of_others(&mut self, than: Option<ConnectionId>) {
        let Some(edits) = &mut self.edits else { return };
        edits.retain(|edit| edit.by == than || matches!(edit.what, EditKind::Renew));
        self.edits.take_if(|edits| edits.is_empty());
    }

    /// Forgets the edits of a connection. The one under way goes on without it.
    pub(super) fn forget_edits_of(&mut self, connection: ConnectionId) {
        let Some(edits) = &mut self.edits else { return };
        let mut first = matches!(self.store, StoreWork::Editing { .. });
        edits.retain_mut(|edit| {
            let under_way = core::mem::take(&mut first);
            if edit.by != Some(connection) {
                return true;
            }
            edit.by = None;
            under_way
        });
        self.edits.take_if(|edits| edits.is_empty());
    }
}

impl StoreWork {
    /// Returns whether the session is to be destroyed, now or later.
    pub(super) const fn is_closing(self) -> bool {
        match self {
            Self::Nothing
            | Self::Storing { closing: None, .. }
            | Self::Editing { closing: None, .. }
            | Self::Reserved { closing: None } => false,
            Self::Storing { closing: Some(_), .. }
            | Self::Editing { closing: Some(_), .. }
            | Self::Reserved { closing: Some(_) }
            | Self::AwaitingLookups(_)
            | Self::Destroying(_) => true,
        }
    }

    /// Returns what causes the destruction of the session, now or later.
    pub(super) const fn closer(mut self) -> Option<Closer> {
        match self.closer_mut() {
            Some(closer) => Some(*closer),
            None => None,
        }
    }

    /// The same, to change it.
    pub(super) const fn closer_mut(&mut self) -> Option<&mut Closer> {
        match self {
            Self::Nothing | Self::Reserved { .. } => None,
            Self::Storing { closing, .. } | Self::Editing { closing, .. } => closing.as_mut(),
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
