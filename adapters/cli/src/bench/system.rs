//! What the system reports about this process.

use core::time::Duration;

/// Returns the processor time of this thread, if the system reports it.
#[cfg(unix)]
pub(super) fn thread_time() -> Option<Duration> {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Some(Duration::new(time.tv_sec.try_into().ok()?, time.tv_nsec.try_into().ok()?))
}

/// Returns the processor time of this thread, if the system reports it.
#[cfg(not(unix))]
pub(super) fn thread_time() -> Option<Duration> {
    None
}
