//! A runtime on a thread of its own, for callers that have none.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;

use futures_channel::oneshot;

use crate::runtime::Runtime;

/// A [`Runtime`] that runs on one thread. Blocking clients have such a thread.
pub trait BlockOn: Runtime {
    /// Makes a runtime, passes it to `work`, and runs its tasks on this thread until `work` has ended.
    /// Tasks that have not ended by then are dropped. A task that panics ends; `work` does not panic.
    ///
    /// # Errors
    ///
    /// If the system lacks what the runtime needs.
    fn block_on(work: impl AsyncFnOnce(Self)) -> io::Result<()>;
}

/// A runtime on a thread in the background, which ends when this is dropped.
pub(crate) struct Background<R> {
    runtime: R,
    /// The thread ends when it is dropped.
    running: oneshot::Sender<()>,
}

/// The shared one of each type of runtime: a `Weak<Background<R>>`.
static SHARED: Mutex<BTreeMap<TypeId, Box<dyn Any + Send>>> = Mutex::new(BTreeMap::new());

impl<R: BlockOn> Background<R> {
    /// Returns the one that the process shares. The first call starts the thread, and so does one after
    /// all results were dropped.
    ///
    /// # Errors
    ///
    /// If the system has no thread left, or lacks what the runtime needs.
    pub(crate) fn shared() -> io::Result<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let shared =
            shared.entry(TypeId::of::<R>()).or_insert_with(|| Box::new(Weak::<Self>::new()));
        let running = shared.downcast_ref().and_then(Weak::<Self>::upgrade);
        if let Some(running) = running.filter(|running| !running.has_ended()) {
            return Ok(running);
        }
        let started = Arc::new(Self::start()?);
        *shared = Box::new(Arc::downgrade(&started));
        Ok(started)
    }

    fn start() -> io::Result<Self> {
        let (running, stopped) = oneshot::channel();
        let (ready, started) = sync_channel(1);
        thread::Builder::new().name("wwr-blocking".into()).spawn(move || {
            let ran = R::block_on(async |runtime| {
                // The starter waits for it.
                let _ = ready.send(Ok(runtime));
                // An error means that nothing needs the thread any more.
                let _ = stopped.await;
            });
            if let Err(error) = ran {
                // A runtime that has run needs no answer.
                let _ = ready.try_send(Err(error));
            }
        })?;
        let runtime = started.recv().map_err(|_| io::Error::other("the thread has ended"))??;
        Ok(Self { runtime, running })
    }

    /// Returns the runtime.
    pub(crate) const fn runtime(&self) -> &R {
        &self.runtime
    }

    fn has_ended(&self) -> bool {
        self.running.is_canceled()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::test_runtime::TestRuntime;

    /// The names of the threads that run.
    static RUNNING: Mutex<Vec<Option<String>>> = Mutex::new(Vec::new());
    /// How the next ones end.
    static END: Mutex<End> = Mutex::new(End::WhenAsked);

    #[derive(Clone, Copy)]
    enum End {
        WhenAsked,
        BeforeItRuns,
        ByPanic,
    }

    impl BlockOn for TestRuntime {
        fn block_on(work: impl AsyncFnOnce(Self)) -> io::Result<()> {
            let end = *END.lock().unwrap();
            RUNNING.lock().unwrap().push(thread::current().name().map(str::to_owned));
            if matches!(end, End::WhenAsked) {
                smol::block_on(work(Self));
            }
            RUNNING.lock().unwrap().pop();
            assert!(!matches!(end, End::ByPanic), "on purpose");
            match end {
                End::BeforeItRuns => Err(io::Error::other("too few of something")),
                End::WhenAsked | End::ByPanic => Ok(()),
            }
        }
    }

    fn wait_for_end() {
        let start = Instant::now();
        while !RUNNING.lock().unwrap().is_empty() {
            assert!(start.elapsed() < Duration::from_secs(60), "the thread goes on");
            thread::yield_now();
        }
    }

    #[test]
    fn one_thread_is_shared_until_nothing_needs_it_and_then_there_is_a_new_one() {
        let shared = Background::<TestRuntime>::shared;
        for _ in 0..2 {
            let (one, two) = (shared().unwrap(), shared().unwrap());
            assert!(Arc::ptr_eq(&one, &two));
            assert_eq!(*RUNNING.lock().unwrap(), [Some("wwr-blocking".to_owned())]);
            drop(one);
            assert!(!two.has_ended());
            drop(two);
            wait_for_end();
        }
        for (end, said) in
            [(End::BeforeItRuns, "too few of something"), (End::ByPanic, "the thread has ended")]
        {
            *END.lock().unwrap() = end;
            assert_eq!(shared().err().map(|error| error.to_string()).as_deref(), Some(said));
        }
        *END.lock().unwrap() = End::WhenAsked;
        assert!(!shared().unwrap().has_ended());
        wait_for_end();
    }
}
