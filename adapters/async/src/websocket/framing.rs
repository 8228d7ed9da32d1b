//! WebSocket framing on a socket, with buffers only while something is in progress.

use std::io::{self, ErrorKind, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use async_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use async_tungstenite::tungstenite::{Error, Message};
use futures_io::{AsyncRead, AsyncWrite};

use crate::pool::Pool;
use crate::runtime;
use crate::socket::Socket;

/// How many bytes are read at a time, and the size from which a message counts as large.
///
/// The library clears the buffer first. So most messages need a small buffer, and large messages
/// few system calls.
pub(super) const READ_BUFFER: usize = 8 * 1024;
const LARGE_READ_BUFFER: usize = 32 * 1024;
const LARGE_MESSAGE: usize = 16 * 1024;

thread_local! {
    /// Framing contexts of servers that no connection needs at the moment, with small and large
    /// buffers.
    static POOLS: [Pool<Box<WebSocketContext>>; 2] = const { [Pool::new(), Pool::new()] };
}

/// Encodes and decodes frames.
///
/// The library never frees its buffers. Most connections are idle most of the time. So the context
/// goes into a pool whenever nothing is in progress, and the next busy connection of the thread
/// takes it.
pub(super) struct Framing<S> {
    socket: Socket<S>,
    wanted: Wanted,
    context: Option<Box<WebSocketContext>>,
    /// About how many bytes of buffers the context has.
    size: usize,
    /// How many bytes were read before the socket was taken over.
    read_before: u64,
    /// The least number of bytes in which all received messages can have come. Only if as many
    /// bytes were read, no message can wait in the buffer. A peer that uses more bytes than
    /// necessary, for example fragments, keeps its buffers.
    received: u64,
    /// Whether nothing more comes.
    ended: bool,
    /// Whether nothing more is written.
    mute: bool,
}

/// What a connection needs for its frames.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    role: Role,
    max_message_size: usize,
    /// Whether the last message was large. The next one may be large, too.
    large: bool,
}

impl<S: runtime::Stream> Framing<S> {
    /// Takes over a socket after its handshake. `read` is what was read beyond it.
    pub(super) fn new(
        socket: Socket<S>,
        read: Vec<u8>,
        role: Role,
        max_message_size: usize,
    ) -> Self {
        let read_before = (read.len() as u64).wrapping_sub(socket.received());
        let mut framing = Self {
            socket,
            wanted: Wanted { role, max_message_size, large: false },
            context: None,
            size: 0,
            read_before,
            received: 0,
            ended: false,
            mute: false,
        };
        if !read.is_empty() {
            framing.size = 2 * READ_BUFFER + read.len();
            let config = framing.wanted.config();
            let context = WebSocketContext::from_partially_read(read, role, config);
            framing.context = Some(Box::new(context));
        }
        framing
    }

    pub(super) const fn socket(&self) -> &Socket<S> {
        &self.socket
    }

    pub(super) const fn socket_mut(&mut self) -> &mut Socket<S> {
        &mut self.socket
    }

