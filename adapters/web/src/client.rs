//! The client as an application in Rust sees it.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_channel::oneshot;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wwr::client::{Discovered, RequestError, RequestId, Status};
use wwr::{Dialect, InvalidName, Name, Payload, Session, SessionKey};

use crate::builder::Builder;
use crate::error::{ConnectError, Error, StartError};
use crate::event::Events;
use crate::host::Host;

/// A client of one server. Clones share one connection, which ends with the last of them.
///
/// It keeps itself connected: a lost connection is opened again after a pause, at once when the network is back or
/// somebody looks at the page again. Requests that are made meanwhile wait.
///
/// ```no_run
/// use wwr_web::Client;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::builder("wss://example.com/").build()?;
/// client.connect().await?;
/// let reply = client.request("greet", "Ada").await?;
/// assert_eq!(reply.text()?, "hello Ada");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    handle: Rc<Handle>,
}

/// Ends the client when the last one is dropped.
struct Handle {
    host: Rc<Host>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.host.end();
    }
}

impl Client {
    /// Begins to describe a client of the server at this URL: of `ws`, `wss`, `http` or `https`, or relative to
    /// the page.
    pub fn builder(url: impl Into<String>) -> Builder {
        Builder::new(url.into())
    }

    /// Creates a client with default settings, which does not connect yet.
    ///
    /// # Errors
    ///
    /// [`StartError`] if the URL is invalid, or the browser does not allow connections without TLS.
    pub fn new(url: impl Into<String>) -> Result<Self, StartError> {
        Self::builder(url).build()
    }

    pub(crate) fn of(host: Rc<Host>) -> Self {
        Self { handle: Rc::new(Handle { host }) }
    }

    fn host(&self) -> &Rc<Host> {
        &self.handle.host
    }

    /// Connects, and turns automatic reconnection on again after [`close`](Self::close). Waits until the
    /// connection is ready. What is called without waiting for it does so all the same.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] if the attempt fails. The client tries again by itself, unless the error is
    /// [definite](wwr::client::ConnectError::is_definite).
    pub fn connect(&self) -> impl Future<Output = Result<(), ConnectError>> + use<> {
        let (sender, receiver) = oneshot::channel();
        // The caller may have dropped its future.
        self.host().connect(Box::new(move |result| drop(sender.send(result))));
        async move { receiver.await.unwrap_or(Err(ConnectError::Closed)) }
    }

    /// Makes a request, which waits for the connection and for the reply, for at most
    /// [`request_timeout`](wwr::client::Config::request_timeout). Dropping the future cancels it.
    pub fn request<N>(&self, name: N, payload: impl Into<Payload>) -> Pending
    where
        N: TryInto<Name, Error: Into<InvalidName>>,
    {
        self.ask(name, payload.into(), None)
    }

    /// Makes a request that takes at most this long.
    pub fn request_within<N>(
        &self,
        name: N,
        payload: impl Into<Payload>,
        timeout: Duration,
    ) -> Pending
    where
        N: TryInto<Name, Error: Into<InvalidName>>,
    {
        self.ask(name, payload.into(), Some(timeout))
    }

    /// Makes a request of JSON whose reply is JSON.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request), and [`Error::Unwritable`] or [`Error::Unreadable`] if the value is not JSON or
    /// the reply not a `Reply`.
    pub async fn call<Reply: DeserializeOwned>(
        &self,
        name: &str,
        request: &(impl Serialize + ?Sized),
    ) -> Result<Reply, Error> {
        let payload = Payload::json(request).map_err(Error::Unwritable)?;
        let reply = self.request(name, payload).await?;
        reply.read_json().map_err(Error::Unreadable)
    }

    /// Sends a signal. Signals are never queued.
    ///
    /// # Errors
    ///
    /// [`Misuse::NotConnected`](wwr::client::Misuse::NotConnected) if the connection is not ready, among others.
    pub fn signal<N>(&self, name: N, payload: impl Into<Payload>) -> Result<(), Error>
    where
        N: TryInto<Name, Error: Into<InvalidName>>,
    {
        self.host().signal(&checked(name)?, &payload.into())
    }

