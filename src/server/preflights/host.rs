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

/// How long a client may need between the end of its handshake and its first message, in any
/// network.
const SLACK: Duration = Duration::from_millis(20);

/// The shortest wait for a client that could be presumed to be 1.x. A client that has sent the
/// preflight speaks within this time, unless it is far away.
const PRESUMPTION: Duration = Duration::from_millis(50);

/// The factor between the age of a preflight and the wait. The age is two round trips, and the
/// first message takes one more. So the wait is eight round trips.
const TIMEOUT: u32 = 4;

/// Preflights within this time of each other are counted together, if there are many.
const TOGETHER: Duration = Duration::from_millis(250);

/// How many preflights are counted one by one.
const ONE_BY_ONE: usize = 32;

/// The most waiting clients of an address that are counted. With more of them, the server cannot
/// tell whether each has sent a preflight.
const MOST_WAITING: usize = 1024;

/// What is known of an address.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    /// The number of the last time when it was heard of.
    pub(super) touched: u64,
    /// The preflights that no client of 1.x has followed yet, oldest first.
    asks: VecDeque<Asks>,
    /// When the waiting clients came, oldest first.
    waiting: VecDeque<Instant>,
    /// When several preflights or waiting clients last coincided.
    overlapped: Option<Instant>,
    /// Until when the address counts as one with clients that may not be 1.x.
    ambiguous_until: Option<Instant>,
    /// Until when the address counts as one where clients of 1.x speak first.
    speaks_first_until: Option<Instant>,
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
    /// Forgets what has expired.
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
        self.ambiguous_until = self.ambiguous_until.max(strayed).filter(|until| *until > now);
        self.speaks_first_until = self.speaks_first_until.filter(|until| *until > now);
        // A host may have dropped a client without a decision.
        while self.waiting.front().is_some_and(|since| *since + 2 * LONGEST_WAIT < now) {
            self.waiting.pop_front();
        }
        if self.waiting.is_empty() {
            // Does not keep the room that a flood once needed.
            self.waiting = VecDeque::new();
        }
    }

    /// Returns whether there is anything worth remembering.
    pub(super) fn is_of_use(&self, now: Instant) -> bool {
        self.ambiguous_until.max(self.speaks_first_until).is_some_and(|until| until > now)
            || self.asks.iter().any(|asks| asks.end() + STRAY_MEMORY > now)
    }

    pub(super) fn asked(&mut self, now: Instant, brief: bool) {
        if !self.waiting.is_empty() {
            self.overlapped = Some(now);
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

    /// Records a WebSocket. Returns how long to wait for its client, if that could be 1.x.
    pub(super) fn arrived(&mut self, now: Instant) -> Option<Duration> {
        let asked = self.open_asks();
        if asked == 0 {
            self.shows_2_0(now);
            return None;
        }
        if self.waiting.len() < MOST_WAITING {
            self.waiting.push_back(now);
        } else {
            self.ambiguous_until = self.ambiguous_until.max(Some(now + STRAY_MEMORY));
        }
        if asked > 1 || self.waiting.len() > 1 {
            self.overlapped = Some(now);
        }
        if self.waiting.len() > asked {
            // One of the clients did not send a preflight, and it may be any of them.
            self.shows_2_0(now);
        }
        // It may be the client of the oldest preflight.
        let asked = self.asks.front().map_or(now, |asks| asks.first);
        let wait = now.saturating_since(asked).saturating_mul(TIMEOUT).saturating_add(SLACK);
        let least = if self.may_presume(now) { PRESUMPTION } else { SLACK };
        Some(wait.max(least).min(LONGEST_WAIT))
    }

    /// Decides on a client that has sent something while it was waited for, which 2.0 clients do
    /// not.
    pub(super) fn spoke(&mut self, now: Instant, is_1_x: bool) -> Observed {
        self.waiting.pop_front();
        if !is_1_x {
            return Observed::Nothing;
        }
        self.speaks_first_until = Some(now + MEMORY);
        self.claim();
        Observed::Preflight
    }

    /// Decides on a client that came at `arrived` and has sent nothing.
    pub(super) fn silent(&mut self, now: Instant, arrived: Instant) -> Observed {
        let was_alone = self.overlapped.is_none_or(|overlapped| overlapped < arrived);
        self.waiting.pop_front();
        if was_alone {
            return self.presume(now);
        }
        // If it did not send the preflight, the client that did may never come.
        self.ambiguous_until = self.ambiguous_until.max(Some(now + STRAY_MEMORY));
        self.leave_unknown()
    }

    /// Decides at once on a client that has just come.
    pub(super) fn decide(&mut self, now: Instant) -> Observed {
        self.waiting.pop_back();
        self.presume(now)
    }

    /// Decides on a client about which nothing more is known.
    fn presume(&mut self, now: Instant) -> Observed {
        if !self.may_presume(now) {
            return self.leave_unknown();
        }
        self.claim();
        Observed::Preflight
    }

    fn leave_unknown(&mut self) -> Observed {
        // It may have taken the preflight of another client, which is still to come and will speak.
        // At an address where no client speaks first, a preflight without a WebSocket delays at
        // most one client.
        if self.speaks_first_until.is_none() {
            self.claim();
        }
        Observed::Nothing
    }

    /// Records that a client of this address may speak 2.0.
    pub(super) fn shows_2_0(&mut self, now: Instant) {
        self.ambiguous_until = self.ambiguous_until.max(Some(now + MEMORY));
    }

    /// Records that any of the preflights may be that of a client that has shown what it speaks. None is removed:
    /// most such clients have sent none that counts.
    pub(super) fn doubt_asks(&mut self) {
        self.ambiguous_until = self.ambiguous_until.max(self.asks.iter().map(Asks::end).max());
    }

    fn open_asks(&self) -> usize {
        self.asks.iter().map(|asks| asks.count as usize).fold(0, usize::saturating_add)
    }

    /// Returns whether a client may be taken for 1.x without proof.
    fn may_presume(&self, now: Instant) -> bool {
        self.ambiguous_until.is_none()
            && !self.asks.is_empty()
            && self.asks.iter().all(|asks| !asks.brief && asks.last + PRESUMED >= now)
    }

    /// Removes the oldest preflight: its client has come, or will not come any more.
    fn claim(&mut self) {
        let Some(asks) = self.asks.front_mut() else { return };
        if asks.count <= 1 {
            self.asks.pop_front();
            return;
        }
        // They came at about equal intervals.
        asks.first = asks.first + asks.last.saturating_since(asks.first) / asks.count;
        asks.count -= 1;
    }

    /// Returns how many entries are kept.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.asks.len(), self.waiting.len())
    }
}
