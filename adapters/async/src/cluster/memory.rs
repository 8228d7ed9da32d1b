//! An engine in the memory of this process.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wwr::cluster::{Answer, Epoch, MemoryEngine, News, Request};
use wwr::{Instant, UnixTime};

use super::{Engine, EngineError, NewsQueue};
use crate::clock::Clock;

/// How many news may wait for a node, and how many bytes of them.
const MAX_NEWS: usize = 10_000;
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// An engine for nodes in one process: threads with a server each, and tests. Clones are the same engine.
#[derive(Clone)]
pub struct MemoryCluster {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    /// How long after 1970 the epoch of the clock was.
    started: Duration,
    state: Mutex<State>,
}

struct State {
    engine: MemoryEngine,
    /// The nodes that have entered, and are not known to be dead.
    queues: BTreeMap<Epoch, Arc<NewsQueue>>,
}

impl MemoryCluster {
    /// Creates an engine without data.
    pub fn new() -> Self {
        Self::with_clock(Clock::new())
    }

    /// Creates an engine without data whose leases go by this clock, for example that of a
    /// [runtime](crate::Runtime::clock) with virtual time.
    pub fn with_clock(clock: Clock) -> Self {
        let unix = clock.unix_now().saturating_since(UnixTime::from_seconds(0));
        let started = unix.saturating_sub(clock.now().saturating_since(Instant::EPOCH));
        let state = State { engine: MemoryEngine::new(), queues: BTreeMap::new() };
        Self { shared: Arc::new(Shared { clock, started, state: Mutex::new(state) }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A request is carried out as a whole, or has panicked.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Begins the queue of a node.
    fn entered(&mut self, epoch: Epoch) {
        let queue = NewsQueue::new(MAX_NEWS, MAX_BYTES);
        queue.push(News::Interrupted);
        self.queues.insert(epoch, Arc::new(queue));
    }

    /// Ends the queues of nodes.
    fn ended(&mut self, is_over: impl Fn(Epoch) -> bool) {
        self.queues.retain(|epoch, queue| {
            let ends = is_over(*epoch);
            if ends {
                queue.close();
            }
            !ends
        });
    }
}

impl Engine for MemoryCluster {
    async fn perform(&self, request: Request) -> Result<Answer, EngineError> {
        let now = self.shared.clock.now() + self.shared.started;
        let enters = matches!(request, Request::Enter { .. });
        let ending = match &request {
            Request::Renew { epoch, .. } | Request::Retire { epoch } => Some(*epoch),
            _ => None,
        };
        let mut news = Vec::new();
        let mut state = self.lock();
        let answer = state.engine.perform(now, request, &mut news);
        match &answer {
            Answer::Lease(lease) => {
                let membership = lease.membership();
                state.ended(|epoch| membership.is_dead(epoch));
                if enters {
                    state.entered(lease.epoch);
                }
            }
            Answer::Dead | Answer::Done => state.ended(|epoch| Some(epoch) == ending),
            Answer::Session(_)
            | Answer::WithHistory { .. }
            | Answer::History(_)
            | Answer::Outcome(_)
            | Answer::Sent { .. }
            | Answer::Failed => {}
        }
        for (epoch, news) in news {
            if let Some(queue) = state.queues.get(&epoch) {
                queue.push(news);
            }
        }
        Ok(answer)
    }

    async fn next_news(&self, epoch: Epoch) -> Option<News> {
        let queue = self.lock().queues.get(&epoch).cloned()?;
        queue.next().await
    }
}

impl Default for MemoryCluster {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryCluster").finish_non_exhaustive()
    }
}
