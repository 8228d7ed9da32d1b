//! Memory that the sockets of one thread share.

use alloc::vec::Vec;
use core::fmt;

use bytes::BytesMut;

/// Buffers above this size are not kept.
const MOST: usize = 64 * 1024;

/// How many buffers for output are kept.
const SPARE: usize = 16;

/// The buffers that the sockets of one thread share, so that a socket has none of its own while nothing is
/// under way on it. A program needs one for each thread; a socket may use another one in each call.
///
/// Payloads of received messages are parts of chunks of [16 KiB](Self::CHUNK), or of [another
/// size](Self::with_chunk). A chunk is used again once all payloads in it are dropped, and a payload of a few bytes
/// keeps all of its chunk: copy what is to stay in memory for long.
pub struct Memory {
    chunk: BytesMut,
    /// How much is allocated for received bytes at once.
    size: usize,
    output: Vec<Vec<u8>>,
}

impl Memory {
    /// How many bytes are allocated at once for what is received, unless another size was chosen.
    pub const CHUNK: usize = 16 * 1024;

    /// Creates it without buffers.
    pub fn new() -> Self {
        Self::with_chunk(Self::CHUNK)
    }

    /// The same with chunks of another size, in bytes: small ones where memory is scarce, or where the program
    /// keeps payloads. More than that is allocated for more bytes that come at once.
    ///
    /// ```
    /// use wwr_socket::Memory;
    /// use wwr_socket::websocket::{Incoming, Role, WebSocket, WebSocketLimits};
    ///
    /// let mut memory = Memory::with_chunk(1024);
    /// let mut socket = WebSocket::new(Role::Client, WebSocketLimits::default());
    /// socket.receive(b"\x82\x02hi", &mut memory);
    /// // Keeps 1 KiB, not 16.
    /// assert_eq!(socket.poll(&mut memory), Some(Incoming::Message("hi".into())));
    /// ```
    pub fn with_chunk(bytes: usize) -> Self {
        Self { chunk: BytesMut::new(), size: bytes, output: Vec::new() }
    }

    /// Copies received bytes into a chunk.
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> BytesMut {
        if self.chunk.capacity() < bytes.len() {
            self.chunk.reserve(bytes.len().max(self.size));
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

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("spare", &self.output.len()).finish_non_exhaustive()
    }
}
