//! The jobs of the session store.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_channel::oneshot;
use wwr::server::{Job, StoreAnswer, Work};
use wwr::session::StoreFailed;
use wwr::{Session, SessionKey};

use super::Hub;
use crate::clock::Clock;
use crate::panics::caught_async;
use crate::store::{Removed, SessionStore, ShortKey, StoreError, StoreErrorKind};

impl Hub {
    /// Lets the store do a job, in a task of its own, and reports the answer to the hub, even if
    /// the connection that asked has gone by then. `given_up` ends when the hub no longer waits for
    /// the answer.
    pub(super) async fn work(self: Arc<Self>, job: Job, given_up: oneshot::Receiver<()>) {
        let Job { id, work } = job;
        let store = &self.store;
        #[cfg(feature = "metrics")]
        let (asked, operation) = (std::time::Instant::now(), operation(&work));
        let answer = async {
            match &work {
                Work::LookUp(key) => {
                    let found = async {
                        let found = store.look_up(key, self.clock.unix_now()).await?;
                        found.map(readable).transpose()
                    };
                    let found = self.ask_store("look up", Some(key), found).await;
                    StoreAnswer::LookedUp(found.map(|session| session.map(Box::new)))
                }
                Work::Create(session) => {
                    self.note_growth();
                    let created = store.create(session);
                    let key = Some(&session.key);
                    StoreAnswer::Created(self.ask_store("create", key, created).await)
                }
                Work::Update(update) => {
                    let updated = store.update(&update.key, &update.info);
                    let key = Some(&update.key);
                    StoreAnswer::Updated(self.ask_store("update", key, updated).await)
                }
                Work::Destroy(key) => {
                    let destroyed = store.destroy(key);
                    StoreAnswer::Destroyed(self.ask_store("destroy", Some(key), destroyed).await)
                }
                Work::Expire { unused_for, at } => {
                    let ago = self.clock.now().saturating_since(*at);
                    let now = self.clock.system_time();
                    let then = Clock::unix_time(now.checked_sub(ago).unwrap_or(now));
                    let expired = store.remove_expired(then, *unused_for);
                    let expired = self.ask_store("remove expired sessions", None, expired).await;
                    StoreAnswer::Expired(expired.map(|expired| note_expired(&expired)))
                }
            }
        };
        let too_late = async {
            // Always an error, because nothing is ever sent.
            let _ = given_up.await;
            None
        };
        let answer = futures_lite::future::or(async { Some(answer.await) }, too_late).await;
        #[cfg(feature = "metrics")]
        crate::server::metrics::store_took(operation, asked.elapsed());
        match answer {
            Some(answer) => {
                self.lock().running.remove(&id);
                self.call(|machine, now, out| machine.answered(now, id, answer, out));
            }
            None => self.note_missing_answer(&work),
        }
    }

    /// Waits for the store, and logs its errors through a throttle.
    async fn ask_store<T>(
        &self,
        operation: &'static str,
        key: Option<&SessionKey>,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreFailed> {
        guard(work).await.map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            // Clients can cause the same failure again and again.
            if let Some(failures) = self.store_failures.count(self.clock.now()) {
                let session = key.map(|key| ShortKey(key).to_string());
                tracing::error!(
                    failures, operation, session, %error, cause,
                    "the session store failed"
                );
            }
            StoreFailed
        })
    }

    /// Warns once, with the first session, so that servers without sessions are not warned.
    fn note_growth(&self) {
        if self.grows.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                "sessions stay in memory until they are closed or the process ends; set hub.expiry, so that \
                 unused ones are removed"
            );
        }
    }

    fn note_missing_answer(&self, work: &Work) {
        let (operation, key) = match work {
            Work::LookUp(key) => ("look up", Some(key)),
            Work::Create(session) => ("create", Some(&session.key)),
            Work::Update(update) => ("update", Some(&update.key)),
            Work::Destroy(key) => ("destroy", Some(key)),
            Work::Expire { .. } => ("remove expired sessions", None),
        };
        if let Some(failures) = self.store_failures.count(self.clock.now()) {
            let session = key.map(|key| ShortKey(key).to_string());
            tracing::error!(
                failures, operation, session, store_timeout = ?self.store_timeout,
                "the session store does not answer"
            );
        }
    }
}

/// Returns the name of what the store has to do, for metrics.
#[cfg(feature = "metrics")]
const fn operation(work: &Work) -> &'static str {
    match work {
        Work::LookUp(_) => "look_up",
        Work::Create(_) => "create",
        Work::Update(_) => "update",
        Work::Destroy(_) => "destroy",
        Work::Expire { .. } => "expire",
    }
}

fn note_expired(expired: &Removed) {
    let Removed { examined, removed, failed, leftovers } = *expired;
    if (removed, failed, leftovers) == (0, 0, 0) {
        tracing::debug!(examined, "no expired sessions");
    } else {
        tracing::info!(examined, removed, failed, leftovers, "expired sessions removed");
    }
}

/// Returns the session, if clients can read it. The registry refuses others too, but does not say
/// why.
fn readable(session: Session) -> Result<Session, StoreError> {
    match session.check() {
        Ok(()) => Ok(session),
        Err(invalid) => {
            let key = ShortKey(&session.key);
            let message = format!(
                "clients cannot read the session {key} that the store found: nest its info less \
                 deeply, and make it shorter"
            );
            Err(StoreError::new(StoreErrorKind::Broken, message).with_source(invalid))
        }
    }
}

/// Turns a panic of the store into an error.
async fn guard<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    caught_async(|| work).await.unwrap_or_else(|panic| {
        let message = format!("the session store panicked: {panic}");
        Err(StoreError::new(StoreErrorKind::Failed, message))
    })
}
