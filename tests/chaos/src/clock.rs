//! The clock that all processes of a machine share.

use rustix::time::{ClockId, clock_gettime};

use crate::history::Time;

/// Returns the time now.
pub(crate) fn now() -> Time {
    let now = clock_gettime(ClockId::Monotonic);
    Time(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}
