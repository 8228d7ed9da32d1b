//! Received bytes that wait to be cut into frames.

use bytes::BytesMut;

use crate::memory::Memory;

/// Received bytes. Empty, without memory, while nothing is under way.
#[derive(Debug)]
pub(super) struct Input {
    bytes: BytesMut,
    /// Whether the bytes are part of memory that others use as well.
    shared: bool,
}

impl Input {
    pub(super) fn new() -> Self {
        Self { bytes: BytesMut::new(), shared: false }
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends what has come.
    pub(super) fn add(&mut self, bytes: &[u8], memory: &mut Memory) {
        if self.bytes.is_empty() {
            self.bytes = memory.keep(bytes);
            self.shared = true;
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Cuts off so many bytes. `None` if there are not so many yet.
    #[inline]
    pub(super) fn take(&mut self, length: usize) -> Option<BytesMut> {
        if self.bytes.len() < length {
            return None;
        }
        self.shared = true;
        Some(self.bytes.split_to(length))
    }

    pub(super) fn take_all(&mut self) -> BytesMut {
        core::mem::take(&mut self.bytes)
    }

    pub(super) fn put_back(&mut self, bytes: BytesMut) {
        self.bytes = bytes;
        self.shared = true;
    }

    /// Moves what waits for more bytes out of the memory that it shares with messages which were taken.
    pub(super) fn settle(&mut self) {
        if self.shared {
            self.bytes = match &self.bytes[..] {
                [] => BytesMut::new(),
                rest => BytesMut::from(rest),
            };
            self.shared = false;
        }
    }
}
