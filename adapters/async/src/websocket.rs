//! A WebSocket that is fed many messages and flushed once.

#[cfg(test)]
pub(crate) mod echo;
mod framing;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use async_tungstenite::tungstenite::error::ProtocolError;
use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use async_tungstenite::tungstenite::protocol::{self, Role};
use async_tungstenite::tungstenite::{Error, Message};
use bytes::Bytes;
use futures_lite::future::{FutureExt, yield_now};
use futures_lite::io::{AsyncReadExt, AsyncWriteExt};
use wwr::CloseFrame;

use crate::clock::sleep_by;
use crate::runtime::{Runtime, Timer};
use crate::socket::{Socket, stalled};
use framing::{Framing, READ_BUFFER};

/// About how many bytes the answer to a ping takes in addition to the ping's payload.
const PONG: usize = 2;

/// The reason that the library sends to a peer whose close frame is invalid.
const VIOLATION: &str = "Protocol violation";

/// How many bytes are fed before a flush, even if there is more to read, unless a setting says so.
pub(crate) const WRITE_BACKLOG: usize = 128 * 1024;

/// One WebSocket, server's or client's.
pub(crate) struct WebSocket<R: Runtime> {
    framing: Framing<R::Stream>,
    /// Whether there may be something to flush.
    unflushed: bool,
    /// Bytes of messages and answers to pings that were fed since the last complete flush.
    backlog: usize,
    /// How many of them may wait before the peer is not read any more.
    max_backlog: usize,
    /// The part of `backlog` that answers pings.
    pongs: usize,
    /// The part of `backlog` that was fed since the last attempt to flush.
    fresh: usize,
    /// How many bytes the socket had accepted at the last complete flush.
    flushed_at: u64,
    /// How many bytes the socket had read when the caller last asked.
    read_at: u64,
    written_at: u64,
    stall: Stall<R::Timer>,
    /// Whether a close frame has come.
    closed_by_peer: bool,
}

/// Notices a peer that does not read for too long.
#[derive(Debug)]
struct Stall<T> {
    limit: Duration,
    /// How much the socket had accepted when it began to accept nothing.
    since: Option<u64>,
    timer: T,
}

/// What came from the peer.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A binary message.
    Message(Bytes),
    /// A text message.
    Text(Bytes),
    /// A ping. The library answers it.
    Ping,
    /// A pong.
    Pong,
    /// The peer closed the WebSocket with a close frame, or ended the connection without one.
    Closed(Option<CloseFrame>),
    /// The connection broke, or the peer broke the rules of WebSocket.
    Failed(Error),
}

impl<R: Runtime> WebSocket<R> {
    /// Takes over a socket after its handshake. `read` is what was read beyond it.
    pub(crate) fn new(
        runtime: &R,
        socket: Socket<R::Stream>,
        read: Vec<u8>,
        role: Role,
        max_message_size: usize,
        stall_limit: Duration,
    ) -> Self {
        let (read_at, flushed_at) = (socket.read(), socket.written());
        Self {
            framing: Framing::new(socket, read, role, max_message_size),
            unflushed: false,
            backlog: 0,
            max_backlog: WRITE_BACKLOG,
            pongs: 0,
            fresh: 0,
            flushed_at,
            read_at,
            written_at: flushed_at,
            stall: Stall { limit: stall_limit, since: None, timer: runtime.timer() },
            closed_by_peer: false,
        }
    }

    /// Sets how many bytes may wait to be written before the peer is not read any more.
    pub(crate) const fn with_max_backlog(mut self, bytes: usize) -> Self {
        self.max_backlog = bytes;
        self
    }

