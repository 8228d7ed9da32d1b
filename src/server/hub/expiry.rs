//! The expiry of sessions that are not used.

use alloc::collections::BTreeSet;
use core::time::Duration;

use super::action::{HubAction, Work};
use super::config::Expiry;
use super::jobs::Purpose;
use super::{Hub, Out};
use crate::session::{SessionKey, StoreFailed};
use crate::time::Instant;

/// The rounds of expiry of one hub.
#[derive(Debug)]
pub(super) enum Rounds {
    /// Sessions do not expire, or the server has stopped.
    Off,
    /// The next round starts then.
    Waiting { config: Expiry, next: Instant },
    /// Since `started`, the sessions in use are being looked up, one after another. `left` is still
    /// to do.
    Renewing { config: Expiry, started: Instant, left: BTreeSet<SessionKey> },
    /// The store is removing the expired sessions.
    Expiring { config: Expiry },
}

impl Rounds {
    /// Schedules the first round at once.
    pub(super) const fn new(config: Option<Expiry>, now: Instant) -> Self {
        match config {
            Some(config) => Self::Waiting { config, next: now },
            None => Self::Off,
        }
    }

    pub(super) const fn next_timeout(&self) -> Option<Instant> {
        match self {
            Self::Waiting { next, .. } => Some(*next),
            // The jobs have deadlines of their own.
            Self::Off | Self::Renewing { .. } | Self::Expiring { .. } => None,
        }
    }
}

/// Returns the time between two rounds.
fn pause(config: Expiry) -> Duration {
    config.every.max(Duration::from_secs(1))
}

/// Returns how long the store may take to go through all its sessions.
pub(super) fn limit(config: Expiry, store_timeout: Duration) -> Duration {
    store_timeout.max(config.every)
}

impl Hub {
    /// Starts a round if one is due.
    pub(super) fn start_round(&mut self, out: &mut Out) {
        let Rounds::Waiting { config, next } = self.rounds else { return };
        if next > self.now {
            return;
        }
        let left = self.sessions_in_use(config.unused_for / 2);
        self.renew_next(config, self.now, left, out);
        self.route(out);
    }

    /// Returns the sessions of connections that have been open for `age`.
    fn sessions_in_use(&self, age: Duration) -> BTreeSet<SessionKey> {
        let is_old = |since: Instant| self.now.saturating_since(since) >= age;
        let members = self.connections.values();
        let old = members.filter(|member| member.phase.since().is_some_and(is_old));
        let keys = old.filter_map(|member| member.session.as_ref());
        keys.filter(|key| self.registry.connection_count(key) > 0).cloned().collect()
    }

    fn renew_next(
        &mut self,
        config: Expiry,
        started: Instant,
        mut left: BTreeSet<SessionKey>,
        out: &mut Out,
    ) {
        while let Some(key) = left.pop_first() {
            // It takes its turn among the changes of the session, however many there are.
            if self.registry.renew(&key, &mut self.effects) {
                self.rounds = Rounds::Renewing { config, started, left };
                return;
            }
        }
        // Everything that was in use when the round started has been looked up since.
        let work = Work::Expire { unused_for: config.unused_for, at: started };
        let within = limit(config, self.config.store_timeout);
        self.ask_store(Purpose::Expire, work, within, out);
        self.rounds = Rounds::Expiring { config };
    }

    /// Handles the end of the look-up of a session in use, or its failure. A session that the store does
    /// not know cannot expire.
    pub(super) fn renewed(&mut self, result: Result<(), StoreFailed>, out: &mut Out) {
        match core::mem::replace(&mut self.rounds, Rounds::Off) {
            Rounds::Renewing { config, started, left } => match result {
                Ok(()) => self.renew_next(config, started, left, out),
                // Sessions in use could expire now, so none expire in this round.
                Err(StoreFailed) => {
                    out.push(HubAction::ExpirySkipped);
                    self.rounds = Rounds::Waiting { config, next: self.now + pause(config) };
                }
            },
            other @ (Rounds::Off | Rounds::Waiting { .. } | Rounds::Expiring { .. }) => {
                self.rounds = other;
            }
        }
    }

    /// Handles the end of the removal, or its failure.
    pub(super) fn expired(&mut self) {
        if let Rounds::Expiring { config, .. } = self.rounds {
            self.rounds = Rounds::Waiting { config, next: self.now + pause(config) };
        }
    }
}
