//! The clock of one machine.

use std::time::Duration;

use wwr::Instant;

/// A clock that may be ahead of the world's, and may jump.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    /// In nanoseconds.
    ahead: u64,
    /// The latest time that a machine was told.
    latest: Instant,
}

impl Clock {
    /// What it shows now. May be less than what it showed before, after a jump back.
    pub(crate) const fn shown(&self, now: Instant) -> Instant {
        Instant::from_nanos(now.as_nanos().saturating_add(self.ahead))
    }

    /// What it shows now, to be told to a machine.
    pub(crate) fn read(&mut self, now: Instant) -> Instant {
        let shown = self.shown(now);
        self.latest = self.latest.max(shown);
        shown
    }

    /// The latest time that was read: what counts for a machine.
    pub(crate) const fn latest(&self) -> Instant {
        self.latest
    }

    /// When it shows a time that it has not shown yet, by the world's clock.
    pub(crate) fn when(&self, shown: Instant) -> Instant {
        Instant::from_nanos(shown.as_nanos().saturating_sub(self.ahead))
    }

    pub(crate) fn jump_forward(&mut self, by: Duration) {
        self.ahead = self.ahead.saturating_add(nanos(by));
    }

    pub(crate) fn jump_back(&mut self, by: Duration) {
        self.ahead = self.ahead.saturating_sub(nanos(by));
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
