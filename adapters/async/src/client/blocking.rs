//! A client for programs without async.
//!
//! It is a [`Client`](super::Client) whose calls block the thread of the caller. The work is done on one
//! thread in the background, which all blocking clients of the process share. So a client costs a socket
//! and not a thread. The first client starts the thread, and it ends with the last one.

mod builder;
mod events;

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wwr::client::{Discovered, Status};
use wwr::wire::InvalidName;
use wwr::{Dialect, Name, Payload, Session, SessionKey};

pub use builder::Builder;
pub use events::Events;

use super::error::{ConnectError, Error, StartError};
use super::url::{InvalidUrl, ServerUrl};
use crate::background::{Background, BlockOn};
use crate::format::{FromPayload, ToPayload};

/// A client of one WebWire server whose calls block. Cheap to clone, and used by any number of threads
/// at once. It reconnects by itself, unless told not to, and then resumes its session.
///
/// Dropping the last clone [closes](Self::close) the connection. That blocks until the server has got
/// everything and closed its side, too, at most for the
/// [close timeout](super::Config::close_timeout). So what was sent arrives even if the program ends then.
///
/// ```no_run
/// use std::time::Duration;
///
/// use wwr_async::BlockOn;
/// use wwr_async::client::Event;
/// use wwr_async::client::blocking::Client;
///
/// # fn talk<R: BlockOn>() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::<R>::connect_to("ws://localhost:7777/")?;
/// let mut events = client.events();
/// let reply = client.request("echo", "hello")?;
/// println!("{}", reply.text()?);
/// while let Ok(event) = events.recv_timeout(Duration::from_secs(5)) {
///     if let Event::Signal(signal) = event {
///         println!("{:?}: {}", signal.name_str(), signal.text()?);
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// # In async code
///
/// The calls may be made inside of any async runtime: they do not use it. But they block its thread, as
/// dropping the client does, and the tasks on it, so use a thread for blocking work, such as those of `smol::unblock` and
/// `tokio::task::spawn_blocking`, or the async [`Client`](super::Client). If the server itself needs the
/// blocked thread, it cannot answer: a call then ends when its timeout does. Waiting for events without a
/// timeout would not end.
pub struct Client<R: BlockOn> {
    inner: Arc<Inner<R>>,
}

struct Inner<R: BlockOn> {
    client: super::Client<R>,
    /// Runs the task of the client.
    _background: Arc<Background<R>>,
}

/// Waits for a future. Needs no thread-local value, as a client may be dropped with the last of them.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let (parker, unparker) = parking::pair();
    let waker = Waker::from(unparker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => parker.park(),
        }
    }
}

impl<R: BlockOn> Drop for Inner<R> {
    fn drop(&mut self) {
        block_on(self.client.close());
    }
}

impl<R: BlockOn> Client<R> {
    /// Connects to a server with the default settings.
    ///
    /// # Errors
    ///
    /// [`StartError`] if the URL is invalid, the first attempt fails, or the system has no thread left.
    pub fn connect_to(url: &str) -> Result<Self, StartError> {
        Self::builder(url)?.connect()
    }

    /// Begins to set up a client.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`] if the URL is invalid.
    pub fn builder(url: &str) -> Result<Builder<R>, InvalidUrl> {
        url.parse::<ServerUrl>().map(Builder::new)
    }

    fn new(client: super::Client<R>, background: Arc<Background<R>>) -> Self {
        Self { inner: Arc::new(Inner { client, _background: background }) }
    }

    fn client(&self) -> &super::Client<R> {
        &self.inner.client
    }

    /// Makes a request and waits for the reply, at most for the
    /// [configured time](super::MachineConfig::request_timeout).
    ///
    /// While the client is connecting, the request waits for the connection.
    ///
    /// # Errors
    ///
    /// [`Error`]. It says whether the server may have received the request.
    pub fn request<N>(&self, name: N, payload: impl Into<Payload>) -> Result<Payload, Error>
    where
        N: TryInto<Name>,
        InvalidName: From<N::Error>,
    {
        block_on(self.client().request(name, payload))
    }

    /// Like [`request`](Self::request), with a time limit of its own, from now to the reply.
    ///
    /// # Errors
    ///
    /// As for [`request`](Self::request).
    pub fn request_within<N>(
        &self,
        timeout: Duration,
        name: N,
        payload: impl Into<Payload>,
    ) -> Result<Payload, Error>
    where
        N: TryInto<Name>,
        InvalidName: From<N::Error>,
    {
        block_on(self.client().request_within(timeout, name, payload))
    }

    /// Makes a request that is executed once, although it may be repeated; see
    /// [the async method](super::Client::request_idempotent).
    ///
    /// # Errors
    ///
    /// As for [the async method](super::Client::request_idempotent).
    pub fn request_idempotent<N>(
        &self,
        name: N,
        payload: impl Into<Payload>,
    ) -> Result<Payload, Error>
    where
        N: TryInto<Name>,
        InvalidName: From<N::Error>,
    {
        block_on(self.client().request_idempotent(name, payload))
    }

    /// Like [`request_idempotent`](Self::request_idempotent), with a time limit of its own, from now to the reply,
    /// over all connections.
    ///
    /// # Errors
    ///
    /// As for [`request_idempotent`](Self::request_idempotent).
    pub fn request_idempotent_within<N>(
        &self,
        timeout: Duration,
        name: N,
        payload: impl Into<Payload>,
    ) -> Result<Payload, Error>
    where
        N: TryInto<Name>,
        InvalidName: From<N::Error>,
    {
        block_on(self.client().request_idempotent_within(timeout, name, payload))
    }

