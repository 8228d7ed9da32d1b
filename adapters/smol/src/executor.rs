//! Executors for tasks.

use std::future::{Future, pending};
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::thread;

use smol::Executor;
use smol::future::FutureExt as _;

/// A task, ready to be spawned.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs tasks on an executor of your choice.
///
/// Implemented for [`Arc<smol::Executor>`](smol::Executor), which you drive on as many threads as
/// you like, and for [`GlobalExecutor`].
pub trait Spawn: Send + Sync + 'static {
    /// Starts a task in the background.
    fn spawn_task(&self, task: Task);
}

/// The executor behind [`smol::spawn`]: one thread, or as many as the environment variable
/// `SMOL_THREADS` says, from 1 to 1024.
///
/// With a number outside of that range, [`smol::spawn`] would run nothing at all, or panic as soon
/// as the system has no threads left. Then tasks run on one thread of our own, and the log says so.
/// A value that is not a number counts as 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct GlobalExecutor;

/// The numbers of threads that smol's executor may start.
const THREADS: RangeInclusive<i32> = 1..=1024;

impl Spawn for GlobalExecutor {
    fn spawn_task(&self, task: Task) {
        spawn(task);
    }
}

/// Runs a task on it.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    match substitute() {
        None => smol::spawn(task).detach(),
        Some(executor) => executor.spawn(task).detach(),
    }
}

/// Returns the executor that runs tasks if smol's executor would not.
fn substitute() -> Option<&'static Arc<Executor<'static>>> {
    static SUBSTITUTE: OnceLock<Option<Arc<Executor<'static>>>> = OnceLock::new();
    let substitute = SUBSTITUTE.get_or_init(|| {
        // Parsed as smol parses it.
        let threads = std::env::var("SMOL_THREADS").ok()?.parse().ok()?;
        if THREADS.contains(&threads) {
            return None;
        }
        let valid = &THREADS;
        tracing::warn!(threads, ?valid, "SMOL_THREADS is not a valid number of threads; using one");
        let executor = Arc::new(Executor::new());
        let running = executor.clone();
        let thread = thread::Builder::new().name("wwr-smol".into());
        if let Err(error) = thread.spawn(move || run(&running, pending())) {
            tracing::error!(%error, "cannot start a thread for tasks");
        }
        Some(executor)
    });
    substitute.as_ref()
}

/// Runs tasks on this thread until a future is ready. A task that panics ends; other tasks go on. A panic of
/// the future is one of the caller.
pub(crate) fn run(executor: &Executor<'_>, until: impl Future<Output = ()>) {
    let mut until = pin!(AssertUnwindSafe(until).catch_unwind());
    let mut run = || smol::block_on(executor.run(until.as_mut()));
    loop {
        match catch_unwind(AssertUnwindSafe(&mut run)) {
            Ok(Ok(())) => return,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => {}
        }
    }
}

impl Spawn for Arc<Executor<'static>> {
    fn spawn_task(&self, task: Task) {
        self.spawn(task).detach();
    }
}

#[cfg(test)]
mod tests;
