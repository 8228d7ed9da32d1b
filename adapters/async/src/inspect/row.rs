//! What the page shows of connections, sessions and groups.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use wwr::cluster::{ClusterCounters, ClusterState};
use wwr::{Session, SessionKey};

use crate::server::{ClusterStats, Connection, RequestStats, ServerHandle, ServerStats, Traffic};
use crate::store::ShortKey;

/// How many groups of a connection, connections of a session and members of a group are named.
pub(super) const MOST_NAMED: usize = 20;

/// How many bytes of public information of a session are shown.
const MOST_INFO: usize = 4096;

/// A time of the wall clock, written as milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(pub(super) SystemTime);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let since = self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        serializer.serialize_u64(milliseconds(since))
    }
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// One connection.
#[derive(Debug, Serialize)]
pub(super) struct ConnectionRow {
    id: u64,
    peer: String,
    socket: String,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_protocol: Option<String>,
    tls: bool,
    dialect: String,
    age_ms: u64,
    silent_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Identity>,
    groups: Vec<String>,
    group_count: usize,
    traffic: TrafficRow,
    handlers: usize,
    queued_bytes: usize,
    /// Whether the client reads too slowly at this time: something waits for it that its socket did not
    /// accept.
    slow: bool,
    /// `open`, `closing` or `ended`.
    state: &'static str,
}

/// A session without its key.
#[derive(Debug, Serialize)]
pub(super) struct Identity {
    /// The beginning of the key, as in the log.
    id: String,
    created: String,
    /// What the client may see of it.
    public: Map<String, Value>,
}

#[derive(Debug, Serialize)]
pub(super) struct TrafficRow {
    requests: u64,
    replied: u64,
    failed: u64,
    internal: u64,
    lost: u64,
    refused: u64,
    panics: u64,
    signals_received: u64,
    signals_sent: u64,
    signals_dropped: u64,
    ignored: u64,
    bytes_received: u64,
    bytes_sent: u64,
    stalls: u64,
}

/// One session that has connections.
#[derive(Debug, Serialize)]
pub(super) struct SessionRow {
    #[serde(flatten)]
    identity: Identity,
    /// Some of its connections.
    connections: Vec<u64>,
    connection_count: usize,
}

/// One group.
#[derive(Debug, Serialize)]
pub(super) struct GroupRow {
    pub(super) name: String,
    pub(super) members: usize,
    /// Some of its members.
    pub(super) connections: Vec<u64>,
}

/// The whole server.
#[derive(Debug, Serialize)]
pub(super) struct Overview {
    /// On the server's own clock, for rates.
    at_ms: u64,
    address: Option<String>,
    shutting_down: bool,
    connections: u64,
    opened: u64,
    by_dialect: BTreeMap<String, u64>,
    sessions: usize,
    groups: usize,
    traffic: TrafficRow,
    handlers: usize,
    queued_bytes: usize,
    refused: u64,
    /// Only those that occurred.
    refusals: BTreeMap<&'static str, u64>,
    sessions_created: u64,
    sessions_restored: u64,
    sessions_not_found: u64,
    store_pending: usize,
    store_failed: u64,
    /// Only of nodes of a cluster.
    cluster: Option<NodeRow>,
}

/// How a node of a cluster stands.
#[derive(Debug, Serialize)]
struct NodeRow {
    name: String,
    state: &'static str,
    /// The names of the nodes that are alive, as far as they fit.
    nodes: Vec<String>,
    alive: usize,
    entered: u64,
    lost: u64,
    messages_sent: u64,
    messages_received: u64,
}

/// Returns what identifies a session without giving it away.
pub(super) fn short(key: &SessionKey) -> String {
    ShortKey(key).to_string()
}

impl Identity {
    pub(super) fn new(session: &Session) -> Self {
        let mut public = session.info.to_public();
        let is_long = |json: String| json.len() > MOST_INFO;
        if serde_json::to_string(&public).is_ok_and(is_long) {
            public = Map::new();
            public.insert("(too long to show here)".into(), Value::Null);
        }
        Self { id: short(&session.key), created: session.created.to_string(), public }
    }
}

