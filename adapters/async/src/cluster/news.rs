//! Where news wait for their node.

use core::mem::size_of;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use event_listener::Event;
use wwr::cluster::{Audience, News};

/// A bounded queue of news of one node, for engines. It never grows beyond its bounds: what does not fit is dropped
/// and counted, and the node is told [`News::Interrupted`] in its place.
///
/// ```
/// use core::num::NonZeroU64;
/// use wwr_async::cluster::{Audience, Epoch, News, NewsQueue};
///
/// let queue = NewsQueue::new(2, 1000);
/// let from = Epoch(NonZeroU64::MIN);
/// for number in 0..3 {
///     queue.push(News::Message { from, to: Audience::All, message: vec![number].into() });
/// }
/// assert_eq!(queue.dropped(), 1);
/// assert!(matches!(queue.try_next(), Some(News::Message { .. })));
/// assert!(matches!(queue.try_next(), Some(News::Message { .. })));
/// assert_eq!(queue.try_next(), Some(News::Interrupted));
/// assert_eq!(queue.try_next(), None);
/// ```
#[derive(Debug)]
pub struct NewsQueue {
    state: Mutex<State>,
    changed: Event,
    max_news: usize,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    news: VecDeque<News>,
    bytes: usize,
    /// Some were dropped after those that wait.
    has_gap: bool,
    dropped: u64,
    is_closed: bool,
}

impl NewsQueue {
    /// Creates an empty queue for this many news, which take this many bytes together.
    pub fn new(max_news: usize, max_bytes: usize) -> Self {
        Self { state: Mutex::default(), changed: Event::new(), max_news, max_bytes }
    }

    /// Adds news, or drops it if there is no room. Two [`News::Interrupted`] in a row are one.
    pub fn push(&self, news: News) {
        let mut state = self.lock();
        if state.is_closed {
            return;
        }
        if news == News::Interrupted {
            state.has_gap = true;
        } else {
            let gap = usize::from(state.has_gap);
            let bytes = state.bytes.saturating_add(size(&news) + gap * size(&News::Interrupted));
            if state.news.len() + gap >= self.max_news || bytes > self.max_bytes {
                state.has_gap = true;
                state.dropped = state.dropped.saturating_add(1);
            } else {
                if core::mem::take(&mut state.has_gap) {
                    state.news.push_back(News::Interrupted);
                }
                state.bytes = bytes;
                state.news.push_back(news);
            }
        }
        drop(state);
        self.changed.notify(1);
    }

    /// Takes the next news. `None` if none waits.
    pub fn try_next(&self) -> Option<News> {
        let mut state = self.lock();
        if state.is_closed {
            return None;
        }
        let Some(news) = state.news.pop_front() else {
            return core::mem::take(&mut state.has_gap).then_some(News::Interrupted);
        };
        state.bytes -= size(&news);
        Some(news)
    }

    /// Waits for the next news. `None` once the queue is closed.
    pub async fn next(&self) -> Option<News> {
        loop {
            let changed = self.changed.listen();
            if let Some(news) = self.try_next() {
                return Some(news);
            }
            if self.lock().is_closed {
                return None;
            }
            changed.await;
        }
    }

    /// Ends the queue. What waits in it is dropped.
    pub fn close(&self) {
        *self.lock() = State { is_closed: true, ..State::default() };
        self.changed.notify(usize::MAX);
    }

    /// Returns how many news were dropped because there was no room.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is called meanwhile can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much memory news takes.
fn size(news: &News) -> usize {
    let more = match news {
        News::Changed { key, .. } | News::Closed { key, .. } | News::Appended { key, .. } => {
            key.as_str().len()
        }
        News::Message { to, message, .. } => {
            message.len()
                + match to {
                    Audience::Session(key) => key.as_str().len(),
                    Audience::Group(name) => name.len(),
                    Audience::All => 0,
                }
        }
        News::Interrupted => 0,
    };
    size_of::<News>() + more
}
