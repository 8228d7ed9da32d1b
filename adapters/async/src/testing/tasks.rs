//! The tasks of a simulation, which run one after the other.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};

use futures_lite::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};

/// What a task panicked with.
pub(super) type Panic = Box<dyn Any + Send>;

/// Tasks that wait, or are ready. Nothing is chosen by chance or by an address in memory: they run in the order in
/// which they became ready.
type Set = FuturesUnordered<BoxFuture<'static, ()>>;

/// The tasks of a simulation.
pub(super) struct Tasks {
    /// `None` during a run, and after the end.
    set: Mutex<Option<Set>>,
    /// What was spawned since the tasks ran last. `None` after the end.
    spawned: Mutex<Option<Vec<BoxFuture<'static, ()>>>>,
    woken: Arc<Woken>,
    /// How often tasks were polled.
    polls: Arc<AtomicU64>,
    panic: Arc<Mutex<Option<Panic>>>,
}

/// The right to run the tasks.
pub(super) struct Running<'a> {
    tasks: &'a Tasks,
    /// `None` after the end.
    set: Option<Set>,
}

/// Whether something has to be polled.
#[derive(Default)]
pub(super) struct Woken(AtomicBool);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tasks {
    pub(super) fn new() -> Self {
        Self {
            set: Mutex::new(Some(Set::new())),
            spawned: Mutex::new(Some(Vec::new())),
            woken: Arc::default(),
            polls: Arc::default(),
            panic: Arc::default(),
        }
    }

    /// Adds a task. After the end, drops it.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let (polls, panic) = (self.polls.clone(), self.panic.clone());
        let task = Box::pin(async move {
            let mut task = pin!(AssertUnwindSafe(task).catch_unwind());
            let counted = poll_fn(|cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                task.as_mut().poll(cx)
            });
            if let Err(panicked) = counted.await {
                lock(&panic).get_or_insert(panicked);
            }
        });
        let mut spawned = lock(&self.spawned);
        match &mut *spawned {
            Some(spawned) => spawned.push(task),
            None => {
                drop(spawned);
                drop(task);
            }
        }
    }

    /// Begins to run the tasks. `None` if they run already.
    pub(super) fn run(&self) -> Option<Running<'_>> {
        lock(&self.set).take().map(|set| Running { tasks: self, set: Some(set) })
    }

    /// Returns how often tasks were polled.
    pub(super) fn polls(&self) -> u64 {
        self.polls.load(Ordering::Relaxed)
    }

    /// Drops the tasks.
    pub(super) fn end(&self) {
        let spawned = lock(&self.spawned).take();
        let set = lock(&self.set).take();
        drop((spawned, set));
    }
}

impl Running<'_> {
    /// Lets tasks that are ready run. Returns whether there were any.
    pub(super) fn step(&mut self) -> bool {
        let Some(set) = &mut self.set else { return false };
        let spawned = lock(&self.tasks.spawned).as_mut().map(std::mem::take).unwrap_or_default();
        let is_woken = self.tasks.woken.take();
        if spawned.is_empty() && !is_woken {
            return false;
        }
        set.extend(spawned);
        let waker = Waker::from(self.tasks.woken.clone());
        if set.poll_next_unpin(&mut Context::from_waker(&waker)).is_ready() && !set.is_empty() {
            // One task has ended. Others may be ready.
            self.tasks.woken.set();
        }
        true
    }

    /// Takes the panic of a task.
    pub(super) fn take_panic(&self) -> Option<Panic> {
        lock(&self.tasks.panic).take()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *lock(&self.tasks.set) = self.set.take();
    }
}

impl Woken {
    /// Returns whether it was woken since the last call.
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }

    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.set();
    }
}