    /// Returns the next message. `None` if nothing more comes.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let (context, mut socket) = self.parts(Some(cx));
        match context.read(&mut socket) {
            Ok(message) => {
                self.count(&message);
                Poll::Ready(Some(Ok(message)))
            }
            Err(error) if would_block(&error) => Poll::Pending,
            Err(error) => {
                self.ended = true;
                let closed = matches!(error, Error::AlreadyClosed | Error::ConnectionClosed);
                Poll::Ready((!closed).then_some(Err(error)))
            }
        }
    }

    /// Queues a message behind those that wait to be flushed, of which `backlog` bytes were fed.
    pub(super) fn feed(&mut self, message: Message, backlog: usize) -> Result<(), Error> {
        let size = 2 * READ_BUFFER + backlog + message.len();
        let (context, mut socket) = self.parts(None);
        let written = context.write(&mut socket, message);
        self.size = self.size.max(size);
        match written {
            Ok(()) => Ok(()),
            // It waits.
            Err(error) if would_block(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes the waiting output.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let (context, mut socket) = self.parts(Some(cx));
        match context.flush(&mut socket) {
            Err(error) if would_block(&error) => Poll::Pending,
            // The last output was written.
            Err(Error::ConnectionClosed) => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }

    /// Puts the buffers into the pool if they are empty. Nothing may wait to be flushed.
    pub(super) fn rest(&mut self) {
        if !self.has_read_all() {
            return;
        }
        if let Some(context) = self.context.take_if(|context| context.can_write()) {
            self.give_up(context);
        }
    }

    /// The same for good: input is still read, but nothing is written from now on. Call it when a
    /// close frame was flushed and that of the peer is awaited.
    ///
    /// The next context does not know about the close frame. It would answer pings and the close
    /// frame of the peer.
    pub(super) fn rest_closing(&mut self) {
        if self.has_read_all() {
            self.mute = true;
            self.context = None;
            self.size = 0;
        }
    }

    /// Returns whether everything that was read has been returned as messages.
    fn has_read_all(&self) -> bool {
        let read = self.socket.received().wrapping_add(self.read_before);
        !self.ended && self.received == read
    }

    /// Returns whether there are no buffers.
    #[cfg(test)]
    pub(super) const fn rests(&self) -> bool {
        self.context.is_none()
    }

    /// Returns about how many bytes the buffers have.
    #[cfg(test)]
    pub(super) const fn size(&self) -> usize {
        self.size
    }

    fn give_up(&mut self, context: Box<WebSocketContext>) {
        if self.wanted.role == Role::Server {
            let large = context.get_config().read_buffer_size > READ_BUFFER;
            // If the thread ends, the context is not needed any more.
            let _ = POOLS.try_with(|[small_ones, large_ones]| {
                let pool = if large { large_ones } else { small_ones };
                pool.keep(self.size, context);
            });
        }
        self.size = 0;
    }

    /// Returns the context and the socket for it. Without `cx`, nothing is read from the socket or
    /// written to it.
    fn parts<'a, 'b, 'c>(
        &'a mut self,
        cx: Option<&'b mut Context<'c>>,
    ) -> (&'a mut WebSocketContext, Bridge<'a, 'b, 'c, S>) {
        let context = match &mut self.context {
            Some(context) => context,
            none => {
                let (size, context) = self.wanted.take_up();
                self.size = size;
                none.insert(context)
            }
        };
        (context, Bridge { socket: &mut self.socket, mute: self.mute, cx })
    }

    /// Counts the bytes of a message, as one frame with the shortest header (RFC 6455 §5.2).
    fn count(&mut self, message: &Message) {
        let length = message.len();
        let header = match length {
            0..=125 => 2,
            126..=0xffff => 4,
            _ => 10,
        };
        let mask = if self.wanted.role == Role::Server { 4 } else { 0 };
        self.received = self.received.wrapping_add(header + mask + length as u64);
        self.size = self.size.max(2 * READ_BUFFER + length);
        self.wanted.large = length >= LARGE_MESSAGE;
    }
}

impl Wanted {
    /// Returns a context from the pool, or a new one, and its size.
    fn take_up(self) -> (usize, Box<WebSocketContext>) {
        let pooled = match self.role {
            Role::Server => POOLS
                .try_with(|[small_ones, large_ones]| {
                    if self.large { large_ones } else { small_ones }.take()
                })
                .ok()
                .flatten(),
            Role::Client => None,
        };
        let same = |context: &WebSocketContext| {
            context.get_config().max_message_size == Some(self.max_message_size)
        };
        match pooled {
            Some((size, context)) if same(&context) => (size, context),
            _ => {
                let context = WebSocketContext::new(self.role, self.config());
                (2 * self.read_buffer(), Box::new(context))
            }
        }
    }

    const fn read_buffer(self) -> usize {
        if self.large { LARGE_READ_BUFFER } else { READ_BUFFER }
    }

    fn config(self) -> Option<WebSocketConfig> {
        let config = WebSocketConfig::default()
            .read_buffer_size(self.read_buffer())
            .max_message_size(Some(self.max_message_size))
            .max_frame_size(Some(self.max_message_size));
        Some(config)
    }
}

/// A socket for code that does not know tasks.
struct Bridge<'a, 'b, 'c, S> {
    socket: &'a mut Socket<S>,
    /// Whether what is written is dropped.
    mute: bool,
    cx: Option<&'b mut Context<'c>>,
}

impl<S: runtime::Stream> Bridge<'_, '_, '_, S> {
    fn now<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut Socket<S>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        let polled = match &mut self.cx {
            Some(cx) => poll(Pin::new(self.socket), cx),
            None => Poll::Pending,
        };
        match polled {
            Poll::Ready(result) => result,
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

impl<S: runtime::Stream> Read for Bridge<'_, '_, '_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.now(|socket, cx| socket.poll_read(cx, buffer))
    }
}

impl<S: runtime::Stream> Write for Bridge<'_, '_, '_, S> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.mute {
            return Ok(buffer.len());
        }
        self.now(|socket, cx| socket.poll_write(cx, buffer))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.now(AsyncWrite::poll_flush)
    }
}

fn would_block(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == ErrorKind::WouldBlock)
}