    /// Returns the next input from the peer. A peer that pings without reading the answers is not
    /// read until everything was flushed.
    pub(crate) fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        if self.pongs >= self.max_backlog {
            return Poll::Pending;
        }
        let Poll::Ready(item) = self.framing.poll_next(cx) else {
            return Poll::Pending;
        };
        Poll::Ready(match item {
            Some(Ok(Message::Binary(message))) => Incoming::Message(message),
            Some(Ok(Message::Text(message))) => Incoming::Text(message.into()),
            Some(Ok(Message::Ping(ping))) => {
                self.unflushed = true;
                self.backlog += ping.len() + PONG;
                self.pongs += ping.len() + PONG;
                Incoming::Ping
            }
            Some(Ok(Message::Pong(_) | Message::Frame(_))) => Incoming::Pong,
            Some(Ok(Message::Close(frame))) => {
                self.closed_by_peer = true;
                // The answer to it is on its way, even if the socket is dropped next. If it does
                // not fit or fails, the peer sees the socket close.
                let _ = self.framing.poll_flush(cx);
                if frame.as_ref().is_some_and(stands_for_invalid_code) {
                    let error = Error::Protocol(ProtocolError::InvalidCloseSequence);
                    return Poll::Ready(Incoming::Failed(error));
                }
                let (code, reason) = match &frame {
                    Some(frame) => (Some(frame.code.into()), frame.reason.as_str()),
                    None => (None, ""),
                };
                Incoming::Closed(Some(CloseFrame::received(code, reason)))
            }
            None => Incoming::Closed(None),
            Some(Err(error)) => Incoming::Failed(error),
        })
    }

    /// Makes the next [`poll_incoming`](Self::poll_incoming) call the kernel: the reactor may
    /// report new bytes only after a timer that ended later.
    pub(crate) fn ask_kernel(&mut self) {
        self.framing.socket_mut().ask_kernel();
    }

    /// Returns whether anything has come since the last call, even a part of a message.
    pub(crate) fn was_active(&mut self) -> bool {
        let read = self.framing.socket().read();
        std::mem::replace(&mut self.read_at, read) != read
    }

    /// Returns whether the socket has accepted some of the waiting output since the last call. It
    /// does so only if the peer's system accepts what was sent, even a part of a message.
    pub(crate) fn was_taken_from(&mut self) -> bool {
        let written = self.framing.socket().written();
        let moved = std::mem::replace(&mut self.written_at, written) != written;
        moved && self.stall.since.is_some()
    }

    /// Queues a message behind those that wait to be flushed.
    pub(crate) fn feed(&mut self, message: Bytes) -> Result<(), Error> {
        self.queue(Message::Binary(message))
    }

    fn queue(&mut self, message: Message) -> Result<(), Error> {
        self.unflushed = true;
        let (backlog, length) = (self.backlog, message.len());
        self.backlog += length;
        self.fresh += length;
        self.framing.feed(message, backlog)
    }

    /// Queues a ping behind the messages that wait to be flushed.
    pub(crate) fn ping(&mut self) -> Result<(), Error> {
        self.unflushed = true;
        self.framing.feed(Message::Ping(Bytes::new()), self.backlog)
    }

    /// Returns whether more output may be caused: not while the peer does not read.
    pub(crate) const fn is_writable(&self) -> bool {
        self.stall.since.is_none() && self.backlog < self.max_backlog
    }

    /// Returns whether the socket did not accept everything at the last attempt.
    pub(crate) const fn is_stalled(&self) -> bool {
        self.stall.since.is_some()
    }

    /// Returns whether it is time to flush, because much was fed since the last attempt.
    pub(crate) const fn wants_flush(&self) -> bool {
        self.fresh >= self.max_backlog
    }

    /// Returns about how many bytes the socket has not accepted yet.
    pub(crate) fn unsent(&self) -> usize {
        let written = self.framing.socket().written() - self.flushed_at;
        self.backlog.saturating_sub(usize::try_from(written).unwrap_or(usize::MAX))
    }

    /// Writes the waiting output. Ready with `Ok` when everything is written.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if !self.unflushed {
            self.framing.rest();
            return Poll::Ready(Ok(()));
        }
        self.fresh = 0;
        let flushed = self.framing.poll_flush(cx);
        let written = self.framing.socket().written();
        match flushed {
            Poll::Ready(result) => {
                self.unflushed = false;
                self.backlog = 0;
                self.pongs = 0;
                self.flushed_at = written;
                self.stall.since = None;
                if result.is_ok() {
                    self.framing.rest();
                }
                Poll::Ready(result)
            }
            Poll::Pending => self.stall.poll(cx, written).map(|()| Err(Error::Io(stalled()))),
        }
    }

    /// Flushes, sends a close frame or answers that of the peer, and waits until the peer closes,
    /// too, at most for `timeout`. Meanwhile, what the peer sends is read and dropped, so that the
    /// last messages are not lost to a reset connection.
    pub(crate) async fn close(mut self, frame: CloseFrame, timeout: Duration) {
        let frame = protocol::CloseFrame {
            code: CloseCode::from(frame.code()),
            reason: frame.reason().into(),
        };
        let handshake = async {
            if self.closed_by_peer {
                poll_fn(|cx| self.framing.poll_flush(cx)).await?;
            } else {
                self.framing.feed(Message::Close(Some(frame)), self.backlog)?;
                poll_fn(|cx| self.framing.poll_flush(cx)).await?;
            }
            let mut next = poll_fn(|cx| {
                let next = self.framing.poll_next(cx);
                if next.is_pending() {
                    // Many sockets may wait for the close frames of their peers at once.
                    self.framing.rest_closing();
                }
                next
            });
            while let Some(received) = (&mut next).await {
                match received {
                    Ok(Message::Close(_)) => return Ok(self.framing.socket_mut().end().await?),
                    // A peer that never pauses must not keep its thread busy.
                    Ok(_) => yield_now().await,
                    Err(error) => return Err(error),
                }
            }
            // Reading failed before: message boundaries are unknown.
            let socket = self.framing.socket_mut();
            socket.close().await?;
            let mut dropped = vec![0; READ_BUFFER];
            while socket.read(&mut dropped).await? > 0 {}
            Ok::<(), Error>(())
        };
        if let Err(error) = handshake.or(expiry(self.stall.timer, timeout)).await {
            tracing::debug!(%error, "the peer did not complete the close handshake");
        }
    }

    /// Writes the waiting output after the peer has closed the WebSocket or its side of the
    /// connection, and the answer to its close frame if it sent one.
    pub(crate) async fn finish(mut self, timeout: Duration) {
        let last = async {
            poll_fn(|cx| self.framing.poll_flush(cx)).await?;
            Ok(self.framing.socket_mut().end().await?)
        };
        if let Err(error) = last.or(expiry(self.stall.timer, timeout)).await {
            tracing::debug!(%error, "the peer did not read the last messages");
        }
    }
}

