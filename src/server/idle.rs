//! Notices that a peer has gone silent.

use core::time::Duration;

use super::config::Config;
use crate::dialect::{Dialect, Liveness};
use crate::time::{Instant, Span};

/// How often a peer whose messages are left unread is shown that the server is there, at least. It gets
/// no answers to its own pings meanwhile, and may be as impatient as clients of this crate by default
/// (protocol §5.3).
const SIGN: Duration = Duration::from_secs(10);

/// Watches for the silence of one peer. What the peer sends only takes note of the time; the deadline is moved
/// when it has come, so that a host need not re-arm its timer for each message.
#[derive(Debug)]
pub(super) struct IdleMonitor {
    limits: Limits,
    /// When something was heard of the peer, or when it could not have been heard.
    heard: Instant,
    /// When a ping was sent after which nothing was heard.
    pinged: Option<Instant>,
    /// The socket was left unread at some time since the last look.
    unread: bool,
    /// A handler has ended at some time since the last look.
    served: bool,
    due: Option<Instant>,
}

/// What of the configuration is needed.
#[derive(Clone, Copy, Debug)]
struct Limits {
    pings: Option<Pings>,
    /// That of 2.0.
    read_timeout: Span,
}

/// [`Pings`](crate::pings::Pings), as they are kept.
#[derive(Clone, Copy, Debug)]
struct Pings {
    after: Span,
    timeout: Span,
}

/// How long a peer may be silent, and what then.
#[derive(Clone, Copy, Debug)]
enum Limit {
    None,
    Ping(Pings),
    Gone(Span),
}

/// What is to be done about a silent peer.
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

    /// When [`look`](Self::look) is to be called.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The peer gave a sign of life. After a ping, it is not left alone for as long as the answer
    /// could have taken.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        if self.pinged.take().is_some()
            && let Some(pings) = self.limits.pings
        {
            let next = now + pings.after;
            self.due = self.due.map(|due| due.min(next));
        }
    }

    /// The socket is left unread: the peer cannot be heard.
    pub(super) fn left_unread(&mut self, now: Instant) {
        self.unread = true;
        if let Some(sign) = self.limits.sign() {
            let next = now + sign;
            self.due = self.due.map(|due| due.min(next));
        }
    }

    /// A handler has ended. Time spent in handlers is no silence of a peer with a read timeout
    /// (protocol §4.6). Such a peer is given up after at most twice that timeout and the time for the
    /// answer to a ping.
    pub(super) const fn served(&mut self) {
        self.served = true;
    }

    /// The deadline according to a dialect that was just learned.
    pub(super) fn set(&mut self, dialect: Dialect) {
        self.pinged = None;
        self.due = match self.limits.of(dialect) {
            Limit::None => None,
            Limit::Ping(pings) => Some(self.heard + pings.after),
            Limit::Gone(after) => Some(self.heard + after),
        };
    }

    /// Looks after the peer, if it is time to. `busy`: a handler runs. A peer that need not send
    /// anything meanwhile is pinged then, whatever it speaks. `unread`: the socket is left unread.
    pub(super) fn look(
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
    /// How often a peer that is not read is pinged, if pings are sent at all.
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
