//! Where tasks run.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

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
/// `SMOL_THREADS` says.
#[derive(Clone, Copy, Debug, Default)]
pub struct GlobalExecutor;

impl Spawn for GlobalExecutor {
    fn spawn_task(&self, task: Task) {
        smol::spawn(task).detach();
    }
}

impl Spawn for Arc<Executor<'static>> {
    fn spawn_task(&self, task: Task) {
        self.spawn(task).detach();
    }
}
