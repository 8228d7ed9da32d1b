//! The queue of messages to a task.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::task::AtomicWaker;
use wwr::{Backlog, NoRoom, SlowReader};

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
    backlog: Backlog<T>,
    /// Whether a taken item stays in memory until [`Inbox::hold`] reports how much of it does.
    holds: bool,
    /// The waiters for room, in the order in which they came. Empty while there is room.
    line: BTreeMap<u64, Waker>,
    last_ticket: u64,
}

impl<T> Queue<T> {
    /// Returns the waiters to wake, in order, because there is room now.
    fn next_in_line(&mut self) -> BTreeMap<u64, Waker> {
        if self.backlog.has_room() { std::mem::take(&mut self.line) } else { BTreeMap::new() }
    }
}

/// Why an inbox refuses an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The task has ended.
    Closed,
    /// Too many bytes wait already.
    Full,
    /// Too many bytes wait already, and the peer is to be disconnected for that.
    Overflowed,
}

impl From<NoRoom> for Refused {
    fn from(no_room: NoRoom) -> Self {
        match no_room {
            NoRoom::Disconnect => Self::Overflowed,
            _ => Self::Full,
        }
    }
}

impl<T> Inbox<T> {
    /// Creates an inbox whose items are out of memory when they are taken.
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self::with(Backlog::new(max_bytes), false)
    }

    /// Creates an inbox whose items count until [`hold`](Self::hold) is called after they were
    /// taken.
    pub(crate) fn holding(max_bytes: usize) -> Self {
        Self::with(Backlog::holding(max_bytes), true)
    }

    fn with(backlog: Backlog<T>, holds: bool) -> Self {
        let queue = Queue { backlog, holds, line: BTreeMap::new(), last_ticket: 0 };
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
        self.add(false, |backlog| backlog.push(item, bytes))
    }

    /// Adds a signal that stands for `bytes` bytes of memory. Returns how many others were dropped or
    /// replaced for it.
    pub(crate) fn push_signal(
        &self,
        item: T,
        bytes: usize,
        name: &[u8],
        policy: SlowReader,
    ) -> Result<usize, Refused> {
        self.add(false, |backlog| backlog.push_signal(item, bytes, name, policy))
    }

    fn add<O>(
        &self,
        urgent: bool,
        add: impl FnOnce(&mut Backlog<T>) -> Result<O, NoRoom>,
    ) -> Result<O, Refused> {
        let mut queue = self.lock();
        if self.closed.load(Ordering::Acquire) {
            return Err(Refused::Closed);
        }
        let added = match add(&mut queue.backlog) {
            Ok(added) => added,
            Err(no_room) => {
                // What waited may have been dropped.
                wake(queue);
                return Err(no_room.into());
            }
        };
        if urgent {
            self.urgent.store(true, Ordering::Release);
        }
        drop(queue);
        self.filled.store(true, Ordering::Release);
        self.waker.wake();
        Ok(added)
    }

    /// Adds an item that makes the task take everything that was added before it, even if it takes
    /// nothing else at the moment. Always fits.
    pub(crate) fn push_urgent(&self, item: T) -> Result<(), Refused> {
        self.add(true, |backlog| backlog.push(item, 0))
    }

    /// Waits until at most half of the allowed bytes wait. The next item is then accepted, whatever
    /// its size, unless another sender adds one before.
    pub(crate) const fn room(&self) -> Room<'_, T> {
        Room { inbox: self, ticket: None }
    }

    /// Returns whether an urgent item waits. Otherwise the task is woken when one comes.
    pub(crate) fn poll_urgent(&self, cx: &Context<'_>) -> bool {
        self.waker.register(cx.waker());
        self.urgent.load(Ordering::Acquire)
    }

    /// Takes the next item. Without one, the task is woken when one comes.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<T> {
        self.waker.register(cx.waker());
        self.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// The same. If the peer does not read, signals that may still be dropped are left, unless
    /// something else waits as well.
    pub(crate) fn poll_take_if(&self, peer_reads: bool, cx: &mut Context<'_>) -> Poll<T> {
        if !peer_reads && self.filled.load(Ordering::Acquire) {
            self.waker.register(cx.waker());
            if self.lock().backlog.can_wait() {
                return Poll::Pending;
            }
        }
        self.poll_take(cx)
    }

    /// Returns whether no item waits and the inbox is open.
    pub(crate) fn is_quiet(&self) -> bool {
        !self.filled.load(Ordering::Acquire) && !self.closed.load(Ordering::Acquire)
    }

    /// Returns how many items wait.
    pub(crate) fn len(&self) -> usize {
        if self.filled.load(Ordering::Acquire) { self.lock().backlog.len() } else { 0 }
    }

    /// Sets how many bytes of taken items are still in memory. They count as if they waited.
    pub(crate) fn hold(&self, bytes: usize) {
        let mut queue = self.lock();
        queue.backlog.hold(bytes);
        wake(queue);
    }

    /// Takes the next item, if there is one.
    pub(crate) fn take(&self) -> Option<T> {
        if !self.filled.load(Ordering::Acquire) {
            return None;
        }
        let mut queue = self.lock();
        let item = queue.backlog.pop();
        if item.is_none() {
            self.filled.store(false, Ordering::Release);
            self.urgent.store(false, Ordering::Release);
        } else if !queue.holds {
            wake(queue);
        }
        item
    }

    /// Returns how many bytes wait to be taken.
    pub(crate) fn queued_bytes(&self) -> usize {
        let queue = self.lock();
        queue.backlog.waiting_bytes() - queue.backlog.held_bytes()
    }

    /// Returns how many signals were dropped or replaced.
    pub(crate) fn dropped(&self) -> u64 {
        self.lock().backlog.dropped()
    }

    /// Refuses all items from now on, drops the waiting ones, and wakes the task.
    pub(crate) fn close(&self) {
        let mut queue = self.lock();
        self.closed.store(true, Ordering::Release);
        let dropped = queue.backlog.take_all();
        wake(queue);
        drop(dropped);
        self.waker.wake();
    }

    /// Registers the task for [`wake`](Self::wake), and for everything that is added.
    pub(crate) fn register(&self, cx: &Context<'_>) {
        self.waker.register(cx.waker());
    }

    /// Wakes the task, for a reason outside of the inbox.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Releases the lock and wakes the waiters, if there is room.
