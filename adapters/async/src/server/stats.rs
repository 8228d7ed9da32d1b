//! What a server and a connection have counted, as the application sees it.

use std::ops::AddAssign;
use std::time::Duration;

use wwr::Dialect;
use wwr::cluster::{ClusterCounters, ClusterState, Node};
use wwr::server::gate::Refusal;
use wwr::server::{SessionCounters, StoreCounters};

/// What a server has done since it was made, and what it does now. See
/// [`ServerHandle::stats`](super::ServerHandle::stats).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// The connections that are open now, by what their clients speak.
    pub open: ByDialect,
    /// The connections that have ended, by what their clients spoke.
    pub ended: ByDialect,
    /// The groups that have members now.
    pub groups: usize,
    /// How many sessions have at least one connection now.
    pub active_sessions: usize,
    /// What happened to sessions.
    pub sessions: SessionCounters,
    /// What all connections have exchanged, those that have ended included.
    pub traffic: Traffic,
    /// What all connections do now.
    pub load: Load,
    /// What was refused before there was a connection, by reason.
    pub refusals: RefusalStats,
    /// What the session store did.
    pub store: StoreCounters,
    /// How many jobs the store has not answered yet.
    pub store_pending: usize,
    /// The node, if the server is one of a [cluster](super::Builder::cluster).
    pub cluster: Option<ClusterStats>,
}

/// How a node of a [cluster](super::Builder::cluster) stands, and what it has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterStats {
    /// The name of this node.
    pub name: String,
    /// How it stands to the engine.
    pub state: ClusterState,
    /// The nodes that were alive when the lease was renewed last, this one too. Empty while it takes no part.
    pub nodes: Vec<Node>,
    /// How many questions the engine has not answered yet.
    pub pending: usize,
    /// What the node has counted since it was made.
    pub counters: ClusterCounters,
}

/// What happened on a connection, and what happens now. See
/// [`Connection::stats`](super::Connection::stats).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// What the client speaks, as far as that is known.
    pub dialect: Dialect,
    /// How long ago the WebSocket was opened, also after its end.
    pub age: Duration,
    /// For how long the client has sent nothing, not even a heartbeat or a ping.
    pub silent_for: Duration,
    /// What was exchanged.
    pub traffic: Traffic,
    /// What goes on now. Zero after the end.
    pub load: Load,
}

/// What was exchanged with clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Requests by their outcome.
    pub requests: RequestStats,
    /// Handlers of requests and signals that panicked, and hooks for the connection and its session. Such
    /// requests count as [`internal`](RequestStats::internal), too.
    pub panics: u64,
    /// Signals that were passed to the application.
    pub signals_received: u64,
    /// Signals that were sent.
    pub signals_sent: u64,
    /// Signals that were dropped or replaced by later ones while they waited. See
    /// [`Connection::dropped_signals`](super::Connection::dropped_signals).
    pub signals_dropped: u64,
    /// Messages without effect: unreadable, of an unknown kind, or of a kind that only servers send
    /// (protocol §5.2).
    pub ignored: u64,
    /// Bytes of the messages that came, without the framing of WebSocket and TLS.
    pub bytes_received: u64,
    /// Bytes of the messages that were sent, without the framing of WebSocket and TLS. Some may still wait
    /// for the client to read.
    pub bytes_sent: u64,
    /// How often a socket did not accept everything at once, because the client or the network was too slow.
    /// Such a client is not read until it has read.
    pub stalls: u64,
}

/// Requests by their outcome. Each that has [started](Self::started) ends as exactly one of `replied`,
/// `failed`, `internal` and `lost`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestStats {
    /// Requests that were passed to the application.
    pub started: u64,
    /// Requests with a reply.
    pub replied: u64,
    /// Requests with an error of the application.
    pub failed: u64,
    /// Requests with an internal error: of the application, because its handler panicked, or because the
    /// client cannot read a reply of this length.
    pub internal: u64,
    /// Requests without an answer, because the connection ended before the handler.
    pub lost: u64,
    /// Requests that were not started but got the shutdown reply, because the connection was closing.
    pub refused: u64,
}

/// What goes on now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Load {
    /// Handlers of requests and signals that run. After the client has gone, hooks of that connection are
    /// among them until its drain timeout.
    pub running_handlers: usize,
    /// Bytes that wait for clients to read: signals in the queue, and whatever the sockets have not accepted.
    pub queued_bytes: usize,
}

/// A number for each dialect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByDialect([u64; Dialect::ALL.len()]);

/// How often something was refused before there was a connection, for each reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusalStats([u64; Refusal::COUNT]);

impl ServerStats {
    /// Returns how many connections were opened.
    pub fn opened(&self) -> u64 {
        self.open.total() + self.ended.total()
    }
}

impl RequestStats {
    /// Returns how many requests have an outcome.
    pub const fn ended(&self) -> u64 {
        self.replied + self.failed + self.internal + self.lost
    }

    /// Returns how many requests are with the application now.
    pub const fn running(&self) -> u64 {
        self.started.saturating_sub(self.ended())
    }
}

impl ByDialect {
    /// Returns the number for a dialect. What has connected but has shown nothing of its version yet is
    /// [`Dialect::Unknown`].
    pub fn of(&self, dialect: Dialect) -> u64 {
        self.iter().find(|(known, _)| *known == dialect).map_or(0, |(_, number)| number)
    }

    /// Returns the sum.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Returns all numbers.
    pub fn iter(&self) -> impl Iterator<Item = (Dialect, u64)> {
        Dialect::ALL.into_iter().zip(self.0)
    }

    pub(super) fn count(&mut self, dialect: Dialect) {
        let all = Dialect::ALL.into_iter().zip(&mut self.0);
        if let Some((_, number)) = all.into_iter().find(|(known, _)| *known == dialect) {
            *number += 1;
        }
    }
}

impl RefusalStats {
    pub(super) const fn new(numbers: [u64; Refusal::COUNT]) -> Self {
        Self(numbers)
    }

    /// Returns the number for a reason.
    pub fn of(&self, reason: Refusal) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or_default()
    }

    /// Returns the sum.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Returns all numbers, also those that are 0.
    pub fn iter(&self) -> impl Iterator<Item = (Refusal, u64)> {
        Refusal::ALL.into_iter().zip(self.0)
    }
}

impl AddAssign for ByDialect {
    fn add_assign(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(number, other)| *number += other);
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.panics += other.panics;
        self.signals_received += other.signals_received;
        self.signals_sent += other.signals_sent;
        self.signals_dropped += other.signals_dropped;
        self.ignored += other.ignored;
        self.bytes_received += other.bytes_received;
        self.bytes_sent += other.bytes_sent;
        self.stalls += other.stalls;
    }
}

impl AddAssign for RequestStats {
    fn add_assign(&mut self, other: Self) {
        self.started += other.started;
        self.replied += other.replied;
        self.failed += other.failed;
        self.internal += other.internal;
        self.lost += other.lost;
        self.refused += other.refused;
    }
}

impl AddAssign for Load {
    fn add_assign(&mut self, other: Self) {
        self.running_handlers += other.running_handlers;
        self.queued_bytes += other.queued_bytes;
    }
}
