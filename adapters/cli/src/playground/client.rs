//! The client for browsers that the page runs: embedded when the command was built, or read from a directory.

use std::io;
use std::path::Path;

use bytes::Bytes;

include!(concat!(env!("OUT_DIR"), "/client.rs"));

/// The longest file that is read.
const LONGEST: u64 = 8 * 1024 * 1024;

/// The files of a client.
#[derive(Debug)]
pub(super) struct Client(Vec<(&'static str, Bytes)>);

impl Client {
    /// Returns the one in this command, if it was built with one.
    pub(super) fn embedded() -> Option<Self> {
        let files = EMBEDDED?;
        Some(Self(files.map(|(name, content)| (name, Bytes::from_static(content))).into()))
    }

    /// Reads one from a directory as `.ci/web` leaves it.
    pub(super) fn read(directory: &Path) -> io::Result<Self> {
        let read = |name: &'static str| {
            let path = directory.join(name);
            let named = |error: io::Error| {
                io::Error::new(error.kind(), format!("--playground: {}: {error}", path.display()))
            };
            let length = path.metadata().map_err(named)?.len();
            if length > LONGEST {
                return Err(named(io::Error::new(io::ErrorKind::InvalidData, "it is too long")));
            }
            Ok((name, Bytes::from(std::fs::read(&path).map_err(named)?)))
        };
        FILES.into_iter().map(read).collect::<io::Result<_>>().map(Self)
    }

    /// Returns a file by its name.
    pub(super) fn file(&self, name: &str) -> Option<Bytes> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, content)| content.clone())
    }
}
