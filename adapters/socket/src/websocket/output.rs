//! Frames that wait to be sent.

use alloc::vec::Vec;
use core::time::Duration;

use wwr::{CloseFrame, Instant};

use super::Role;
use super::frame::{self, Head, MAX_CONTROL, Opcode};
use super::mask::{self, Key};
use crate::memory::Memory;

/// The output of a WebSocket in one contiguous buffer. There is none while everything is sent.
pub(super) struct Output {
    buffer: Vec<u8>,
    /// How much of the buffer is sent.
    sent: usize,
    /// How much of the buffer may be sent: a client's frames are masked first.
    ready: usize,
    /// The bytes of pongs since everything was sent.
    pongs: usize,
    /// When the peer has had enough time to take something.
    stalled_until: Option<Instant>,
}

impl Output {
    pub(super) const fn new() -> Self {
        Self { buffer: Vec::new(), sent: 0, ready: 0, pongs: 0, stalled_until: None }
    }

    /// Queues a frame.
    #[inline]
    pub(super) fn frame(
        &mut self,
        opcode: Opcode,
        role: Role,
        payload: &[u8],
        memory: &mut Memory,
    ) {
        if self.buffer.capacity() == 0 {
            self.buffer = memory.take();
        }
        match role {
            Role::Server => {
                frame::write(opcode, payload, None, &mut self.buffer);
                self.ready = self.buffer.len();
            }
            // Masking with zeros changes nothing. The key comes later.
            Role::Client => frame::write(opcode, payload, Some(Key::default()), &mut self.buffer),
        }
    }

    /// Queues bytes that are not a frame.
    pub(super) fn raw(&mut self, memory: &mut Memory, write: impl FnOnce(&mut Vec<u8>)) {
        if self.buffer.capacity() == 0 {
            self.buffer = memory.take();
        }
        write(&mut self.buffer);
        self.ready = self.buffer.len();
    }

    /// Queues the answer to a ping.
    pub(super) fn pong(&mut self, role: Role, payload: &[u8], memory: &mut Memory) {
        let before = self.buffer.len();
        self.frame(Opcode::Pong, role, payload, memory);
        self.pongs += self.buffer.len() - before;
    }

    /// Queues a close frame.
    pub(super) fn close(&mut self, role: Role, frame: &CloseFrame, memory: &mut Memory) {
        if frame.code() == CloseFrame::NO_CODE {
            return self.frame(Opcode::Close, role, &[], memory);
        }
        let mut payload = [0; MAX_CONTROL];
        let (code, reason) = (frame.code().to_be_bytes(), frame.reason().as_bytes());
        let length = code.len() + reason.len();
        payload[..code.len()].copy_from_slice(&code);
        payload[code.len()..length].copy_from_slice(reason);
        self.frame(Opcode::Close, role, &payload[..length], memory);
    }

    /// Masks the frames that were queued since the last call.
    pub(super) fn mask(&mut self, mut new_key: impl FnMut() -> Key) {
        while self.ready < self.buffer.len() {
            let frame = &mut self.buffer[self.ready..];
            // It is one that `frame` has written.
            let Ok(Some(Head { length, payload, .. })) = Head::parse(frame, Role::Client) else {
                return;
            };
            let (key, end) = (new_key(), length + payload as usize);
            frame[length - key.len()..length].copy_from_slice(&key);
            mask::apply(key, &mut frame[length..end]);
            self.ready += end;
        }
    }

    #[inline]
    pub(super) fn ready(&self) -> &[u8] {
        &self.buffer[self.sent..self.ready]
    }

    pub(super) fn sent(
        &mut self,
        now: Instant,
        bytes: usize,
        stall_timeout: Duration,
        memory: &mut Memory,
    ) {
        self.sent += bytes.min(self.ready - self.sent);
        if self.sent < self.ready {
            if bytes > 0 || self.stalled_until.is_none() {
                self.stalled_until = Some(now + stall_timeout);
            }
            return self.make_room();
        }
        self.stalled_until = None;
        if self.sent == self.buffer.len() {
            self.pongs = 0;
            self.sent = 0;
            self.ready = 0;
            memory.put(core::mem::take(&mut self.buffer));
        }
    }

    /// Forgets what is sent if that is the larger part: each byte is moved once at most.
    fn make_room(&mut self) {
        if self.sent > self.buffer.len() / 2 {
            self.buffer.drain(..self.sent);
            self.ready -= self.sent;
            self.sent = 0;
        }
    }

    #[inline]
    pub(super) const fn backlog(&self) -> usize {
        self.buffer.len() - self.sent
    }

    pub(super) const fn pongs(&self) -> usize {
        self.pongs
    }

    #[inline]
    pub(super) const fn stalled_until(&self) -> Option<Instant> {
        self.stalled_until
    }
}
