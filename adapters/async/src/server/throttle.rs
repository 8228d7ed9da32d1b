//! The throttle for log lines that clients can cause again and again.

use std::sync::{Mutex, PoisonError};

use wwr::Instant;
use wwr::server::gate::LogThrottle;

/// A [`LogThrottle`] that several tasks may use at once.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<LogThrottle>);

impl Throttle {
    /// See [`LogThrottle::count`].
    pub(crate) fn count(&self, now: Instant) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).count(now)
    }
}
