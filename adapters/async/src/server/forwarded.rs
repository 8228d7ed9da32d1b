//! What becomes of a signal on the other nodes of a cluster.

use std::fmt;
use std::sync::{Arc, OnceLock};

use event_listener::Event;
use wwr::cluster::SendOutcome;

/// A signal that is passed on to the other nodes of a [cluster](super::Builder::cluster). Each of them gets it at
/// most once, and passes it on to the connections that it has.
///
/// ```
/// use wwr_async::cluster::SendOutcome;
/// use wwr_async::server::ServerHandle;
/// use wwr_async::InvalidSignal;
///
/// async fn announce(server: &ServerHandle, news: &str) -> Result<(), InvalidSignal> {
///     let told = server.group("news").signal("news", news.to_owned())?;
///     // `None`: this server is no node of several.
///     if let Some(forwarded) = told.forwarded
///         && !matches!(forwarded.outcome().await, SendOutcome::Sent { .. })
///     {
///         println!("{} clients of this node have it, and those of others do not", told.sent);
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Forwarded(Arc<Shared>);

struct Shared {
    outcome: OnceLock<SendOutcome>,
    known: Event,
}

/// Tells the outcome of a [`Forwarded`] signal. If it is dropped, that is not known.
pub(super) struct Outcome(Arc<Shared>);

impl Forwarded {
    pub(super) fn new() -> (Self, Outcome) {
        let shared = Arc::new(Shared { outcome: OnceLock::new(), known: Event::new() });
        (Self(shared.clone()), Outcome(shared))
    }

    /// Waits until it is known what became of the signal: at most for as long as messages may wait and the engine may
    /// take to answer ([`ClusterConfig`](crate::cluster::ClusterConfig)).
    pub async fn outcome(&self) -> SendOutcome {
        loop {
            let known = self.0.known.listen();
            if let Some(outcome) = self.try_outcome() {
                return outcome;
            }
            known.await;
        }
    }

    /// Returns what became of the signal, if that is known by now.
    pub fn try_outcome(&self) -> Option<SendOutcome> {
        self.0.outcome.get().copied()
    }
}

impl Outcome {
    pub(super) fn is(self, outcome: SendOutcome) {
        // It is told once.
        let _ = self.0.outcome.set(outcome);
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        self.0.outcome.get_or_init(|| SendOutcome::Unknown);
        self.0.known.notify(usize::MAX);
    }
}

/// Those of one signal are equal.
impl PartialEq for Forwarded {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Forwarded {}

impl fmt::Debug for Forwarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Forwarded").field(&self.try_outcome()).finish()
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_told_to_all_and_never_stay_open() {
        let (forwarded, outcome) = Forwarded::new();
        let other = forwarded.clone();
        assert_eq!((forwarded.try_outcome(), &other), (None, &forwarded));
        outcome.is(SendOutcome::Sent { nodes: 2 });
        assert_eq!(smol::block_on(other.outcome()), SendOutcome::Sent { nodes: 2 });
        assert_eq!(smol::block_on(forwarded.outcome()), SendOutcome::Sent { nodes: 2 });
        let (forwarded, outcome) = Forwarded::new();
        assert_ne!(forwarded, other);
        drop(outcome);
        assert_eq!(smol::block_on(forwarded.outcome()), SendOutcome::Unknown);
    }
}
