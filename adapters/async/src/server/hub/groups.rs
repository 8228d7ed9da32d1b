//! Groups, behind the lock of the hub.

use std::collections::BTreeSet;
use std::iter;
use std::sync::MutexGuard;

use wwr::SessionKey;
use wwr::server::GroupError;
use wwr::session::ConnectionId;

use super::{Control, Hub, PORTION};
use crate::server::connection::Connection;

impl Hub {
    pub(in crate::server) fn join(
        &self,
        connection: ConnectionId,
        group: &str,
    ) -> Result<bool, GroupError> {
        let mut control = self.lock();
        let joined = control.machine.join(connection, group);
        self.note_groups(control);
        joined
    }

    pub(in crate::server) fn join_for_session(
        &self,
        connection: ConnectionId,
        session: &SessionKey,
        group: &str,
    ) -> Result<bool, GroupError> {
        let mut control = self.lock();
        let joined = control.machine.join_for_session(connection, session, group);
        self.note_groups(control);
        joined
    }

    pub(in crate::server) fn leave(&self, connection: ConnectionId, group: &str) -> bool {
        let mut control = self.lock();
        let left = control.machine.leave(connection, group);
        self.note_groups(control);
        left
    }

    /// Has a node tell the engine which groups have members here, and ends the lock.
    fn note_groups(&self, control: MutexGuard<'_, Control>) {
        if control.node.is_some() {
            self.set_timer(control);
        }
    }

    pub(in crate::server) fn groups_of(&self, connection: ConnectionId) -> Vec<String> {
        self.lock().machine.groups_of(connection).map(Into::into).collect()
    }

    /// Records that a connection has ended for the application: it leaves its groups. Returns them.
    pub(in crate::server) fn ended(&self, connection: ConnectionId) -> Vec<String> {
        let mut control = self.lock();
        let groups = control.machine.groups_of(connection).map(Into::into).collect();
        control.machine.ended(connection);
        self.note_groups(control);
        groups
    }

    /// Returns how many members a group has, without these.
    pub(in crate::server) fn count_members(
        &self,
        group: &str,
        except: &BTreeSet<ConnectionId>,
    ) -> usize {
        let control = self.lock();
        let is_in = |id: &&ConnectionId| control.machine.groups_of(**id).any(|name| name == group);
        control.machine.member_count(group) - except.iter().filter(is_in).count()
    }

    /// Walks over the members of a group, as [`walk`](Self::walk) does over all connections.
    pub(in crate::server) fn walk_group(&self, group: &str) -> impl Iterator<Item = Connection> {
        let newest = self.lock().last_id;
        let mut seen = ConnectionId(0);
        let portions = iter::from_fn(move || {
            let control = self.lock();
            let unseen = control.machine.members_after(group, seen);
            let unseen = unseen.take_while(|id| *id <= newest).take(PORTION);
            let mut last = None;
            let portion: Vec<_> = unseen
                .inspect(|id| last = Some(*id))
                .filter_map(|id| control.connections.get(&id).cloned())
                .collect();
            drop(control);
            seen = last?;
            Some(portion)
        });
        portions.flatten()
    }
}
