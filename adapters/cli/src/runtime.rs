//! The threads that serve.

use core::num::NonZeroU16;
use std::future::pending;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::{io, thread};

use smol::{Executor, block_on};

/// Runs tasks. Commands that connect run their tasks on their only thread.
pub(crate) type Tasks = Arc<Executor<'static>>;

/// Starts threads that run tasks until the process ends.
///
/// Does not use the threads of `smol::spawn`, which starts none if the number is 0, and panics if
/// the system has fewer than the number.
pub(crate) fn start(threads: NonZeroU16) -> io::Result<Tasks> {
    let tasks = Tasks::default();
    for number in 1..=threads.get() {
        let running = tasks.clone();
        let thread = thread::Builder::new().name(format!("serve {number}"));
        thread.spawn(move || run(&running)).map_err(|error| {
            let message = format!(
                "cannot start thread {number} of {threads}: {error}; SMOL_THREADS says how many"
            );
            io::Error::new(error.kind(), message)
        })?;
    }
    Ok(tasks)
}

fn run(tasks: &Tasks) {
    loop {
        // A task that panics ends; other tasks go on. The panic was already reported.
        let _ = catch_unwind(|| block_on(tasks.run(pending::<()>())));
    }
}
