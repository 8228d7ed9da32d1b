//! The byte stream under a WebSocket.

use std::io::{Error, ErrorKind, Read as _, Result};
use std::net::{self, Shutdown};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBuf, Write};
use hyper::upgrade::Upgraded;
use smol::Async;
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::TcpStream;

/// How many bytes are read before others get a turn. A peer that sends without a pause would
/// otherwise keep its thread to itself, since what reads goes on until a message is complete.
const TURN: usize = 256 * 1024;

/// A connected byte stream that counts what passes, so that a peer that reads or writes slowly can be
/// told from one that does nothing.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Stream,
    written: u64,
    read: u64,
    /// How many bytes may be read in this turn.
    turn: usize,
}

/// A socket that the kernel is not asked for bytes again once it has given fewer than there was room
/// for: the next it has to say is that there are more.
#[derive(Debug)]
struct Tcp {
    stream: Arc<Async<net::TcpStream>>,
    drained: bool,
}

#[derive(Debug)]
enum Stream {
    /// A socket of ours.
    Tcp(Tcp),
    /// Whatever somebody else's HTTP server runs on.
    Upgraded(Upgraded),
}

impl Socket {
    pub(crate) fn tcp(stream: TcpStream) -> Self {
        Self::new(Stream::Tcp(Tcp { stream: stream.into(), drained: false }))
    }

    pub(crate) const fn upgraded(stream: Upgraded) -> Self {
        Self::new(Stream::Upgraded(stream))
    }

    const fn new(stream: Stream) -> Self {
        Self { stream, written: 0, read: 0, turn: TURN }
    }

    /// How many bytes the stream has taken.
    pub(crate) const fn written(&self) -> u64 {
        self.written
    }

    /// How many bytes the stream has given.
    pub(crate) const fn read(&self) -> u64 {
        self.read
    }

    /// Has the kernel itself asked for bytes by the next read. Whoever waits for readiness may hear
    /// of a timer first, though bytes came before its time.
    pub(crate) const fn ask_kernel(&mut self) {
        if let Stream::Tcp(tcp) = &mut self.stream {
            tcp.drained = false;
        }
    }
}

impl Tcp {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize>> {
        loop {
            if self.drained {
                ready!(self.stream.poll_readable(cx))?;
                self.drained = false;
            }
            match self.stream.get_ref().read(buffer) {
                Ok(read) => {
                    self.drained = read < buffer.len();
                    return Poll::Ready(Ok(read));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.drained = true,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize>> {
        if self.turn == 0 {
            self.turn = TURN;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let read = match &mut self.stream {
            Stream::Tcp(tcp) => ready!(tcp.poll_read(cx, buffer))?,
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

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<Result<usize>> {
        let written = match &mut self.stream {
            Stream::Tcp(tcp) => ready!(Pin::new(&mut &*tcp.stream).poll_write(cx, buffer)),
            Stream::Upgraded(stream) => ready!(Pin::new(stream).poll_write(cx, buffer)),
        }?;
        self.written += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.stream {
            Stream::Tcp(tcp) => Pin::new(&mut &*tcp.stream).poll_flush(cx),
            Stream::Upgraded(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.stream {
            // `Async` would only flush.
            Stream::Tcp(tcp) => Poll::Ready(tcp.stream.get_ref().shutdown(Shutdown::Write)),
            Stream::Upgraded(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// The error of a peer that reads nothing for too long.
pub(crate) fn stalled() -> Error {
    Error::new(ErrorKind::TimedOut, "the peer reads nothing")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use smol::future::{poll_fn, poll_once};
    use smol::net::TcpListener;

    use super::*;

    /// A thread that was kept busy is not told of bytes yet when it sees that a timer has ended.
    #[test]
    fn the_kernel_is_asked_for_what_nobody_was_told_of_yet() {
        smol::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut peer = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let mut socket = Socket::tcp(listener.accept().await.unwrap().0);
            let mut buffer = [0; 2];
            for _ in 0..200 {
                let mut read = poll_fn(|cx| Pin::new(&mut socket).poll_read(cx, &mut buffer));
                assert!(poll_once(&mut read).await.is_none());
                peer.write_all(b"a").unwrap();
                let Stream::Tcp(tcp) = &socket.stream else { unreachable!() };
                while tcp.stream.get_ref().peek(&mut [0]).is_err() {}
                socket.ask_kernel();
                let mut read = poll_fn(|cx| Pin::new(&mut socket).poll_read(cx, &mut buffer));
                assert_eq!(poll_once(&mut read).await.unwrap().unwrap(), 1);
            }
        });
    }
}
