//! What a connection counts. Its task writes, and everybody reads.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use wwr::Instant;
use wwr::server::Counters;

use super::stats::{Load, RequestStats, Traffic};

/// The counters of a connection. Only its task writes to them, one after the other, so adding needs no
/// atomic addition. They are written before the output is: what a client has seen is in them.
#[derive(Debug)]
pub(super) struct Counts {
    started: AtomicU64,
    replied: AtomicU64,
    signals_received: AtomicU64,
    signals_sent: AtomicU64,
    bytes_received: AtomicU64,
    bytes_sent: AtomicU64,
    /// When the client was last heard, in nanoseconds of an [`Instant`].
    heard: AtomicU64,
    failed: AtomicU64,
    internal: AtomicU64,
    lost: AtomicU32,
    refused: AtomicU32,
    ignored: AtomicU32,
    panics: AtomicU32,
    stalls: AtomicU32,
    running_handlers: AtomicU32,
    /// Bytes that the socket has not accepted yet.
    unsent: AtomicU32,
}

/// Adds to a counter that only the caller writes to.
macro_rules! add {
    ($counter:expr, $number:expr) => {
        let counter = &$counter;
        counter.store(counter.load(Ordering::Relaxed).saturating_add($number), Ordering::Relaxed)
    };
}

impl Counts {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            started: AtomicU64::new(0),
            replied: AtomicU64::new(0),
            signals_received: AtomicU64::new(0),
            signals_sent: AtomicU64::new(0),
            bytes_received: AtomicU64::new(0),
            bytes_sent: AtomicU64::new(0),
            heard: AtomicU64::new(now.as_nanos()),
            failed: AtomicU64::new(0),
            internal: AtomicU64::new(0),
            lost: AtomicU32::new(0),
            refused: AtomicU32::new(0),
            ignored: AtomicU32::new(0),
            panics: AtomicU32::new(0),
            stalls: AtomicU32::new(0),
            running_handlers: AtomicU32::new(0),
            unsent: AtomicU32::new(0),
        }
    }

    /// Adds what the machine has counted.
    pub(super) fn add(&self, counters: &Counters) {
        // Most of the time, nothing else has happened.
        add!(self.started, counters.requests.into());
        add!(self.replied, counters.replied.into());
        let others = counters.failed
            | counters.internal
            | counters.lost
            | counters.refused
            | counters.ignored
            | counters.signals
            | counters.signals_sent;
        if others != 0 {
            add!(self.signals_received, counters.signals.into());
            add!(self.signals_sent, counters.signals_sent.into());
            add!(self.failed, counters.failed.into());
            add!(self.internal, counters.internal.into());
            add!(self.lost, counters.lost);
            add!(self.refused, counters.refused);
            add!(self.ignored, counters.ignored);
        }
    }

    pub(super) fn received(&self, bytes: usize) {
        add!(self.bytes_received, bytes as u64);
    }

    pub(super) fn sent(&self, bytes: usize) {
        add!(self.bytes_sent, bytes as u64);
    }

    pub(super) fn stalled(&self) {
        add!(self.stalls, 1);
    }

    /// Counts a handler that panicked.
    #[cold]
    pub(super) fn panicked(&self) {
        add!(self.panics, 1);
    }

    pub(super) fn heard(&self, now: Instant) {
        self.heard.store(now.as_nanos(), Ordering::Relaxed);
    }

    pub(super) fn runs(&self, handlers: usize) {
        self.running_handlers.store(small(handlers), Ordering::Relaxed);
    }

    pub(super) fn holds(&self, unsent: usize) {
        self.unsent.store(small(unsent), Ordering::Relaxed);
    }

    /// Sets what goes on to nothing, because the connection has ended. Requests without an outcome are
    /// lost, if the task could not count them.
    pub(super) fn end(&self) {
        self.runs(0);
        self.holds(0);
        let running = self.requests().running();
        add!(self.lost, u32::try_from(running).unwrap_or(u32::MAX));
    }

    pub(super) fn last_heard(&self) -> Instant {
        Instant::from_nanos(self.heard.load(Ordering::Relaxed))
    }

    fn requests(&self) -> RequestStats {
        let mut requests = RequestStats {
            replied: self.replied.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            internal: self.internal.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed).into(),
            refused: self.refused.load(Ordering::Relaxed).into(),
            started: self.started.load(Ordering::Relaxed),
        };
        // The task may count meanwhile.
        requests.started = requests.started.max(requests.ended());
        requests
    }

    /// Returns what was exchanged, without the signals that the inbox dropped.
    pub(super) fn traffic(&self) -> Traffic {
        Traffic {
            requests: self.requests(),
            panics: self.panics.load(Ordering::Relaxed).into(),
            signals_received: self.signals_received.load(Ordering::Relaxed),
            signals_sent: self.signals_sent.load(Ordering::Relaxed),
            signals_dropped: 0,
            ignored: self.ignored.load(Ordering::Relaxed).into(),
            bytes_received: self.bytes_received.load(Ordering::Relaxed),
            bytes_sent: self.bytes_sent.load(Ordering::Relaxed),
            stalls: self.stalls.load(Ordering::Relaxed).into(),
        }
    }

    /// Returns what goes on, without what waits in the inbox.
    pub(super) fn load(&self) -> Load {
        Load {
            running_handlers: self.running_handlers.load(Ordering::Relaxed) as usize,
            queued_bytes: self.unsent(),
        }
    }

    /// Returns how many bytes the socket has not accepted yet.
    pub(super) fn unsent(&self) -> usize {
        self.unsent.load(Ordering::Relaxed) as usize
    }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
