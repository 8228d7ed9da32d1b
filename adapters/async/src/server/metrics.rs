//! What a server counts, for the facade `metrics`.

use std::fmt;
use std::time::Duration;

use metrics::{
    Counter, Gauge, Label, SharedString, Unit, counter, describe_counter, describe_gauge,
    describe_histogram, gauge, histogram,
};
use wwr::Dialect;
use wwr::cluster::{ClusterCounters, ClusterState};
use wwr::server::gate::Refusal;
use wwr::server::{JobCounters, SessionCounters, StoreCounters};

use super::handle::ServerHandle;
use super::stats::{ClusterStats, RequestStats, ServerStats};

/// The latency of the session store, which is recorded when it answers.
const STORE_DURATION: &str = "wwr_store_operation_duration_seconds";

/// Shows what a server counts to the recorder of the crate [`metrics`](https://docs.rs/metrics). Made by
/// [`ServerHandle::metrics`].
///
/// | name | kind | labels | what |
/// |---|---|---|---|
/// | `wwr_connections` | gauge | `dialect` | connections that are open |
/// | `wwr_connections_opened_total` | counter | | connections that were opened |
/// | `wwr_connections_ended_total` | counter | `dialect` | connections that have ended |
/// | `wwr_requests_total` | counter | `outcome` | requests that have ended: `replied`, `failed`, `internal`, `lost`; and those that were not started: `refused`. See [`RequestStats`] |
/// | `wwr_requests_running` | gauge | | requests that are with the application |
/// | `wwr_handlers_running` | gauge | | handlers of requests and signals that run |
/// | `wwr_handler_panics_total` | counter | | handlers and hooks that panicked |
/// | `wwr_signals_received_total` | counter | | signals of clients |
/// | `wwr_signals_sent_total` | counter | | signals to clients |
/// | `wwr_signals_dropped_total` | counter | | signals that were dropped or replaced by later ones while they waited |
/// | `wwr_messages_ignored_total` | counter | | messages without effect |
/// | `wwr_received_bytes_total` | counter | | bytes of the messages that came |
/// | `wwr_sent_bytes_total` | counter | | bytes of the messages that were sent |
/// | `wwr_queued_bytes` | gauge | | bytes that wait for clients to read |
/// | `wwr_stalls_total` | counter | | how often a socket did not accept everything at once |
/// | `wwr_refusals_total` | counter | `reason` | requests and sockets that were refused. See [`Refusal`] |
/// | `wwr_sessions_active` | gauge | | sessions with a connection |
/// | `wwr_session_events_total` | counter | `event` | what happened to sessions, by the names of the fields of [`SessionCounters`] |
/// | `wwr_groups` | gauge | | groups with members |
/// | `wwr_store_operations_total` | counter | `operation`, `result` | calls of the session store: `look_up`, `create`, `update`, `destroy`, `expire`; `done`, `failed`, `timed_out` |
/// | `wwr_store_operations_pending` | gauge | | calls of the session store without an answer yet |
/// | `wwr_cluster_member` | gauge | | 1 if this node takes part in its [cluster](super::Builder::cluster) and the engine answers, otherwise 0 |
/// | `wwr_cluster_nodes` | gauge | | nodes that were alive when the lease was renewed last |
/// | `wwr_cluster_requests_pending` | gauge | | questions that the engine has not answered yet |
/// | `wwr_cluster_events_total` | counter | `event` | what happened to this node, by the names of the fields of [`ClusterCounters`] |
/// | `wwr_store_operation_duration_seconds` | histogram | `operation` | how long these took |
///
/// The values of all labels are known beforehand: no client can add one. The histogram is recorded when the
/// store answers, by the recorder of that thread; the others when [`publish`](Self::publish) is called, so
/// that counting costs nothing in between.
///
/// A recorder shows one server, because the names are the same for all.
pub struct Metrics {
    server: ServerHandle,
    counters: Vec<(Counter, Number)>,
    gauges: Vec<(Gauge, Number)>,
}

/// Reads a number.
type Number = Box<dyn Fn(&ServerStats) -> u64 + Send + Sync>;

impl ServerHandle {
    /// Describes and registers the metrics of this server at the recorder that is installed now. Call it
    /// after the recorder was installed.
    ///
    /// ```
    /// # use wwr_async::server::ServerHandle;
    /// # fn page(server: &ServerHandle, recorder: metrics::NoopRecorder) -> Result<(), Box<dyn std::error::Error>> {
    /// metrics::set_global_recorder(recorder)?;
    /// let metrics = server.metrics();
    /// // For each page, or every ten seconds:
    /// metrics.publish();
    /// # Ok(())
    /// # }
    /// ```
    pub fn metrics(&self) -> Metrics {
        let metrics = Metrics { server: self.clone(), counters: Vec::new(), gauges: Vec::new() };
        metrics.with_connections().with_traffic().with_sessions().with_store().with_cluster()
    }
}

