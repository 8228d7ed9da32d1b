//! The directory of the session files. Everything here waits for the disk.

use core::error::Error;
use core::fmt;
use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use wwr::{Session, SessionInfo, SessionKey, UnixTime};

use super::claim::{Claim, KeyLocks};
use super::name::{SessionFile, TEMPORARY_PREFIX, TEMPORARY_SUFFIX};
use crate::store::{StoreError, StoreErrorKind};

/// The largest session file, in bytes. Bounds the cost of a foreign file.
pub(super) const MAX_FILE_LENGTH: u64 = Session::MAX_STORED as u64;

/// When a change counts as done.
#[derive(Clone, Copy)]
pub(super) enum Durability {
    /// Once the system knows it.
    Cached,
    /// Once the disk has it.
    Synced,
}

/// A directory of sessions, and the locks of those in use.
#[derive(Clone)]
pub(super) struct Directory {
    path: Arc<Path>,
    locks: Arc<KeyLocks>,
    pub(super) durability: Durability,
}

/// How a written session gets its name.
#[derive(Clone, Copy)]
enum Naming {
    /// A file of that name must not exist.
    New,
    /// It replaces the file whose claim is held.
    Claimed,
}

impl Directory {
    /// Opens the directory, and creates it if it is missing. Also returns its mode, if other users
    /// may enter it.
    pub(super) fn open(path: &Path) -> Result<(Self, Option<u32>), StoreError> {
        let unusable = |error: io::Error| {
            let path = path.display();
            let message = format!(
                "cannot use session directory {path}; check that it is a directory or can be \
                 created, and that its owner is the user of this process"
            );
            StoreError::new(StoreErrorKind::Failed, message).with_source(error)
        };
        let path = std::path::absolute(path).map_err(unusable)?;
        create(&path).map_err(unusable)?;
        let metadata = fs::metadata(&path).map_err(unusable)?;
        let directory = Self {
            path: path.into(),
            locks: Arc::new(KeyLocks::new()),
            durability: Durability::Cached,
        };
        Ok((directory, exposed_mode(&metadata)))
    }

    /// Returns its absolute path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// See [`SessionStore`](crate::SessionStore); the same for the other three.
    pub(super) fn create(&self, session: &Session) -> Result<(), StoreError> {
        let Some(file) = SessionFile::new(&self.path, &session.key) else {
            let message = "the session key cannot be a file name; its generator must use letters \
                           and digits of ASCII, '-', '_' and '.', at most 200, not beginning \
                           with '.'";
            return Err(StoreError::new(StoreErrorKind::InvalidKey, message));
        };
        let _turn = self.locks.lock(&session.key);
        self.write(&file, session, Naming::New)
    }

    pub(super) fn look_up(
        &self,
        key: &SessionKey,
        now: UnixTime,
    ) -> Result<Option<Session>, StoreError> {
        let Some(file) = SessionFile::new(&self.path, key) else { return Ok(None) };
        let _turn = self.locks.lock(key);
        let Some(claim) = self.claim(&file)? else { return Ok(None) };
        let mut session = read(&claim, &file)?;
        let previous = core::mem::replace(&mut session.last_lookup, now);
        // A full disk must not keep clients from their sessions on it.
        if let Err(error) = self.write(&file, &session, Naming::Claimed) {
            let cause = error.source().map(ToString::to_string);
            tracing::warn!(
                %error,
                cause,
                "the time of a look-up could not be recorded; the session may expire too early",
            );
        }
        session.last_lookup = previous;
        Ok(Some(session))
    }

    pub(super) fn update(&self, key: &SessionKey, info: SessionInfo) -> Result<bool, StoreError> {
        let Some(file) = SessionFile::new(&self.path, key) else { return Ok(false) };
        let _turn = self.locks.lock(key);
        let Some(claim) = self.claim(&file)? else { return Ok(false) };
        let session = Session { info, ..read(&claim, &file)? };
        self.write(&file, &session, Naming::Claimed).map(|()| true)
    }

    pub(super) fn destroy(&self, key: &SessionKey) -> Result<(), StoreError> {
        let Some(file) = SessionFile::new(&self.path, key) else { return Ok(()) };
        let _turn = self.locks.lock(key);
        match self.claim(&file)? {
            Some(claim) => self.remove(&file, claim),
            // The process that removed it may not have synced it to the disk.
            None => self.sync().map_err(|error| failed("remove", &file, "check the disk", error)),
        }
    }

    /// Removes a session if `condition` holds for it, and returns whether it did. No condition
    /// holds for a missing session.
    pub(super) fn remove_if(
        &self,
        key: &SessionKey,
        condition: impl FnOnce(&Session) -> bool,
    ) -> Result<bool, StoreError> {
        let Some(file) = SessionFile::new(&self.path, key) else { return Ok(false) };
        let _turn = self.locks.lock(key);
        let Some(claim) = self.claim(&file)? else { return Ok(false) };
        if !condition(&read(&claim, &file)?) {
            return Ok(false);
        }
        self.remove(&file, claim).map(|()| true)
    }

