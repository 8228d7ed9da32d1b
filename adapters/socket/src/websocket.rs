//! WebSocket as a machine (RFC 6455): received bytes in, messages out; messages in, bytes to send out.

mod frame;
mod input;
pub(crate) mod mask;
mod output;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use bytes::{Bytes, BytesMut};
use wwr::{CloseFrame, Instant};

use crate::memory::Memory;
use frame::{Head, Opcode};
use input::Input;
pub use mask::Key;
use output::Output;

/// Which side of a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It has accepted the connection.
    Server,
    /// It has opened the connection, and masks what it sends.
    Client,
}

/// What a WebSocket allows. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebSocketLimits {
    /// The longest message that is accepted. A longer one is refused by its length, before it is buffered.
    pub max_message: usize,
    /// How much may wait to be sent until the peer is not read any more. One message may always wait.
    pub max_backlog: usize,
    /// How long the peer may take nothing of what is sent to it.
    pub stall_timeout: Duration,
}

impl Default for WebSocketLimits {
    /// Messages of 1 MiB, 128 KiB that wait, 30 s.
    fn default() -> Self {
        Self {
            max_message: 1024 * 1024,
            max_backlog: 128 * 1024,
            stall_timeout: Duration::from_secs(30),
        }
    }
}

/// What came from the peer.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// A binary message.
    Message(Bytes),
    /// A text message, which is valid UTF-8.
    Text(Bytes),
    /// A ping. The answer to it is queued.
    Ping,
    /// A pong.
    Pong,
    /// The peer closes the WebSocket, and sends nothing more. The answer to it is queued, if this side has
    /// not closed it before.
    Closed(CloseFrame),
    /// The peer has broken the rules. The close frame that tells it is queued, and what it sends is dropped.
    Violated(Violation),
}

/// How a peer has broken the rules of WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A reserved bit is set, and no extension was agreed on (RFC 6455 section 5.2).
    #[error("a frame uses an extension that was not agreed on")]
    ReservedBits,
    /// The RFC defines no such frame (RFC 6455 section 5.2).
    #[error("a frame of an unknown kind")]
    UnknownOpcode,
    /// A client has to mask its frames, a server must not (RFC 6455 section 5.1).
    #[error("a client has to mask its frames, and a server must not")]
    Masking,
    /// A control frame is fragmented or longer than 125 bytes (RFC 6455 section 5.5).
    #[error("a control frame that is fragmented or too long")]
    ControlFrame,
    /// A message begins within another one, or goes on without a beginning (RFC 6455 section 5.4).
    #[error("fragments of messages in the wrong order")]
    Fragments,
    /// A text message or the reason of a close frame is not UTF-8 (RFC 6455 section 8.1).
    #[error("text that is not UTF-8")]
    Utf8,
    /// A close frame with half a code, or with a code that must not be sent (RFC 6455 section 7.4).
    #[error("an invalid close frame")]
    CloseFrame,
    /// A message is longer than [`WebSocketLimits::max_message`].
    #[error("message too large")]
    TooLarge,
}

impl Violation {
    /// Returns the close frame that tells the peer (RFC 6455 section 7.4.1).
    pub fn frame(self) -> CloseFrame {
        let (code, reason) = match self {
            Self::TooLarge => (1009, "message too large"),
            Self::Utf8 => (1007, "text that is not UTF-8"),
            Self::CloseFrame => (1002, "invalid close frame"),
            Self::ReservedBits
            | Self::UnknownOpcode
            | Self::Masking
            | Self::ControlFrame
            | Self::Fragments => (1002, "not the WebSocket protocol"),
        };
        CloseFrame::from_static(code, reason).unwrap_or(CloseFrame::NORMAL)
    }
}

