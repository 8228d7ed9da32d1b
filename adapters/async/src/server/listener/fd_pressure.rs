//! Pressure on the process's limit of file descriptors.

use crate::runtime::Stream;

/// The most file descriptors that are reserved.
const MOST: u64 = 64;

/// How scarce file descriptors are.
///
/// The application and the session store need some, to read a file or to ask a server. So the last
/// eighth of the process's limit is reserved for them, 64 at most. New sockets may use half of that
/// for a moment, until the descriptors of evicted sockets are free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FdPressure {
    /// There are enough.
    Low,
    /// There are enough if other sockets are evicted.
    High,
    /// There is none for this socket.
    Critical,
}

impl FdPressure {
    /// Derives the pressure from the descriptor of a new socket: the system assigns the lowest free
    /// one.
    #[cfg(unix)]
    pub(super) fn seen_by(stream: &impl Stream) -> Self {
        use std::os::fd::AsRawFd;

        use rustix::process::{Resource, getrlimit};

        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let descriptor = stream.descriptor().and_then(|socket| socket.as_raw_fd().try_into().ok());
        Self::of(descriptor.unwrap_or(0), limit)
    }

    /// Descriptors say nothing about the limit on this system.
    #[cfg(not(unix))]
    pub(super) fn seen_by(_: &impl Stream) -> Self {
        Self::of(0, u64::MAX)
    }

    /// Derives the pressure from a descriptor, when all descriptors are below `limit`.
    fn of(descriptor: u64, limit: u64) -> Self {
        let kept = (limit / 8).min(MOST);
        match limit.saturating_sub(descriptor) {
            left if left > kept => Self::Low,
            left if left > kept / 2 => Self::High,
            _ => Self::Critical,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_eighth_is_reserved_but_not_more_than_64() {
        for (limit, high, critical) in [
            (8, 7, u64::MAX),
            (64, 56, 60),
            (256, 224, 240),
            (1024, 960, 992),
            (1 << 20, (1 << 20) - 64, (1 << 20) - 32),
            (u64::MAX, u64::MAX - 64, u64::MAX - 32),
        ] {
            assert_eq!(FdPressure::of(0, limit), FdPressure::Low, "{limit}");
            assert_eq!(FdPressure::of(high - 1, limit), FdPressure::Low, "{limit}");
            assert_eq!(FdPressure::of(high, limit), FdPressure::High, "{limit}");
            if critical < limit {
                assert_eq!(FdPressure::of(critical - 1, limit), FdPressure::High, "{limit}");
                assert_eq!(FdPressure::of(critical, limit), FdPressure::Critical, "{limit}");
            }
            assert_eq!(FdPressure::of(limit, limit), FdPressure::Critical, "{limit}");
        }
    }
}