impl Metrics {
    /// Shows the numbers of now. They are exact at this moment; call it right before they are read, or
    /// regularly.
    pub fn publish(&self) {
        let stats = self.server.stats();
        for (counter, number) in &self.counters {
            counter.absolute(number(&stats));
        }
        for (gauge, number) in &self.gauges {
            gauge.set(number(&stats) as f64);
        }
    }

    fn counter(
        &mut self,
        name: &'static str,
        labels: Vec<Label>,
        number: impl Fn(&ServerStats) -> u64 + Send + Sync + 'static,
    ) {
        self.counters.push((counter!(name, labels), Box::new(number)));
    }

    fn gauge(
        &mut self,
        name: &'static str,
        labels: Vec<Label>,
        number: impl Fn(&ServerStats) -> u64 + Send + Sync + 'static,
    ) {
        self.gauges.push((gauge!(name, labels), Box::new(number)));
    }

    fn with_connections(mut self) -> Self {
        describe_gauge!("wwr_connections", Unit::Count, "Connections that are open.");
        let ended = "wwr_connections_ended_total";
        describe_counter!(ended, Unit::Count, "Connections that have ended.");
        for dialect in Dialect::ALL {
            let labels = || vec![Label::new("dialect", dialect.to_string())];
            self.gauge("wwr_connections", labels(), move |stats| stats.open.of(dialect));
            self.counter(ended, labels(), move |stats| stats.ended.of(dialect));
        }
        let opened = "wwr_connections_opened_total";
        describe_counter!(opened, Unit::Count, "Connections that were opened.");
        self.counter(opened, Vec::new(), ServerStats::opened);
        let refusals = "wwr_refusals_total";
        describe_counter!(refusals, Unit::Count, "Requests and sockets that were refused.");
        for reason in Refusal::ALL {
            let labels = vec![Label::from_static_parts("reason", reason.name())];
            self.counter(refusals, labels, move |stats| stats.refusals.of(reason));
        }
        self
    }

