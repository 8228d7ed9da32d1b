//! Memory that the sockets of one thread share.

use alloc::vec::Vec;
use core::fmt;

use bytes::BytesMut;

/// How much is allocated for received bytes at once.
const CHUNK: usize = 16 * 1024;

/// Buffers above this size are not kept.
const MOST: usize = 64 * 1024;

/// How many buffers for output are kept.
const SPARE: usize = 16;

/// The buffers that the sockets of one thread share, so that a socket has none of its own while nothing is
/// under way on it. A program needs one for each thread; a socket may use another one in each call.
///
/// Payloads of received messages are parts of chunks of 16 KiB. A chunk is used again once all payloads in
/// it are dropped: copy what is to stay in memory for long.
#[derive(Default)]
pub struct Memory {
    chunk: BytesMut,
    output: Vec<Vec<u8>>,
}

impl Memory {
    /// Creates it without buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Copies received bytes into a chunk.
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> BytesMut {
        if self.chunk.capacity() < bytes.len() {
            self.chunk.reserve(bytes.len().max(CHUNK));
        }
        self.chunk.extend_from_slice(bytes);
        self.chunk.split()
    }

    /// Returns an empty buffer for output.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.output.pop().unwrap_or_default()
    }

    /// Takes back a buffer that is not needed any more.
    pub(crate) fn put(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        if (1..=MOST).contains(&buffer.capacity()) && self.output.len() < SPARE {
            self.output.push(buffer);
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("spare", &self.output.len()).finish_non_exhaustive()
    }
}
