//! The byte stream under a WebSocket.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
#[cfg(feature = "rustls")]
use futures_rustls::TlsStream;
use hyper::rt::{Read, ReadBuf, Write};
use hyper::upgrade::Upgraded;

use crate::runtime;

/// How many bytes are read before other tasks get a turn. Without a limit, a peer that sends
/// without a pause would keep its thread busy, because reading goes on until a message is complete.
const TURN: usize = 256 * 1024;

/// A connected byte stream, encrypted or not. Reading gives other tasks a turn.
#[derive(Debug)]
pub(crate) struct Socket<S> {
    layer: Layer<S>,
    /// How many bytes may be read in this turn.
    turn: usize,
}

#[derive(Debug)]
enum Layer<S> {
    Plain(Transport<S>),
    #[cfg(feature = "rustls")]
    Tls(Box<TlsStream<Transport<S>>>),
}

/// The stream at the bottom. It counts its bytes, so that a slow peer can be told from one that does
/// nothing: under TLS, these are the encrypted ones.
#[derive(Debug)]
pub(crate) struct Transport<S> {
    stream: Stream<S>,
    written: u64,
    read: u64,
}

#[derive(Debug)]
enum Stream<S> {
    /// A socket of the runtime.
    Native(S),
    /// The connection of another HTTP server.
    Upgraded(Upgraded),
}

impl<S> Transport<S> {
    pub(crate) const fn native(stream: S) -> Self {
        Self { stream: Stream::Native(stream), written: 0, read: 0 }
    }

    pub(crate) const fn upgraded(stream: Upgraded) -> Self {
        Self { stream: Stream::Upgraded(stream), written: 0, read: 0 }
    }
}

impl<S> Socket<S> {
    pub(crate) const fn new(transport: Transport<S>) -> Self {
        Self { layer: Layer::Plain(transport), turn: TURN }
    }

    #[cfg(feature = "rustls")]
    pub(crate) fn tls(stream: impl Into<TlsStream<Transport<S>>>) -> Self {
        Self { layer: Layer::Tls(Box::new(stream.into())), turn: TURN }
    }

    fn transport(&self) -> &Transport<S> {
        match &self.layer {
            Layer::Plain(transport) => transport,
            #[cfg(feature = "rustls")]
            Layer::Tls(tls) => tls.get_ref().0,
        }
    }

    fn transport_mut(&mut self) -> &mut Transport<S> {
        match &mut self.layer {
            Layer::Plain(transport) => transport,
            #[cfg(feature = "rustls")]
            Layer::Tls(tls) => tls.get_mut().0,
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

    /// Returns the socket of the runtime at the bottom, if it is one.
    pub(crate) fn native(&self) -> Option<&S> {
        match &self.transport().stream {
            Stream::Native(stream) => Some(stream),
            Stream::Upgraded(_) => None,
        }
    }
}

impl<S: runtime::Stream> Socket<S> {
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
            Layer::Tls($layer) => $call,
        }
    };
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
        let read = ready!(on_layer!(self, layer => Pin::new(layer).poll_read(cx, buffer)))?;
        self.turn = self.turn.saturating_sub(read);
        Poll::Ready(Ok(read))
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
        let read = match &mut self.stream {
            Stream::Native(stream) => ready!(Pin::new(stream).poll_read(cx, buffer))?,
            Stream::Upgraded(stream) => {
                let mut buffer = ReadBuf::new(buffer);
                ready!(Pin::new(stream).poll_read(cx, buffer.unfilled()))?;
                buffer.filled().len()
            }
        };
        self.read += read as u64;
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
        }?;
        self.written += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.stream {
            Stream::Native(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Upgraded(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.stream {
            Stream::Native(stream) => Pin::new(stream).poll_close(cx),
            Stream::Upgraded(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Returns the error for a peer that does not read for too long.
pub(crate) fn stalled() -> Error {
    Error::new(ErrorKind::TimedOut, "the peer reads nothing")
}
