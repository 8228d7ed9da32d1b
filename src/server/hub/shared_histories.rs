//! Histories that several nodes share (protocol §10.5): who reads what the node has read.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::mem;

use bytes::Bytes;

use super::recovery::{Follower, Recovery, SessionSignal};
use super::{Hub, HubAction, HubConfig, Out};
use crate::cluster::{ClusterAction, ClusterConfig, Grown};
use crate::server::recovery::{RecoveryCommand, RecoveryConfig, RecoveryNews};
use crate::session::{Batch, ConnectionId, Position, SessionKey};
use crate::time::Instant;
use crate::valid::Valid;
use crate::wire::PreparedSignal;

/// The connections that get the signals to their session as they come.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The session of each, and behind which signal of its history it is.
    live: BTreeMap<ConnectionId, (SessionKey, Position)>,
}

impl Shared {
    pub(super) fn left(&mut self, id: ConnectionId) {
        self.live.remove(&id);
    }
}

impl Hub {
    /// Creates a hub for one node of several, as [`clustered`](Self::clustered) does, that keeps histories of sessions and
    /// outcomes of idempotent requests together with the other nodes: in their engine. So clients get what they have
    /// missed, and repeat requests, on any node. All nodes have the same settings. `secret` is random, and another one in
    /// each run of a node.
    ///
    /// A client that makes idempotent requests and is not connected is remembered for twice the window, or four leases, if
    /// that is longer, and [`max_clients`](crate::session::OutcomesConfig::max_clients) does not count: the engine forgets
    /// what it has no room for.
    ///
    /// While the node takes no part, or the engine does not answer, idempotent requests are refused at once
    /// ([`Begun::NotNow`](crate::session::Begun::NotNow)). Others never touch the engine.
    ///
    /// ```
    /// use wwr::Valid;
    /// use wwr::cluster::ClusterConfig;
    /// use wwr::server::{Hub, RecoveryConfig};
    /// use wwr::session::{HistoryConfig, OutcomesConfig};
    ///
    /// let mut recovery = RecoveryConfig::default();
    /// recovery.history = Some(HistoryConfig::default());
    /// recovery.outcomes = Some(OutcomesConfig::default());
    /// let cluster = ClusterConfig::new("a").validate()?;
    /// let hub = Hub::clustered_with_recovery(&Valid::default(), &cluster, &recovery.validate()?, [7; 16]);
    /// # drop(hub);
    /// # Ok::<(), wwr::InvalidConfig>(())
    /// ```
    pub fn clustered_with_recovery(
        config: &Valid<HubConfig>,
        cluster: &Valid<ClusterConfig>,
        recovery: &Valid<RecoveryConfig>,
        secret: [u8; 16],
    ) -> Self {
        let RecoveryConfig { history, outcomes } = **recovery;
        let mut hub = Self::clustered(config, cluster);
        if let (Some(node), Some(history)) = (&mut hub.node, history) {
            node.keep_histories(history, secret);
            let mut kept = Recovery::new(**recovery);
            kept.shared = Some(Shared::default());
            hub.recovery = Some(Box::new(kept));
        }
        if let (Some(node), Some(outcomes)) = (&mut hub.node, outcomes) {
            node.share_outcomes(outcomes, secret);
        }
        hub
    }

    fn shared(&mut self) -> Option<&mut Shared> {
        self.recovery.as_mut().and_then(|recovery| recovery.shared.as_mut())
    }

    /// Has the engine append a signal to the history of a session. `None` if histories are not shared.
    pub(super) fn append_shared(
        &mut self,
        now: Instant,
        key: &SessionKey,
        signal: &PreparedSignal,
        out: &mut Out,
    ) -> Option<SessionSignal> {
        self.shared()?;
        let now = self.advance(now);
        self.watch(out);
        let appending = self.node.as_mut().map(|node| node.append(now, key, signal));
        let following = self.registry.connection_count(key);
        self.route(out);
        Some(SessionSignal { following, appending, ..SessionSignal::default() })
    }

    /// Carries out what a connection asks about a shared history. Returns whether it was that.
    pub(super) fn recover_shared(
        &mut self,
        now: Instant,
        id: ConnectionId,
        command: &RecoveryCommand,
        out: &mut Out,
    ) -> bool {
        if self.shared().is_none() {
            return false;
        }
        self.watch(out);
        match *command {
            RecoveryCommand::Follow => self.follow_shared(id, out),
            RecoveryCommand::Read { number, after } => {
                if let Some(recovery) = &mut self.recovery
                    && let Some(follower) = recovery.follower(id)
                {
                    *follower = Follower::UpToDate;
                }
                let member = self.connections.get(&id);
                let key = member.and_then(|member| member.session.clone());
                if let Some(key) = key.filter(|key| self.has_session(id, key)) {
                    self.with_node(|node, _, _| node.read(now, &key, id, number, after));
                }
            }
            _ => return false,
        }
        self.route(out);
        true
    }

