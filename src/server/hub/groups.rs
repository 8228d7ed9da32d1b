//! Groups of connections.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::Bound;

use smallvec::SmallVec;

use crate::session::ConnectionId;

/// Why a connection cannot join a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// The connection does not exist, or has ended.
    #[error("the connection has ended")]
    UnknownConnection,
    /// The connection holds no session that the membership could belong to.
    #[error("the connection holds no session")]
    NoSession,
    /// The connection holds another session than the one that the membership was to belong to, which has ended
    /// for it meanwhile.
    #[error("the connection holds another session by now")]
    OtherSession,
    /// The connection is in the maximum number of groups.
    #[error("the connection is in {max} groups already (max_groups)")]
    TooManyGroups {
        /// [`HubConfig::max_groups`](super::HubConfig::max_groups).
        max: usize,
    },
    /// The name is empty, or longer than [`MAX_GROUP_NAME`] bytes.
    #[error("the name of a group has 1 to 255 bytes, this one has {length}")]
    InvalidName {
        /// The length of the name in bytes.
        length: usize,
    },
}

/// The longest name of a group, in bytes.
pub const MAX_GROUP_NAME: usize = 255;

/// How many keys that a session had before its last rotations a [`Hub`](super::Hub) knows it by.
pub const FORMER_KEYS: usize = 8;

/// The groups that a connection is in, in the order in which it joined them.
pub(super) type Memberships = SmallVec<[Membership; 2]>;

/// A group that a connection is in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Membership {
    group: GroupIndex,
    pub(super) lasts: Lasts,
}

/// How long a connection is in a group, if it does not leave it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasts {
    /// As long as it is open.
    Connection,
    /// As long as it holds its session.
    Session,
}

/// The index of a group in [`Groups::slots`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupIndex(u32);

/// All groups that have members. A group exists from its first member to its last.
#[derive(Debug, Default)]
pub(super) struct Groups {
    names: BTreeMap<Box<str>, GroupIndex>,
    slots: Vec<Group>,
    free: Vec<GroupIndex>,
    /// The groups that were created or have ended since they were taken. Only if somebody takes them.
    changed: Option<BTreeSet<Box<str>>>,
}

/// A group. Without a name, its slot is free.
#[derive(Debug, Default)]
struct Group {
    name: Box<str>,
    members: BTreeSet<ConnectionId>,
}

impl Groups {
    /// No groups, whose changes are taken.
    pub(super) fn watched() -> Self {
        Self { changed: Some(BTreeSet::new()), ..Self::default() }
    }

    /// Returns a group that was created or has ended since it was taken last.
    pub(super) fn take_changed(&mut self) -> Option<Box<str>> {
        self.changed.as_mut().and_then(BTreeSet::pop_first)
    }

    /// Returns whether there is one.
    pub(super) fn has_changed(&self) -> bool {
        self.changed.as_ref().is_some_and(|changed| !changed.is_empty())
    }

    /// Adds a connection to a group. Returns whether it was not in it before. A membership that exists
    /// never becomes shorter.
    pub(super) fn join(
        &mut self,
        connection: ConnectionId,
        memberships: &mut Memberships,
        name: &str,
        lasts: Lasts,
        max: usize,
    ) -> Result<bool, GroupError> {
        if !(1..=MAX_GROUP_NAME).contains(&name.len()) {
            return Err(GroupError::InvalidName { length: name.len() });
        }
        let known = self.names.get(name).copied();
        if let Some(member) = memberships.iter_mut().find(|member| Some(member.group) == known) {
            if lasts == Lasts::Connection {
                member.lasts = lasts;
            }
            return Ok(false);
        }
        if memberships.len() >= max {
            return Err(GroupError::TooManyGroups { max });
        }
        let group = known.unwrap_or_else(|| self.create(name));
        if let Some(group) = self.slots.get_mut(group.0 as usize) {
            group.members.insert(connection);
        }
        memberships.push(Membership { group, lasts });
        Ok(true)
    }

