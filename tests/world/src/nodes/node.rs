//! A node: a hub, its clock, and its connections.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use wwr::cluster::{ClusterConfig, Epoch, MessageId};
use wwr::server::{Hub, HubAction, WaiterId};
use wwr::session::ConnectionId;
use wwr::{Actions, Instant, SessionKey};

use super::histories::Follow;
use super::net::Event;
use super::{LEASE, REQUEST_TIMEOUT};
use crate::dice::Dice;
use crate::event::millis;

pub(super) struct Node {
    pub(super) id: usize,
    /// `None` while its process does not run.
    pub(super) hub: Option<Hub>,
    /// Which process it is.
    pub(super) run: u64,
    /// How much time its clock shows while the world's shows a million.
    rate: u64,
    pub(super) out: Actions<HubAction>,
    pub(super) connections: BTreeMap<ConnectionId, Conn>,
    pub(super) listens: Option<Epoch>,
    /// Whether it does not reach the engine.
    pub(super) is_split: bool,
    /// Whether its process stands still.
    pub(super) is_paused: bool,
    /// What has come meanwhile.
    pub(super) missed: VecDeque<Event>,
    /// The messages without an outcome.
    pub(super) messages: BTreeSet<MessageId>,
    pub(super) waiters: BTreeMap<WaiterId, SessionKey>,
    pub(super) message_age: Option<Duration>,
    /// When it has asked the engine in the last second.
    pub(super) asked: VecDeque<Instant>,
    /// Whether it takes part.
    pub(super) is_member: bool,
    availability_first: bool,
}

/// A connection.
#[derive(Debug, Default)]
pub(super) struct Conn {
    pub(super) state: State,
    /// The edits without an outcome.
    pub(super) edits: usize,
    /// The messages that it got.
    pub(super) got: BTreeSet<u64>,
    pub(super) groups: BTreeSet<String>,
    pub(super) follow: Follow,
}

/// What a connection believes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Idle,
    Restoring(SessionKey, Instant),
    Creating(SessionKey),
    Holding {
        key: SessionKey,
        /// The number of the info that it was told last.
        number: u64,
    },
    Closing {
        key: SessionKey,
        number: u64,
    },
}

impl State {
    /// The session that it holds, or may hold again.
    pub(super) fn held(&self) -> Option<&SessionKey> {
        match self {
            Self::Holding { key, .. } | Self::Closing { key, .. } => Some(key),
            Self::Idle | Self::Restoring(..) | Self::Creating(_) => None,
        }
    }
}

impl Node {
    pub(super) fn new(id: usize, availability_first: bool, dice: &mut Dice) -> Self {
        Self {
            id,
            hub: None,
            run: 0,
            rate: 970_000 + dice.below(60_001),
            out: Actions::new(),
            connections: BTreeMap::new(),
            listens: None,
            is_split: false,
            is_paused: false,
            missed: VecDeque::new(),
            messages: BTreeSet::new(),
            waiters: BTreeMap::new(),
            message_age: dice.chance(50).then_some(millis(5_000)),
            asked: VecDeque::new(),
            is_member: false,
            availability_first,
        }
    }

    pub(super) fn config(&self) -> ClusterConfig {
        let mut config = ClusterConfig::new(format!("node-{}", self.id));
        config.lease = LEASE;
        config.request_timeout = REQUEST_TIMEOUT;
        config.message_age = self.message_age;
        config.message_bytes = 6_600;
        config.availability_first = self.availability_first;
        config
    }

    /// What its clock shows.
    pub(super) fn clock(&self, now: Instant) -> Instant {
        let shown = u128::from(now.as_nanos()) * u128::from(self.rate) / 1_000_000;
        Instant::from_nanos(shown as u64)
    }

    /// When its clock shows that.
    fn when(&self, shown: Instant) -> Instant {
        let rate = u128::from(self.rate);
        Instant::from_nanos((u128::from(shown.as_nanos()) * 1_000_000).div_ceil(rate) as u64)
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        if self.is_paused {
            return None;
        }
        Some(self.when(self.hub.as_ref()?.next_timeout()?))
    }

    pub(super) fn with_session(&self) -> Vec<ConnectionId> {
        let held = self.connections.iter().filter(|(_, one)| one.state.held().is_some());
        held.map(|(id, _)| *id).collect()
    }
}
