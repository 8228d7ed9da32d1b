//! Removal of expired sessions and of unfinished writes.

use core::time::Duration;
use std::fs::{self, DirEntry};
use std::io;

use wwr::UnixTime;

use super::directory::Directory;
use super::name::Entry;
use crate::clock::Clock;
use crate::store::{Removed, StoreError, StoreErrorKind, is_stale};

/// No write takes that long.
const LEFTOVER_AGE: Duration = Duration::from_secs(60 * 60);

impl Directory {
    pub(super) fn remove_expired(
        &self,
        now: UnixTime,
        unused_for: Duration,
    ) -> Result<Removed, StoreError> {
        let unlistable = |error: io::Error| {
            let path = self.path().display();
            let message = format!(
                "cannot list session directory {path}; check that it is there and that the user \
                 of this process may read it"
            );
            StoreError::new(StoreErrorKind::Failed, message).with_source(error)
        };
        let mut removed = Removed::default();
        for entry in fs::read_dir(self.path()).map_err(unlistable)? {
            let entry = entry.map_err(unlistable)?;
            match entry.file_name().to_str().map_or(Entry::Foreign, Entry::of) {
                Entry::Session(key) => {
                    removed.examined += 1;
                    // Read again under the lock: the session may just have been looked up.
                    match self.remove_if(&key, |found| is_stale(found, now, unused_for)) {
                        Ok(true) => removed.removed += 1,
                        Ok(false) => {}
                        Err(error) => {
                            removed.failed += 1;
                            let error: &dyn core::error::Error = &error;
                            tracing::debug!(error, "cannot remove an expired session");
                        }
                    }
                }
                // It may just have been renamed to a session.
                Entry::Temporary => {
                    if remove_leftover(&entry, now).unwrap_or(false) {
                        removed.leftovers += 1;
                    }
                }
                Entry::Foreign => {}
            }
        }
        Ok(removed)
    }
}

/// Removes a temporary file that is old enough, and returns whether it did.
fn remove_leftover(entry: &DirEntry, now: UnixTime) -> io::Result<bool> {
    // Does not follow links.
    let metadata = entry.metadata()?;
    let written = Clock::unix_time(metadata.modified()?);
    if !metadata.is_file() || now.saturating_since(written) <= LEFTOVER_AGE {
        return Ok(false);
    }
    fs::remove_file(entry.path()).map(|()| true)
}
