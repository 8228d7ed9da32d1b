//! What came from one address.

use alloc::collections::VecDeque;
use core::time::Duration;

use super::Preflights;
use crate::server::protocol::Observed;
use crate::time::Instant;

const VALIDITY: Duration = Preflights::<()>::VALIDITY;
const PRESUMED: Duration = Preflights::<()>::PRESUMED;
const MEMORY: Duration = Preflights::<()>::MEMORY;
const STRAY_MEMORY: Duration = Preflights::<()>::STRAY_MEMORY;
const LONGEST_WAIT: Duration = Preflights::<()>::LONGEST_WAIT;

/// How long a client may need between the end of its handshake and its first message, whatever the
/// network.
const SLACK: Duration = Duration::from_millis(20);

/// How long a client is waited for at least that might be presumed to have asked: in this time comes
/// whoever did, unless it is far away.
const PRESUMPTION: Duration = Duration::from_millis(50);

/// A client whose preflight came this long ago, which is two round trips, needs one more until its
/// first message is here. It is given eight.
const TIMEOUT: u32 = 4;

/// Preflights that come within this time of each other are counted together, if there are many.
const TOGETHER: Duration = Duration::from_millis(250);

/// How many are counted one by one.
const ONE_BY_ONE: usize = 32;

/// How many clients of an address are counted that are waited for. With more of them, it cannot be
/// told whether each has asked.
const MOST_WAITING: usize = 1024;

/// An address, as far as it matters.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    /// The number of the last time that it was heard of.
    pub(super) touched: u64,
    /// The preflights that no client of 1.x has followed so far, oldest first.
    asks: VecDeque<Asks>,
    /// When those came that are waited for, oldest first.
    waiting: VecDeque<Instant>,
    /// When several had last asked, or were waited for, or one asked while another was.
    crowded: Option<Instant>,
    /// Until when it counts as one that does not only speak 1.x.
    mixed_until: Option<Instant>,
    /// Until when it counts as one where clients of 1.x speak first.
    eager_until: Option<Instant>,
}

/// Preflights that came together.
#[derive(Clone, Copy, Debug)]
struct Asks {
    first: Instant,
    last: Instant,
    count: u32,
    brief: bool,
}

impl Asks {
    fn end(&self) -> Instant {
        self.last + if self.brief { PRESUMED } else { VALIDITY }
    }
}

impl Host {
    /// Forgets what is over.
    pub(super) fn expire(&mut self, now: Instant) {
        let (mut asks, mut strayed) = (core::mem::take(&mut self.asks), None);
        asks.retain(|asks| {
            let expired = asks.end() < now;
            if expired && !asks.brief {
                strayed = strayed.max(Some(asks.end() + STRAY_MEMORY));
            }
            !expired
        });
        self.asks = if asks.is_empty() { VecDeque::new() } else { asks };
        self.mixed_until = self.mixed_until.max(strayed).filter(|until| *until > now);
        self.eager_until = self.eager_until.filter(|until| *until > now);
        // A host may have lost sight of one.
        while self.waiting.front().is_some_and(|since| *since + 2 * LONGEST_WAIT < now) {
            self.waiting.pop_front();
        }
        if self.waiting.is_empty() {
            // Neither is the room kept that a flood once needed.
            self.waiting = VecDeque::new();
        }
    }

    /// Whether anything is known that would have to be remembered.
    pub(super) fn is_of_use(&self, now: Instant) -> bool {
        self.mixed_until.max(self.eager_until).is_some_and(|until| until > now)
            || self.asks.iter().any(|asks| asks.end() + STRAY_MEMORY > now)
    }

    pub(super) fn asked(&mut self, now: Instant, brief: bool) {
        if !self.waiting.is_empty() {
            self.crowded = Some(now);
        }
        let many = self.asks.len() >= ONE_BY_ONE;
        let together = self
            .asks
            .iter_mut()
            .rev()
            .find(|asks| asks.brief == brief)
            .filter(|asks| now.saturating_since(asks.first) < TOGETHER);
        match together.filter(|_| many) {
            Some(asks) => {
                asks.last = now;
                asks.count = asks.count.saturating_add(1);
            }
            None => self.asks.push_back(Asks { first: now, last: now, count: 1, brief }),
        }
    }