    /// Removes a connection from a group. Returns whether it was a member.
    pub(super) fn leave(
        &mut self,
        connection: ConnectionId,
        memberships: &mut Memberships,
        name: &str,
    ) -> bool {
        let Some(group) = self.names.get(name).copied() else { return false };
        let Some(place) = memberships.iter().position(|one| one.group == group) else {
            return false;
        };
        memberships.remove(place);
        self.remove(connection, group);
        true
    }

    /// Removes a connection from all its groups.
    pub(super) fn leave_all(&mut self, connection: ConnectionId, memberships: Memberships) {
        for Membership { group, .. } in memberships {
            self.remove(connection, group);
        }
    }

    /// Removes a connection from the groups that it is in because of its session.
    pub(super) fn leave_session(
        &mut self,
        connection: ConnectionId,
        memberships: &mut Memberships,
    ) {
        memberships.retain(|Membership { group, lasts }| {
            if *lasts == Lasts::Session {
                self.remove(connection, *group);
            }
            *lasts == Lasts::Connection
        });
    }

    /// Returns the members of a group, in the order of their identifiers.
    pub(super) fn members(&self, name: &str) -> impl Iterator<Item = ConnectionId> + '_ {
        let group = self.names.get(name).and_then(|group| self.slots.get(group.0 as usize));
        group.into_iter().flat_map(|group| group.members.iter().copied())
    }

    /// Returns the members of a group with greater identifiers than this one, in order.
    pub(super) fn members_after(
        &self,
        name: &str,
        after: ConnectionId,
    ) -> impl Iterator<Item = ConnectionId> + '_ {
        let group = self.names.get(name).and_then(|group| self.slots.get(group.0 as usize));
        let range = (Bound::Excluded(after), Bound::Unbounded);
        group.into_iter().flat_map(move |group| group.members.range(range).copied())
    }

    /// Returns how many members a group has.
    pub(super) fn member_count(&self, name: &str) -> usize {
        let group = self.names.get(name).and_then(|group| self.slots.get(group.0 as usize));
        group.map_or(0, |group| group.members.len())
    }

    /// Returns the names of these groups.
    pub(super) fn names_of<'a>(
        &'a self,
        memberships: &'a Memberships,
    ) -> impl Iterator<Item = &'a str> {
        let slots = memberships.iter().filter_map(|one| self.slots.get(one.group.0 as usize));
        slots.map(|group| &*group.name)
    }

    /// Returns the groups behind this name, in the order of their names, each with the number of its
    /// members.
    pub(super) fn after(&self, name: &str) -> impl Iterator<Item = (&str, usize)> {
        let range = (Bound::Excluded(name), Bound::Unbounded);
        self.names.range::<str, _>(range).map(|(name, group)| {
            let group = self.slots.get(group.0 as usize);
            (&**name, group.map_or(0, |group| group.members.len()))
        })
    }

    /// Returns how many groups have members.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.slots.len() + self.free.len()
    }

    fn create(&mut self, name: &str) -> GroupIndex {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Group::default());
            // Every group has a member, and memory ends long before 2^32 of them.
            GroupIndex(u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX))
        });
        if let Some(group) = self.slots.get_mut(index.0 as usize) {
            group.name = name.into();
        }
        self.names.insert(name.into(), index);
        if let Some(changed) = &mut self.changed {
            changed.insert(name.into());
        }
        index
    }

    fn remove(&mut self, connection: ConnectionId, index: GroupIndex) {
        let Some(group) = self.slots.get_mut(index.0 as usize) else { return };
        group.members.remove(&connection);
        if group.members.is_empty() {
            let name = core::mem::take(&mut group.name);
            self.names.remove(&name);
            if let Some(changed) = &mut self.changed {
                changed.insert(name);
            }
            self.free.push(index);
        }
        if self.names.is_empty() {
            // There may have been many groups at once. Their memory is not kept for ever.
            (self.slots, self.free) = (Vec::new(), Vec::new());
        }
    }
}