fn wake<T>(mut queue: MutexGuard<'_, Queue<T>>) {
    let line = queue.next_in_line();
    drop(queue);
    line.into_values().for_each(Waker::wake);
}

/// Waits for room in an [`Inbox`].
///
/// All waiters are woken when there is room, and those that find no room any more keep their
/// position. So a waiter that is not polled holds up no other.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub(crate) struct Room<'a, T> {
    inbox: &'a Inbox<T>,
    /// The position in the line.
    ticket: Option<u64>,
}

impl<T> Future for Room<'_, T> {
    type Output = Result<(), Refused>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut queue = self.inbox.lock();
        if self.inbox.closed.load(Ordering::Acquire) {
            return Poll::Ready(Err(Refused::Closed));
        }
        if queue.backlog.has_room() {
            queue.backlog.promise();
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
    fn an_urgent_item_stays_urgent_until_all_items_are_taken() {
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
    fn a_waiter_for_room_goes_on_at_half_and_then_any_size_is_accepted() {
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
    fn taken_items_count_until_the_task_reports_how_much_it_holds() {
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

    /// Records its number when it is woken.
    struct Note(u32, Arc<Mutex<Vec<u32>>>);

    impl std::task::Wake for Note {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    #[test]
    fn waiters_are_woken_in_order_and_keep_their_positions() {
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
        // A dropped waiter, and one that is not polled, hold up no other.
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
                assert!(inbox.lock().backlog.waiting_bytes() <= 130);
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
