//! Handlers of the application: started in reused memory, boxed only if they have to wait.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use wwr::Content;
use wwr::wire::Identifier;

use super::trace::{Outcome, Traced};
use crate::panics::{Panic, ShortName, caught_async};
use crate::server::connection::Connection;

/// The application's handler for messages of one kind.
pub(super) trait Start<'a, T>: Send {
    /// Starts on a message.
    fn start(&mut self, content: Content, cx: &mut Context<'_>) -> Started<'a, T>;

    /// Frees the memory that is kept for the next message.
    fn shrink(&mut self);
}

/// The state of a handler after it was started.
pub(super) enum Started<'a, T> {
    Done(T),
    Running(BoxFuture<'a, Result<T, Panic>>),
    Panicked(Panic),
}

/// Which message a handler works on, for the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    connection: &'a Connection,
    /// The client's identifier, if it is a request.
    request: Option<Identifier>,
    name: ShortName,
}

impl<'a> About<'a> {
    /// `request` is the client's identifier, if the message is a request.
    pub(super) const fn new(
        connection: &'a Connection,
        request: Option<Identifier>,
        name: ShortName,
    ) -> Self {
        Self { connection, request, name }
    }

    /// Counts and logs that it panicked.
    #[cold]
    pub(super) fn note(&self, panic: &Panic, traced: Option<Box<Traced>>) {
        let Self { connection, request, name } = self;
        connection.counts().panicked();
        if let Some(traced) = traced {
            traced.is(Outcome::Panicked);
        }
        let connection = connection.id();
        match request {
            Some(request) => tracing::error!(
                connection, %request, %name, %panic,
                "the handler of a request panicked; the client gets an internal error"
            ),
            None => tracing::error!(connection, %name, %panic, "the handler of a signal panicked"),
        }
    }
}

/// Handlers whose futures have one type, so that they can use the same memory.
pub(super) struct Handlers<M, F> {
    make: M,
    room: Option<Pin<Box<Option<F>>>>,
}

impl<M: Fn(Content) -> F, F: Future> Handlers<M, F> {
    /// Creates handlers with `make`.
    pub(super) const fn new(make: M) -> Self {
        Self { make, room: None }
    }
}

impl<'a, M, F, T> Start<'a, T> for Handlers<M, F>
where
    M: Fn(Content) -> F + Send,
    F: Future<Output = T> + Send + 'a,
    T: 'a,
{
    fn start(&mut self, content: Content, cx: &mut Context<'_>) -> Started<'a, T> {
        let mut room = self.room.take().unwrap_or_else(|| Box::pin(None));
        // Does not use `caught`, which would move the result of each message once more.
        let polled = catch_unwind(AssertUnwindSafe(|| {
            room.set(Some((self.make)(content)));
            let polled = poll(room.as_mut(), cx);
            if polled.is_ready() {
                room.set(None);
            }
            polled
        }));
        match polled {
            Ok(Poll::Ready(result)) => {
                self.room = Some(room);
                Started::Done(result)
            }
            Ok(Poll::Pending) => {
                let rest = poll_fn(move |cx| poll(room.as_mut(), cx));
                Started::Running(Box::pin(caught_async(|| rest)))
            }
            Err(payload) => Started::Panicked(Panic::new(payload)),
        }
    }

    fn shrink(&mut self) {
        self.room = None;
    }
}

fn poll<F: Future>(room: Pin<&mut Option<F>>, cx: &mut Context<'_>) -> Poll<F::Output> {
    match room.as_pin_mut() {
        Some(work) => work.poll(cx),
        None => Poll::Pending,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Waker;

    use futures_lite::future::{block_on, yield_now};
    use wwr::Payload;

    use super::*;

    /// Returns handlers that wait as often as the payload is long: `!` panics.
    fn handlers(dropped: Arc<AtomicUsize>) -> Box<dyn Start<'static, Option<usize>>> {
        struct Counted(Arc<AtomicUsize>);
        impl Drop for Counted {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let make = move |content: Content| {
            let counted = Counted(dropped.clone());
            async move {
                let _counted = counted;
                assert_ne!(content.name(), b"!");
                for _ in content.payload() {
                    yield_now().await;
                }
                Some(content.payload().len())
            }
        };
        Box::new(Handlers::new(make))
    }

    fn start(
        on: &mut dyn Start<'static, Option<usize>>,
        name: &str,
        length: usize,
    ) -> Option<usize> {
        let content = Content::new(name.as_bytes(), &Payload::binary(vec![0; length])).unwrap();
        match on.start(content, &mut Context::from_waker(Waker::noop())) {
            Started::Done(result) => {
                assert!(result.is_none() || length == 0);
                result
            }
            Started::Running(rest) => {
                assert!(length > 0);
                block_on(rest).unwrap()
            }
            Started::Panicked(_) => None,
        }
    }

    #[test]
    fn each_handler_has_its_result_and_is_dropped_once() {
        let dropped = Arc::new(AtomicUsize::new(0));
        let mut handlers = handlers(dropped.clone());
        for (count, length) in [0, 0, 3, 0, 1, 2, 0].into_iter().enumerate() {
            assert_eq!(start(&mut *handlers, "a", length), Some(length));
            assert_eq!(dropped.load(Ordering::Relaxed), count + 1);
            if count == 3 {
                handlers.shrink();
            }
        }
    }

    #[test]
    fn a_handler_that_panics_harms_no_other() {
        let dropped = Arc::new(AtomicUsize::new(0));
        let mut handlers = handlers(dropped.clone());
        assert_eq!(start(&mut *handlers, "a", 0), Some(0));
        assert_eq!(start(&mut *handlers, "!", 0), None);
        assert_eq!(start(&mut *handlers, "a", 1), Some(1));
        assert_eq!(start(&mut *handlers, "a", 0), Some(0));
        assert_eq!(dropped.load(Ordering::Relaxed), 4);
    }
}
