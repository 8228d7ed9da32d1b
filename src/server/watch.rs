//! Notices that a peer has gone silent.

use core::time::Duration;

use super::config::Config;
use super::pings::Pings;
use crate::dialect::{Dialect, Liveness};
use crate::time::Instant;

/// The watch over one peer. What the peer sends only takes note of the time; the deadline is moved
/// when it has come, so that a host need not re-arm its timer for each message.
#[derive(Debug)]
pub(super) struct Watch {
    limits: Limits,
    /// When something was heard of the peer, or when it could not have been heard.
    heard: Instant,
    /// Nothing was heard since a ping.
    pinged: bool,
    /// The socket was left unread at some time since the last look.
    unread: bool,
    /// A handler ran at some time since the last look.
    served: bool,
    due: Option<Instant>,
}

/// What of the configuration is needed.
#[derive(Clone, Copy, Debug)]
struct Limits {
    pings: Option<Pings>,
    read_timeout_1_5: Duration,
    read_timeout_2_0: Duration,
}

/// How long a peer may be silent, and what then.
#[derive(Clone, Copy, Debug)]
enum Limit {
    None,
    Ping(Pings),
    Gone(Duration),
}

/// What is to be done about a silent peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    Bearable,
    Ping,
    TooLong,
}

impl Watch {
    pub(super) fn new(config: &Config, dialect: Dialect, now: Instant) -> Self {
        let limits = Limits {
            pings: config.pings,
            read_timeout_1_5: config.announced.read_timeout_1_5(),
            read_timeout_2_0: config.announced.read_timeout_2_0(),
        };
        let mut watch =
            Self { limits, heard: now, pinged: false, unread: false, served: false, due: None };
        watch.set(dialect);
        watch
    }

    /// When [`look`](Self::look) is to be called.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The peer gave a sign of life. After a ping, it is not left alone for as long as the answer
    /// could have taken.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        if core::mem::take(&mut self.pinged)
            && let Some(pings) = self.limits.pings
        {
            let next = now + pings.after;
            self.due = self.due.map(|due| due.min(next));
        }
    }

    /// The socket is left unread: the peer cannot be heard.
    pub(super) const fn left_unread(&mut self) {
        self.unread = true;
    }

    /// A handler runs, or has ended. Time spent in handlers is no silence of a peer with a read
    /// timeout (protocol §4.6), which is thus found gone after twice that at the latest.
    pub(super) const fn served(&mut self) {
        self.served = true;
    }

    /// The deadline according to a dialect that was just learned.
    pub(super) fn set(&mut self, dialect: Dialect) {
        self.pinged = false;
        self.due = match self.limits.of(dialect) {
            Limit::None => None,
            Limit::Ping(pings) => Some(self.heard + pings.after),
            Limit::Gone(after) => Some(self.heard + after),
        };
    }

    /// Looks after the peer, if it is time to.
    pub(super) fn look(&mut self, dialect: Dialect, now: Instant) -> Silence {
        if self.due.is_none_or(|due| due > now) {
            return Silence::Bearable;
        }
        let limit = self.limits.of(dialect);
        let unread = core::mem::take(&mut self.unread);
        let served = core::mem::take(&mut self.served);
        if unread || served && matches!(limit, Limit::Gone(_)) {
            self.heard(now);
        }
        let (end, next) = match limit {
            Limit::None => {
                self.due = None;
                return Silence::Bearable;
            }
            Limit::Ping(pings) => (self.heard + pings.after, now + pings.patience),
            Limit::Gone(after) => (self.heard + after, now + after),
        };
        if end > now {
            self.due = Some(end);
            return Silence::Bearable;
        }
        self.due = Some(next);
        match limit {
            Limit::Ping(_) if !self.pinged => {
                self.pinged = true;
                Silence::Ping
            }
            Limit::Ping(_) | Limit::Gone(_) | Limit::None => Silence::TooLong,
        }
    }
}

impl Limits {
    const fn of(&self, dialect: Dialect) -> Limit {
        match (dialect.rules().liveness, self.pings) {
            (Liveness::Pings, Some(pings)) => Limit::Ping(pings),
            (Liveness::Pings, None) => Limit::None,
            (Liveness::ReadTimeout, _) => match dialect {
                Dialect::V1_5 => Limit::Gone(self.read_timeout_1_5),
                Dialect::V1_4 | Dialect::V2_0 | Dialect::Unknown => {
                    Limit::Gone(self.read_timeout_2_0)
                }
            },
        }
    }
}
