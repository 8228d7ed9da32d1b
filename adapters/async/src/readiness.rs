//! Reading a socket of a reactor with few system calls.

use std::io::{ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// A non-blocking socket in a reactor that is told each time what to report. For [`Reader`].
pub trait Readiness {
    /// Reads what the kernel has.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](ErrorKind::WouldBlock) if it has nothing.
    fn read(&self, buffer: &mut [u8]) -> Result<usize>;

    /// Ready once the reactor has reported that there is something to read. It may repeat a report of
    /// an earlier call, but not for ever. Otherwise it wakes the task when there is something.
    ///
    /// # Errors
    ///
    /// The error of the reactor.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<Result<()>>;
}

/// Reads a socket, and does not call the kernel again after a short read: the reactor reports when
/// there is more.
///
/// What counts is a flag that the reactor raises, and not what
/// [`poll_readable`](Readiness::poll_readable) returns to a task that was woken: some reactors take an
/// event for an old one if they were already waiting when interest in it was registered. The task would
/// be woken for nothing, again and again.
#[derive(Debug)]
pub struct Reader {
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

impl Reader {
    /// Returns a reader of a socket that was not read before.
    pub fn new() -> Self {
        let signal = Arc::<Signal>::default();
        let waker = Waker::from(signal.clone());
        Self { kernel: Kernel::MayHaveMore, signal, waker }
    }

    /// Makes the next read call the kernel, as [`Stream::ask_kernel`](crate::Stream::ask_kernel) has to.
    pub const fn ask_kernel(&mut self) {
        self.kernel = Kernel::MayHaveMore;
    }

    /// Reads, as [`AsyncRead::poll_read`](futures_io::AsyncRead::poll_read) has to.
    pub fn poll_read(
        &mut self,
        socket: &impl Readiness,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize>> {
        loop {
            if self.kernel != Kernel::MayHaveMore {
                self.signal.task.register(cx.waker());
            }
            if self.kernel == Kernel::Drained {
                self.watch(socket)?;
            }
            if self.kernel == Kernel::Watches && !self.signal.raised.swap(false, Ordering::AcqRel) {
                return Poll::Pending;
            }
            self.kernel = Kernel::MayHaveMore;
            match socket.read(buffer) {
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
    fn watch(&mut self, socket: &impl Readiness) -> Result<()> {
        self.signal.raised.store(false, Ordering::Relaxed);
        // The result may be an event that the signal has already reported. The next call has to
        // register interest.
        let mut cx = Context::from_waker(&self.waker);
        while socket.poll_readable(&mut cx)?.is_ready() {}
        self.kernel = Kernel::Watches;
        Ok(())
    }
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}
