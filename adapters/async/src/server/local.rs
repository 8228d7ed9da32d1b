//! Handlers that stay on one thread.

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures_channel::oneshot;
use futures_lite::future::or;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use hyper::header::HeaderMap;
use hyper::http::request::Parts;
use wwr::names::Names;
use wwr::server::RequestError;
use wwr::{Content, Payload};

use super::change::SessionChange;
use super::connection::Connection;
use super::context::ConnectionOptions;
use super::handler::{Handler, Response, allow_preflight};
use crate::panics::listed_names;

/// A [`Handler`] whose futures need not be [`Send`], for applications with [`Rc`] and executors of one
/// thread. [`Local`] makes it a handler.
///
/// The methods are those of [`Handler`], with the same meaning and the same defaults.
pub trait LocalHandler: 'static {
    /// See [`Handler::request`].
    fn request(
        &self,
        connection: &Connection,
        request: Content,
    ) -> impl Future<Output = Result<Payload, RequestError>>;

    /// See [`Handler::signal`].
    fn signal(&self, connection: &Connection, signal: Content) -> impl Future<Output = ()> {
        let _ = (connection, signal);
        async {}
    }

    /// See [`Handler::connected`].
    fn connected(&self, connection: &Connection) -> impl Future<Output = ()> {
        let _ = connection;
        async {}
    }

    /// See [`Handler::session_changed`].
    fn session_changed(
        &self,
        connection: &Connection,
        change: SessionChange,
    ) -> impl Future<Output = ()> {
        let _ = (connection, change);
        async {}
    }

    /// See [`Handler::disconnected`].
    fn disconnected(&self, connection: &Connection) -> impl Future<Output = ()> {
        let _ = connection;
        async {}
    }

    /// See [`Handler::before_upgrade`].
    fn before_upgrade(
        &self,
        request: &Parts,
    ) -> impl Future<Output = Result<ConnectionOptions, Box<Response>>> {
        let _ = request;
        async { Ok(ConnectionOptions::default()) }
    }

    /// See [`Handler::listed_names`]. Called by [`Local::new`].
    fn listed_names(&self) -> Option<Names> {
        None
    }

    /// See [`Handler::options`].
    fn options(&self, request: &Parts, headers: &mut HeaderMap) -> impl Future<Output = ()> {
        let _ = request;
        allow_preflight(headers);
        async {}
    }
}

/// Runs a [`LocalHandler`] on one thread. The server may run on any threads: each call goes to that
/// thread through a channel, which costs some allocations and a change of threads. A [`Handler`] needs
/// neither.
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
///
/// use wwr_async::server::{Connection, Local, LocalHandler, RequestError, Server};
/// use wwr_async::{Content, Payload, Runtime};
///
/// struct Counter(Rc<Cell<u64>>);
///
/// impl LocalHandler for Counter {
///     async fn request(&self, _: &Connection, _: Content) -> Result<Payload, RequestError> {
///         self.0.set(self.0.get() + 1);
///         Ok(Payload::utf8(self.0.get().to_string()))
///     }
/// }
///
/// async fn serve<R: Runtime>(runtime: R) -> std::io::Result<()> {
///     let (handler, calls) = Local::new(Counter(Rc::default()));
///     let server = Server::builder_on(runtime.clone(), handler).listen("127.0.0.1:7777").await?;
///     runtime.spawn(server.run());
///     // Runs the handlers here, until the server has ended.
///     calls.await;
///     Ok(())
/// }
/// ```
pub struct Local<H> {
    calls: async_channel::Sender<Call<H>>,
    names: Option<Names>,
    /// Whether the log says that nothing runs the calls.
    complained: AtomicBool,
}

/// How many calls wait for the thread of the handler. Further callers wait until there is room.
const QUEUE: usize = 128;

/// Starts a call on the thread of the handler.
type Call<H> = Box<dyn FnOnce(Rc<H>) -> LocalBoxFuture<'static, ()> + Send>;

