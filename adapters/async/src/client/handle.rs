//! The application's view of a client.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_channel::oneshot;
use wwr::client::{Discovered, Misuse, RequestError, Status};
use wwr::wire::InvalidName;
use wwr::{Dialect, Name, Payload, Session, SessionKey};

use super::builder::Builder;
use super::error::{ConnectError, Error, StartError};
use super::event::{Audience, Capacity, Events};
use super::url::{InvalidUrl, ServerUrl};
use crate::inbox::{Inbox, Refused};
use crate::runtime::Runtime;

/// A client of one WebWire server. Cheap to clone. The connection closes when the last clone is
/// dropped.
///
/// It reconnects by itself, unless told not to, and then resumes its session.
///
/// ```no_run
/// use wwr_async::Runtime;
/// use wwr_async::client::{Client, Event};
///
/// # async fn talk<R: Runtime + Default>() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::<R>::connect_to("ws://localhost:7777/").await?;
/// let mut events = client.events();
/// let reply = client.request("echo", "hello").await?;
/// println!("{}", reply.text()?);
/// while let Some(event) = events.next().await {
///     if let Event::Signal(signal) = event {
///         println!("{:?}: {}", signal.name_str(), signal.text()?);
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Client<R> {
    guard: Arc<Guard>,
    /// The runtime of [`builder`](Self::builder); not used otherwise.
    runtime: PhantomData<fn() -> R>,
}

/// Closes the client when the last handle is dropped.
struct Guard {
    shared: Arc<Shared>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // An error means that the task has ended already.
        let _ = self.shared.inbox.push_urgent(Input::End);
    }
}

/// What the task and the handles share.
pub(super) struct Shared {
    pub(super) inbox: Inbox<Input>,
    pub(super) audience: Audience,
    pub(super) pending: AtomicUsize,
    view: Mutex<View>,
    last_call: AtomicU64,
}

/// The state that the application can read at any time.
#[derive(Debug)]
struct View {
    status: Status,
    discovered: Discovered,
    preflight_status: Option<u16>,
    session: Option<Session>,
}

/// Numbers the calls of the application, so that they can be cancelled.
pub(super) type CallId = u64;

pub(super) type Answer<T> = oneshot::Sender<T>;

/// Messages of the application to the task.
pub(super) enum Input {
    Connect(Answer<Result<(), ConnectError>>),
    Call {
        id: CallId,
        call: Call,
        timeout: Option<Duration>,
        answer: Answer<Result<Payload, Error>>,
    },
    Cancel(CallId),
    Signal {
        name: Name,
        payload: Payload,
        answer: Answer<Result<(), Misuse>>,
    },
    Close(Answer<()>),
    /// All handles were dropped.
    End,
}

/// A request of any kind.
pub(super) enum Call {
    Request(Name, Payload),
    Idempotent(Name, Payload),
    Restore(SessionKey),
    CloseSession,
}

impl<R: Runtime> Client<R> {
    /// Connects to a server with the default settings.
    ///
    /// # Errors
    ///
    /// [`StartError`] if the URL is invalid, or the first attempt fails.
    pub async fn connect_to(url: &str) -> Result<Self, StartError>
    where
        R: Default,
    {
        Self::builder(url)?.connect().await
    }

    /// Begins to set up a client, on the default runtime of its type.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`] if the URL is invalid.
    pub fn builder(url: &str) -> Result<Builder<R>, InvalidUrl>
    where
        R: Default,
    {
        url.parse::<ServerUrl>().map(Builder::new)
    }

