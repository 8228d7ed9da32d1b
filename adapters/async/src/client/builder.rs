//! Setting up a client.

use std::sync::Arc;
use std::time::Duration;

use futures_channel::oneshot;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use wwr::client::Config;

use super::dial::Target;
use super::error::{ConnectError, StartError};
use super::handle::{Client, Input, Shared};
use super::headers::{self, InvalidHeader};
use super::task::Task;
use super::url::ServerUrl;
use crate::clock::Clock;
use crate::keep_alive::KeepAlive;
use crate::runtime::Runtime;

/// How long a connection is silent before the system asks whether the server is still there, if there
/// are no pings to tell (protocol §4.3).
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The settings of a [`Client`], on the way to one.
///
/// ```no_run
/// use std::time::Duration;
/// use wwr::client::{Config, Protocol};
/// use wwr_async::Runtime;
/// use wwr_async::client::Client;
///
/// # async fn connect<R: Runtime + Default>() -> Result<(), Box<dyn std::error::Error>> {
/// let config = Config::builder()
///     .protocol(Protocol::V2_0)
///     .sub_protocol("chat/1")
///     .request_timeout(Duration::from_secs(5))
///     .build()?;
/// let client = Client::<R>::builder("ws://localhost:7777/")?.config(config).connect().await?;
/// # Ok(())
/// # }
/// ```
pub struct Builder<R> {
    runtime: R,
    target: Target,
    config: Config,
    max_unsent_bytes: usize,
}

impl<R: Runtime> Builder<R> {
    /// Begins to set up a client of the server at this address, on the usual runtime of its kind.
    pub fn new(url: ServerUrl) -> Self
    where
        R: Default,
    {
        Self::new_on(R::default(), url)
    }

    /// The same on this runtime.
    pub fn new_on(runtime: R, url: ServerUrl) -> Self {
        Self {
            runtime,
            target: Target {
                url,
                headers: HeaderMap::new(),
                offers: None,
                max_message_size: usize::MAX,
                stall_timeout: Duration::from_secs(30),
                keep_alive: KeepAlive::new(None, KEEP_ALIVE, Duration::ZERO),
                close_timeout: Duration::from_secs(2),
            },
            config: Config::default(),
            max_unsent_bytes: 16 * 1024 * 1024,
        }
    }

    /// Versions of the protocol, sub-protocol, timeouts, reconnection and bounds, that of messages
    /// included. Default:
    /// [`Config::default`], which speaks whatever the server does.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// A header that is sent with every attempt to connect, with the preflight and with the
    /// WebSocket handshake, such as `Authorization` or `Origin`. One of a name that
    /// was given before is sent beside that, but for `Authorization` and `Host`, which are replaced.
    /// Default of `Host`: the host of the URL, and its port if that is not 80.
    ///
    /// # Errors
    ///
    /// [`InvalidHeader`] for headers with which there would be no handshake, such as `Connection` and
    /// `Sec-WebSocket-Key`, and for `Authorization` if the URL has a user name or a password.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Result<Self, InvalidHeader> {
        headers::add(&mut self.target.headers, &self.target.url, name, value)?;
        Ok(self)
    }

    /// How long a server may take nothing of what is sent to it. Default: 30 s.
    #[must_use]
    pub const fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.target.stall_timeout = timeout;
        self
    }

    /// How long a server may take to close its side of a connection once this side is closed.
    /// Nothing but [`Client::close`] waits for that. Default: 2 s.
    #[must_use]
    pub const fn close_timeout(mut self, timeout: Duration) -> Self {
        self.target.close_timeout = timeout;
        self
    }

    /// How many bytes of calls may wait for a server that reads too slowly, counted as they are held
    /// in memory. Default: 16 MiB.
    #[must_use]
    pub const fn max_unsent_bytes(mut self, bytes: usize) -> Self {
        self.max_unsent_bytes = bytes;
        self
    }

    /// Where the task of the client runs: a runtime, or what one is made of. Default: as the kind of
    /// runtime says.
    #[must_use]
    pub fn executor(mut self, executor: impl Into<R>) -> Self {
        self.runtime = executor.into();
        self
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// Why the first attempt failed; there is no client then. To keep trying, [start](Self::start)
    /// a client.
    pub async fn connect(self) -> Result<Client<R>, StartError> {
        let client = self.build();
        client.connect().await?;
        Ok(client)
    }

    /// A client that connects in the background, and keeps trying. Requests can be made at once.
    pub fn start(self) -> Client<R> {
        let client = self.build();
        let (answer, _) = oneshot::channel::<Result<(), ConnectError>>();
        client.push_connect(answer);
        client
    }

    /// A client that does not connect before [`Client::connect`] is called.
    pub fn build(self) -> Client<R> {
        let mut seed = [0; 8];
        if let Err(error) = getrandom::fill(&mut seed) {
            tracing::warn!(%error, "no randomness: many clients may reconnect at the same time");
        }
        let clock = Clock::new();
        let mut target = self.target;
        target.offers = self.config.offers();
        target.max_message_size =
            usize::try_from(self.config.max_message_size()).unwrap_or(usize::MAX);
        target.keep_alive = KeepAlive::new(self.config.pings(), KEEP_ALIVE, target.stall_timeout);
        let machine = wwr::client::Client::new(self.config, u64::from_le_bytes(seed));
        let shared = Arc::new(Shared::new(self.max_unsent_bytes, &machine));
        let task =
            Task::new(self.runtime.without_executor(), target, clock, machine, shared.clone());
        self.runtime.spawn(task.run());
        Client::new(shared)
    }
}

impl<R: Runtime> Client<R> {
    fn push_connect(&self, answer: oneshot::Sender<Result<(), ConnectError>>) {
        // The task was just started and has not ended.
        let _ = self.push(Input::Connect(answer), 0);
    }
}

impl<R> std::fmt::Debug for Builder<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}
