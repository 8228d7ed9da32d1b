//! Sessions in files, one each.

mod claim;
mod directory;
mod expiry;
mod name;
#[cfg(test)]
mod tests;

use core::fmt;
use core::time::Duration;
use std::path::{Path, PathBuf};

use wwr::{Session, SessionInfo, SessionKey, UnixTime};

use super::{Removed, SessionStore, StoreError, StoreErrorKind};
use crate::runtime::Runtime;
use directory::{Directory, Durability};

/// Keeps each session in a file `<key>.wwrsess` of one directory, in the format of the reference
/// servers (protocol §3.3).
///
/// ```
/// use wwr_async::{Session, SessionInfo, SessionKey, UnixTime};
/// use wwr_async::{FileStore, Runtime, SessionStore, StoreError};
///
/// # async fn keep<R: Runtime + Default>(directory: &str) -> Result<(), StoreError> {
/// let store = FileStore::<R>::open(directory).await?;
///
/// let key = SessionKey::from_entropy([7; 48]);
/// let info = SessionInfo::new().public("user", "ada");
/// store.create(&Session::new(key.clone(), UnixTime::from_seconds(100), info)).await?;
///
/// let found = store.look_up(&key, UnixTime::from_seconds(200)).await?;
/// assert_eq!(found.map(|session| session.last_lookup), Some(UnixTime::from_seconds(100)));
///
/// store.destroy(&key).await?;
/// assert_eq!(store.look_up(&key, UnixTime::from_seconds(300)).await?, None);
/// # Ok(())
/// # }
/// ```
///
/// # Files
///
/// * Keys become file names, so only [certain keys](Self::accepts) are stored. Any other key is not
///   found, and an error on creation. Nothing outside the directory is touched, and symbolic links
///   in it are not followed.
/// * On Unix a directory that the store creates has mode 0700, and session files have 0600. The
///   mode of an existing directory stays. If other users may enter it, the store logs a warning,
///   because the names of the files are the keys.
/// * A file is replaced by renaming, so a reader sees the old session or the new one, never half. A
///   look-up writes, too, because it records its time. If that fails, because the disk is full or
///   the directory or the whole file system read-only, the session is found nevertheless, and a
///   warning is logged. Its last look-up is then the one recorded before, for expiry too.
/// * A file that is not a session is an error, and left alone. Foreign files are ignored.
/// * A crash may leave a temporary file behind. [`remove_expired`](SessionStore::remove_expired) removes those
///   last written more than an hour before the time it is given.
/// * Files of 1.4 and 2.0 servers of the reference are read as they are. Members outside of the
///   format are lost at the first look-up, as with the reference.
/// * A session takes at most 4 MiB.
///
/// # Concurrency
///
/// Clones share the store, and on Unix several stores and processes may share a directory: each
/// operation locks the file of the session first, and works on it only while it still is the file
/// of that name. So a look-up cannot bring back what another process destroys. Where the file
/// system has no locks (some network mounts) or the system is not a Unix, that holds between the
/// clones of one store only. The reference servers do not lock: stop them before their directory
/// is used here.
///
/// Files are handled on a pool of threads. Futures may be awaited on any executor. Dropping one
/// does not interrupt an operation that has begun.
///
/// On file systems that ignore case, keys that differ only in case are one session. Generated keys
/// are so long that this does not matter.
#[derive(Clone)]
pub struct FileStore<R> {
    runtime: R,
    directory: Directory,
}

impl<R: Runtime> FileStore<R> {
    /// The longest key that can be stored, in bytes.
    pub const MAX_KEY_LENGTH: usize = name::MAX_KEY_LENGTH;

    /// Opens `directory`, and creates it with its parents if it is missing. A relative path is
    /// resolved once, against the present current directory.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Failed`](super::StoreErrorKind::Failed) if it cannot be created or is not
    /// a directory.
    pub async fn open(directory: impl Into<PathBuf>) -> Result<Self, StoreError>
    where
        R: Default,
    {
        Self::open_on(R::default(), directory).await
    }

    /// Opens `directory` like [`open`](Self::open). This runtime handles the files.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub async fn open_on(runtime: R, directory: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = directory.into();
        let (directory, exposed) = work(&runtime, move || Directory::open(&path)).await?;
        if let Some(mode) = exposed {
            tracing::warn!(
                directory = %directory.path().display(),
                mode = %format_args!("{mode:03o}"),
                "other users may enter the session directory, and file names are session keys; \
                 give it mode 700",
            );
        }
        Ok(Self { runtime: runtime.without_executor(), directory })
    }

    /// Makes each change reach the disk before it is reported as done. This waits for the disk
    /// twice for each change, look-ups included: a new session is synced before it gets its name,
    /// and the directory after that and after a removal. If syncing the directory fails, a failed
    /// removal or creation may still have happened.
    ///
    /// Without this, a crash of the process does no harm either, but a crash of the system may undo
    /// the last changes or leave files that are not sessions.
    #[must_use]
    pub fn durable(mut self) -> Self {
        self.directory.durability = Durability::Synced;
        self
    }

    /// Returns the directory, as an absolute path.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Returns whether a session with this key can be stored: 1 to
    /// [`MAX_KEY_LENGTH`](Self::MAX_KEY_LENGTH) ASCII letters and digits, `-`, `_` and `.`, the
    /// first not a `.`. Fits [`KeyFormat::Custom`](wwr::KeyFormat::Custom).
    pub fn accepts(key: &str) -> bool {
        name::is_valid(key)
    }
}

/// Does something with files, on a thread for it.
async fn work<T: Send + 'static>(
    runtime: &impl Runtime,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    runtime.unblock(work).await.map_err(|ended| {
        let message = "session files are not accessible any more; keep the runtime running";
        StoreError::new(StoreErrorKind::Failed, message).with_source(ended)
    })?
}

impl<R: Runtime> SessionStore for FileStore<R> {
    async fn create(&self, session: &Session) -> Result<(), StoreError> {
        let (directory, session) = (self.directory.clone(), session.clone());
        work(&self.runtime, move || directory.create(&session)).await
    }

    async fn look_up(
        &self,
        key: &SessionKey,
        now: UnixTime,
    ) -> Result<Option<Session>, StoreError> {
        let (directory, key) = (self.directory.clone(), key.clone());
        work(&self.runtime, move || directory.look_up(&key, now)).await
    }

    async fn update(&self, key: &SessionKey, info: &SessionInfo) -> Result<bool, StoreError> {
        let (directory, key, info) = (self.directory.clone(), key.clone(), info.clone());
        work(&self.runtime, move || directory.update(&key, info)).await
    }

    async fn destroy(&self, key: &SessionKey) -> Result<(), StoreError> {
        let (directory, key) = (self.directory.clone(), key.clone());
        work(&self.runtime, move || directory.destroy(&key)).await
    }

    async fn remove_expired(
        &self,
        now: UnixTime,
        unused_for: Duration,
    ) -> Result<Removed, StoreError> {
        let directory = self.directory.clone();
        work(&self.runtime, move || directory.remove_expired(now, unused_for)).await
    }
}

impl<R: Runtime> fmt::Debug for FileStore<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore").field("directory", &self.directory()).finish_non_exhaustive()
    }
}