    /// Begins to set up a client on this runtime.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`] if the URL is invalid.
    pub fn builder_on(runtime: R, url: &str) -> Result<Builder<R>, InvalidUrl> {
        url.parse::<ServerUrl>().map(|url| Builder::new_on(runtime, url))
    }

    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { guard: Arc::new(Guard { shared }), runtime: PhantomData }
    }

    fn shared(&self) -> &Shared {
        &self.guard.shared
    }

    /// Makes a request and waits for the reply, at most for the configured time. Dropping the
    /// future cancels the request.
    ///
    /// While the client is connecting, the request waits for the connection.
    ///
    /// # Errors
    ///
    /// [`Error`]. It says whether the server may have received the request.
    pub async fn request<N>(&self, name: N, payload: impl Into<Payload>) -> Result<Payload, Error>
    where
        N: TryInto<Name>,
        InvalidName: From<N::Error>,
    {
        self.make(Call::Request, name, payload.into(), None).await
    }

    /// Like [`request`](Self::request), with a time limit of its own, from now to the reply.
    ///
    /// # Errors
    ///
    /// As for [`request`](Self::request).
    pub async fn request_within<N>(
        &self,
        timeout: Duration,
        name: N,
        payload: impl Into<Payload>,
    ) -> Result<Payload, Error>
    where
        N: TryInto<Name>,
        InvalidName: From<N::Error>,
    {
        self.make(Call::Request, name, payload.into(), Some(timeout)).await
    }

    /// Like [`request`](Self::request), for a request that the server may get twice and executes once: if the
    /// connection is lost, the client repeats it by itself on the next one, and gets the outcome of the first
    /// time if there is one (protocol §10.6). This needs
    /// [`Config::idempotent_requests`](super::Config::idempotent_requests), and a server of this project that
    /// [keeps outcomes](crate::server::Config::idempotency); with others it is a request as any other.
    ///
    /// The outcome alone is kept. A session that the handler creates belongs to the connection on which it ran: do
    /// not log in by such a request.
    ///
    /// ```no_run
    /// # use wwr_async::Runtime;
    /// # use wwr_async::client::{Client, Error};
    /// # async fn order<R: Runtime>(client: &Client<R>) -> Result<(), Error> {
    /// // However often the connection is lost meanwhile: the tea is ordered once at most.
    /// client.request_idempotent("order", "tea").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`request`](Self::request). [`RequestError::ConnectionLost`] if the server cannot tell whether it
    /// was executed.
    pub async fn request_idempotent<N>(
        &self,
        name: N,
        payload: impl Into<Payload>,
    ) -> Result<Payload, Error>
    where
        N: TryInto<Name>,
        InvalidName: From<N::Error>,
    {
        self.make(Call::Idempotent, name, payload.into(), None).await
    }

    /// Like [`request_idempotent`](Self::request_idempotent), with a time limit of its own, from now to the reply,
    /// over all connections.
    ///
    /// # Errors
    ///
    /// As for [`request_idempotent`](Self::request_idempotent).
    pub async fn request_idempotent_within<N>(
        &self,
        timeout: Duration,
        name: N,
        payload: impl Into<Payload>,
    ) -> Result<Payload, Error>
    where
        N: TryInto<Name>,
        InvalidName: From<N::Error>,
    {
        self.make(Call::Idempotent, name, payload.into(), Some(timeout)).await
    }

    async fn make<N>(
        &self,
        call: fn(Name, Payload) -> Call,
        name: N,
        payload: Payload,
        timeout: Option<Duration>,
    ) -> Result<Payload, Error>
    where
        N: TryInto<Name>,
        InvalidName: From<N::Error>,
    {
        let name = name.try_into().map_err(InvalidName::from)?;
        self.carry_out(call(name, payload), timeout).await
    }

    /// Waits until the unsent calls take at most half of
    /// [`Config::max_unsent_bytes`](super::Config::max_unsent_bytes), because the server has
    /// read the rest. Returns at once if that is so. For applications that make many calls without
    /// waiting for each one: the next call is then accepted, whatever its size, unless there is no
    /// connection and too much waits for one.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`].
    pub async fn ready(&self) -> Result<(), Error> {
        self.shared().inbox.room().await.map_err(|_| Error::Ended)
    }

    /// Sends a signal. The application does not learn whether it arrives.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] if the client is not connected at the moment, or the server would not read
    /// such a signal; [`Error::InvalidName`].
    pub async fn signal<N>(&self, name: N, payload: impl Into<Payload>) -> Result<(), Error>
    where
        N: TryInto<Name>,
        InvalidName: From<N::Error>,
    {
        let name = name.try_into().map_err(InvalidName::from)?;
        let payload = payload.into();
        let (answer, sent) = oneshot::channel();
        let bytes = size_of::<Input>() + name.len() + payload.len();
        self.push(Input::Signal { name, payload, answer }, bytes)?;
        Ok(sent.await.map_err(|_| Error::Ended)??)
    }

    /// Restores the session of a key, for example one that another client held. From then on the
    /// client resumes it on every new connection.
    ///
    /// # Errors
    ///
    /// [`Error`]: [`RequestError::SessionNotFound`] and other answers of the server, or
    /// [`Misuse::SessionHeld`] if the client holds a session.
    pub async fn restore_session(&self, key: SessionKey) -> Result<Session, Error> {
        let object = self.carry_out(Call::Restore(key), None).await?;
        let session =
            Session::from_json(object.as_bytes()).map_err(RequestError::InvalidSession)?;
        Ok(session)
    }

    /// Closes the session, if there is one. Without a connection, the client only forgets it.
    ///
    /// # Errors
    ///
    /// [`Error`] if the server does not agree in time. The client then keeps the session.
    pub async fn close_session(&self) -> Result<(), Error> {
        self.carry_out(Call::CloseSession, None).await.map(drop)
    }

    /// Connects, unless the client is connected. While it waits to reconnect, tries at once.
    ///
    /// # Errors
    ///
    /// Why the attempt failed. If automatic reconnection is on, and another attempt may succeed,
    /// the client keeps trying.
    pub async fn connect(&self) -> Result<(), ConnectError> {
        let (answer, connected) = oneshot::channel();
        self.push(Input::Connect(answer), 0).map_err(|_| ConnectError::Closed)?;
        connected.await.unwrap_or(Err(ConnectError::Closed))
    }

    /// Closes the connection. The client stays closed until [`connect`](Self::connect) is called.
    /// Requests end without a reply. The session is kept for the next connection.
    ///
    /// Everything sent before is still written. Returns once the server has closed its side, too,
    /// or the [close timeout](super::Config::close_timeout) has passed. Other calls, for example to
    /// connect again, need not wait for that.
    pub async fn close(&self) {
        let (answer, closed) = oneshot::channel();
        if self.shared().inbox.push_urgent(Input::Close(answer)).is_ok() {
            // An error means that the task has ended, and the connection with it.
            let _ = closed.await;
        }
    }

    /// Returns the events from now on.
    pub fn events(&self) -> Events {
        self.shared().audience.subscribe()
    }

    /// Returns the signals of this name from now on.
    pub(super) fn signals_named(&self, name: Name) -> Events {
        self.shared().audience.subscribe_to(name)
    }

    /// Returns the state of the connection.
    pub fn status(&self) -> Status {
        self.shared().view().status
    }

    /// Returns what is spoken on this connection, or was on the latest one: 1.4, 1.5, 2.0 or
    /// `wwr.1`. [`Unknown`](Dialect::Unknown) from the beginning of an attempt to connect until the
    /// version is known.
    pub fn dialect(&self) -> Dialect {
        self.shared().view().discovered.dialect
    }

    /// Returns a copy of what is known of the server, even if the server did not suit the client:
    /// its answer to the preflight, and its advertised settings.
    pub fn discovered(&self) -> Discovered {
        self.shared().view().discovered.clone()
    }

    /// Returns the HTTP status of the server's answer to the latest preflight. `None` if there was
    /// no answer or no preflight.
    pub fn preflight_status(&self) -> Option<u16> {
        self.shared().view().preflight_status
    }

    /// Returns a copy of the session, if the client holds one, with or without a connection.
    pub fn session(&self) -> Option<Session> {
        self.shared().view().session.clone()
    }

    /// Returns how many requests wait for a connection or for their reply.
    pub fn pending_requests(&self) -> usize {
        self.shared().pending.load(Ordering::Relaxed)
    }

    async fn carry_out(&self, call: Call, timeout: Option<Duration>) -> Result<Payload, Error> {
        let shared = self.shared();
        let id = shared.last_call.fetch_add(1, Ordering::Relaxed);
        let bytes = match &call {
            Call::Request(name, payload) | Call::Idempotent(name, payload) => {
                name.len() + payload.len()
            }
            Call::Restore(key) => key.as_str().len(),
            Call::CloseSession => 0,
        };
        let bytes = size_of::<Input>() + bytes;
        let (answer, answered) = oneshot::channel();
        self.push(Input::Call { id, call, timeout, answer }, bytes)?;
        let mut cancellation = Cancellation { shared, id: Some(id) };
        let result = answered.await;
        cancellation.id = None;
        result.unwrap_or(Err(Error::Ended))
    }

    pub(super) fn push(&self, input: Input, bytes: usize) -> Result<(), Error> {
        self.shared().inbox.push(input, bytes).map_err(|refused| match refused {
            Refused::Closed => Error::Ended,
            Refused::Full | Refused::Overflowed => Error::Misuse(Misuse::QueueFull),
        })
    }
}