    /// Makes a request of JSON, and reads the reply from JSON; see [the async method](super::Client::call).
    ///
    /// # Errors
    ///
    /// As for [the async method](super::Client::call).
    pub fn call<Reply: DeserializeOwned>(
        &self,
        name: impl TryInto<Name, Error: Into<InvalidName>>,
        request: &(impl Serialize + ?Sized),
    ) -> Result<Reply, Error> {
        block_on(self.client().call(name, request))
    }

    /// Like [`call`](Self::call), with a time limit of its own, from now to the reply.
    ///
    /// # Errors
    ///
    /// As for [`call`](Self::call).
    pub fn call_within<Reply: DeserializeOwned>(
        &self,
        timeout: Duration,
        name: impl TryInto<Name, Error: Into<InvalidName>>,
        request: &(impl Serialize + ?Sized),
    ) -> Result<Reply, Error> {
        block_on(self.client().call_within(timeout, name, request))
    }

    /// Like [`call`](Self::call), in any format: see [`ToPayload`] and [`FromPayload`].
    ///
    /// # Errors
    ///
    /// As for [`call`](Self::call).
    pub fn call_as<Reply: FromPayload>(
        &self,
        name: impl TryInto<Name, Error: Into<InvalidName>>,
        request: impl ToPayload,
    ) -> Result<Reply, Error> {
        block_on(self.client().call_as(name, request))
    }

    /// Sends a signal of JSON. Like [`signal`](Self::signal) otherwise.
    ///
    /// # Errors
    ///
    /// As for [`signal`](Self::signal), and [`Error::Unwritable`].
    pub fn signal_json(
        &self,
        name: impl TryInto<Name, Error: Into<InvalidName>>,
        value: &(impl Serialize + ?Sized),
    ) -> Result<(), Error> {
        block_on(self.client().signal_json(name, value))
    }

    /// Waits until the unsent calls take at most half of
    /// [`Config::max_unsent_bytes`](super::Config::max_unsent_bytes), because the server has read the
    /// rest. Returns at once if that is so. For applications that send more than a server may read
    /// at once. See [the async method](super::Client::ready).
    ///
    /// # Errors
    ///
    /// [`Error::Ended`].
    pub fn ready(&self) -> Result<(), Error> {
        block_on(self.client().ready())
    }

    /// Sends a signal. The application does not learn whether it arrives. Waits while the server does not
    /// read what was sent before, at most for the [stall timeout](super::Config::stall_timeout).
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] if the client is not connected at the moment, or the server would not read
    /// such a signal; [`Error::InvalidName`].
    pub fn signal<N>(&self, name: N, payload: impl Into<Payload>) -> Result<(), Error>
    where
        N: TryInto<Name>,
        InvalidName: From<N::Error>,
    {
        block_on(self.client().signal(name, payload))
    }

    /// Restores the session of a key, for example one that another client held. From then on the
    /// client resumes it on every new connection.
    ///
    /// # Errors
    ///
    /// As for [the async method](super::Client::restore_session).
    pub fn restore_session(&self, key: SessionKey) -> Result<Session, Error> {
        block_on(self.client().restore_session(key))
    }

    /// Closes the session, if there is one. Without a connection, the client only forgets it.
    ///
    /// # Errors
    ///
    /// [`Error`] if the server does not agree in time. The client then keeps the session.
    pub fn close_session(&self) -> Result<(), Error> {
        block_on(self.client().close_session())
    }

    /// Connects, unless the client is connected. While it waits to reconnect, tries at once.
    ///
    /// # Errors
    ///
    /// Why the attempt failed. If automatic reconnection is on, and another attempt may succeed,
    /// the client keeps trying.
    pub fn connect(&self) -> Result<(), ConnectError> {
        block_on(self.client().connect())
    }

    /// Closes the connection. The client stays closed until [`connect`](Self::connect) is called.
    /// Requests of other threads end without a reply. The session is kept for the next connection.
    ///
    /// Everything sent before is still written. Returns once the server has closed its side, too,
    /// or the [close timeout](super::Config::close_timeout) has passed.
    pub fn close(&self) {
        block_on(self.client().close());
    }

    /// Returns the events from now on.
    pub fn events(&self) -> Events {
        Events::new(self.client().events())
    }

    /// Returns the state of the connection.
    pub fn status(&self) -> Status {
        self.client().status()
    }

    /// Returns what is spoken on this connection, or was on the latest one. See
    /// [the async method](super::Client::dialect).
    pub fn dialect(&self) -> Dialect {
        self.client().dialect()
    }

    /// Returns a copy of what is known of the server, even if the server did not suit the client:
    /// its answer to the preflight, and its advertised settings.
    pub fn discovered(&self) -> Discovered {
        self.client().discovered()
    }

    /// Returns the HTTP status of the server's answer to the latest preflight. `None` if there was
    /// no answer or no preflight.
    pub fn preflight_status(&self) -> Option<u16> {
        self.client().preflight_status()
    }

    /// Returns a copy of the session, if the client holds one, with or without a connection.
    pub fn session(&self) -> Option<Session> {
        self.client().session()
    }

    /// Returns how many requests of all threads wait for a connection or for their reply.
    pub fn pending_requests(&self) -> usize {
        self.client().pending_requests()
    }
}

impl<R: BlockOn> Clone for Client<R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<R: BlockOn> fmt::Debug for Client<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("status", &self.status()).finish_non_exhaustive()
    }
}
