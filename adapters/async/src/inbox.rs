//! What others want of a task.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

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
    /// Whether what is taken is still in memory until [`Inbox::hold`] says how much of it is.
    holds: bool,
    max_bytes: usize,
    /// Somebody was told that there is room, for an item of any size.
    promised: bool,
    /// Those who wait for room, in the order in which they came. Empty while there is room.
    line: BTreeMap<u64, Waker>,
    last_ticket: u64,
}

impl<T> Queue<T> {
    const fn waiting(&self) -> usize {
        self.bytes.saturating_add(self.held)
    }

    /// Whether those who wait may go on. Room for many, so that nobody is woken for each item.
    const fn has_room(&self) -> bool {
        self.waiting() <= self.max_bytes / 2
    }

    /// Whether an item of so many bytes may be added.
    const fn takes(&self, bytes: usize) -> bool {
        let waiting = self.waiting();
        bytes == 0
            || waiting == 0
            || self.promised
            || waiting.saturating_add(bytes) <= self.max_bytes
    }

    /// Those who are to be woken, in order, because there is room now.
    fn next_in_line(&mut self) -> BTreeMap<u64, Waker> {
        if self.has_room() { std::mem::take(&mut self.line) } else { BTreeMap::new() }
    }
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
    /// One whose items are out of memory when they are taken.
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self::with(max_bytes, false)
    }

    /// One whose items still count after they are taken, until [`hold`](Self::hold) is called.
    pub(crate) fn holding(max_bytes: usize) -> Self {
        Self::with(max_bytes, true)
    }

    fn with(max_bytes: usize, holds: bool) -> Self {
        let queue = Queue {
            items: VecDeque::new(),
            bytes: 0,
            held: 0,
            holds,
            max_bytes,
            promised: false,
            line: BTreeMap::new(),
            last_ticket: 0,
        };
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
        if !queue.takes(bytes) {
            return Err(Refused::Full);
        }
        if bytes > 0 {
            queue.promised = false;
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

    /// Waits until at most half of the bytes wait that may. The next item is accepted then, whatever
    /// its size, unless somebody else adds one before.
    pub(crate) const fn room(&self) -> Room<'_, T> {
        Room { inbox: self, ticket: None }
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
        let mut queue = self.lock();
        queue.held = bytes;
        wake(queue);
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
            if queue.holds {
                queue.held += bytes;
            } else {
                wake(queue);
            }
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
        (queue.bytes, queue.held) = (0, 0);
        let dropped = std::mem::take(&mut queue.items);
        wake(queue);
        drop(dropped);
        self.waker.wake();
    }

    /// Has the task woken by [`wake`](Self::wake), and by all that is added.
    pub(crate) fn register(&self, cx: &Context<'_>) {
        self.waker.register(cx.waker());
    }

    /// Wakes the task, for something that is not in the inbox.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets go of the queue and wakes those in line, if there is room.
fn wake<T>(mut queue: MutexGuard<'_, Queue<T>>) {
    let line = queue.next_in_line();
    drop(queue);
    line.into_values().for_each(Waker::wake);
}

/// Waits for room in an [`Inbox`].
///
/// All who wait are woken when there is room, and those who find none any more keep their place. So
/// nobody has to wait for one who waits but is not polled.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub(crate) struct Room<'a, T> {
    inbox: &'a Inbox<T>,
    /// The place in the line.
    ticket: Option<u64>,
}

impl<T> Future for Room<'_, T> {
    type Output = Result<(), Refused>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut queue = self.inbox.lock();
        if self.inbox.closed.load(Ordering::Acquire) {
            return Poll::Ready(Err(Refused::Closed));
        }
        if queue.has_room() {
            queue.promised = true;
            return Poll::Ready(Ok(()));
        }
        let ticket = self.ticket.unwrap_or_else(|| {
            queue.last_ticket += 1;
            queue.last_ticket
        });
        queue.line.insert(ticket, cx.waker().clone());
        drop(queue);
        self.ticket = Some(ticket);
        Poll::Pending
    }
}

