//! The byte stream under a WebSocket.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use hyper::rt::{Read, ReadBuf, Write};
use hyper::upgrade::Upgraded;

use crate::runtime;

/// How many bytes are read before other tasks get a turn. Without a limit, a peer that sends
/// without a pause would keep its thread busy, because reading goes on until a message is complete.
const TURN: usize = 256 * 1024;

/// A connected byte stream that counts its bytes, so that a slow peer can be told from one that
/// does nothing.
#[derive(Debug)]
pub(crate) struct Socket<S> {
    stream: Stream<S>,
    written: u64,
    read: u64,
    /// How many bytes may be read in this turn.
    turn: usize,
}

#[derive(Debug)]
enum Stream<S> {
    /// A socket of the runtime.
    Tcp(S),
    /// The connection of another HTTP server.
    Upgraded(Upgraded),
}

impl<S: runtime::Stream> Socket<S> {
    pub(crate) const fn tcp(stream: S) -> Self {
        Self::new(Stream::Tcp(stream))
    }

    pub(crate) const fn upgraded(stream: Upgraded) -> Self {
        Self::new(Stream::Upgraded(stream))
    }

    const fn new(stream: Stream<S>) -> Self {
        Self { stream, written: 0, read: 0, turn: TURN }
    }

    /// Returns how many bytes the stream has accepted.
    pub(crate) const fn written(&self) -> u64 {
        self.written
    }

    /// Returns how many bytes were read from the stream.
    pub(crate) const fn read(&self) -> u64 {
        self.read
    }

    /// Makes the next read call the kernel. The reactor may report a timer first, although bytes
    /// came before its time.
    #[inline]
    pub(crate) fn ask_kernel(&mut self) {
        if let Stream::Tcp(tcp) = &mut self.stream {
            tcp.ask_kernel();
        }
    }
}

impl<S: runtime::Stream> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize>> {
        if self.turn == 0 {
            self.turn = TURN;
            S::give_way(cx);
            return Poll::Pending;
        }
        let read = match &mut self.stream {
            Stream::Tcp(tcp) => ready!(Pin::new(tcp).poll_read(cx, buffer))?,
            Stream::Upgraded(stream) => {
                let mut buffer = ReadBuf::new(buffer);
                ready!(Pin::new(stream).poll_read(cx, buffer.unfilled()))?;
                buffer.filled().len()
            }
        };
        self.turn = self.turn.saturating_sub(read);
        self.read += read as u64;
        Poll::Ready(Ok(read))
    }
}

impl<S: runtime::Stream> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<Result<usize>> {
        let written = match &mut self.stream {
            Stream::Tcp(tcp) => ready!(Pin::new(tcp).poll_write(cx, buffer)),
            Stream::Upgraded(stream) => ready!(Pin::new(stream).poll_write(cx, buffer)),
        }?;
        self.written += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.stream {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Upgraded(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.stream {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_close(cx),
            Stream::Upgraded(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Returns the error for a peer that does not read for too long.
pub(crate) fn stalled() -> Error {
    Error::new(ErrorKind::TimedOut, "the peer reads nothing")
}