    /// Returns all events from now on: signals of the server, and what happens to connection and session.
    pub fn events(&self) -> Events {
        self.host().subscribe()
    }

    /// Asks the server for the session of this key. The client holds it when this succeeds.
    pub fn restore_session(&self, key: SessionKey) -> Pending {
        let (done, receiver) = oneshot::channel();
        let done = Box::new(move |outcome| drop(done.send(outcome)));
        self.pending(self.host().restore_session(key, None, done), receiver)
    }

    /// Closes the session. Without a connection the client only forgets it.
    pub fn close_session(&self) -> Pending {
        let (done, receiver) = oneshot::channel();
        let done = Box::new(move |outcome| drop(done.send(outcome)));
        self.pending(self.host().close_session(None, done), receiver)
    }

    /// Closes the connection, or ends the attempts to get one. The session is kept, and resumed by the next
    /// [`connect`](Self::connect).
    pub fn close(&self) {
        self.host().close();
    }

    /// Returns the state of the connection.
    pub fn status(&self) -> Status {
        self.host().read(wwr::client::Client::status)
    }

    /// Returns what the server speaks.
    pub fn dialect(&self) -> Dialect {
        self.host().read(wwr::client::Client::dialect)
    }

    /// Returns what is known of the server.
    pub fn discovered(&self) -> Discovered {
        self.host().read(|client| client.discovered().clone())
    }

    /// Returns the session that the client holds.
    pub fn session(&self) -> Option<Session> {
        self.host().read(|client| client.session().cloned())
    }

    fn ask<N>(&self, name: N, payload: Payload, timeout: Option<Duration>) -> Pending
    where
        N: TryInto<Name, Error: Into<InvalidName>>,
    {
        let (done, receiver) = oneshot::channel();
        let done = Box::new(move |outcome| drop(done.send(outcome)));
        let begun =
            checked(name).and_then(|name| self.host().request(name, payload, timeout, done));
        self.pending(begun, receiver)
    }

    fn pending(&self, begun: Result<RequestId, Error>, receiver: Receiver) -> Pending {
        match begun {
            Ok(id) => Pending { host: self.host().clone(), state: State::Asked { id, receiver } },
            Err(error) => Pending { host: self.host().clone(), state: State::Refused(error) },
        }
    }
}

fn checked<N>(name: N) -> Result<Name, Error>
where
    N: TryInto<Name, Error: Into<InvalidName>>,
{
    name.try_into().map_err(|invalid| Error::InvalidName(invalid.into()))
}

type Receiver = oneshot::Receiver<Result<Payload, RequestError>>;

/// A request that was made. It need not be awaited to be sent; when it is dropped before it has ended, it is
/// cancelled.
#[must_use = "a request that is dropped is cancelled"]
pub struct Pending {
    host: Rc<Host>,
    state: State,
}

enum State {
    Asked { id: RequestId, receiver: Receiver },
    Refused(Error),
    Over,
}

impl Future for Pending {
    type Output = Result<Payload, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Asked { id, mut receiver } => match Pin::new(&mut receiver).poll(cx) {
                Poll::Ready(Ok(outcome)) => Poll::Ready(outcome.map_err(Error::Request)),
                Poll::Ready(Err(oneshot::Canceled)) => {
                    Poll::Ready(Err(Error::Request(RequestError::Cancelled)))
                }
                Poll::Pending => {
                    self.state = State::Asked { id, receiver };
                    Poll::Pending
                }
            },
            State::Refused(error) => Poll::Ready(Err(error)),
            // Polled again after its end: futures may do anything then but panic.
            State::Over => Poll::Pending,
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let State::Asked { id, .. } = self.state {
            self.host.cancel(id);
        }
    }
}