    fn with_traffic(mut self) -> Self {
        let requests = "wwr_requests_total";
        describe_counter!(requests, Unit::Count, "Requests that have ended, or were refused.");
        type Outcome = (&'static str, fn(&RequestStats) -> u64);
        let outcomes: [Outcome; 5] = [
            ("replied", |requests| requests.replied),
            ("failed", |requests| requests.failed),
            ("internal", |requests| requests.internal),
            ("lost", |requests| requests.lost),
            ("refused", |requests| requests.refused),
        ];
        for (outcome, number) in outcomes {
            let labels = vec![Label::from_static_parts("outcome", outcome)];
            self.counter(requests, labels, move |stats| number(&stats.traffic.requests));
        }
        type Plain = (&'static str, Unit, &'static str, fn(&ServerStats) -> u64);
        let counters: [Plain; 8] = [
            (
                "wwr_handler_panics_total",
                Unit::Count,
                "Handlers and hooks that panicked.",
                |stats| stats.traffic.panics,
            ),
            ("wwr_signals_received_total", Unit::Count, "Signals of clients.", |stats| {
                stats.traffic.signals_received
            }),
            ("wwr_signals_sent_total", Unit::Count, "Signals to clients.", |stats| {
                stats.traffic.signals_sent
            }),
            (
                "wwr_signals_dropped_total",
                Unit::Count,
                "Signals that were dropped or replaced by later ones while they waited.",
                |stats| stats.traffic.signals_dropped,
            ),
            ("wwr_messages_ignored_total", Unit::Count, "Messages without effect.", |stats| {
                stats.traffic.ignored
            }),
            (
                "wwr_received_bytes_total",
                Unit::Bytes,
                "Bytes of the messages that came.",
                |stats| stats.traffic.bytes_received,
            ),
            (
                "wwr_sent_bytes_total",
                Unit::Bytes,
                "Bytes of the messages that were sent.",
                |stats| stats.traffic.bytes_sent,
            ),
            (
                "wwr_stalls_total",
                Unit::Count,
                "How often a socket did not accept everything at once.",
                |stats| stats.traffic.stalls,
            ),
        ];
        for (name, unit, what, number) in counters {
            describe_counter!(name, unit, what);
            self.counter(name, Vec::new(), number);
        }
        let gauges: [Plain; 4] = [
            (
                "wwr_requests_running",
                Unit::Count,
                "Requests that are with the application.",
                |stats| stats.traffic.requests.running(),
            ),
            (
                "wwr_handlers_running",
                Unit::Count,
                "Handlers of requests and signals that run.",
                |stats| stats.load.running_handlers as u64,
            ),
            ("wwr_queued_bytes", Unit::Bytes, "Bytes that wait for clients to read.", |stats| {
                stats.load.queued_bytes as u64
            }),
            ("wwr_groups", Unit::Count, "Groups with members.", |stats| stats.groups as u64),
        ];
        for (name, unit, what, number) in gauges {
            describe_gauge!(name, unit, what);
            self.gauge(name, Vec::new(), number);
        }
        self
    }

    fn with_sessions(mut self) -> Self {
        let active = "wwr_sessions_active";
        describe_gauge!(active, Unit::Count, "Sessions with a connection.");
        self.gauge(active, Vec::new(), |stats| stats.active_sessions as u64);
        let events = "wwr_session_events_total";
        describe_counter!(events, Unit::Count, "What happened to sessions.");
        type Event = (&'static str, fn(&SessionCounters) -> u64);
        let named: [Event; 12] = [
            ("created", |sessions| sessions.created),
            ("not_created", |sessions| sessions.not_created),
            ("restored", |sessions| sessions.restored),
            ("not_found", |sessions| sessions.not_found),
            ("limit_reached", |sessions| sessions.limit_reached),
            ("lookup_failed", |sessions| sessions.lookup_failed),
            ("closed", |sessions| sessions.closed),
            ("not_closed", |sessions| sessions.not_closed),
            ("updated", |sessions| sessions.updated),
            ("rotated", |sessions| sessions.rotated),
            ("not_edited", |sessions| sessions.not_edited),
            ("lost", |sessions| sessions.lost),
        ];
        for (event, number) in named {
            let labels = vec![Label::from_static_parts("event", event)];
            self.counter(events, labels, move |stats| number(&stats.sessions));
        }
        self
    }

    fn with_store(mut self) -> Self {
        let operations = "wwr_store_operations_total";
        describe_counter!(operations, Unit::Count, "Calls of the session store that have ended.");
        describe_histogram!(STORE_DURATION, Unit::Seconds, "How long calls of the store took.");
        type Operation = (&'static str, fn(&StoreCounters) -> &JobCounters);
        let named: [Operation; 5] = [
            ("look_up", |store| &store.look_up),
            ("create", |store| &store.create),
            ("destroy", |store| &store.destroy),
            ("update", |store| &store.update),
            ("expire", |store| &store.expire),
        ];
        type Result = (&'static str, fn(&JobCounters) -> u64);
        let results: [Result; 3] = [
            ("done", |jobs| jobs.done),
            ("failed", |jobs| jobs.failed),
            ("timed_out", |jobs| jobs.timed_out),
        ];
        for (operation, jobs) in named {
            for (result, number) in results {
                let labels = vec![
                    Label::from_static_parts("operation", operation),
                    Label::from_static_parts("result", result),
                ];
                self.counter(operations, labels, move |stats| number(jobs(&stats.store)));
            }
        }
        let pending = "wwr_store_operations_pending";
        describe_gauge!(pending, Unit::Count, "Calls of the session store without an answer yet.");
        self.gauge(pending, Vec::new(), |stats| stats.store_pending as u64);
        self
    }

    /// The metrics of a node of a cluster. A server without a cluster has none of them.
    fn with_cluster(mut self) -> Self {
        if !self.server.is_node() {
            return self;
        }
        type Part = (&'static str, &'static str, fn(&ClusterStats) -> u64);
        let gauges: [Part; 3] = [
            (
                "wwr_cluster_member",
                "Whether this node takes part, and the engine answers.",
                |node| u64::from(matches!(node.state, ClusterState::Member { .. })),
            ),
            ("wwr_cluster_nodes", "Nodes that are alive.", |node| node.nodes.len() as u64),
            (
                "wwr_cluster_requests_pending",
                "Questions that the engine has not answered yet.",
                |node| node.pending as u64,
            ),
        ];
        for (name, what, number) in gauges {
            describe_gauge!(name, Unit::Count, what);
            self.gauge(name, Vec::new(), move |stats| stats.cluster.as_ref().map_or(0, number));
        }
        let events = "wwr_cluster_events_total";
        describe_counter!(events, Unit::Count, "What happened to this node.");
        type Event = (&'static str, fn(&ClusterCounters) -> u64);
        let named: [Event; 17] = [
            ("requests", |node| node.requests),
            ("failed", |node| node.failed),
            ("timed_out", |node| node.timed_out),
            ("entered", |node| node.entered),
            ("lost", |node| node.lost),
            ("away", |node| node.away),
            ("refused", |node| node.refused),
            ("dropped", |node| node.dropped),
            ("confirms", |node| node.confirms),
            ("hints", |node| node.hints),
            ("interruptions", |node| node.interruptions),
            ("data_changes", |node| node.data_changes),
            ("history_reads", |node| node.history_reads),
            ("messages_sent", |node| node.messages_sent),
            ("messages_refused", |node| node.messages_refused),
            ("messages_lost", |node| node.messages_lost),
            ("messages_received", |node| node.messages_received),
        ];
        for (event, number) in named {
            let labels = vec![Label::from_static_parts("event", event)];
            let number = move |stats: &ServerStats| {
                stats.cluster.as_ref().map_or(0, |node| number(&node.counters))
            };
            self.counter(events, labels, number);
        }
        self
    }
}

/// Records how long a call of the session store took.
pub(super) fn store_took(operation: &'static str, took: Duration) {
    let operation = SharedString::const_str(operation);
    histogram!(STORE_DURATION, vec![Label::new("operation", operation)]).record(took);
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("server", &self.server).finish_non_exhaustive()
    }
}
