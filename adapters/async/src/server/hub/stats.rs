//! Adding up what connections have counted.

use std::ops::{Bound, RangeBounds as _};
use std::sync::PoisonError;

use wwr::session::ConnectionId;

use super::nodes::Node;
use super::{Control, Hub, PORTION};
use crate::server::connection::Connection;
use crate::server::stats::{ByDialect, RefusalStats, ServerStats, Traffic};

/// What connections had counted when they ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Ended {
    by_dialect: ByDialect,
    traffic: Traffic,
}

/// What a walk over all connections has not visited yet.
#[derive(Debug)]
pub(super) struct Unseen {
    /// The last one that was visited.
    seen: Bound<ConnectionId>,
    /// The newest one when the walk began.
    newest: ConnectionId,
    /// Those that have ended in the meantime.
    ended: Ended,
}

impl Ended {
    fn add(&mut self, connection: &Connection) {
        self.by_dialect.count(connection.dialect());
        self.traffic += connection.traffic();
    }
}

impl Unseen {
    fn has(&self, id: ConnectionId) -> bool {
        (self.seen, Bound::Included(self.newest)).contains(&id)
    }
}

impl Control {
    /// Keeps the counters of a connection that leaves the table.
    pub(super) fn count_ended(&mut self, id: ConnectionId, connection: &Connection) {
        self.ended.add(connection);
        if let Some(unseen) = self.unseen.as_mut().filter(|unseen| unseen.has(id)) {
            unseen.ended.add(connection);
        }
    }
}

/// A walk over all connections that adds up their counters.
struct Adding {
    stats: ServerStats,
    seen: Bound<ConnectionId>,
    newest: ConnectionId,
}

impl Adding {
    /// Begins with what is not counted by connections that are open.
    fn new(control: &mut Control, refusals: RefusalStats, node: Option<&Node>) -> Self {
        let Ended { by_dialect, traffic } = control.ended.clone();
        let counters = control.machine.counters();
        let stats = ServerStats {
            refusals,
            ended: by_dialect,
            traffic,
            sessions: counters.sessions,
            store: counters.store,
            store_pending: control.machine.pending_jobs(),
            active_sessions: control.machine.active_sessions(),
            groups: control.machine.group_count(),
            cluster: node.and_then(|node| control.cluster_stats(node)),
            ..ServerStats::default()
        };
        let (seen, newest) = (Bound::Unbounded, control.last_id);
        control.unseen = Some(Unseen { seen, newest, ended: Ended::default() });
        Self { stats, seen, newest }
    }

    /// Adds the next connections. Returns whether there were any.
    fn add_portion(&mut self, control: &mut Control) -> bool {
        let unseen = control.connections.range((self.seen, Bound::Unbounded));
        let unseen = unseen.take_while(|(id, _)| **id <= self.newest).take(PORTION);
        let mut last = None;
        for (id, connection) in unseen {
            self.stats.open.count(connection.dialect());
            self.stats.traffic += connection.traffic();
            self.stats.load += connection.load();
            last = Some(*id);
        }
        let Some(last) = last else { return false };
        self.seen = Bound::Excluded(last);
        if let Some(unseen) = &mut control.unseen {
            unseen.seen = self.seen;
        }
        true
    }

    /// Adds the connections that have ended before the walk came to them.
    fn end(mut self, control: &mut Control) -> ServerStats {
        if let Some(unseen) = control.unseen.take() {
            self.stats.traffic += unseen.ended.traffic;
            self.stats.ended += unseen.ended.by_dialect;
        }
        self.stats
    }
}

impl Hub {
    /// Adds up the counters of all connections, in portions, so that it never locks out other tasks for
    /// long. Connections that end meanwhile count once.
    pub(in crate::server) fn stats(&self) -> ServerStats {
        self.stats_in_portions(|| ())
    }

    /// The same. `between` runs after each portion, without the lock.
    pub(super) fn stats_in_portions(&self, mut between: impl FnMut()) -> ServerStats {
        let _alone = self.adding_up.lock().unwrap_or_else(PoisonError::into_inner);
        let mut control = self.lock();
        let mut adding = Adding::new(&mut control, self.refusals.stats(), self.node.as_ref());
        while adding.add_portion(&mut control) {
            // Others get their turn.
            drop(control);
            between();
            control = self.lock();
        }
        adding.end(&mut control)
    }
}
