//! The storage of sessions while no client is connected.

mod error;
mod file;
mod memory;
mod shared;
#[cfg(test)]
mod tests;

use core::future::Future;
use core::time::Duration;
use std::sync::Arc;

use wwr::{Session, SessionInfo, SessionKey, UnixTime};

pub use error::{ShortKey, StoreError, StoreErrorKind};
pub use file::FileStore;
pub use memory::MemoryStore;
pub use shared::SharedStore;

/// Stores sessions, so that clients can restore them by key (protocol §3.3).
///
/// Calls for one key may come at the same time and in any order. Whatever the order, a destroyed
/// session stays destroyed: a look-up that runs beside [`destroy`](Self::destroy) may find the
/// session or not, but must not bring it back. A call whose future is dropped has either happened
/// or not, never half.
///
/// The servers of this crate do not change the info of a session while they look it up or destroy it. Where
/// several servers share a store, a look-up must not undo an [`update`](Self::update) that runs beside it.
///
/// Implementations write the methods as `async fn`; their futures must be [`Send`]. Keys come from
/// clients: they have the format of the server's key generator, and are otherwise unchecked.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::{Mutex, PoisonError};
///
/// use wwr_async::{Session, SessionInfo, SessionKey, UnixTime};
/// use wwr_async::{SessionStore, StoreError};
///
/// #[derive(Default)]
/// struct Table(Mutex<HashMap<SessionKey, Session>>);
///
/// impl SessionStore for Table {
///     async fn create(&self, session: &Session) -> Result<(), StoreError> {
///         let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
///         if table.contains_key(&session.key) {
///             return Err(StoreError::key_exists(&session.key));
///         }
///         table.insert(session.key.clone(), session.clone());
///         Ok(())
///     }
///
///     async fn look_up(
///         &self,
///         key: &SessionKey,
///         now: UnixTime,
///     ) -> Result<Option<Session>, StoreError> {
///         let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
///         let Some(session) = table.get_mut(key) else { return Ok(None) };
///         let found = session.clone();
///         session.last_lookup = now;
///         Ok(Some(found))
///     }
///
///     async fn update(&self, key: &SessionKey, info: &SessionInfo) -> Result<bool, StoreError> {
///         let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
///         let Some(session) = table.get_mut(key) else { return Ok(false) };
///         session.info = info.clone();
///         Ok(true)
///     }
///
///     async fn destroy(&self, key: &SessionKey) -> Result<(), StoreError> {
///         self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
///         Ok(())
///     }
/// }
///
/// # smol::block_on(async {
/// let table = Table::default();
/// let key = SessionKey::from_entropy([7; 48]);
/// let created = UnixTime::from_seconds(100);
/// table.create(&Session::new(key.clone(), created, SessionInfo::new())).await?;
/// let found = table.look_up(&key, UnixTime::from_seconds(200)).await?;
/// assert_eq!(found.map(|session| session.last_lookup), Some(created));
/// # Ok::<(), StoreError>(())
/// # }).unwrap();
/// ```
pub trait SessionStore: Send + Sync + 'static {
    /// Stores a new session.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::KeyExists`] if a session has this key already, which is left as it is;
    /// [`StoreErrorKind::InvalidKey`] if this store cannot keep such a key;
    /// [`StoreErrorKind::Failed`] if the session could not be written.
    fn create(&self, session: &Session) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Finds a session and records `now` as the time of its last look-up. The returned session has
    /// the time of the look-up **before**. `None` if there is no such session.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Broken`] if the stored data is not a session, which is left as it is;
    /// [`StoreErrorKind::Failed`] if it could not be read. A store may also fail if it cannot
    /// record the time, but should rather return the session.
    fn look_up(
        &self,
        key: &SessionKey,
        now: UnixTime,
    ) -> impl Future<Output = Result<Option<Session>, StoreError>> + Send;

    /// Replaces the info of a session, and nothing else of it. Returns whether there is such a session: one
    /// that was destroyed must not come back.
    ///
    /// By default, this is an error, so that [`Connection::update_session`] fails. Everything else works
    /// without it, and so does an edit with a [new key](crate::server::SessionEdit::new_key).
    ///
    /// [`Connection::update_session`]: crate::server::Connection::update_session
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Broken`] if the stored data is not a session, which is left as it is;
    /// [`StoreErrorKind::Failed`] if it could not be read or written;
    /// [`StoreErrorKind::Unsupported`] if this store cannot do it.
    fn update(
        &self,
        key: &SessionKey,
        info: &SessionInfo,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send {
        let _ = (key, info);
        async {
            let message = "the session store cannot change the info of sessions; implement \
                           SessionStore::update for it";
            Err(StoreError::new(StoreErrorKind::Unsupported, message))
        }
    }

    /// Removes a session, if there is one. Once this returns, it cannot be looked up.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Failed`] if it could not be removed.
    fn destroy(&self, key: &SessionKey) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Removes the sessions whose last look-up (or creation, if they were never looked up) lies
    /// more than `unused_for` before `now`. A session that is looked up meanwhile stays.
    ///
    /// By default, this does nothing: for stores in which sessions expire by themselves.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Failed`] if the sessions could not be listed. A session that cannot be
    /// read or removed does not stop the others: it is counted.
    fn remove_expired(
        &self,
        now: UnixTime,
        unused_for: Duration,
    ) -> impl Future<Output = Result<Removed, StoreError>> + Send {
        let _ = (now, unused_for);
        async { Ok(Removed::default()) }
    }
}

/// What [`SessionStore::remove_expired`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many sessions there were, including those of the other counts.
    pub examined: u64,
    /// How many of them were removed.
    pub removed: u64,
    /// How many of them could not be read or removed, and stayed.
    pub failed: u64,
    /// How many files of unfinished writes were removed. They are not sessions.
    pub leftovers: u64,
}

/// Returns when a session was last used: its last look-up, or its creation if it was never looked
/// up.
fn last_use(session: &Session) -> UnixTime {
    session.last_lookup.max(session.created)
}

/// Returns whether a session has expired.
fn is_stale(session: &Session, now: UnixTime, unused_for: Duration) -> bool {
    now.saturating_since(last_use(session)) > unused_for
}

impl<S: SessionStore> SessionStore for Arc<S> {
    async fn create(&self, session: &Session) -> Result<(), StoreError> {
        S::create(self, session).await
    }

    async fn look_up(
        &self,
        key: &SessionKey,
        now: UnixTime,
    ) -> Result<Option<Session>, StoreError> {
        S::look_up(self, key, now).await
    }

    async fn update(&self, key: &SessionKey, info: &SessionInfo) -> Result<bool, StoreError> {
        S::update(self, key, info).await
    }

    async fn destroy(&self, key: &SessionKey) -> Result<(), StoreError> {
        S::destroy(self, key).await
    }

    async fn remove_expired(
        &self,
        now: UnixTime,
        unused_for: Duration,
    ) -> Result<Removed, StoreError> {
        S::remove_expired(self, now, unused_for).await
    }
}
