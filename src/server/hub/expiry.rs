//! Sessions that expire because nobody uses them.

use alloc::collections::BTreeSet;
use core::time::Duration;

use super::action::{HubAction, Work};
use super::config::Expiry;
use super::jobs::Purpose;
use super::{Hub, Out};
use crate::session::{SessionKey, StoreFailed};
use crate::time::Instant;

/// How many rounds in a row may be skipped because the store failed to look up a session that is in
/// use. Renewing starts when half of the time is over, so that no session is lost by one such round;
/// and one session that the store cannot read does not keep all others for ever.
const MAX_SKIPPED: u8 = 2;

/// The rounds of one hub.
#[derive(Debug)]
pub(super) enum Rounds {
    /// Sessions do not expire, or the server has stopped.
    Off,
    /// The next round starts then.
    Waiting { config: Expiry, next: Instant, skipped: u8 },
    /// The sessions in use are looked up, one after another.
    Renewing(Renewal),
    /// The store removes what has expired.
    Expiring { config: Expiry },
}

/// Sessions in use are kept from expiring.
#[derive(Debug)]
pub(super) struct Renewal {
    config: Expiry,
    started: Instant,
    left: BTreeSet<SessionKey>,
    /// How many rounds before this one were skipped.
    skipped: u8,
}

impl Rounds {
    /// The first round starts at once.
    pub(super) const fn new(config: Option<Expiry>, now: Instant) -> Self {
        match config {
            Some(config) => Self::Waiting { config, next: now, skipped: 0 },
            None => Self::Off,
        }
    }

    pub(super) const fn next_timeout(&self) -> Option<Instant> {
        match self {
            Self::Waiting { next, .. } => Some(*next),
            // The jobs have deadlines of their own.
            Self::Off | Self::Renewing(_) | Self::Expiring { .. } => None,
        }
    }
}

/// The time between two rounds.
fn pause(config: Expiry) -> Duration {
    config.every.max(Duration::from_secs(1))
}

/// How long the store may take to go through all its sessions.
fn limit(config: Expiry, store_timeout: Duration) -> Duration {
    store_timeout.max(config.every)
}

impl Hub {
    /// Starts a round if one is due.
    pub(super) fn start_round(&mut self, out: &mut Out) {
        let Rounds::Waiting { config, next, skipped } = self.rounds else { return };
        if next > self.now {
            return;
        }
        let left = self.sessions_in_use(config.unused_for / 2);
        self.renew_next(Renewal { config, started: self.now, left, skipped }, out);
    }

    /// The sessions of connections that have been open for so long.
    fn sessions_in_use(&self, age: Duration) -> BTreeSet<SessionKey> {
        let is_old = |since: Instant| self.now.saturating_since(since) >= age;
        let members = self.connections.values();
        let old = members.filter(|member| member.presence.since().is_some_and(is_old));
        let keys = old.filter_map(|member| member.session.as_ref());
        keys.filter(|key| self.registry.connection_count(key) > 0).cloned().collect()
    }

    fn renew_next(&mut self, mut renewal: Renewal, out: &mut Out) {
        while let Some(key) = renewal.left.pop_first() {
            // It may have been closed since the round started.
            if self.registry.connection_count(&key) > 0 {
                let (purpose, work) = (Purpose::Renew, Work::LookUp(key));
                self.ask_store(purpose, work, self.config.store_timeout, out);
                self.rounds = Rounds::Renewing(renewal);
                return;
            }
        }
        let Renewal { config, started, .. } = renewal;
        let work = Work::Expire { unused_for: config.unused_for, at: started };
        let within = limit(config, self.config.store_timeout);
        self.ask_store(Purpose::Expire, work, within, out);
        self.rounds = Rounds::Expiring { config };
    }

    /// The store has looked up a session that is in use, or failed to. A session that the store does
    /// not know cannot expire.
    pub(super) fn renewed(&mut self, result: Result<(), StoreFailed>, out: &mut Out) {
        match core::mem::replace(&mut self.rounds, Rounds::Off) {
            Rounds::Renewing(Renewal { config, skipped, .. })
                if result.is_err() && skipped < MAX_SKIPPED =>
            {
                out.push(HubAction::ExpirySkipped);
                let next = self.now + pause(config);
                self.rounds = Rounds::Waiting { config, next, skipped: skipped + 1 };
            }
            Rounds::Renewing(renewal) => self.renew_next(renewal, out),
            other @ (Rounds::Off | Rounds::Waiting { .. } | Rounds::Expiring { .. }) => {
                self.rounds = other;
            }
        }
    }

    /// The store has removed what expired, or failed to.
    pub(super) fn expired(&mut self) {
        if let Rounds::Expiring { config } = self.rounds {
            let next = self.now + pause(config);
            self.rounds = Rounds::Waiting { config, next, skipped: 0 };
        }
    }
}
