//! Writes down what clients see.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::sync::Mutex;

use super::lock;
use crate::clock::now;
use crate::history::{Entry, Event};

/// Writes down what clients see, in one order.
pub(super) struct Recorder(Mutex<BufWriter<File>>);

impl Recorder {
    pub(super) fn to(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self(Mutex::new(BufWriter::new(file))))
    }

    pub(super) fn write(&self, event: Event) {
        let mut file = lock(&self.0);
        // The time is taken under the lock, so that times are in the order of lines.
        let line = Entry { at: now(), event }.line();
        // Without a history, there is nothing to check.
        file.write_all(line.as_bytes()).expect("the history of clients cannot be written");
    }

    pub(super) fn flush(&self) {
        lock(&self.0).flush().expect("the history of clients cannot be written");
    }
}