/// One side of a WebSocket, after its handshake.
///
/// Received bytes go in by [`receive`](Self::receive), cut anywhere; [`poll`](Self::poll) returns what came.
/// What is sent is framed at once into one contiguous [`output`](Self::output); tell with
/// [`sent`](Self::sent) how much of it the socket has accepted. It knows no clock and no random source: a
/// client's [masking keys](Self::mask) are inputs.
///
/// ```
/// use wwr::Instant;
/// use wwr_socket::Memory;
/// use wwr_socket::websocket::{Incoming, Role, WebSocket, WebSocketLimits};
///
/// let (now, limits, mut memory) = (Instant::EPOCH, WebSocketLimits::default(), Memory::new());
/// let mut client = WebSocket::new(Role::Client, limits);
/// let mut server = WebSocket::new(Role::Server, limits);
///
/// client.send(b"hello", &mut memory);
/// client.mask(|| [0x37, 0xfa, 0x21, 0x3d]); // from a random source, really
/// server.receive(client.output(), &mut memory);
/// client.sent(now, client.output().len(), &mut memory);
/// assert_eq!(server.poll(&mut memory), Some(Incoming::Message("hello".into())));
/// assert_eq!(server.poll(&mut memory), None);
///
/// server.close(&wwr::CloseFrame::NORMAL, &mut memory);
/// client.receive(server.output(), &mut memory);
/// assert!(matches!(client.poll(&mut memory), Some(Incoming::Closed(_))));
/// ```
pub struct WebSocket {
    role: Role,
    limits: WebSocketLimits,
    phase: Phase,
    input: Input,
    /// The message whose last fragment has not come.
    unfinished: Option<Box<Unfinished>>,
    output: Output,
}

/// How far the close handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// This side has sent a close frame, and waits for that of the peer.
    Closing,
    /// The peer has closed it, or has broken the rules. Nothing is read any more.
    Ended,
}

/// The fragments of a message that have come.
struct Unfinished {
    is_text: bool,
    payload: BytesMut,
    /// How many bytes of a text are checked.
    checked: usize,
}

impl Unfinished {
    /// Takes a fragment, and checks the text as far as it goes: its last character may be cut.
    fn add(&mut self, fragment: &[u8], is_last: bool, max_message: usize) -> Result<(), Violation> {
        if fragment.len() > max_message - self.payload.len() {
            return Err(Violation::TooLarge);
        }
        self.payload.extend_from_slice(fragment);
        if !self.is_text {
            return Ok(());
        }
        match core::str::from_utf8(&self.payload[self.checked..]) {
            Ok(_) => self.checked = self.payload.len(),
            Err(cut) if cut.error_len().is_none() && !is_last => self.checked += cut.valid_up_to(),
            Err(_) => return Err(Violation::Utf8),
        }
        Ok(())
    }
}

impl WebSocket {
    /// Begins after the handshake.
    pub fn new(role: Role, limits: WebSocketLimits) -> Self {
        Self {
            role,
            limits,
            phase: Phase::Open,
            input: Input::new(),
            unfinished: None,
            output: Output::new(),
        }
    }

    /// Takes bytes of the peer. Then call [`poll`](Self::poll) until it returns `None`, as soon as more
    /// messages may be handled.
    pub fn receive(&mut self, bytes: &[u8], memory: &mut Memory) {
        if self.phase != Phase::Ended {
            self.input.add(bytes, memory);
        }
    }