    /// Returns the right to replace or remove the file of a session, if it exists.
    fn claim(&self, file: &SessionFile<'_>) -> Result<Option<Claim>, StoreError> {
        let advice = "check that it is a regular file and that the user of this process may read \
                      and write it";
        match Claim::take(&file.path()) {
            Ok(Some(claim)) => Ok(Some(claim)),
            // Without the directory, the store cannot know whether the session exists.
            Ok(None) => match fs::metadata(&self.path) {
                Ok(_) => Ok(None),
                Err(error) => Err(failed("find", file, "is the directory still there?", error)),
            },
            Err(error) => Err(failed("open", file, advice, error)),
        }
    }

    /// Consumes the claim: once the file is removed, the claim gives no right to its name.
    fn remove(&self, file: &SessionFile<'_>, claim: Claim) -> Result<(), StoreError> {
        let advice = "check that the user of this process may write to the directory";
        let outcome = fs::remove_file(file.path()).and_then(|()| self.sync());
        drop(claim);
        outcome.map_err(|error| failed("remove", file, advice, error))
    }

    /// Writes a session to a temporary file and then renames that.
    fn write(
        &self,
        file: &SessionFile<'_>,
        session: &Session,
        naming: Naming,
    ) -> Result<(), StoreError> {
        let stored = session.to_stored();
        if stored.len() as u64 > MAX_FILE_LENGTH {
            let advice = "keep less in the session's info: 4 MiB is the limit";
            return Err(failed("write", file, advice, io::ErrorKind::FileTooLarge.into()));
        }
        // Values may be nested more deeply than JSON can be read.
        if let Err(cause) = Session::from_stored(session.key.clone(), stored.as_bytes()) {
            let advice = "keep less deeply nested values in the session's info";
            return Err(failed("write", file, advice, io::Error::other(cause)));
        }
        let path = file.path();
        let write = || {
            let mut builder = tempfile::Builder::new();
            // The library creates its files with mode 0600 on Unix.
            let builder = builder.prefix(TEMPORARY_PREFIX).suffix(TEMPORARY_SUFFIX);
            let mut temporary = builder.tempfile_in(&self.path)?;
            temporary.write_all(stored.as_bytes())?;
            if let Durability::Synced = self.durability {
                temporary.as_file().sync_all()?;
            }
            match naming {
                Naming::New => temporary.persist_noclobber(&path)?,
                Naming::Claimed => temporary.persist(&path)?,
            };
            self.sync()
        };
        write().map_err(|error| match (naming, error.kind()) {
            (Naming::New, io::ErrorKind::AlreadyExists) => StoreError::key_exists(file.key()),
            _ => failed("write", file, "check the space and permissions of the directory", error),
        })
    }

    /// Makes renames and removals reach the disk.
    fn sync(&self) -> io::Result<()> {
        match self.durability {
            Durability::Cached => Ok(()),
            Durability::Synced => sync_directory(&self.path),
        }
    }
}

/// Reads a session from a claimed file.
fn read(claim: &Claim, file: &SessionFile<'_>) -> Result<Session, StoreError> {
    let content = claim
        .read(MAX_FILE_LENGTH + 1)
        .map_err(|error| failed("read", file, "check the disk", error))?;
    let broken = |cause: Box<dyn Error + Send + Sync>| {
        let message = format!(
            "session file {file} does not hold a session; restore it from a backup or delete it"
        );
        StoreError::new(StoreErrorKind::Broken, message).with_source(cause)
    };
    if content.len() as u64 > MAX_FILE_LENGTH {
        return Err(broken("it is larger than 4 MiB".into()));
    }
    Session::from_stored(file.key().clone(), &content).map_err(|error| broken(error.into()))
}

/// Creates the error of a failed system call on a session file.
fn failed(action: &str, file: &dyn fmt::Display, advice: &str, error: io::Error) -> StoreError {
    let message = format!("cannot {action} session file {file}; {advice}");
    StoreError::new(StoreErrorKind::Failed, message).with_source(error)
}

/// Creates a directory if it is missing. It is synced to the disk, because a crash of the system
/// might otherwise remove it with everything that is synced in it.
fn create(path: &Path) -> io::Result<()> {
    let missing: Vec<_> = path.ancestors().take_while(|above| !above.exists()).collect();
    create_private(path)?;
    missing.iter().rev().filter_map(|made| made.parent()).try_for_each(sync_directory)
}

#[cfg(unix)]
fn create_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;

    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn create_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).create(path)
}

/// Returns the permission bits, if other users than the owner have any.
#[cfg(unix)]
fn exposed_mode(directory: &fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;

    let mode = directory.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
fn exposed_mode(_directory: &fs::Metadata) -> Option<u32> {
    None
}

#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

/// Other systems cannot sync directories.
#[cfg(not(unix))]
fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}