impl From<&ClusterStats> for NodeRow {
    fn from(stats: &ClusterStats) -> Self {
        let state = match stats.state {
            ClusterState::Member { confirms: false, .. } => "member",
            ClusterState::Member { confirms: true, .. } => "confirms",
            ClusterState::Away { .. } => "away",
            ClusterState::Retired => "retired",
            _ => "outside",
        };
        let ClusterCounters { entered, lost, messages_sent, messages_received, .. } =
            stats.counters;
        let named = stats.nodes.iter().take(MOST_NAMED).map(|node| node.name.clone());
        Self {
            name: stats.name.clone(),
            state,
            nodes: named.collect(),
            alive: stats.nodes.len(),
            entered,
            lost,
            messages_sent,
            messages_received,
        }
    }
}

impl From<&Traffic> for TrafficRow {
    fn from(traffic: &Traffic) -> Self {
        let RequestStats { started, replied, failed, internal, lost, refused, .. } =
            traffic.requests;
        Self {
            requests: started,
            replied,
            failed,
            internal,
            lost,
            refused,
            panics: traffic.panics,
            signals_received: traffic.signals_received,
            signals_sent: traffic.signals_sent,
            signals_dropped: traffic.signals_dropped,
            ignored: traffic.ignored,
            bytes_received: traffic.bytes_received,
            bytes_sent: traffic.bytes_sent,
            stalls: traffic.stalls,
        }
    }
}

impl ConnectionRow {
    pub(super) fn new(connection: &Connection) -> Self {
        let (info, stats) = (connection.info(), connection.stats());
        let mut groups = connection.groups();
        let group_count = groups.len();
        groups.truncate(MOST_NAMED);
        Self {
            id: connection.id(),
            peer: info.remote_addr.to_string(),
            socket: info.socket_addr.to_string(),
            path: start(&info.path),
            user_agent: info.user_agent.clone(),
            sub_protocol: info.sub_protocol.as_deref().map(start),
            tls: info.tls.is_some(),
            dialect: stats.dialect.to_string(),
            age_ms: milliseconds(stats.age),
            silent_ms: milliseconds(stats.silent_for),
            session: connection.session().as_ref().map(Identity::new),
            groups,
            group_count,
            traffic: (&stats.traffic).into(),
            handlers: stats.load.running_handlers,
            queued_bytes: stats.load.queued_bytes,
            slow: connection.is_behind(),
            state: if connection.ended().is_some() {
                "ended"
            } else if connection.is_connected() {
                "open"
            } else {
                "closing"
            },
        }
    }
}

/// Returns the first characters of a text that a client has chosen.
fn start(text: &str) -> String {
    text.chars().take(256).collect()
}

impl SessionRow {
    pub(super) fn new(session: &Session, connections: &[Connection]) -> Self {
        let connection_count = connections.len();
        let connections = connections.iter().take(MOST_NAMED).map(Connection::id).collect();
        Self { identity: Identity::new(session), connections, connection_count }
    }
}

impl Overview {
    pub(super) fn new(server: &ServerHandle) -> Self {
        let at_ms = server.now().as_nanos() / 1_000_000;
        let stats = server.stats();
        let opened = stats.opened();
        let ServerStats { open, sessions, store, refusals, load, .. } = &stats;
        let dialects = open.iter().filter(|(_, number)| *number > 0);
        let refused = refusals.iter().filter(|(_, number)| *number > 0);
        let jobs = [store.look_up, store.create, store.update, store.destroy, store.expire];
        Self {
            at_ms,
            address: server.local_addr().map(|address| address.to_string()),
            shutting_down: server.is_shutting_down(),
            connections: open.total(),
            opened,
            by_dialect: dialects.map(|(dialect, number)| (dialect.to_string(), number)).collect(),
            sessions: stats.active_sessions,
            groups: stats.groups,
            traffic: (&stats.traffic).into(),
            handlers: load.running_handlers,
            queued_bytes: load.queued_bytes,
            refused: refusals.total(),
            refusals: refused.map(|(reason, number)| (reason.name(), number)).collect(),
            sessions_created: sessions.created,
            sessions_restored: sessions.restored,
            sessions_not_found: sessions.not_found,
            store_pending: stats.store_pending,
            store_failed: jobs.iter().map(|jobs| jobs.failed + jobs.timed_out).sum(),
            cluster: stats.cluster.as_ref().map(NodeRow::from),
        }
    }
}
