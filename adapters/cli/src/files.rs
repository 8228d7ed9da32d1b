//! The limit of open files.

/// Raises the limit of open files as far as allowed, because each connection needs one.
#[cfg(unix)]
pub(crate) fn raise_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "cannot raise the limit of open files");
    }
}

/// Raises the limit of open files as far as allowed, because each connection needs one.
#[cfg(not(unix))]
pub(crate) fn raise_limit() {}
