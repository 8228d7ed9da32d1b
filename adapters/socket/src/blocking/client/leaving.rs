//! A stream whose connection has ended.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;
use std::vec::Vec;

use mio::net::TcpStream;
use wwr::Instant;

/// How long the server may take to read the rest and to close its side.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many times a stream is read or written in a row.
const TURNS: usize = 16;

/// A stream on which the last output goes out. It is closed when the server has closed its side: closing it
/// before could lose that output (RFC 9112 section 9.6).
pub(super) struct Leaving {
    stream: TcpStream,
    rest: Vec<u8>,
    sent: usize,
    is_shut: bool,
    until: Instant,
}

/// Whether a stream can be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It can.
    Done,
    /// There is more to do at once.
    More,
    /// The server has to do something.
    Waits,
}

impl Leaving {
    pub(super) fn new(stream: TcpStream, rest: Vec<u8>, now: Instant) -> Self {
        Self { stream, rest, sent: 0, is_shut: false, until: now + PATIENCE }
    }

    /// Returns when it is closed at the latest.
    pub(super) const fn until(&self) -> Instant {
        self.until
    }

    /// Does what can be done.
    pub(super) fn step(&mut self, now: Instant, buffer: &mut [u8]) -> Step {
        if self.until <= now {
            return Step::Done;
        }
        let mut step = Step::Waits;
        for turn in 0..TURNS {
            let unsent = &self.rest[self.sent..];
            if unsent.is_empty() {
                if !self.is_shut {
                    self.is_shut = true;
                    // If this fails, reading does as well.
                    let _ = self.stream.shutdown(Shutdown::Write);
                }
                break;
            }
            match self.stream.write(unsent) {
                Ok(length) => self.sent += length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return Step::Done,
            }
            if turn + 1 == TURNS {
                step = Step::More;
            }
        }
        // A server that cannot send may not read either.
        for _ in 0..TURNS {
            match self.stream.read(buffer) {
                Ok(0) => return Step::Done,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return step,
                Err(_) => return Step::Done,
            }
        }
        Step::More
    }
}
