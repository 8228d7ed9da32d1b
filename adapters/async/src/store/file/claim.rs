//! Exclusive use of a session file.
//!
//! Two locks, always taken in this order. The first is a mutex of this process, chosen by the key.
//! The second, on Unix, is an advisory lock of the file itself, which other stores and processes
//! respect. A session file is replaced by renaming. So the locked file may have lost its name while
//! the store waited for the lock; then the store locks the new file instead.
//!
//! The central rule follows from that: **a process removes or replaces the file of a name only
//! while it holds the lock of the very file that has the name.** No other process can take the name
//! away in between. A name that is gone stays gone until a session is created anew, which never
//! replaces a file.

use core::hash::BuildHasher;
use std::hash::RandomState;
use std::sync::{Mutex, MutexGuard, PoisonError};

use wwr::SessionKey;

pub(super) use platform::Claim;

/// More than this many operations at once would wait for the disk anyway.
const STRIPES: usize = 64;

/// A mutex for every key; few keys share one.
pub(super) struct KeyLocks {
    stripes: [Mutex<()>; STRIPES],
    hasher: RandomState,
}

impl KeyLocks {
    pub(super) fn new() -> Self {
        Self { stripes: [const { Mutex::new(()) }; STRIPES], hasher: RandomState::new() }
    }

    /// Waits until no other task of this store works on the session of that key.
    pub(super) fn lock(&self, key: &SessionKey) -> MutexGuard<'_, ()> {
        // Lossless: the remainder is below 64.
        let stripe = (self.hasher.hash_one(key) % STRIPES as u64) as usize;
        // The mutex guards files, which a panic leaves as whole as a crash does.
        self.stripes[stripe].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(unix)]
mod platform {
    use std::fs::File;
    use std::io::{self, Read};
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;
    use std::sync::Once;

    use rustix::fs::{FlockOperation, Mode, OFlags};
    use rustix::io::Errno;

    /// The right to replace or remove the file of one session, while this lives.
    pub(in crate::store::file) struct Claim {
        file: File,
    }

    impl Claim {
        /// Waits for the right. `None` if there is no such file.
        pub(in crate::store::file) fn take(path: &Path) -> io::Result<Option<Self>> {
            // Each failed round is one in which another process made progress.
            loop {
                let Some(file) = open(path)? else { return Ok(None) };
                lock(&file)?;
                if has_name(&file, path)? {
                    return Ok(Some(Self { file }));
                }
            }
        }

        /// Returns the content of the file, cut off after `limit` bytes.
        pub(in crate::store::file) fn read(&self, limit: u64) -> io::Result<Vec<u8>> {
            let mut content = Vec::new();
            (&self.file).take(limit).read_to_end(&mut content)?;
            Ok(content)
        }
    }

    fn open(path: &Path) -> io::Result<Option<File>> {
        // Not blocking, because opening a pipe may wait for ever.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = |access| rustix::fs::open(path, flags | access, Mode::empty());
        // Writable, because locks on network file systems require that. If the file cannot be
        // written, it can still be read.
        let opened = match open(OFlags::RDWR) {
            Err(Errno::ROFS | Errno::ACCESS | Errno::PERM) => open(OFlags::RDONLY),
            opened => opened,
        };
        match opened {
            Ok(descriptor) => {
                let file = File::from(descriptor);
                if file.metadata()?.is_file() { Ok(Some(file)) } else { Err(not_regular()) }
            }
            Err(Errno::NOENT) => Ok(None),
            // Systems report different errors for a link.
            Err(_) if path.symlink_metadata().is_ok_and(|found| !found.is_file()) => {
                Err(not_regular())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn not_regular() -> io::Error {
        io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
    }

    fn lock(file: &File) -> io::Result<()> {
        static WARNING: Once = Once::new();
        loop {
            match rustix::fs::flock(file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error @ (Errno::NOTSUP | Errno::NOSYS | Errno::NOLCK)) => {
                    WARNING.call_once(|| {
                        tracing::warn!(
                            %error,
                            "the file system of the session directory has no locks; \
                             let one process use it at a time",
                        );
                    });
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Returns whether the name still, or again, belongs to the file. An open file keeps its
    /// number, so equal numbers are the same file.
    fn has_name(file: &File, path: &Path) -> io::Result<bool> {
        let held = file.metadata()?;
        match path.symlink_metadata() {
            Ok(named) => Ok(held.dev() == named.dev() && held.ino() == named.ino()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(not(unix))]
mod platform {
    use std::fs::{self, File};
    use std::io::{self, Read};
    use std::path::{Path, PathBuf};

    /// States that the file of a session exists; only the mutex of the key protects it. The file
    /// stays closed, because an open one could not be replaced.
    pub(in crate::store::file) struct Claim {
        path: PathBuf,
    }

    impl Claim {
        /// Returns `None` if there is no such file.
        pub(in crate::store::file) fn take(path: &Path) -> io::Result<Option<Self>> {
            match fs::symlink_metadata(path) {
                Ok(found) if found.is_file() => Ok(Some(Self { path: path.to_owned() })),
                Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        }

        /// Returns the content of the file, cut off after `limit` bytes.
        pub(in crate::store::file) fn read(&self, limit: u64) -> io::Result<Vec<u8>> {
            let mut content = Vec::new();
            File::open(&self.path)?.take(limit).read_to_end(&mut content)?;
            Ok(content)
        }
    }
}
