//! How many files may be open.

/// Lets this process open as many files as it may: each connection is one.
#[cfg(unix)]
pub(crate) fn raise_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// Lets this process open as many files as it may: each connection is one.
#[cfg(not(unix))]
pub(crate) fn raise_limit() {}
