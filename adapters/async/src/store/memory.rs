//! Sessions in memory.

use core::fmt;
use core::time::Duration;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use wwr::{Session, SessionInfo, SessionKey, UnixTime};

use super::{Removed, SessionStore, StoreError, is_stale};

/// Stores sessions in memory. They are lost when the process ends.
///
/// Grows with every session until it is destroyed or [expires](SessionStore::remove_expired). A server
/// whose `hub.expiry` is not set says so in the log, with the first session. To
/// use a store that was passed to a server, put it into an [`Arc`](std::sync::Arc), which is a
/// store, too.
#[derive(Default)]
pub struct MemoryStore {
    sessions: Mutex<HashMap<SessionKey, Session>>,
}

impl MemoryStore {
    /// Creates a store without sessions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns how many sessions are stored.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Returns whether no session is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionKey, Session>> {
        // Every change is a single call of the map: a panic elsewhere leaves it whole.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionStore for MemoryStore {
    async fn create(&self, session: &Session) -> Result<(), StoreError> {
        match self.lock().entry(session.key.clone()) {
            Entry::Occupied(_) => Err(StoreError::key_exists(&session.key)),
            Entry::Vacant(vacant) => {
                vacant.insert(session.clone());
                Ok(())
            }
        }
    }

    async fn look_up(
        &self,
        key: &SessionKey,
        now: UnixTime,
    ) -> Result<Option<Session>, StoreError> {
        Ok(self.lock().get_mut(key).map(|session| {
            let found = session.clone();
            session.last_lookup = now;
            found
        }))
    }

    async fn update(&self, key: &SessionKey, info: &SessionInfo) -> Result<bool, StoreError> {
        let mut sessions = self.lock();
        let Some(session) = sessions.get_mut(key) else { return Ok(false) };
        session.info = info.clone();
        Ok(true)
    }

    async fn destroy(&self, key: &SessionKey) -> Result<(), StoreError> {
        self.lock().remove(key);
        Ok(())
    }

    async fn remove_expired(
        &self,
        now: UnixTime,
        unused_for: Duration,
    ) -> Result<Removed, StoreError> {
        let mut sessions = self.lock();
        let examined = sessions.len();
        sessions.retain(|_, session| !is_stale(session, now, unused_for));
        let removed = examined - sessions.len();
        Ok(Removed { examined: examined as u64, removed: removed as u64, ..Default::default() })
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("sessions", &self.len()).finish()
    }
}
