//! What a node hears.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use redis::{PushInfo, PushKind, Value};
use wwr_async::cluster::{NewsQueue, SessionAnswer, SessionRequest, Step};
use wwr_async::{SessionKey, cluster::News};

use super::wire;
use crate::source::Lost;

/// How many news may wait for the node, and how many bytes of them.
const MAX_NEWS: usize = 10_000;
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// The news of a node, and the keys of the sessions that they may be about: news have digests of keys.
pub(super) struct Ears {
    pub(super) queue: NewsQueue,
    /// By digest. Those of which the node has places, and those about which it is just asking.
    keys: Mutex<HashMap<String, Known>>,
}

struct Known {
    key: SessionKey,
    has_places: bool,
    /// The request that said so.
    number: u64,
    /// How many requests are under way.
    asking: usize,
}

impl Ears {
    pub(super) fn new() -> Self {
        Self { queue: NewsQueue::new(MAX_NEWS, MAX_BYTES), keys: Mutex::default() }
    }

    /// Takes what a connection was told.
    pub(super) fn hear(&self, push: PushInfo, lost: &Lost) {
        if lost.get() {
            return;
        }
        match (push.kind, push.data.into_iter().next_back()) {
            // What comes after this is heard.
            (PushKind::Subscribe, _) => self.queue.push(News::Interrupted),
            (PushKind::Message, Some(Value::BulkString(news))) => {
                let key = |digest: &str| self.lock().get(digest).map(|known| known.key.clone());
                match wire::read(Bytes::from(news), key) {
                    Some(news) => self.queue.push(news),
                    None => tracing::trace!("left out news that do not concern this node"),
                }
            }
            // The engine does so if the permissions of its user were changed.
            (PushKind::Disconnection | PushKind::Unsubscribe, _) => lost.set(),
            _ => {}
        }
    }

    /// Remembers the key of a session while a request about it is under way.
    pub(super) fn asking(&self, digest: &str, key: &SessionKey) -> Asking<'_> {
        let mut keys = self.lock();
        let known = keys.entry(digest.into()).or_insert_with(|| Known {
            key: key.clone(),
            has_places: false,
            number: 0,
            asking: 0,
        });
        known.asking += 1;
        Asking { ears: self, digest: digest.into() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        // Nothing that is called meanwhile can panic.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is under way.
pub(super) struct Asking<'a> {
    ears: &'a Ears,
    digest: String,
}

impl Asking<'_> {
    /// Takes the answer.
    pub(super) fn answered(&self, request: &SessionRequest, answer: &SessionAnswer) {
        let Some(has_places) = has_places(&request.step, answer) else { return };
        let mut keys = self.ears.lock();
        if let Some(known) = keys.get_mut(&self.digest)
            && request.number >= known.number
        {
            known.number = request.number;
            known.has_places = has_places;
        }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut keys = self.ears.lock();
        if let Some(known) = keys.get_mut(&self.digest) {
            known.asking -= 1;
            if known.asking == 0 && !known.has_places {
                keys.remove(&self.digest);
            }
        }
    }
}

/// Returns whether the node has places after this answer. `None` if that is as before.
const fn has_places(step: &Step, answer: &SessionAnswer) -> Option<bool> {
    match answer {
        SessionAnswer::Created
        | SessionAnswer::Found { .. }
        | SessionAnswer::Placed
        | SessionAnswer::Same => match step {
            Step::Create { places, .. }
            | Step::Join { places, .. }
            | Step::Place { places }
            | Step::Confirm { places, .. } => Some(*places > 0),
            Step::Close | Step::CloseForAll { .. } | Step::Edit { .. } => None,
        },
        SessionAnswer::NotFound
        | SessionAnswer::Closed
        | SessionAnswer::Detached
        | SessionAnswer::Fenced => Some(false),
        SessionAnswer::LimitReached => match step {
            Step::Confirm { .. } => Some(false),
            _ => None,
        },
        SessionAnswer::Exists
        | SessionAnswer::Changed
        | SessionAnswer::Edited { .. }
        | SessionAnswer::Overtaken
        | SessionAnswer::Failed => None,
    }
}

#[cfg(test)]
mod tests {
    use wwr_async::cluster::{Epoch, Membership};

    use super::*;

    #[test]
    fn keys_are_known_for_as_long_as_there_are_places() {
        let ears = Ears::new();
        let key = SessionKey::new("k").unwrap();
        let request = |number, places| SessionRequest {
            key: key.clone(),
            epoch: Epoch(core::num::NonZeroU64::MIN),
            number,
            membership: Membership::default(),
            history: None,
            step: Step::Place { places },
        };
        let count = || ears.lock().len();
        // A request that fails leaves nothing behind.
        drop(ears.asking("d", &key));
        assert_eq!(count(), 0);
        // Answers may arrive in another order than requests were made.
        let (first, second) = (ears.asking("d", &key), ears.asking("d", &key));
        second.answered(&request(2, 0), &SessionAnswer::Placed);
        drop(second);
        assert_eq!(count(), 1);
        first.answered(&request(1, 1), &SessionAnswer::Placed);
        drop(first);
        assert_eq!(count(), 0);
        ears.asking("d", &key).answered(&request(3, 1), &SessionAnswer::Placed);
        drop(ears.asking("d", &key));
        assert_eq!(count(), 1);
        ears.asking("d", &key).answered(&request(4, 1), &SessionAnswer::Fenced);
        assert_eq!(count(), 0);
    }
}
