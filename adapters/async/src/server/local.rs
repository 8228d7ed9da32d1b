//! Handlers that stay on one thread.

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::rc::Rc;
use std::task::Poll;

use futures_channel::{mpsc, oneshot};
use futures_lite::future::or;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use hyper::header::HeaderMap;
use hyper::http::request::Parts;
use wwr::server::RequestError;
use wwr::{Content, Payload};

use super::connection::Connection;
use super::handler::{ConnectionOptions, Handler, Response, allow_preflight};

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
    calls: mpsc::UnboundedSender<Call<H>>,
}

/// Starts a call on the thread of the handler.
type Call<H> = Box<dyn FnOnce(Rc<H>) -> LocalBoxFuture<'static, ()> + Send>;

impl<H: LocalHandler> Local<H> {
    /// Returns a handler for a server, and the future that runs all calls. The future ends when the
    /// server and its connections have ended. If it is dropped before that, requests fail with
    /// [`RequestError::Internal`], handshakes are answered with 500, and answers to `OPTIONS` allow
    /// nothing.
    pub fn new(handler: H) -> (Self, impl Future<Output = ()>) {
        // A server has as many calls at a time as it runs handlers, which its limits bound.
        let (calls, received) = mpsc::unbounded();
        (Self { calls }, run(Rc::new(handler), received))
    }

    /// Makes a call, and returns its result; `None` if nothing runs calls any more. A panic comes back
    /// to the caller. If the caller goes, the call is dropped.
    async fn call<T: Send + 'static, F: Future<Output = T>>(
        &self,
        work: impl FnOnce(Rc<H>) -> F + Send + 'static,
    ) -> Option<T> {
        let (mut answer, answered) = oneshot::channel();
        let call: Call<H> = Box::new(move |handler| {
            let call = async move {
                let work = AssertUnwindSafe(async { work(handler).await }).catch_unwind();
                let gone = async {
                    answer.cancellation().await;
                    None
                };
                if let Some(result) = or(async { Some(work.await) }, gone).await {
                    // The caller may have gone just now.
                    let _ = answer.send(result);
                }
            };
            call.boxed_local()
        });
        self.calls.unbounded_send(call).ok()?;
        match answered.await {
            Ok(Ok(result)) => Some(result),
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => None,
        }
    }
}

/// Runs the calls that come, side by side.
async fn run<H>(handler: Rc<H>, mut calls: mpsc::UnboundedReceiver<Call<H>>) {
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
