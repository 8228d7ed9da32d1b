//! Groups of connections.

use wwr::server::GroupError;
use wwr::session::ConnectionId;

use super::Server;
use crate::invariants::Invariant;
use crate::network::SocketId;
use crate::stage::Stage;

/// The groups of these worlds.
pub(crate) const GROUPS: [&str; 3] = ["lobby", "news", "admins"];

impl Server {
    /// A connection joins a group. Returns how many are in it then.
    pub(super) fn join(&mut self, socket: SocketId, group: usize, stage: &mut Stage) -> usize {
        let name = GROUPS[group % GROUPS.len()];
        // One whose handshake is under way may be in groups as well.
        let Some(&id) = self.control.ids.get(&socket) else { return 0 };
        let has_ended = self.control.members.get(&id).is_some_and(|member| member.has_ended);
        let is_in = |name: &&'static str| {
            self.control.groups.get(name).is_some_and(|members| members.contains(&id))
        };
        let (count, is_member) = (GROUPS.iter().filter(|name| is_in(name)).count(), is_in(&name));
        let max = self.settings.hub.max_groups;
        let expected = match is_member {
            _ if has_ended => Err(GroupError::UnknownConnection),
            true => Ok(false),
            false if count >= max => Err(GroupError::TooManyGroups { max }),
            false => Ok(true),
        };
        let joined = self.control.hub.join(id, name);
        if joined == Ok(true) {
            self.control.groups.entry(name).or_default().insert(id);
        }
        let actor = self.actor(socket);
        stage.check(joined == expected, Invariant::GroupsAreMembers, || {
            format!("{actor}: joins {name}: {joined:?} instead of {expected:?}")
        });
        self.check_groups(stage);
        self.control.hub.member_count(name)
    }

    /// A connection leaves a group.
    pub(super) fn leave_group(
        &mut self,
        socket: SocketId,
        group: usize,
        stage: &mut Stage,
    ) -> bool {
        let name = GROUPS[group % GROUPS.len()];
        let Some(&id) = self.control.ids.get(&socket) else { return false };
        let left = self.control.hub.leave(id, name);
        let model = self.control.groups.get_mut(name);
        let expected = model.is_some_and(|members| members.remove(&id));
        let actor = self.actor(socket);
        stage.check(left == expected, Invariant::GroupsAreMembers, || {
            format!("{actor}: leaves {name}: {left} instead of {expected}")
        });
        self.check_groups(stage);
        left
    }

    /// Sends a signal to all connections of a group. Returns how many they are.
    pub(super) fn tell_group(&mut self, group: usize, stage: &mut Stage) -> usize {
        let name = GROUPS[group % GROUPS.len()];
        let members: Vec<ConnectionId> = self.control.hub.members(name).collect();
        for id in &members {
            let socket = self.control.members.get(id).map(|member| member.socket);
            let server = self.id;
            stage.check(socket.is_some(), Invariant::GroupsAreMembers, || {
                format!("server {server}: {id:?} of {name} has left")
            });
            socket.iter().for_each(|socket| {
                self.news(*socket, stage);
                self.send_states(*socket, stage);
            });
        }
        members.len()
    }

    /// The application does something with groups, of its own accord.
    pub(crate) fn stir_groups(&mut self, socket: SocketId, stage: &mut Stage) {
        let group = stage.aside.index(GROUPS.len()).unwrap_or_default();
        match stage.aside.below(3) {
            0 => drop(self.join(socket, group, stage)),
            1 => drop(self.leave_group(socket, group, stage)),
            _ => drop(self.tell_group(group, stage)),
        }
        self.send_states(socket, stage);
        self.carry_out(stage);
    }

    /// The hub knows the members of each group: those that joined, and have neither left it nor the
    /// server.
    pub(super) fn check_groups(&self, stage: &mut Stage) {
        let (hub, id) = (&self.control.hub, self.id);
        let mut count = 0;
        for name in GROUPS {
            let of_hub: Vec<_> = hub.members(name).collect();
            let model = self.control.groups.get(name);
            let model: Vec<_> = model.into_iter().flatten().copied().collect();
            count += usize::from(!model.is_empty());
            let holds = of_hub == model && hub.member_count(name) == model.len();
            stage.check(holds, Invariant::GroupsAreMembers, || {
                format!("server {id}: {of_hub:?} are in {name}, and {model:?} should be")
            });
        }
        stage.check(hub.group_count() == count, Invariant::GroupsAreMembers, || {
            format!("server {id} has {} groups, {count} have members", hub.group_count())
        });
    }
}
