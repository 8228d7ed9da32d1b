//! File descriptors that are left to those who are already there.

use smol::net::TcpStream;

/// How many descriptors are kept, at most.
#[cfg(unix)]
const MOST: u64 = 64;

/// How scarce file descriptors have become.
///
/// The application and the session store need some, to read a file or to ask a server. So the last
/// eighth of those that the process may have is kept for them, 64 at most; half of that may be used
/// for a moment, until the descriptors of others who have just been closed are free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Supply {
    /// There are enough.
    Ample,
    /// There are enough if somebody else is closed.
    Short,
    /// There is none for this socket.
    Exhausted,
}

impl Supply {
    /// What the descriptor of a new socket tells: the system gives out the lowest that is free.
    #[cfg(unix)]
    pub(super) fn seen_by(stream: &TcpStream) -> Self {
        use std::os::fd::AsRawFd;

        use rustix::process::{Resource, getrlimit};

        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self::of(u64::try_from(stream.as_raw_fd()).unwrap_or(0), limit)
    }

    /// What the descriptor of a new socket tells: nothing.
    #[cfg(not(unix))]
    pub(super) fn seen_by(_: &TcpStream) -> Self {
        Self::Ample
    }

    /// What a descriptor tells where all are below `limit`.
    #[cfg(unix)]
    fn of(descriptor: u64, limit: u64) -> Self {
        let kept = (limit / 8).min(MOST);
        match limit.saturating_sub(descriptor) {
            left if left > kept => Self::Ample,
            left if left > kept / 2 => Self::Short,
            _ => Self::Exhausted,
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_last_eighth_is_kept_but_not_more_than_64() {
        for (limit, short, exhausted) in [
            (8, 7, u64::MAX),
            (64, 56, 60),
            (256, 224, 240),
            (1024, 960, 992),
            (1 << 20, (1 << 20) - 64, (1 << 20) - 32),
            (u64::MAX, u64::MAX - 64, u64::MAX - 32),
        ] {
            assert_eq!(Supply::of(0, limit), Supply::Ample, "{limit}");
            assert_eq!(Supply::of(short - 1, limit), Supply::Ample, "{limit}");
            assert_eq!(Supply::of(short, limit), Supply::Short, "{limit}");
            if exhausted < limit {
                assert_eq!(Supply::of(exhausted - 1, limit), Supply::Short, "{limit}");
                assert_eq!(Supply::of(exhausted, limit), Supply::Exhausted, "{limit}");
            }
            assert_eq!(Supply::of(limit, limit), Supply::Exhausted, "{limit}");
        }
    }
}
