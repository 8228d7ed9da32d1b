//! A store whose type is only known at run time.

use core::any::Any;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::time::Duration;
use std::sync::Arc;

use wwr::{Session, SessionInfo, SessionKey, UnixTime};

use super::{MemoryStore, Removed, SessionStore, StoreError};

type Outcome<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What [`SessionStore`] would be if futures of unknown type could be returned from a `dyn` trait.
trait ErasedStore: Send + Sync {
    fn create_boxed<'a>(&'a self, session: &'a Session) -> Outcome<'a, ()>;
    fn look_up_boxed<'a>(
        &'a self,
        key: &'a SessionKey,
        now: UnixTime,
    ) -> Outcome<'a, Option<Session>>;
    fn update_boxed<'a>(&'a self, key: &'a SessionKey, info: &'a SessionInfo) -> Outcome<'a, bool>;
    fn destroy_boxed<'a>(&'a self, key: &'a SessionKey) -> Outcome<'a, ()>;
    fn remove_expired_boxed(&self, now: UnixTime, unused_for: Duration) -> Outcome<'_, Removed>;
    fn as_any(&self) -> &dyn Any;
}

impl<S: SessionStore> ErasedStore for S {
    fn create_boxed<'a>(&'a self, session: &'a Session) -> Outcome<'a, ()> {
        Box::pin(self.create(session))
    }

    fn look_up_boxed<'a>(
        &'a self,
        key: &'a SessionKey,
        now: UnixTime,
    ) -> Outcome<'a, Option<Session>> {
        Box::pin(self.look_up(key, now))
    }

    fn update_boxed<'a>(&'a self, key: &'a SessionKey, info: &'a SessionInfo) -> Outcome<'a, bool> {
        Box::pin(self.update(key, info))
    }

    fn destroy_boxed<'a>(&'a self, key: &'a SessionKey) -> Outcome<'a, ()> {
        Box::pin(self.destroy(key))
    }

    fn remove_expired_boxed(&self, now: UnixTime, unused_for: Duration) -> Outcome<'_, Removed> {
        Box::pin(self.remove_expired(now, unused_for))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Any store, with its type erased: for a choice made at run time. Clones share the store.
///
/// ```
/// use wwr_async::{FileStore, MemoryStore, Runtime, SharedStore, StoreError};
///
/// async fn choose<R: Runtime + Default>(
///     directory: Option<&str>,
/// ) -> Result<SharedStore, StoreError> {
///     Ok(match directory {
///         Some(directory) => SharedStore::new(FileStore::<R>::open(directory).await?),
///         None => SharedStore::new(MemoryStore::new()),
///     })
/// }
/// ```
#[derive(Clone)]
pub struct SharedStore(Arc<dyn ErasedStore>);

impl SharedStore {
    /// Erases the type of `store`.
    pub fn new(store: impl SessionStore) -> Self {
        Self(Arc::new(store))
    }

    /// Returns whether this is a [`MemoryStore`].
    pub(crate) fn is_in_memory(&self) -> bool {
        let store = self.0.as_any();
        let shared = store.downcast_ref::<Self>();
        store.is::<MemoryStore>()
            || store.is::<Arc<MemoryStore>>()
            || shared.is_some_and(Self::is_in_memory)
    }
}

impl SessionStore for SharedStore {
    async fn create(&self, session: &Session) -> Result<(), StoreError> {
        self.0.create_boxed(session).await
    }

    async fn look_up(
        &self,
        key: &SessionKey,
        now: UnixTime,
    ) -> Result<Option<Session>, StoreError> {
        self.0.look_up_boxed(key, now).await
    }

    async fn update(&self, key: &SessionKey, info: &SessionInfo) -> Result<bool, StoreError> {
        self.0.update_boxed(key, info).await
    }

    async fn destroy(&self, key: &SessionKey) -> Result<(), StoreError> {
        self.0.destroy_boxed(key).await
    }

    async fn remove_expired(
        &self,
        now: UnixTime,
        unused_for: Duration,
    ) -> Result<Removed, StoreError> {
        self.0.remove_expired_boxed(now, unused_for).await
    }
}

impl fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedStore").finish_non_exhaustive()
    }
}
