//! A byte stream in memory between a client made by hand and the server.

use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use hyper::rt::{Read, ReadBufCursor, Write};

use super::transcript;

/// Either end of the stream; the server's implements hyper's traits.
#[derive(Clone)]
pub(crate) struct Duplex(Arc<Mutex<Inner>>);

struct Inner {
    to_server: VecDeque<u8>,
    hung_up: bool,
    reader: Option<Waker>,
    to_client: Vec<u8>,
    /// Where the WebSocket begins in what the client was sent.
    switched_at: Option<usize>,
    /// How many bytes of the WebSocket the client takes. Those of HTTP it always takes: hyper hands
    /// the stream over without waiting for the end of its answer.
    room: usize,
    writer: Option<Waker>,
    /// The server says no more.
    finished: bool,
}

impl Duplex {
    /// A stream whose client takes `room` bytes of the WebSocket for the time being.
    pub(crate) fn new(room: usize) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            to_server: VecDeque::new(),
            hung_up: false,
            reader: None,
            to_client: Vec::new(),
            switched_at: None,
            room,
            writer: None,
            finished: false,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nothing panics with it")
    }

    pub(crate) fn send(&self, bytes: &[u8]) {
        let mut inner = self.lock();
        inner.to_server.extend(bytes);
        wake(&mut inner.reader);
    }

    /// From now on the client takes whatever it is sent.
    pub(crate) fn read_all(&self) {
        let mut inner = self.lock();
        inner.room = usize::MAX;
        wake(&mut inner.writer);
    }

    pub(crate) fn hang_up(&self) {
        let mut inner = self.lock();
        inner.hung_up = true;
        wake(&mut inner.reader);
    }

    /// What the server has sent by now.
    pub(crate) fn received(&self) -> Vec<u8> {
        self.lock().to_client.clone()
    }
}

impl Inner {
    /// How many bytes the client takes now.
    fn space(&self) -> usize {
        let Some(begin) = self.switched_at else { return usize::MAX };
        self.room.saturating_sub(self.to_client.len() - begin)
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

impl Read for Duplex {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<Result<()>> {
        let mut inner = self.lock();
        if inner.to_server.is_empty() && !inner.hung_up {
            inner.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = buffer.remaining().min(inner.to_server.len());
        let bytes: Vec<u8> = inner.to_server.drain(..count).collect();
        buffer.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl Write for Duplex {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let mut inner = self.lock();
        assert!(!inner.finished, "written after the end");
        let count = bytes.len().min(inner.space());
        if count == 0 && !bytes.is_empty() {
            if inner.hung_up {
                return Poll::Ready(Err(Error::from(ErrorKind::BrokenPipe)));
            }
            inner.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        inner.to_client.extend(&bytes[..count]);
        if inner.switched_at.is_none() {
            inner.switched_at = transcript::frames_at(&inner.to_client);
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        self.lock().finished = true;
        Poll::Ready(Ok(()))
    }
}
