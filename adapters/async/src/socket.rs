//! The byte stream under a WebSocket.

use std::fmt;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
#[cfg(feature = "rustls")]
use futures_lite::io::AsyncWriteExt as _;
#[cfg(feature = "rustls")]
use futures_rustls::TlsStream;
use hyper::rt::{Read, ReadBuf, Write};
use hyper::upgrade::Upgraded;

use crate::runtime;

/// How many bytes are read before other tasks get a turn. Without a limit, a peer that sends
/// without a pause would keep its thread busy, because reading goes on until a message is complete.
const TURN: usize = 256 * 1024;

/// A connected byte stream, encrypted or not.
#[derive(Debug)]
pub(crate) struct Socket<S> {
    layer: Layer<S>,
}

#[derive(Debug)]
enum Layer<S> {
    Plain(Transport<S>),
    #[cfg(feature = "rustls")]
    Tls {
        stream: Box<TlsStream<Transport<S>>>,
        /// How many bytes the reader has got.
        received: u64,
    },
}

/// The stream at the bottom. It counts its bytes, so that a slow peer can be told from one that does
/// nothing: under TLS, these are the encrypted ones. Reading lets other tasks run after
/// 256 KiB.
#[derive(Debug)]
pub(crate) struct Transport<S> {
    stream: Stream<S>,
    written: u64,
    read: u64,
    /// How many bytes may be read in this turn.
    turn: usize,
}

enum Stream<S> {
    /// A socket of the runtime.
    Native(S),
    /// The connection of another HTTP server.
    Upgraded(Upgraded),
    /// A stream of the application.
    Boxed(Box<dyn ByteStream>),
}

/// A connected byte stream of any kind, such as one in memory. [`poll_close`](AsyncWrite::poll_close)
/// ends only the direction that writes. Implemented for every type that has what it asks for.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for T {}

impl<S> Transport<S> {
    pub(crate) const fn native(stream: S) -> Self {
        Self::new(Stream::Native(stream))
    }

    pub(crate) const fn upgraded(stream: Upgraded) -> Self {
        Self::new(Stream::Upgraded(stream))
    }

    pub(crate) fn boxed(stream: impl ByteStream + 'static) -> Self {
        Self::new(Stream::Boxed(Box::new(stream)))
    }

    /// Returns the socket of the runtime, if it is one.
    pub(crate) const fn get_native(&self) -> Option<&S> {
        match &self.stream {
            Stream::Native(stream) => Some(stream),
            Stream::Upgraded(_) | Stream::Boxed(_) => None,
        }
    }

    const fn new(stream: Stream<S>) -> Self {
        Self { stream, written: 0, read: 0, turn: TURN }
    }
}

impl<S> Socket<S> {
    pub(crate) const fn new(transport: Transport<S>) -> Self {
        Self { layer: Layer::Plain(transport) }
    }

    #[cfg(feature = "rustls")]
    pub(crate) fn tls(stream: impl Into<TlsStream<Transport<S>>>) -> Self {
        Self { layer: Layer::Tls { stream: Box::new(stream.into()), received: 0 } }
    }

    fn transport(&self) -> &Transport<S> {
        match &self.layer {
            Layer::Plain(transport) => transport,
            #[cfg(feature = "rustls")]
            Layer::Tls { stream, .. } => stream.get_ref().0,
        }
    }

    fn transport_mut(&mut self) -> &mut Transport<S> {
        match &mut self.layer {
            Layer::Plain(transport) => transport,
            #[cfg(feature = "rustls")]
            Layer::Tls { stream, .. } => stream.get_mut().0,
        }
    }

    /// Returns how many bytes the stream at the bottom has accepted.
    pub(crate) fn written(&self) -> u64 {
        self.transport().written
    }

    /// Returns how many bytes were read from the stream at the bottom.
    pub(crate) fn read(&self) -> u64 {
        self.transport().read
    }

    /// Returns the socket of the runtime, if it is one and nothing is in between.
    pub(crate) fn into_native(self) -> Option<S> {
        match self.layer {
            Layer::Plain(Transport { stream: Stream::Native(stream), .. }) => Some(stream),
            _ => None,
        }
    }

    /// Returns how many bytes its reader has got, after decryption. Without TLS, they are those of
    /// [`read`](Self::read).
    pub(crate) const fn received(&self) -> u64 {
        match &self.layer {
            Layer::Plain(transport) => transport.read,
            #[cfg(feature = "rustls")]
            Layer::Tls { received, .. } => *received,
        }
    }

    /// Returns the socket of the runtime at the bottom, if it is one.
    pub(crate) fn native(&self) -> Option<&S> {
        self.transport().get_native()
    }
}

impl<S: runtime::Stream> Socket<S> {
    /// Ends the direction that writes, if the peer has to be told by more than the end of the
    /// connection: under TLS by the alert `close_notify` (RFC 8446 section 6.1).
    pub(crate) async fn end(&mut self) -> Result<()> {
        match &mut self.layer {
            Layer::Plain(_) => Ok(()),
            #[cfg(feature = "rustls")]
            Layer::Tls { stream, .. } => stream.close().await,
        }
    }

