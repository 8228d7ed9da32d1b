//! What the system has to say about this process.

use core::time::Duration;

/// How much processor time this thread has taken, if the system tells.
#[cfg(unix)]
pub(super) fn thread_time() -> Option<Duration> {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Some(Duration::new(time.tv_sec.try_into().ok()?, time.tv_nsec.try_into().ok()?))
}

/// How much processor time this thread has taken, if the system tells.
#[cfg(not(unix))]
pub(super) fn thread_time() -> Option<Duration> {
    None
}
