//! A file descriptor in reserve.

use mio::net::TcpListener;

/// A file descriptor that is kept for the time when there is no other: with it, clients can be refused, who would
/// otherwise wait without a word. Other systems than unix have no such limit.
#[derive(Debug)]
pub(super) struct Reserve {
    #[cfg(unix)]
    kept: Option<std::os::fd::OwnedFd>,
}

impl Reserve {
    /// Takes one, if it can be had.
    pub(super) fn new(listener: &TcpListener) -> Self {
        let mut reserve = Self {
            #[cfg(unix)]
            kept: None,
        };
        reserve.fill(listener);
        reserve
    }

    /// Lets `refuse` have it for a moment.
    pub(super) fn lend(&mut self, listener: &TcpListener, refuse: impl FnOnce()) {
        #[cfg(unix)]
        if self.kept.take().is_some() {
            refuse();
        }
        #[cfg(not(unix))]
        let _ = refuse;
        self.fill(listener);
    }

    /// Any descriptor does. If another thread has taken the last one, there may be one next time.
    fn fill(&mut self, listener: &TcpListener) {
        #[cfg(unix)]
        {
            use std::os::fd::AsFd;

            self.kept = listener.as_fd().try_clone_to_owned().ok();
        }
        #[cfg(not(unix))]
        let _ = listener;
    }
}
