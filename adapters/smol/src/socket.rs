//! The byte stream under a WebSocket.

use std::io::{Error, ErrorKind, Read as _, Result};
use std::net::{self, Shutdown};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};

use futures_util::task::AtomicWaker;
use hyper::rt::{Read, ReadBuf, Write};
use hyper::upgrade::Upgraded;
use smol::Async;
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::TcpStream;

/// How many bytes are read before other tasks get a turn. Without a limit, a peer that sends
/// without a pause would keep its thread busy, because reading goes on until a message is complete.
const TURN: usize = 256 * 1024;

/// A connected byte stream that counts its bytes, so that a slow peer can be told from one that
/// does nothing.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Stream,
    written: u64,
    read: u64,
    /// How many bytes may be read in this turn.
    turn: usize,
}

/// A socket that does not call the kernel again after a short read. The reactor reports when there
/// is more.
///
/// It does not use [`Async::poll_readable`], which takes an event for an old one if the reactor was
/// already waiting when interest in it was registered. That is so on every executor that does not
/// drive the reactor itself. A task that relies on it is woken for nothing, again and again.
#[derive(Debug)]
struct Tcp {
    stream: Arc<Async<net::TcpStream>>,
    kernel: Kernel,
    signal: Arc<Signal>,
    /// Raises `signal`.
    waker: Waker,
}

/// What the kernel was asked, and told to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    /// The next read has to call it.
    MayHaveMore,
    /// It had no more bytes, and was not told to report new ones.
    Drained,
    /// It reports new bytes through the reactor.
    Watches,
}

/// Raised by the reactor when there is something to read.
#[derive(Debug, Default)]
struct Signal {
    raised: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.raised.store(true, Ordering::Release);
        self.task.wake();
    }
}

#[derive(Debug)]
enum Stream {
    /// A socket of ours.
    Tcp(Tcp),
    /// The connection of another HTTP server.
    Upgraded(Upgraded),
}

impl Socket {
    pub(crate) fn tcp(stream: TcpStream) -> Self {
        Self::new(Stream::Tcp(Tcp::new(stream.into())))
    }

    pub(crate) const fn upgraded(stream: Upgraded) -> Self {
        Self::new(Stream::Upgraded(stream))
    }

    const fn new(stream: Stream) -> Self {
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
    pub(crate) const fn ask_kernel(&mut self) {
        if let Stream::Tcp(tcp) = &mut self.stream {
            tcp.kernel = Kernel::MayHaveMore;
        }
    }
}

impl Tcp {
    fn new(stream: Arc<Async<net::TcpStream>>) -> Self {
        let signal = Arc::<Signal>::default();
        let waker = Waker::from(signal.clone());
        Self { stream, kernel: Kernel::MayHaveMore, signal, waker }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize>> {
        loop {
            if self.kernel != Kernel::MayHaveMore {
                self.signal.task.register(cx.waker());
            }
            if self.kernel == Kernel::Drained {
                self.watch()?;
            }
            if self.kernel == Kernel::Watches && !self.signal.raised.swap(false, Ordering::AcqRel) {
                return Poll::Pending;
            }
            self.kernel = Kernel::MayHaveMore;
            match self.stream.get_ref().read(buffer) {
                Ok(read) if read == buffer.len() => return Poll::Ready(Ok(read)),
                Ok(read) => {
                    self.kernel = Kernel::Drained;
                    return Poll::Ready(Ok(read));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.kernel = Kernel::Drained;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Registers for the signal, which is raised as soon as there is something to read, or at once.
    fn watch(&mut self) -> Result<()> {
        self.signal.raised.store(false, Ordering::Relaxed);
        // The result may be an event that the signal has already reported. The next call has to
        // register interest.
        let mut cx = Context::from_waker(&self.waker);
        while self.stream.poll_readable(&mut cx)?.is_ready() {}
        self.kernel = Kernel::Watches;
        Ok(())
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

/// Returns the error for a peer that does not read for too long.
pub(crate) fn stalled() -> Error {
    Error::new(ErrorKind::TimedOut, "the peer reads nothing")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::thread::{self, Thread};
    use std::time::{Duration, Instant};

    use smol::future::{poll_fn, poll_once};
    use smol::net::TcpListener;

    use super::*;

    /// Wakes a thread, and records that.
    struct Unpark {
        thread: Thread,
        woken: AtomicBool,
    }

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.woken.store(true, Ordering::SeqCst);
            self.thread.unpark();
        }
    }

    /// The case of an executor that does not drive the reactor itself: the thread of the reactor
    /// already waits for events when this one registers interest.
    #[test]
    fn one_wake_up_is_enough_although_the_reactor_waited_before() {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = Async::new(listener.accept().unwrap().0).unwrap();
        let mut socket = Socket::tcp(TcpStream::from(accepted));
        let unpark = Arc::new(Unpark { thread: thread::current(), woken: AtomicBool::new(false) });
        let waker = Waker::from(unpark.clone());
        let mut cx = Context::from_waker(&waker);
        let mut buffer = [0; 2];
        let deadline = Instant::now() + Duration::from_secs(60);
        for round in 0..200 {
            assert!(Pin::new(&mut socket).poll_read(&mut cx, &mut buffer).is_pending());
            // Time for the reactor to begin to wait. The test is not wrong if it does not.
            thread::sleep(Duration::from_millis(1));
            peer.write_all(b"a").unwrap();
            while !unpark.woken.swap(false, Ordering::SeqCst) {
                assert!(Instant::now() < deadline, "no task is woken");
                thread::park_timeout(Duration::from_secs(1));
            }
            match Pin::new(&mut socket).poll_read(&mut cx, &mut buffer) {
                Poll::Ready(read) => assert_eq!(read.unwrap(), 1),
                Poll::Pending => panic!("woken for nothing in round {round}"),
            }
        }
    }

    /// A busy thread has not been told about bytes yet when it sees that a timer has ended.
    #[test]
    fn ask_kernel_finds_bytes_that_the_reactor_has_not_reported_yet() {
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
