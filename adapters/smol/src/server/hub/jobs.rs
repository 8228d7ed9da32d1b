//! What the store is to do for the registry.

use std::sync::Arc;
use std::time::Duration;

use wwr::session::{StoreFailed, Ticket};
use wwr::{Session, SessionKey};

use super::{Hub, lock};
use crate::clock::{Clock, sleep};
use crate::server::panics::caught_async;
use crate::store::{SessionStore, ShortKey, StoreError, StoreErrorKind};

/// Something the store is to do.
#[derive(Debug)]
pub(super) enum Job {
    Lookup(Ticket, SessionKey),
    Store(Ticket, Box<Session>),
    Destroy(Ticket, SessionKey),
}

impl Hub {
    /// Has the store do jobs, each in a task of its own: the registry has to hear of the end also
    /// if the connection that asked is gone by then.
    pub(super) fn start(self: &Arc<Self>, jobs: Vec<Job>) {
        for job in jobs {
            let hub = self.clone();
            self.spawn(async move { hub.work(job).await });
        }
    }

    /// Has the store do a job and tells the registry.
    async fn work(self: Arc<Self>, job: Job) {
        let (key, answer) = match job {
            Job::Lookup(ticket, key) => {
                let found = async {
                    let found = self.store.look_up(&key, Clock::unix_now()).await?;
                    found.map(readable).transpose()
                };
                let found = self.ask_store(Asked::about("look up", &key), found).await;
                (key, Answer::Lookup(ticket, found.map(|session| session.map(Box::new))))
            }
            Job::Store(ticket, session) => {
                let asked = Asked::about("create", &session.key);
                let stored = self.ask_store(asked, self.store.create(&session)).await;
                (session.key.clone(), Answer::Store(ticket, stored))
            }
            Job::Destroy(ticket, key) => {
                let asked = Asked::about("destroy", &key);
                let destroyed = self.ask_store(asked, self.store.destroy(&key)).await;
                (key, Answer::Destroy(ticket, destroyed))
            }
        };
        let ((), jobs) = self.consult(|registry, effects| {
            let destroyed = match &answer {
                Answer::Destroy(_, destroyed) => *destroyed,
                Answer::Lookup(..) | Answer::Store(..) => Ok(()),
            };
            match answer {
                Answer::Lookup(ticket, found) => registry.looked_up(ticket, found, effects),
                Answer::Store(ticket, stored) => registry.stored(ticket, stored, effects),
                Answer::Destroy(ticket, destroyed) => {
                    registry.destroyed(ticket, destroyed, effects);
                }
            }
            if !registry.is_closing(&key) {
                for closer in lock(&self.closers).remove(&key).unwrap_or_default() {
                    // The caller may have lost interest.
                    let _ = closer.send(destroyed);
                }
            }
        });
        self.start(jobs);
    }

    /// Waits for the store, but not for ever, and logs its errors now and then.
    pub(super) async fn ask_store<T>(
        &self,
        asked: Asked<'_>,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreFailed> {
        self.ask_store_within(self.store_timeout, asked, work).await
    }

    /// The same for work that takes longer.
    pub(super) async fn ask_store_within<T>(
        &self,
        limit: Duration,
        asked: Asked<'_>,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreFailed> {
        // Clients can cause what fails again and again.
        let failures = || self.store_failures.count(self.clock.now());
        let Asked { operation, key } = asked;
        let session = || key.map(|key| ShortKey(key).to_string());
        let in_time = async {
            guard(work).await.map_err(|error| {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                if let Some(failures) = failures() {
                    let session = session();
                    tracing::error!(
                        failures, operation, session, %error, cause,
                        "the session store failed"
                    );
                }
            })
        };
        let too_late = async {
            sleep(limit).await;
            if let Some(failures) = failures() {
                let session = session();
                tracing::error!(
                    failures, operation, session, after = ?limit,
                    "the session store does not answer"
                );
            }
            Err(())
        };
        smol::future::or(in_time, too_late).await.map_err(|()| StoreFailed)
    }
}

/// What the store is asked for, for the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    operation: &'static str,
    /// The session that it is about, if it is about one.
    key: Option<&'a SessionKey>,
}

impl<'a> Asked<'a> {
    pub(super) const fn about(operation: &'static str, key: &'a SessionKey) -> Self {
        Self { operation, key: Some(key) }
    }

    pub(super) const fn about_all(operation: &'static str) -> Self {
        Self { operation, key: None }
    }
}

/// What the store answered.
enum Answer {
    Lookup(Ticket, Result<Option<Box<Session>>, StoreFailed>),
    Store(Ticket, Result<(), StoreFailed>),
    Destroy(Ticket, Result<(), StoreFailed>),
}

/// The session, if clients can read it. The registry refuses others too, but does not say why.
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

/// Makes a panic of the store an error of it.
async fn guard<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    caught_async(|| work).await.unwrap_or_else(|panic| {
        let message = format!("the session store panicked: {panic}");
        Err(StoreError::new(StoreErrorKind::Failed, message))
    })
}
