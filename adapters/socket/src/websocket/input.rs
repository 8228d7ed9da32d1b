//! Received bytes that wait to be cut into frames.

use bytes::{Buf, Bytes, BytesMut};

use super::frame::{Head, MAX_CONTROL, MAX_HEAD, Opcode};
use super::{Role, Violation, mask};
use crate::memory::Memory;

/// No memory holds a longer payload with its head.
const LONGEST: usize = isize::MAX as usize - MAX_HEAD;

/// Received bytes. Empty, without memory, while nothing is under way.
#[derive(Debug)]
pub(super) struct Input {
    /// Whole frames, which are unmasked.
    frames: Bytes,
    /// What comes behind them, as it was received.
    rest: BytesMut,
    /// Whether the rest is part of memory that others use as well.
    shared: bool,
}

impl Input {
    pub(super) fn new() -> Self {
        Self { frames: Bytes::new(), rest: BytesMut::new(), shared: false }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.rest.is_empty()
    }

    /// Appends what has come.
    pub(super) fn add(&mut self, bytes: &[u8], memory: &mut Memory) {
        if self.rest.is_empty() {
            self.rest = memory.keep(bytes);
            self.shared = true;
        } else {
            self.rest.extend_from_slice(bytes);
        }
    }

    /// Cuts off the next frame: its head, and its payload unmasked. `None` if it is not whole yet.
    ///
    /// # Errors
    ///
    /// What is wrong with its head. A frame that makes a message longer than `max_message` bytes is refused
    /// before it is whole; `fragments` bytes of the message have come.
    #[inline]
    pub(super) fn take(
        &mut self,
        from: Role,
        max_message: usize,
        fragments: usize,
    ) -> Result<Option<(Head, Bytes)>, Violation> {
        if self.frames.is_empty() {
            self.unmask(from, max_message, fragments)?;
        }
        // Nothing is wrong with the heads of these frames.
        let Some(head) = Head::parse(&self.frames, from)? else { return Ok(None) };
        let end = head.length + head.payload as usize;
        let payload = if end == self.frames.len() {
            let mut last = core::mem::take(&mut self.frames);
            last.advance(head.length);
            last
        } else {
            let payload = self.frames.slice(head.length..end);
            self.frames.advance(end);
            payload
        };
        Ok(Some((head, payload)))
    }

    /// Unmasks all whole frames in one go, where they are. What is wrong with a later one is found when it is
    /// the next.
    #[inline]
    fn unmask(
        &mut self,
        from: Role,
        max_message: usize,
        fragments: usize,
    ) -> Result<(), Violation> {
        let mut end = 0;
        loop {
            let bytes = &mut self.rest[end..];
            let checked = Head::parse(bytes, from).and_then(|head| {
                let Some(head) = head else { return Ok(None) };
                // How much of the message of a later frame has come is not known here.
                let goes_on = end == 0 && head.opcode == Opcode::Continuation;
                let most = max_message - if goes_on { fragments } else { 0 };
                head.check_length(most).map(|length| Some((head, length)))
            });
            let (head, length) = match checked {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(violation) if end == 0 => return Err(violation),
                Err(_) => break,
            };
            let Some(frame) = bytes.get_mut(..head.length + length) else { break };
            if let Some(key) = head.mask {
                mask::apply(key, &mut frame[head.length..]);
            }
            end += frame.len();
        }
        if end > 0 {
            self.shared = true;
            self.frames = self.rest.split_to(end).freeze();
        }
        Ok(())
    }

    /// Takes what is no frame: HTTP comes before the WebSocket.
    pub(super) fn take_raw(&mut self) -> BytesMut {
        core::mem::take(&mut self.rest)
    }

    /// Puts back what is left of it.
    pub(super) fn put_raw(&mut self, bytes: BytesMut) {
        self.rest = bytes;
        self.shared = true;
    }

    /// Moves what waits for more bytes out of the memory that it shares with messages which were taken.
    pub(super) fn settle(&mut self) {
        if self.shared {
            self.rest = match &self.rest[..] {
                [] => BytesMut::new(),
                rest => BytesMut::from(rest),
            };
            self.shared = false;
        }
    }
}

impl Head {
    /// Returns the length of the payload, if that may be buffered.
    #[inline]
    fn check_length(&self, most: usize) -> Result<usize, Violation> {
        let most = if self.opcode.is_control() { MAX_CONTROL } else { most.min(LONGEST) };
        // Also where `usize` has 32 bits.
        match usize::try_from(self.payload) {
            Ok(length) if length <= most => Ok(length),
            Ok(_) | Err(_) => Err(Violation::TooLarge),
        }
    }
}