/// Cancels a call if it is dropped before the result is there.
struct Cancellation<'a> {
    shared: &'a Shared,
    id: Option<CallId>,
}

impl Drop for Cancellation<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            // An error means that the task has ended, and the call with it.
            let _ = self.shared.inbox.push(Input::Cancel(id), 0);
        }
    }
}

impl Shared {
    pub(super) fn new(
        max_unsent_bytes: usize,
        capacity: Capacity,
        machine: &wwr::client::Client,
    ) -> Self {
        let view = View {
            status: machine.status(),
            discovered: machine.discovered().clone(),
            preflight_status: None,
            session: None,
        };
        Self {
            inbox: Inbox::new(max_unsent_bytes),
            audience: Audience::new(capacity),
            pending: AtomicUsize::new(0),
            view: Mutex::new(view),
            last_call: AtomicU64::new(0),
        }
    }

    /// Shows the application the status of the machine.
    pub(super) fn show_status(&self, status: Status) {
        self.view().status = status;
    }

    /// Shows the application what the machine has found out about the server.
    pub(super) fn show_discovered(&self, discovered: &Discovered) {
        self.view().discovered = discovered.clone();
    }

    /// Shows the application the HTTP status of an answer to the preflight, or `None`.
    pub(super) fn show_preflight_status(&self, status: Option<u16>) {
        self.view().preflight_status = status;
    }

    /// Shows the application the session of the machine.
    pub(super) fn show_session(&self, session: Option<&Session>) {
        self.view().session = session.cloned();
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> Clone for Client<R> {
    fn clone(&self) -> Self {
        Self { guard: self.guard.clone(), runtime: PhantomData }
    }
}

impl<R: Runtime> fmt::Debug for Client<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("status", &self.status()).finish_non_exhaustive()
    }
}
