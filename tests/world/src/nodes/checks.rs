//! What holds in a world of nodes.

use std::collections::{BTreeMap, BTreeSet};

use wwr::SessionKey;
use wwr::cluster::{Audience, ClusterState};
use wwr::session::ConnectionId;

use super::Nodes;
use super::net::number;
use super::node::State;
use crate::event::millis;
use crate::invariants::Invariant;

impl Nodes {
    /// How many connections believe that they hold each session. Those of processes that do not run, or stand
    /// still, do not count: they look at the clock before they do anything.
    pub(super) fn holders(&self) -> BTreeMap<SessionKey, usize> {
        let mut holders = BTreeMap::new();
        for node in self.nodes.iter().filter(|node| node.hub.is_some() && !node.is_paused) {
            for conn in node.connections.values() {
                // One that waits for its close has its place only if that fails, and then asks for it again.
                if let State::Holding { key, .. } = &conn.state {
                    *holders.entry(key.clone()).or_default() += 1;
                }
            }
        }
        holders
    }

    pub(super) fn check_step(&mut self) {
        if self.lossy {
            return;
        }
        let limit = self.limit;
        if let Some((key, count)) = self.holders().into_iter().find(|(_, count)| *count > limit) {
            self.check(false, Invariant::SessionLimit, || {
                format!("{count} connections hold {key:?}, and {limit} may")
            });
        }
        let outside = self.nodes.iter().find(|node| {
            let runs = node.hub.is_some() && !node.is_paused && !node.is_member;
            runs && node.connections.values().any(|conn| conn.state.held().is_some())
        });
        if let Some(id) = outside.map(|node| node.id) {
            self.check(false, Invariant::RegistryIsUnion, || {
                format!("node {id} takes no part, and has connections with sessions")
            });
        }
    }

    /// Who is told that there is no session is told the truth.
    pub(super) fn check_not_found(&mut self, id: usize, key: &SessionKey) {
        // One that the application of this node is closing is not found any more.
        let is_closing = self.nodes[id].waiters.values().any(|closing| closing == key);
        let is_open = self.truth.get(key).is_some_and(|truth| truth.closed.is_none());
        let is_open = is_open && !is_closing;
        self.check(!is_open || self.lossy, Invariant::TrueOutcome, || {
            format!("node {id} says that there is no {key:?}, and it was never closed")
        });
    }

    /// Changes come in one order.
    pub(super) fn check_order(
        &mut self,
        id: usize,
        to: ConnectionId,
        key: &SessionKey,
        before: u64,
        after: u64,
    ) {
        let revision = |number| self.truth.get(key).and_then(|truth| truth.revisions.get(&number));
        let (before_at, after_at) = (revision(before).copied(), revision(after).copied());
        // When the data of the engine may be others, all is read again.
        let is_same = self.has_failed_over && before_at == after_at;
        let is_forward = after_at.is_some() && (before_at < after_at || is_same);
        self.check(is_forward || self.lossy, Invariant::InfoIsShared, || {
            format!(
                "{to:?} of node {id} had {before} of revision {before_at:?} of {key:?}, and is told \
                 {after} of {after_at:?}"
            )
        });
    }

