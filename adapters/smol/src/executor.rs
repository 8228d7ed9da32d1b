//! Where tasks run.

use std::future::{Future, pending};
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::thread;

use smol::Executor;

/// A task, ready to be spawned.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs tasks on an executor of your choice.
///
/// Implemented for [`Arc<smol::Executor>`](smol::Executor), which you drive on as many threads as
/// you like, and for [`GlobalExecutor`].
///
/// ```
/// use std::sync::Arc;
/// use wwr_smol::Spawn;
///
/// let executor = Arc::new(smol::Executor::new());
/// let (sender, receiver) = smol::channel::bounded(1);
/// executor.spawn_task(Box::pin(async move { sender.send(42).await.unwrap_or(()) }));
/// assert_eq!(smol::block_on(executor.run(receiver.recv())), Ok(42));
/// ```
pub trait Spawn: Send + Sync + 'static {
    /// Starts a task and lets it run by itself.
    fn spawn_task(&self, task: Task);
}

/// The executor behind [`smol::spawn`]: one thread, or as many as the environment variable
/// `SMOL_THREADS` says, from 1 to 1024.
///
/// With a number outside of these, [`smol::spawn`] would run nothing at all, or panic as soon as the
/// system has no threads left. Tasks then run on one thread of their own, and the log says so. What
/// is no number counts as 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct GlobalExecutor;

/// How many threads the executor of smol may be told to start.
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

/// What runs tasks in place of the executor of smol, if that one would not.
fn substitute() -> Option<&'static Arc<Executor<'static>>> {
    static SUBSTITUTE: OnceLock<Option<Arc<Executor<'static>>>> = OnceLock::new();
    let substitute = SUBSTITUTE.get_or_init(|| {
        // As smol reads it.
        let threads = std::env::var("SMOL_THREADS").ok()?.parse().ok()?;
        if THREADS.contains(&threads) {
            return None;
        }
        let (least, most) = (THREADS.start(), THREADS.end());
        tracing::warn!(
            threads,
            least,
            most,
            "SMOL_THREADS is no number of threads to run on; one is used"
        );
        let executor = Arc::new(Executor::new());
        let running = executor.clone();
        let thread = thread::Builder::new().name("wwr-smol".into());
        if let Err(error) = thread.spawn(move || run(&running)) {
            tracing::error!(%error, "there is no thread to run on");
        }
        Some(executor)
    });
    substitute.as_ref()
}

fn run(executor: &Executor<'static>) {
    loop {
        // A task that panics ends, and no other does.
        let _ = catch_unwind(AssertUnwindSafe(|| smol::block_on(executor.run(pending::<()>()))));
    }
}

impl Spawn for Arc<Executor<'static>> {
    fn spawn_task(&self, task: Task) {
        self.spawn(task).detach();
    }
}