/// Returns the close frame for a peer that broke the rules of WebSocket (RFC 6455 §7.4.1). `None`
/// if the connection broke.
pub(crate) fn violation(error: &Error) -> Option<CloseFrame> {
    let (code, reason) = match error {
        Error::Capacity(_) => (1009, "message too large"),
        Error::Utf8(_) => (1007, "text that is not UTF-8"),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return None,
        Error::Protocol(ProtocolError::InvalidCloseSequence) => (1002, VIOLATION),
        Error::Protocol(_) => (1002, "not the WebSocket protocol"),
        _ => return None,
    };
    CloseFrame::new(code, reason).ok()
}

/// Returns whether a close frame came with an invalid code (RFC 6455 §7.4.1). The library shows
/// this frame in its place, and has answered with it.
fn stands_for_invalid_code(frame: &protocol::CloseFrame) -> bool {
    frame.code == CloseCode::Protocol && frame.reason.as_str() == VIOLATION
}

/// Returns the error for a peer that does not end the close handshake in time.
async fn expiry(timer: impl Timer, timeout: Duration) -> Result<(), Error> {
    sleep_by(timer, timeout).await;
    Err(Error::Io(io::ErrorKind::TimedOut.into()))
}

impl<T: Timer> Stall<T> {
    /// Called while the socket accepts nothing. Ready once that has lasted too long.
    fn poll(&mut self, cx: &mut Context<'_>, written: u64) -> Poll<()> {
        match self.since {
            Some(then) if then == written => {}
            _ => {
                self.since = Some(written);
                self.timer.set_after(self.limit);
            }
        }
        self.timer.poll(cx)
    }
}
