//! What others want of a task.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// A queue into a task, bounded in bytes. Cheap to poll while it is empty.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    /// Whether `queue` may hold something.
    filled: AtomicBool,
    /// Whether `queue` may hold something urgent.
    urgent: AtomicBool,
    closed: AtomicBool,
    waker: AtomicWaker,
    queue: Mutex<Queue<T>>,
}

#[derive(Debug)]
struct Queue<T> {
    items: VecDeque<(usize, T)>,
    bytes: usize,
    /// Bytes of items that were taken but are still in memory.
    held: usize,
    max_bytes: usize,
}

/// Why something did not get into an inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The task has ended.
    Closed,
    /// Too many bytes wait already.
    Full,
}

impl<T> Inbox<T> {
    pub(crate) fn new(max_bytes: usize) -> Self {
        let queue = Queue { items: VecDeque::new(), bytes: 0, held: 0, max_bytes };
        Self {
            filled: AtomicBool::new(false),
            urgent: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            queue: Mutex::new(queue),
        }
    }

    /// Adds an item that stands for `bytes` bytes of memory. Items of no bytes always fit.
    pub(crate) fn push(&self, item: T, bytes: usize) -> Result<(), Refused> {
        self.add(item, bytes, false)
    }

    fn add(&self, item: T, bytes: usize, urgent: bool) -> Result<(), Refused> {
        let mut queue = self.lock();
        if self.closed.load(Ordering::Acquire) {
            return Err(Refused::Closed);
        }
        let waiting = queue.bytes.saturating_add(queue.held);
        if bytes > 0 && waiting > 0 && waiting.saturating_add(bytes) > queue.max_bytes {
            return Err(Refused::Full);
        }
        queue.bytes += bytes;
        queue.items.push_back((bytes, item));
        if urgent {
            self.urgent.store(true, Ordering::Release);
        }
        drop(queue);
        self.filled.store(true, Ordering::Release);
        self.waker.wake();
        Ok(())
    }

    /// Adds an item for which the task is to take all that was added before, even if it takes
    /// nothing else at the moment. Always fits.
    pub(crate) fn push_urgent(&self, item: T) -> Result<(), Refused> {
        self.add(item, 0, true)
    }

    /// Whether something urgent waits; the task is woken when there is.
    pub(crate) fn poll_urgent(&self, cx: &Context<'_>) -> bool {
        self.waker.register(cx.waker());
        self.urgent.load(Ordering::Acquire)
    }

    /// Takes the next item; the task is woken when there is one.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<T> {
        self.waker.register(cx.waker());
        self.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// Whether nothing waits, and the inbox is open.
    pub(crate) fn is_quiet(&self) -> bool {
        !self.filled.load(Ordering::Acquire) && !self.closed.load(Ordering::Acquire)
    }

    /// How many items wait.
    pub(crate) fn len(&self) -> usize {
        if self.filled.load(Ordering::Acquire) { self.lock().items.len() } else { 0 }
    }

    /// Says how many bytes of what was taken are still in memory: they count as if they waited.
    pub(crate) fn hold(&self, bytes: usize) {
        self.lock().held = bytes;
    }

    /// Takes the next item, if there is one.
    pub(crate) fn take(&self) -> Option<T> {
        if !self.filled.load(Ordering::Acquire) {
            return None;
        }
        let mut queue = self.lock();
        let item = queue.items.pop_front();
        if let Some((bytes, _)) = &item {
            queue.bytes -= bytes;
        } else {
            self.filled.store(false, Ordering::Release);
            self.urgent.store(false, Ordering::Release);
            queue.items.shrink_to_fit();
        }
        item.map(|(_, item)| item)
    }

    /// Refuses everything from now on, drops what waits, and wakes the task.
    pub(crate) fn close(&self) {
        let mut queue = self.lock();
        self.closed.store(true, Ordering::Release);
        queue.bytes = 0;
        let dropped = std::mem::take(&mut queue.items);
        drop(queue);
        drop(dropped);
        self.waker.wake();
    }

    /// Ready once it was closed.
    pub(crate) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        if self.closed.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }

    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn take(inbox: &Inbox<u32>) -> Poll<u32> {
        inbox.poll_take(&mut Context::from_waker(std::task::Waker::noop()))
    }

    #[test]
    fn items_come_out_in_order_and_bytes_are_bounded() {
        let inbox = Inbox::new(10);
        assert_eq!(inbox.push(1, 6), Ok(()));
        assert_eq!(inbox.push(2, 6), Err(Refused::Full));
        assert_eq!(inbox.push(3, 0), Ok(()));
        assert_eq!(
            (take(&inbox), take(&inbox), take(&inbox)),
            (Poll::Ready(1), Poll::Ready(3), Poll::Pending)
        );
        assert_eq!(inbox.push(4, 60), Ok(()), "one item always fits");
        assert_eq!((inbox.len(), inbox.take(), inbox.len()), (1, Some(4), 0));
        inbox.hold(5);
        assert_eq!(inbox.push(6, 6), Err(Refused::Full), "what is held counts");
        assert_eq!(inbox.push(6, 5), Ok(()));
        inbox.close();
        assert_eq!(inbox.push(5, 0), Err(Refused::Closed));
        assert_eq!(take(&inbox), Poll::Pending);
    }

    #[test]
    fn what_is_urgent_stays_so_until_all_is_taken() {
        let inbox = Inbox::new(1);
        let urgent = || inbox.poll_urgent(&Context::from_waker(std::task::Waker::noop()));
        assert_eq!(inbox.push(1, 1), Ok(()));
        assert!(!urgent());
        assert_eq!(inbox.push_urgent(2), Ok(()), "however full it is");
        assert!(urgent());
        assert_eq!((take(&inbox), take(&inbox)), (Poll::Ready(1), Poll::Ready(2)));
        assert_eq!(take(&inbox), Poll::Pending);
        assert!(!urgent());
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let inbox = Arc::new(Inbox::<u32>::new(usize::MAX));
        let senders: Vec<_> = (0..4)
            .map(|_| {
                let inbox = inbox.clone();
                std::thread::spawn(move || (0..1000).for_each(|n| inbox.push(n, 1).unwrap()))
            })
            .collect();
        let sum: u64 = smol::block_on(async {
            let mut sum = 0;
            for _ in 0..4000 {
                sum += u64::from(std::future::poll_fn(|cx| inbox.poll_take(cx)).await);
            }
            sum
        });
        assert_eq!(sum, 4 * 499_500);
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    }
}
