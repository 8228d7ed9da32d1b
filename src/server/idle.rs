//! The idle monitor: notices that a peer has gone silent.

use core::time::Duration;

use super::config::Config;
use crate::dialect::{Dialect, Liveness};
use crate::time::{Instant, Span};

/// The longest time between signs of life for a peer whose messages are not read. Meanwhile it gets
/// no answers to its own pings, and may give up as soon as clients of this crate do by default
/// (protocol §5.3).
const SIGN: Duration = Duration::from_secs(10);

/// Notices the silence of one peer. What the peer sends only records the time. The deadline moves
/// when it is reached, so that a host need not set its timer for each message.
#[derive(Debug)]
pub(super) struct IdleMonitor {
    limits: Limits,
    /// When something was heard from the peer, or nothing could have been heard.
    heard: Instant,
    /// When the last ping was sent, if nothing was heard since.
    pinged: Option<Instant>,
    /// Whether the socket was left unread at some time since the last check.
    unread: bool,
    /// Whether a handler has ended since the last check.
    served: bool,
    due: Option<Instant>,
}

/// The part of the configuration that is needed.
#[derive(Clone, Copy, Debug)]
struct Limits {
    pings: Option<Pings>,
    /// The read timeout of 2.0.
    read_timeout: Span,
}

/// [`Pings`](crate::pings::Pings) in the form in which they are kept.
#[derive(Clone, Copy, Debug)]
struct Pings {
    after: Span,
    timeout: Span,
}

/// How long a peer may be silent, and what happens then.
#[derive(Clone, Copy, Debug)]
enum Limit {
    None,
    Ping(Pings),
    Gone(Span),
}

/// What to do about a silent peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    Bearable,
    Ping,
    TooLong,
}

impl IdleMonitor {
    pub(super) fn new(config: &Config, dialect: Dialect, now: Instant) -> Self {
        let limits = Limits {
            pings: config
                .pings
                .map(|pings| Pings { after: pings.after.into(), timeout: pings.timeout.into() }),
            read_timeout: config.advertised.read_timeout.into(),
        };
        let mut monitor =
            Self { limits, heard: now, pinged: None, unread: false, served: false, due: None };
        monitor.set(dialect);
        monitor
    }

    /// Returns when to call [`check`](Self::check).
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Records a sign of life of the peer. If a ping was sent, the next one still comes after the
    /// time for its answer.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        if self.pinged.take().is_some()
            && let Some(pings) = self.limits.pings
        {
            let next = now + pings.after;
            self.due = self.due.map(|due| due.min(next));
        }
    }

    /// Records that the socket is left unread: the peer cannot be heard.
    pub(super) fn left_unread(&mut self, now: Instant) {
        self.unread = true;
        if let Some(sign) = self.limits.sign() {
            let next = now + sign;
            self.due = self.due.map(|due| due.min(next));
        }
    }

    /// Records that a handler has ended. For a peer with a read timeout, time spent in handlers
    /// does not count as silence (protocol §4.6). Such a peer is given up after at most twice that
    /// timeout and the time for the answer to a ping.
    pub(super) const fn served(&mut self) {
        self.served = true;
    }

    /// Sets the deadline of a dialect that was just learned.
    pub(super) fn set(&mut self, dialect: Dialect) {
        self.pinged = None;
        self.due = match self.limits.of(dialect) {
            Limit::None => None,
            Limit::Ping(pings) => Some(self.heard + pings.after),
            Limit::Gone(after) => Some(self.heard + after),
        };
    }

    /// Checks the peer, if it is time to. `busy` says that a handler runs: a peer that need not
    /// send anything meanwhile is pinged, in any dialect. `unread` says that the socket is left
    /// unread.
    pub(super) fn check(
        &mut self,
        dialect: Dialect,
        busy: bool,
        unread: bool,
        now: Instant,
    ) -> Silence {
        if self.due.is_none_or(|due| due > now) {
            return Silence::Bearable;
        }
        let was_unread = core::mem::replace(&mut self.unread, unread) || unread;
        let served = core::mem::take(&mut self.served);
        let (after, timeout, excused) = match self.limits.of(dialect) {
            Limit::None => {
                self.due = None;
                return Silence::Bearable;
            }
            Limit::Ping(pings) => (pings.after, Some(pings.timeout), false),
            Limit::Gone(after) if busy => {
                let timeout = self.limits.pings.map(|pings| pings.timeout);
                (after, timeout, timeout.is_none())
            }
            Limit::Gone(after) => (after, None, served),
        };
        if was_unread || excused {
            self.heard(now);
        }
        if let (true, Some(sign)) = (unread, self.limits.sign()) {
            self.due = Some(now + sign.min(after));
            return Silence::Ping;
        }
        let end = self.heard + after;
        if end > now {
            self.due = Some(end);
            return Silence::Bearable;
        }
        let Some(timeout) = timeout else { return Silence::TooLong };
        let asked = self.pinged.unwrap_or(now);
        if self.pinged.is_some() && asked + timeout <= now {
            return Silence::TooLong;
        }
        self.due = Some((asked + timeout).min(now + after));
        match self.pinged.replace(asked) {
            None => Silence::Ping,
            Some(_) => Silence::Bearable,
        }
    }
}

impl Limits {
    /// Returns how often to ping a peer that is not read, if pings are sent at all.
    fn sign(&self) -> Option<Span> {
        self.pings.map(|pings| pings.after.min(SIGN.into()))
    }

    fn of(&self, dialect: Dialect) -> Limit {
        match (dialect.rules().liveness, self.pings) {
            (Liveness::Pings, Some(pings)) => Limit::Ping(pings),
            (Liveness::Pings, None) => Limit::None,
            (Liveness::ReadTimeout, _) => match dialect {
                Dialect::V1_5 => Limit::Gone(self.read_timeout.max(Span::SECOND)),
                Dialect::V1_4 | Dialect::V2_0 | Dialect::Wwr1 | Dialect::Unknown => {
                    Limit::Gone(self.read_timeout)
                }
            },
        }
    }
}
