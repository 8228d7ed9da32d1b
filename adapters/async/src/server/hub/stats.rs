//! Adding up what connections have counted.

use std::ops::{Bound, RangeBounds as _};
use std::sync::PoisonError;

use wwr::session::ConnectionId;

use super::{Control, Hub, PORTION};
use crate::server::connection::Connection;
use crate::server::stats::{ByDialect, ServerStats, Traffic};

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

impl Hub {
    /// Adds up the counters of all connections, in portions, so that it never locks out other tasks for
    /// long. Connections that end meanwhile count once.
    pub(in crate::server) fn stats(&self) -> ServerStats {
        let _alone = self.adding_up.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stats = ServerStats { refusals: self.refusals.stats(), ..ServerStats::default() };
        let mut control = self.lock();
        let Ended { by_dialect, traffic } = control.ended.clone();
        (stats.ended, stats.traffic) = (by_dialect, traffic);
        let counters = control.machine.counters();
        (stats.sessions, stats.store) = (counters.sessions, counters.store);
        stats.store_pending = control.machine.pending_jobs();
        stats.active_sessions = control.machine.active_sessions();
        stats.groups = control.machine.group_count();
        let mut seen = Bound::Unbounded;
        let newest = control.last_id;
        control.unseen = Some(Unseen { seen, newest, ended: Ended::default() });
        loop {
            let unseen = control.connections.range((seen, Bound::Unbounded));
            let unseen = unseen.take_while(|(id, _)| **id <= newest).take(PORTION);
            let mut last = None;
            for (id, connection) in unseen {
                stats.open.count(connection.dialect());
                stats.traffic += connection.traffic();
                stats.load += connection.load();
                last = Some(*id);
            }
            let Some(last) = last else { break };
            seen = Bound::Excluded(last);
            if let Some(unseen) = &mut control.unseen {
                unseen.seen = seen;
            }
            // Others get their turn.
            drop(control);
            control = self.lock();
        }
        if let Some(unseen) = control.unseen.take() {
            stats.traffic += unseen.ended.traffic;
            stats.ended += unseen.ended.by_dialect;
        }
        stats
    }
}