    /// Makes the next read call the kernel. The reactor may report a timer first, although bytes
    /// came before its time.
    #[inline]
    pub(crate) fn ask_kernel(&mut self) {
        if let Stream::Native(stream) = &mut self.transport_mut().stream {
            stream.ask_kernel();
        }
    }
}

/// Calls a function of the layer.
macro_rules! on_layer {
    ($socket:expr, $layer:ident => $call:expr) => {
        match &mut $socket.layer {
            Layer::Plain($layer) => $call,
            #[cfg(feature = "rustls")]
            Layer::Tls { stream: $layer, .. } => $call,
        }
    };
}

impl<S: runtime::Stream> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize>> {
        match &mut self.layer {
            Layer::Plain(transport) => Pin::new(transport).poll_read(cx, buffer),
            #[cfg(feature = "rustls")]
            Layer::Tls { stream, received } => match ready!(Pin::new(stream).poll_read(cx, buffer))
            {
                Ok(read) => {
                    *received += read as u64;
                    Poll::Ready(Ok(read))
                }
                // The peer ended the connection without the alert `close_notify`. All that came before
                // was read; whether it is complete, frames and lengths say.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => Poll::Ready(Ok(0)),
                Err(error) => Poll::Ready(Err(error)),
            },
        }
    }
}

impl<S: runtime::Stream> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<Result<usize>> {
        on_layer!(self, layer => Pin::new(layer).poll_write(cx, buffer))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        on_layer!(self, layer => Pin::new(layer).poll_flush(cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        on_layer!(self, layer => Pin::new(layer).poll_close(cx))
    }
}

impl<S: runtime::Stream> AsyncRead for Transport<S> {
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
            Stream::Native(stream) => ready!(Pin::new(stream).poll_read(cx, buffer))?,
            Stream::Upgraded(stream) => {
                let mut buffer = ReadBuf::new(buffer);
                ready!(Pin::new(stream).poll_read(cx, buffer.unfilled()))?;
                buffer.filled().len()
            }
            Stream::Boxed(stream) => ready!(Pin::new(stream).poll_read(cx, buffer))?,
        };
        self.read += read as u64;
        self.turn = self.turn.saturating_sub(read);
        Poll::Ready(Ok(read))
    }
}

impl<S: runtime::Stream> AsyncWrite for Transport<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<Result<usize>> {
        let written = match &mut self.stream {
            Stream::Native(stream) => ready!(Pin::new(stream).poll_write(cx, buffer)),
            Stream::Upgraded(stream) => ready!(Pin::new(stream).poll_write(cx, buffer)),
            Stream::Boxed(stream) => ready!(Pin::new(stream).poll_write(cx, buffer)),
        }?;
        self.written += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = match &mut self.stream {
            Stream::Native(stream) => ready!(Pin::new(stream).poll_write_vectored(cx, buffers)),
            Stream::Upgraded(stream) => ready!(Pin::new(stream).poll_write_vectored(cx, buffers)),
            Stream::Boxed(stream) => ready!(Pin::new(stream).poll_write_vectored(cx, buffers)),
        }?;
        self.written += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.stream {
            Stream::Native(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Upgraded(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Boxed(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.stream {
            Stream::Native(stream) => Pin::new(stream).poll_close(cx),
            Stream::Upgraded(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Boxed(stream) => Pin::new(stream).poll_close(cx),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Stream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native(stream) => f.debug_tuple("Native").field(stream).finish(),
            Self::Upgraded(stream) => f.debug_tuple("Upgraded").field(stream).finish(),
            Self::Boxed(_) => f.debug_tuple("Boxed").finish_non_exhaustive(),
        }
    }
}

/// Returns the error for a peer that does not read for too long.
pub(crate) fn stalled() -> Error {
    Error::new(ErrorKind::TimedOut, "the peer reads nothing")
}

#[cfg(test)]
mod tests {
    use futures_lite::AsyncReadExt as _;
    use futures_lite::future::poll_once;

    use super::*;
    use crate::test_runtime::TestStream;

    /// A peer that sends without a pause.
    struct Endless;

    impl AsyncRead for Endless {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<Result<usize>> {
            Poll::Ready(Ok(buffer.len()))
        }
    }

    impl AsyncWrite for Endless {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<Result<usize>> {
            Poll::Pending
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Pending
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Pending
        }
    }

    #[test]
    fn a_peer_that_sends_without_a_pause_gets_a_turn_of_256_kib() {
        let mut transport = Transport::<TestStream>::boxed(Endless);
        let mut buffer = [0; 1000];
        smol::block_on(async {
            for _ in 0..3 {
                let mut read = 0;
                while let Some(length) = poll_once(transport.read(&mut buffer)).await {
                    read += length.unwrap();
                    assert!(read <= TURN + buffer.len(), "other tasks get no turn");
                }
                assert!(read >= TURN, "{read}");
            }
            // The task is woken after the pause.
            assert_eq!(transport.read(&mut buffer).await.unwrap(), buffer.len());
        });
    }
}
