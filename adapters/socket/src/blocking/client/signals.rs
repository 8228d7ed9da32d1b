//! Signals of the server that nobody has taken yet.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wwr::Content;

/// How many signals wait until they are taken. Further ones are dropped.
const MOST: usize = 1024;

/// How many bytes of them; one signal may always wait.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// The signals that wait, for threads that take them.
#[derive(Debug, Default)]
pub(super) struct Signals {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    signals: VecDeque<Content>,
    bytes: usize,
    missed: u64,
    has_ended: bool,
}

/// The end at which signals come. Dropping it ends all waits.
#[derive(Debug)]
pub(super) struct Source(Arc<Signals>);

impl Signals {
    pub(super) fn new() -> (Source, Arc<Self>) {
        let signals = Arc::<Self>::default();
        (Source(signals.clone()), signals)
    }

    /// Waits for the next one. Nobody else is held up meanwhile.
    pub(super) fn next(&self, timeout: Duration) -> Option<Content> {
        let is_to_wait = |waiting: &mut Waiting| waiting.signals.is_empty() && !waiting.has_ended;
        let waited = self.changed.wait_timeout_while(self.lock(), timeout, is_to_wait);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let signal = waiting.signals.pop_front()?;
        waiting.bytes -= size(&signal);
        Some(signal)
    }

    /// Returns how many were dropped.
    pub(super) fn missed(&self) -> u64 {
        self.lock().missed
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source {
    /// Adds one, or drops it if too much waits.
    pub(super) fn push(&self, signal: Content) {
        let mut waiting = self.0.lock();
        let bytes = waiting.bytes + size(&signal);
        let fits = waiting.signals.len() < MOST && bytes <= MOST_BYTES;
        if !fits && !waiting.signals.is_empty() {
            waiting.missed += 1;
            return;
        }
        waiting.bytes = bytes;
        waiting.signals.push_back(signal);
        drop(waiting);
        self.0.changed.notify_one();
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.0.lock().has_ended = true;
        self.0.changed.notify_all();
    }
}

fn size(signal: &Content) -> usize {
    signal.name().len() + signal.payload().len()
}