impl<H: LocalHandler> Local<H> {
    /// Returns a handler for a server, and the future that runs all calls. The future ends when the
    /// server and its connections have ended. If it is dropped before that, requests fail with
    /// [`RequestError::Internal`], handshakes are answered with 500, and answers to `OPTIONS` allow
    /// nothing.
    pub fn new(handler: H) -> (Self, impl Future<Output = ()>) {
        let (calls, received) = async_channel::bounded(QUEUE);
        let names = listed_names(|| handler.listed_names());
        let local = Self { calls, names, complained: AtomicBool::new(false) };
        (local, run(Rc::new(handler), Queue(received)))
    }

    /// Makes a call, and returns its result; `None` if nothing runs calls any more. A panic comes back
    /// to the caller. If the caller goes, the call is dropped, or does not begin.
    async fn call<T: Send + 'static, F: Future<Output = T>>(
        &self,
        work: impl FnOnce(Rc<H>) -> F + Send + 'static,
    ) -> Option<T> {
        let (mut answer, answered) = oneshot::channel();
        let call: Call<H> = Box::new(move |handler| {
            let call = async move {
                let work = async { work(handler).await };
                let mut work = Box::pin(AssertUnwindSafe(work).catch_unwind());
                let gone = async {
                    answer.cancellation().await;
                    None
                };
                match or(gone, async { Some(work.as_mut().await) }).await {
                    // The caller may have gone just now.
                    Some(result) => drop(answer.send(result)),
                    // A handler that panics when it is dropped must not end the others.
                    None => drop(catch_unwind(AssertUnwindSafe(|| drop(work)))),
                }
            };
            call.boxed_local()
        });
        if self.calls.send(call).await.is_ok()
            && let Ok(result) = answered.await
        {
            return Some(result.unwrap_or_else(|panic| resume_unwind(panic)));
        }
        if !self.complained.swap(true, Ordering::Relaxed) {
            tracing::error!(
                "nothing runs the handlers: keep the future of `Local::new` running as long as the \
                 server"
            );
        }
        None
    }
}

/// The calls that wait. Their callers hear of it when nothing will run them.
struct Queue<H>(async_channel::Receiver<Call<H>>);

impl<H> Drop for Queue<H> {
    fn drop(&mut self) {
        self.0.close();
        // The channel would keep them as long as the server has its end of it.
        while self.0.try_recv().is_ok() {}
    }
}