    /// A WebSocket was opened. Returns how long to wait for it, if it could be of 1.x.
    pub(super) fn arrived(&mut self, now: Instant) -> Option<Duration> {
        let asked = self.open_asks();
        if asked == 0 {
            self.shows_2_0(now);
            return None;
        }
        if self.waiting.len() < MOST_WAITING {
            self.waiting.push_back(now);
        } else {
            self.mixed_until = self.mixed_until.max(Some(now + STRAY_MEMORY));
        }
        if asked > 1 || self.waiting.len() > 1 {
            self.crowded = Some(now);
        }
        if self.waiting.len() > asked {
            // One of them did not ask, and it may be any.
            self.shows_2_0(now);
        }
        // It may be the one that asked first.
        let asked = self.asks.front().map_or(now, |asks| asks.first);
        let wait = now.saturating_since(asked).saturating_mul(TIMEOUT).saturating_add(SLACK);
        let least = if self.may_presume(now) { PRESUMPTION } else { SLACK };
        Some(wait.max(least).min(LONGEST_WAIT))
    }

    /// A client that was waited for has sent something, which those of 2.0 do not.
    pub(super) fn spoke(&mut self, now: Instant, is_1_x: bool) -> Observed {
        self.waiting.pop_front();
        if !is_1_x {
            return Observed::Nothing;
        }
        self.eager_until = Some(now + MEMORY);
        self.claim();
        Observed::Preflight
    }

    /// Decides on a client that came at `arrived` and has said nothing.
    pub(super) fn silent(&mut self, now: Instant, arrived: Instant) -> Observed {
        let was_alone = self.crowded.is_none_or(|crowded| crowded < arrived);
        self.waiting.pop_front();
        if was_alone {
            return self.guess(now);
        }
        // If it did not ask, the one that did may not come.
        self.mixed_until = self.mixed_until.max(Some(now + STRAY_MEMORY));
        self.leave_unknown()
    }

    /// Decides at once on a client that has just come.
    pub(super) fn decide(&mut self, now: Instant) -> Observed {
        self.waiting.pop_back();
        self.guess(now)
    }

    /// Decides on a client of which nothing more is known.
    fn guess(&mut self, now: Instant) -> Observed {
        if !self.may_presume(now) {
            return self.leave_unknown();
        }
        self.claim();
        Observed::Preflight
    }

    fn leave_unknown(&mut self) -> Observed {
        // It may have taken the place of the one that asked, which is still to come and will speak.
        // Where none does, whoever asks in vain is to make no more than one client wait.
        if self.eager_until.is_none() {
            self.claim();
        }
        Observed::Nothing
    }

    /// Somebody is here who may speak 2.0.
    pub(super) fn shows_2_0(&mut self, now: Instant) {
        self.mixed_until = self.mixed_until.max(Some(now + MEMORY));
    }

    fn open_asks(&self) -> usize {
        self.asks.iter().map(|asks| asks.count as usize).fold(0, usize::saturating_add)
    }

    /// Whether a client may be taken for one of 1.x without proof.
    fn may_presume(&self, now: Instant) -> bool {
        self.mixed_until.is_none()
            && !self.asks.is_empty()
            && self.asks.iter().all(|asks| !asks.brief && asks.last + PRESUMED >= now)
    }

    /// A preflight was followed by its client, or is not to be followed any more: the oldest.
    fn claim(&mut self) {
        let Some(asks) = self.asks.front_mut() else { return };
        if asks.count <= 1 {
            self.asks.pop_front();
            return;
        }
        // They came about evenly.
        asks.first = asks.first + asks.last.saturating_since(asks.first) / asks.count;
        asks.count -= 1;
    }

    /// How many entries are kept.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.asks.len(), self.waiting.len())
    }
}
