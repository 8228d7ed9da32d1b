//! The executors.

use std::sync::Arc;

use futures_executor::ThreadPool;
use smol::Executor;
use tokio::runtime;
use wwr_smol::{Spawn, Task};

use crate::support::host::Failure;

/// An executor on which client and server run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Runtime {
    /// One thread, which also waits for the sockets.
    Smol,
    /// One thread of tokio.
    TokioCurrent,
    /// As many threads of tokio as there are processors.
    TokioMulti,
    /// As many threads as there are processors, of the executor of the `futures` project.
    Futures,
}

pub(crate) const RUNTIMES: [Runtime; 4] =
    [Runtime::Smol, Runtime::TokioCurrent, Runtime::TokioMulti, Runtime::Futures];

/// Starts tasks on an executor that is driven elsewhere.
#[derive(Clone)]
pub(crate) enum Spawner {
    Smol(Arc<Executor<'static>>),
    Tokio(runtime::Handle),
    Futures(ThreadPool),
}

impl Spawn for Spawner {
    fn spawn_task(&self, task: Task) {
        match self {
            Self::Smol(executor) => executor.spawn(task).detach(),
            Self::Tokio(handle) => drop(handle.spawn(task)),
            Self::Futures(pool) => pool.spawn_ok(task),
        }
    }
}

impl Runtime {
    /// What `--executor` calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Smol => "smol",
            Self::TokioCurrent => "tokio-current",
            Self::TokioMulti => "tokio-multi",
            Self::Futures => "futures",
        }
    }

    /// Does some work as a task of a new executor, which ends with it.
    pub(crate) fn run<T, F>(self, work: impl FnOnce(Spawner) -> F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        match self {
            Self::Smol => {
                let executor = Arc::new(Executor::new());
                let work = executor.spawn(work(Spawner::Smol(executor.clone())));
                smol::block_on(executor.run(work))
            }
            Self::TokioCurrent => {
                run_on_tokio(&runtime::Builder::new_current_thread().build()?, work)
            }
            Self::TokioMulti => run_on_tokio(&runtime::Builder::new_multi_thread().build()?, work),
            Self::Futures => {
                let pool = ThreadPool::new()?;
                let (sender, receiver) = std::sync::mpsc::channel();
                let work = work(Spawner::Futures(pool.clone()));
                // If this thread panics, no receiver waits any more.
                pool.spawn_ok(async move { drop(sender.send(work.await)) });
                receiver.recv()?
            }
        }
    }
}

fn run_on_tokio<T, F>(
    runtime: &runtime::Runtime,
    work: impl FnOnce(Spawner) -> F,
) -> Result<T, Failure>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Failure>> + Send + 'static,
{
    let work = work(Spawner::Tokio(runtime.handle().clone()));
    runtime.block_on(runtime.spawn(work))?
}