    /// All is as it should be.
    pub(super) fn check_recovered(&mut self) {
        for id in 0..self.nodes.len() {
            let state = self.nodes[id].hub.as_ref().and_then(|hub| hub.cluster_state());
            let is_member = matches!(state, Some(ClusterState::Member { confirms: false, .. }));
            self.check(is_member, Invariant::Recovery, || format!("node {id} is {state:?}"));
            let nodes = self.nodes[id].hub.as_ref().map_or(0, |hub| hub.nodes().len());
            let count = self.nodes.len();
            self.check(nodes == count, Invariant::Recovery, || {
                format!("node {id} knows {nodes} nodes of {count}")
            });
            let node = &self.nodes[id];
            let waits = node.connections.iter().find(|(_, conn)| {
                let is_quiet = matches!(conn.state, State::Idle | State::Holding { .. });
                !is_quiet || conn.edits > 0
            });
            let waits = waits.map(|(id, conn)| format!("{id:?} is {:?}", conn.state));
            let open = (node.messages.len(), node.waiters.len());
            self.check(waits.is_none(), Invariant::OneOutcome, || {
                format!("of node {id}, {}", waits.unwrap_or_default())
            });
            self.check(open == (0, 0), Invariant::OneOutcome, || {
                format!("node {id} has {open:?} messages and closings without an outcome")
            });
        }
        let holders = self.holders();
        let limit = self.limit;
        let keys: Vec<_> = self.truth.keys().cloned().collect();
        for key in keys {
            let real = holders.get(&key).copied().unwrap_or(0);
            let places = self.engine.places(self.engine_clock(), &key) as usize;
            self.check(real == places, Invariant::RegistryIsUnion, || {
                format!("{real} connections hold {key:?}, and the engine has {places} places")
            });
            self.check(real <= limit, Invariant::SessionLimit, || {
                format!("{real} connections hold {key:?}, and {limit} may")
            });
            let is_open = self.engine.session(&key).is_some();
            self.check(real == 0 || is_open, Invariant::ClosedStaysClosed, || {
                format!("{real} connections hold {key:?}, which is closed")
            });
        }
        let mut wrong = None;
        for node in &self.nodes {
            for (id, conn) in &node.connections {
                if let State::Holding { key, number: told } = &conn.state {
                    let is = self.engine.session(key).map(|(session, _)| number(session));
                    if is != Some(*told) {
                        wrong = Some(format!(
                            "{id:?} of node {} was told {told} of {key:?}, and it is {is:?}",
                            node.id
                        ));
                    }
                }
            }
        }
        self.check(wrong.is_none(), Invariant::InfoIsShared, || wrong.unwrap_or_default());
    }

    /// Messages come to all that they concern.
    pub(super) fn check_messages(&mut self) {
        let from = 0;
        let Some(conn) = self.connect(from) else { return };
        let mut sent = vec![(Audience::All, self.send(from, Some(Audience::All)))];
        let group = Audience::Group("a".into());
        sent.push((group.clone(), self.send(from, Some(group))));
        for key in self.holders().into_keys() {
            let to = Audience::Session(key);
            // There is not much room for messages.
            self.run_for(millis(100));
            sent.push((to.clone(), self.send(from, Some(to))));
        }
        self.run_for(millis(2_000));
        let mut missed = None;
        for (to, message) in sent {
            for node in &self.nodes {
                for (id, conn) in &node.connections {
                    let concerns = match &to {
                        Audience::All => true,
                        Audience::Group(name) => conn.groups.contains(name),
                        Audience::Session(key) => conn.state.held() == Some(key),
                    };
                    if concerns != conn.got.contains(&message) {
                        let to = match &to {
                            Audience::Session(key) => key.as_str(),
                            Audience::Group(name) => name,
                            Audience::All => "all",
                        };
                        missed = Some(format!(
                            "message {message} to {to} comes to {id:?} of node {}: {}, and it is {:?}",
                            node.id, !concerns, conn.state
                        ));
                    }
                }
            }
        }
        self.check(missed.is_none(), Invariant::GroupsAreMembers, || missed.unwrap_or_default());
        self.gone(from, conn);
    }

    /// All connections have left.
    pub(super) fn check_nothing_left(&mut self, keys: &BTreeSet<SessionKey>) {
        for id in 0..self.nodes.len() {
            let hub = self.nodes[id].hub.as_ref();
            let left = hub.filter(|hub| !hub.is_idle()).map(|hub| format!("{hub:?}"));
            self.check(left.is_none(), Invariant::MemoryFloor, || {
                format!("something is left on node {id}: {}", left.unwrap_or_default())
            });
        }
        for key in keys {
            let places = self.engine.places(self.engine_clock(), key);
            self.check(places == 0, Invariant::RegistryIsUnion, || {
                format!("nobody holds {key:?}, and the engine has {places} places")
            });
        }
        for id in 0..self.nodes.len() {
            self.nodes[id].connections.clear();
            self.call(id, |hub, now, out| hub.shut_down(now, millis(0), out));
        }
        self.run_for(millis(2_000));
        let left = self
            .nodes
            .iter()
            .map(|node| node.hub.as_ref().map_or(0, |hub| hub.pending_engine_jobs()));
        let left: usize = left.sum();
        self.check(left == 0, Invariant::MemoryFloor, || format!("{left} jobs are left"));
    }
}