    /// A connection reads the signals to its session from the history, from now on.
    fn follow_shared(&mut self, id: ConnectionId, out: &mut Out) {
        if !self.connections.contains_key(&id) {
            return;
        }
        let live = self.shared().and_then(|shared| shared.live.remove(&id));
        if let Some(recovery) = &mut self.recovery {
            recovery.follow(id);
        }
        if let Some((key, place)) = live
            && self.has_session(id, &key)
        {
            self.take_mark(&key, id, place, out);
        }
    }

    /// Returns whether a connection holds a session, or may hold it again.
    fn has_session(&self, id: ConnectionId, key: &SessionKey) -> bool {
        let member = self.connections.get(&id);
        let is_present = member.is_some_and(|member| member.session.as_ref() == Some(key));
        is_present && (self.registry.holds(id, key) || self.registry.awaits_close(id, key))
    }

    /// A connection has come to hold a session.
    pub(super) fn mark_shared(&mut self, id: ConnectionId, key: &SessionKey, out: &mut Out) {
        let Some(shared) = self.shared() else { return };
        shared.live.remove(&id);
        let placed = self.node.as_ref().and_then(|node| node.placed(key));
        if let Some((end, _)) = placed {
            self.take_mark(key, id, end, out);
        }
    }

    /// The session of a connection has another key, and with that another history.
    pub(super) fn move_shared(&mut self, id: ConnectionId, to: &SessionKey, out: &mut Out) {
        if self.shared().is_none() {
            return;
        }
        match self.recovery.as_mut().and_then(|recovery| recovery.follower(id)) {
            Some(follower) => {
                // Behind its place in the old history there is a gap.
                *follower = Follower::Told;
                out.push(HubAction::Recover { to: id, news: RecoveryNews::Signalled });
            }
            None => self.mark_shared(id, to, out),
        }
    }

    /// The history of its session begins there for a connection.
    fn take_mark(&mut self, key: &SessionKey, to: ConnectionId, end: Position, out: &mut Out) {
        let placed = self.node.as_ref().and_then(|node| node.placed(key));
        let Some(recovery) = &mut self.recovery else { return };
        if let Some(follower) = recovery.follower(to) {
            *follower = Follower::UpToDate;
            out.push(HubAction::Recover { to, news: RecoveryNews::Mark(end) });
            if placed.is_some_and(|(_, read)| read != end) {
                *follower = Follower::Told;
                out.push(HubAction::Recover { to, news: RecoveryNews::Signalled });
            }
        } else if let Some(shared) = &mut recovery.shared {
            shared.live.insert(to, (key.clone(), end));
        }
    }

    /// What a connection has asked for is read.
    pub(super) fn take_batch(
        &self,
        key: &SessionKey,
        to: ConnectionId,
        number: u32,
        batch: Box<Batch<Bytes>>,
        out: &mut Out,
    ) {
        if self.has_session(to, key) {
            out.push(HubAction::Recover { to, news: RecoveryNews::Batch { number, batch } });
        }
    }

    /// The node has read more of a history.
    pub(super) fn history_grown(&mut self, grown: &Grown, out: &mut Out) {
        let Grown { key, incarnation, first, signals } = grown;
        let Some(recovery) = &mut self.recovery else { return };
        for to in self.registry.connections(key) {
            if let Some(follower) = recovery.follower(to) {
                // However many signals there are, what waits for a connection does not grow with them.
                if mem::replace(follower, Follower::Told) == Follower::UpToDate {
                    out.push(HubAction::Recover { to, news: RecoveryNews::Signalled });
                }
                continue;
            }
            let shared = recovery.shared.as_mut();
            let Some((_, place)) = shared
                .and_then(|shared| shared.live.get_mut(&to))
                .filter(|(live_key, _)| live_key == key)
            else {
                continue;
            };
            for (offset, signal) in (*first..).zip(signals) {
                if place.incarnation == *incarnation && offset <= place.offset {
                    continue;
                }
                *place = Position { incarnation: *incarnation, offset };
                let signal = ClusterAction::Signal { to, signal: signal.clone() };
                out.push(HubAction::Cluster(Box::new(signal)));
            }
        }
    }
}