impl<T> Drop for Room<'_, T> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let waker = self.inbox.lock().line.remove(&ticket);
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;

    use super::*;

    fn take(inbox: &Inbox<u32>) -> Poll<u32> {
        inbox.poll_take(&mut Context::from_waker(Waker::noop()))
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
        let urgent = || inbox.poll_urgent(&Context::from_waker(Waker::noop()));
        assert_eq!(inbox.push(1, 1), Ok(()));
        assert!(!urgent());
        assert_eq!(inbox.push_urgent(2), Ok(()), "however full it is");
        assert!(urgent());
        assert_eq!((take(&inbox), take(&inbox)), (Poll::Ready(1), Poll::Ready(2)));
        assert_eq!(take(&inbox), Poll::Pending);
        assert!(!urgent());
    }

    #[test]
    fn who_waits_for_room_goes_on_at_half_and_any_size_is_accepted_then() {
        let inbox = Inbox::new(10);
        assert_eq!(inbox.room().now_or_never(), Some(Ok(())));
        for item in 0..3 {
            assert_eq!(inbox.push(item, 3), Ok(()));
        }
        assert_eq!(inbox.push(3, 3), Err(Refused::Full));
        let mut room = inbox.room();
        assert_eq!((&mut room).now_or_never(), None);
        assert_eq!((take(&inbox), (&mut room).now_or_never()), (Poll::Ready(0), None));
        assert_eq!((take(&inbox), room.now_or_never()), (Poll::Ready(1), Some(Ok(()))));
        assert_eq!(inbox.push(4, 100), Ok(()));
        assert_eq!(inbox.push(5, 1), Err(Refused::Full), "the promise was for one");
        let mut room = inbox.room();
        assert_eq!((&mut room).now_or_never(), None);
        inbox.close();
        assert_eq!(room.now_or_never(), Some(Err(Refused::Closed)));
    }

    #[test]
    fn what_was_taken_counts_until_it_is_known_how_much_is_held() {
        let inbox = Inbox::holding(10);
        assert_eq!(inbox.push(1, 10), Ok(()));
        assert_eq!(take(&inbox), Poll::Ready(1));
        assert_eq!(inbox.push(2, 1), Err(Refused::Full));
        assert_eq!(inbox.room().now_or_never(), None);
        inbox.hold(6);
        assert_eq!(inbox.room().now_or_never(), None);
        inbox.hold(5);
        assert_eq!(inbox.room().now_or_never(), Some(Ok(())));
    }

    /// Notes its number when it is woken.
    struct Note(u32, Arc<Mutex<Vec<u32>>>);

    impl std::task::Wake for Note {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    #[test]
    fn those_in_line_are_woken_in_order_and_keep_their_places() {
        let inbox = Inbox::new(10);
        let woken = Arc::new(Mutex::new(Vec::new()));
        let mut rooms: Vec<_> = (0..4).map(|_| Box::pin(inbox.room())).collect();
        let poll = |number: u32, room: &mut Pin<Box<Room<'_, u32>>>| {
            let waker = Arc::new(Note(number, woken.clone())).into();
            room.as_mut().poll(&mut Context::from_waker(&waker))
        };
        assert_eq!(inbox.push(0, 10), Ok(()));
        for (number, room) in (0..).zip(&mut rooms) {
            assert_eq!(poll(number, room), Poll::Pending);
        }
        // One that nobody waits for any more, and one that is not polled, hold nobody up.
        drop(rooms.remove(2));
        assert_eq!(inbox.take(), Some(0));
        assert_eq!(std::mem::take(&mut *woken.lock().unwrap()), [0, 1, 3]);
        assert_eq!(poll(1, &mut rooms[1]), Poll::Ready(Ok(())));
        assert_eq!(inbox.push(1, 10), Ok(()));
        assert_eq!(poll(3, &mut rooms[2]), Poll::Pending);
        let mut last = Box::pin(inbox.room());
        assert_eq!(poll(4, &mut last), Poll::Pending);
        assert_eq!(poll(0, &mut rooms[0]), Poll::Pending);
        assert_eq!(inbox.take(), Some(1));
        assert_eq!(*woken.lock().unwrap(), [0, 3, 4]);
    }

    #[test]
    fn no_wake_up_for_room_is_lost_between_threads() {
        let inbox = Arc::new(Inbox::<u32>::new(100));
        let senders: Vec<_> = (0..4)
            .map(|_| {
                let inbox = inbox.clone();
                std::thread::spawn(move || {
                    for number in 0..1000 {
                        // Others may have used the room.
                        while inbox.push(number, 30).is_err() {
                            smol::block_on(inbox.room()).unwrap();
                        }
                    }
                })
            })
            .collect();
        let taken = smol::block_on(async {
            let mut taken = 0;
            while taken < 4000 {
                std::future::poll_fn(|cx| inbox.poll_take(cx)).await;
                assert!(inbox.lock().bytes <= 130);
                taken += 1;
            }
            taken
        });
        assert_eq!(taken, 4000);
        senders.into_iter().for_each(|sender| sender.join().unwrap());
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