/// Runs the calls that come, side by side.
async fn run<H>(handler: Rc<H>, queue: Queue<H>) {
    let mut calls = pin!(queue.0.clone());
    let mut running = FuturesUnordered::new();
    poll_fn(|cx| {
        let mut ended = false;
        loop {
            match calls.poll_next_unpin(cx) {
                Poll::Ready(Some(call)) => running.push(call(handler.clone())),
                Poll::Ready(None) => {
                    ended = true;
                    break;
                }
                Poll::Pending => break,
            }
        }
        while let Poll::Ready(Some(())) = running.poll_next_unpin(cx) {}
        if ended && running.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

impl<H: LocalHandler> Handler for Local<H> {
    async fn request(
        &self,
        connection: &Connection,
        request: Content,
    ) -> Result<Payload, RequestError> {
        let connection = connection.clone();
        let work = move |handler: Rc<H>| async move { handler.request(&connection, request).await };
        self.call(work).await.unwrap_or(Err(RequestError::Internal))
    }

    async fn signal(&self, connection: &Connection, signal: Content) {
        let connection = connection.clone();
        self.call(move |handler| async move { handler.signal(&connection, signal).await }).await;
    }

    async fn connected(&self, connection: &Connection) {
        let connection = connection.clone();
        self.call(move |handler| async move { handler.connected(&connection).await }).await;
    }

    async fn session_changed(&self, connection: &Connection, change: SessionChange) {
        let connection = connection.clone();
        self.call(move |handler| async move { handler.session_changed(&connection, change).await })
            .await;
    }

    async fn disconnected(&self, connection: &Connection) {
        let connection = connection.clone();
        self.call(move |handler| async move { handler.disconnected(&connection).await }).await;
    }

    async fn before_upgrade(&self, request: &Parts) -> Result<ConnectionOptions, Box<Response>> {
        let request = request.clone();
        let answer =
            self.call(move |handler| async move { handler.before_upgrade(&request).await }).await;
        answer.unwrap_or_else(|| {
            let mut answer = Response::default();
            *answer.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
            Err(Box::new(answer))
        })
    }

    fn listed_names(&self) -> Option<Names> {
        self.names.clone()
    }

    async fn options(&self, request: &Parts, headers: &mut HeaderMap) {
        let (request, mut extended) = (request.clone(), headers.clone());
        let work = move |handler: Rc<H>| async move {
            handler.options(&request, &mut extended).await;
            extended
        };
        if let Some(extended) = self.call(work).await {
            *headers = extended;
        }
    }
}

impl<H> fmt::Debug for Local<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;

    use smol::future::poll_once;

    use super::*;

    /// Counts the calls that have begun.
    #[derive(Default)]
    struct Count(Rc<Cell<usize>>);

    impl LocalHandler for Count {
        async fn request(&self, _: &Connection, _: Content) -> Result<Payload, RequestError> {
            Err(RequestError::Internal)
        }
    }

    /// A call that has begun once it is polled.
    async fn begin(local: &Local<Count>) -> Option<()> {
        local.call(|handler| async move { handler.0.set(handler.0.get() + 1) }).await
    }

    /// A caller that has made its call, and waits.
    async fn waiting<F: Future>(caller: F) -> std::pin::Pin<Box<F>> {
        let mut caller = Box::pin(caller);
        assert!(poll_once(&mut caller).await.is_none());
        caller
    }

    fn local() -> (Rc<Cell<usize>>, Local<Count>, LocalBoxFuture<'static, ()>) {
        let count = Rc::<Cell<usize>>::default();
        let (local, calls) = Local::new(Count(count.clone()));
        (count, local, calls.boxed_local())
    }

    #[test]
    fn a_call_whose_caller_has_gone_does_not_begin() {
        smol::block_on(async {
            let (begun, local, mut calls) = local();
            drop(waiting(begin(&local)).await);
            let stays = waiting(begin(&local)).await;
            assert!(poll_once(&mut calls).await.is_none());
            assert_eq!(begun.get(), 1);
            assert_eq!(stays.await, Some(()));
        });
    }

    #[test]
    fn calls_that_find_no_room_wait_until_there_is_some() {
        smol::block_on(async {
            let (begun, local, mut calls) = local();
            let mut callers = Vec::new();
            for _ in 0..=QUEUE {
                callers.push(waiting(begin(&local)).await);
            }
            assert_eq!(local.calls.len(), QUEUE);
            assert!(poll_once(&mut calls).await.is_none());
            assert_eq!(begun.get(), QUEUE);
            let mut last = callers.pop().unwrap();
            assert!(poll_once(&mut last).await.is_none());
            assert!(poll_once(&mut calls).await.is_none());
            assert_eq!(last.await, Some(()));
        });
    }

    #[test]
    fn a_call_that_panics_when_it_is_dropped_ends_no_other() {
        struct Bomb;

        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("a call of a test panics on purpose when it is dropped");
            }
        }

        smol::block_on(async {
            let (_, local, mut calls) = local();
            let bomb = waiting(local.call(|_| async {
                let _bomb = Bomb;
                pending::<()>().await;
            }));
            let bomb = bomb.await;
            assert!(poll_once(&mut calls).await.is_none());
            drop(bomb);
            let other = waiting(begin(&local)).await;
            assert!(poll_once(&mut calls).await.is_none());
            assert_eq!(other.await, Some(()));
        });
    }

    #[test]
    fn calls_fail_once_the_future_that_runs_them_is_dropped() {
        smol::block_on(async {
            let (begun, local, calls) = local();
            let queued = waiting(begin(&local)).await;
            drop(calls);
            assert_eq!((queued.await, begin(&local).await), (None, None));
            assert_eq!(begun.get(), 0);
            assert!(local.complained.into_inner());
        });
    }
}