    /// Returns the next thing that came. `None` until more bytes come, or, for a peer that sends pings
    /// and does not read the answers, until enough of the output is sent: as long as so much waits that the
    /// WebSocket [is not writable](Self::is_writable), do not read the socket.
    pub fn poll(&mut self, memory: &mut Memory) -> Option<Incoming> {
        loop {
            // Of the pongs, no more wait than of everything.
            let pongs = self.output.pongs().min(self.backlog());
            let is_held_up = self.phase == Phase::Open && pongs >= self.limits.max_backlog;
            if self.phase == Phase::Ended || is_held_up {
                return None;
            }
            let (head, payload) = match self.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    self.input.settle();
                    return None;
                }
                Err(violation) => return Some(self.violated(violation, memory)),
            };
            match self.take(head, payload, memory) {
                Ok(Some(incoming)) => return Some(incoming),
                Ok(None) => {}
                Err(violation) => return Some(self.violated(violation, memory)),
            }
        }
    }

    /// Cuts the next frame from the input.
    #[inline]
    fn next_frame(&mut self) -> Result<Option<(Head, Bytes)>, Violation> {
        let peer = match self.role {
            Role::Server => Role::Client,
            Role::Client => Role::Server,
        };
        let fragments = self.unfinished.as_ref().map_or(0, |message| message.payload.len());
        self.input.take(peer, self.limits.max_message, fragments)
    }

    /// Handles a frame. Returns what it completes.
    #[inline]
    fn take(
        &mut self,
        head: Head,
        payload: Bytes,
        memory: &mut Memory,
    ) -> Result<Option<Incoming>, Violation> {
        let closing = self.phase == Phase::Closing;
        Ok(match (head.opcode, self.unfinished.is_some()) {
            (Opcode::Binary, false) if head.is_last => {
                (!closing).then(|| Incoming::Message(payload))
            }
            (Opcode::Text, false) if head.is_last => {
                let text = text(payload)?;
                (!closing).then_some(Incoming::Text(text))
            }
            (Opcode::Binary | Opcode::Text, false) => {
                let is_text = head.opcode == Opcode::Text;
                // A copy of its own: the message goes on for long.
                let mut message = Unfinished { is_text, payload: BytesMut::new(), checked: 0 };
                message.add(&payload, false, self.limits.max_message)?;
                self.unfinished = Some(Box::new(message));
                None
            }
            (Opcode::Continuation, true) => {
                if let Some(message) = &mut self.unfinished {
                    message.add(&payload, head.is_last, self.limits.max_message)?;
                }
                let whole = self.unfinished.take_if(|_| head.is_last);
                whole.filter(|_| !closing).map(|message| match message.is_text {
                    true => Incoming::Text(message.payload.freeze()),
                    false => Incoming::Message(message.payload.freeze()),
                })
            }
            (Opcode::Binary | Opcode::Text, true) | (Opcode::Continuation, false) => {
                return Err(Violation::Fragments);
            }
            (Opcode::Ping, _) => {
                if !closing {
                    self.output.pong(self.role, &payload, memory);
                }
                Some(Incoming::Ping)
            }
            (Opcode::Pong, _) => Some(Incoming::Pong),
            (Opcode::Close, _) => {
                let frame = close_frame(&payload)?;
                if !closing {
                    self.output.close(self.role, &frame, memory);
                }
                self.end();
                Some(Incoming::Closed(frame))
            }
        })
    }

    /// Ends the WebSocket because the peer has broken the rules.
    fn violated(&mut self, violation: Violation, memory: &mut Memory) -> Incoming {
        if self.phase == Phase::Open {
            self.output.close(self.role, &violation.frame(), memory);
        }
        self.end();
        Incoming::Violated(violation)
    }

    fn end(&mut self) {
        self.phase = Phase::Ended;
        self.input = Input::new();
        self.unfinished = None;
    }

    /// Queues a binary message. Ignored once the WebSocket closes.
    #[inline]
    pub fn send(&mut self, payload: &[u8], memory: &mut Memory) {
        if self.phase == Phase::Open {
            self.output.frame(Opcode::Binary, self.role, payload, memory);
        }
    }

    /// Queues a text message. Ignored once the WebSocket closes.
    pub fn send_text(&mut self, text: &str, memory: &mut Memory) {
        if self.phase == Phase::Open {
            self.output.frame(Opcode::Text, self.role, text.as_bytes(), memory);
        }
    }

    /// Queues an empty ping. Ignored once the WebSocket closes.
    pub fn ping(&mut self, memory: &mut Memory) {
        if self.phase == Phase::Open {
            self.output.frame(Opcode::Ping, self.role, &[], memory);
        }
    }

    /// Queues a close frame. Messages that still come are dropped, until the
    /// [close frame of the peer](Incoming::Closed) has come. Ignored if the WebSocket closes already.
    pub fn close(&mut self, frame: &CloseFrame, memory: &mut Memory) {
        if self.phase == Phase::Open {
            self.output.close(self.role, frame, memory);
            self.phase = Phase::Closing;
        }
    }

    /// Masks what was queued since the last call, each frame with a key of its own. A client's frames are
    /// not in the [`output`](Self::output) before that; a server has nothing to mask. A key has to be
    /// unpredictable for the one that chooses what is sent (RFC 6455 section 10.3).
    pub fn mask(&mut self, key: impl FnMut() -> Key) {
        if self.role == Role::Client {
            self.output.mask(key);
        }
    }

    /// Returns the bytes to send next.
    #[inline]
    pub fn output(&self) -> &[u8] {
        self.output.ready()
    }

    /// Records that the socket has accepted so many bytes of the [`output`](Self::output), which is what one
    /// write has returned. Call it after each write, with 0 if the socket accepts nothing now: as long as
    /// something is left, the peer counts as one that does not read.
    pub fn sent(&mut self, now: Instant, bytes: usize, memory: &mut Memory) {
        self.output.sent(now, bytes, self.limits.stall_timeout, memory);
    }

    /// Returns how many bytes wait to be sent.
    pub fn backlog(&self) -> usize {
        self.output.backlog()
    }

    /// Returns whether more output may be caused. False while the peer does not read what it was sent: then
    /// handle nothing that needs an answer.
    #[inline]
    pub fn is_writable(&self) -> bool {
        !self.is_stalled() && self.backlog() < self.limits.max_backlog
    }

    /// Returns whether the socket did not accept everything in the last write.
    #[inline]
    pub fn is_stalled(&self) -> bool {
        self.output.stalled_until().is_some()
    }

    /// Returns when a peer that takes nothing of what was sent has had enough time.
    #[inline]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.output.stalled_until()
    }

    /// Returns whether received bytes wait for [`poll`](Self::poll), or for the rest of their message.
    pub fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// Sets the longest message that is accepted.
    pub(crate) const fn set_max_message(&mut self, bytes: usize) {
        self.limits.max_message = bytes;
    }

    /// Takes what was received and is not a frame: HTTP comes before the WebSocket.
    pub(crate) fn take_raw(&mut self) -> BytesMut {
        self.input.take_raw()
    }

    /// Puts back what is left of it.
    pub(crate) fn put_raw(&mut self, rest: BytesMut) {
        self.input.put_raw(rest);
    }

    /// Queues bytes that are not a frame.
    pub(crate) fn send_raw(&mut self, memory: &mut Memory, write: impl FnOnce(&mut Vec<u8>)) {
        self.output.raw(memory, write);
    }

    /// Moves received bytes that wait for more out of the memory that they share.
    pub(crate) fn settle(&mut self) {
        self.input.settle();
    }

    /// Returns whether nothing is read any more: the peer has closed the WebSocket, or has broken the rules.
    /// When the output is sent, the socket can be closed.
    pub const fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }
}

/// Checks a text message.
fn text(payload: Bytes) -> Result<Bytes, Violation> {
    match core::str::from_utf8(&payload) {
        Ok(_) => Ok(payload),
        Err(_) => Err(Violation::Utf8),
    }
}

/// Reads the payload of a close frame (RFC 6455 section 5.5.1).
fn close_frame(payload: &[u8]) -> Result<CloseFrame, Violation> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return match payload {
            [] => Ok(CloseFrame::received(None, "")),
            _ => Err(Violation::CloseFrame),
        };
    };
    let code = u16::from_be_bytes(*code);
    let reason = core::str::from_utf8(reason).map_err(|_| Violation::Utf8)?;
    if !CloseFrame::may_be_sent(code) {
        return Err(Violation::CloseFrame);
    }
    Ok(CloseFrame::received(Some(code), reason))
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("role", &self.role)
            .field("phase", &self.phase)
            .field("backlog", &self.backlog())
            .finish_non_exhaustive()
    }
}
