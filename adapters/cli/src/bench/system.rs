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

/// Lets this process open as many files as it may: each connection is one.
#[cfg(unix)]
pub(super) fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// Lets this process open as many files as it may: each connection is one.
#[cfg(not(unix))]
pub(super) fn raise_file_limit() {}
