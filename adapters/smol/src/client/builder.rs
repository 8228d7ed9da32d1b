//! Setting up a client.

use std::sync::Arc;
use std::time::Duration;

use futures_channel::oneshot;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use wwr::client::Config;

use super::dial::Target;
use super::error::{ConnectError, StartError};
use super::handle::{Client, Input, Shared};
use super::task::Task;
use super::url::ServerUrl;
use crate::clock::Clock;
use crate::executor::{GlobalExecutor, Spawn};

/// The settings of a [`Client`], on the way to one.
///
/// ```no_run
/// use std::time::Duration;
/// use wwr::client::{Config, Protocol};
/// use wwr_smol::client::Client;
///
/// # smol::block_on(async {
/// let config = Config::builder()
///     .protocol(Protocol::V2_0)
///     .sub_protocol("chat/1")
///     .request_timeout(Duration::from_secs(5))
///     .build()?;
/// let client = Client::builder("ws://localhost:7777/")?.config(config).connect().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct Builder {
    target: Target,
    config: Config,
    executor: Box<dyn Spawn>,
    max_waiting_bytes: usize,
}

impl Builder {
    pub(super) fn new(url: ServerUrl) -> Self {
        Self {
            target: Target {
                url,
                headers: HeaderMap::new(),
                max_message_size: 16 * 1024 * 1024,
                stall_timeout: Duration::from_secs(30),
                close_timeout: Duration::from_secs(2),
            },
            config: Config::default(),
            executor: Box::new(GlobalExecutor),
            max_waiting_bytes: 16 * 1024 * 1024,
        }
    }

    /// Versions of the protocol, sub-protocol, timeouts, reconnection and bounds. Default:
    /// [`Config::default`], which speaks whatever the server does.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// A header that is sent with every attempt to connect, such as `Authorization`. One of a name
    /// that was given before is sent beside that.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.target.headers.append(name, value);
        self
    }

    /// The longest message in bytes; a server that sends a longer one is disconnected. Default:
    /// 16 MiB.
    #[must_use]
    pub const fn max_message_size(mut self, bytes: usize) -> Self {
        self.target.max_message_size = bytes;
        self
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
    pub const fn max_waiting_bytes(mut self, bytes: usize) -> Self {
        self.max_waiting_bytes = bytes;
        self
    }

    /// Where the task of the client runs. Default: [`GlobalExecutor`].
    #[must_use]
    pub fn executor(mut self, executor: impl Spawn) -> Self {
        self.executor = Box::new(executor);
        self
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// Why the first attempt failed; there is no client then. To keep trying, [start](Self::start)
    /// a client.
    pub async fn connect(self) -> Result<Client, StartError> {
        let client = self.build();
        client.connect().await?;
        Ok(client)
    }

    /// A client that connects in the background, and keeps trying. Requests can be made at once.
    pub fn start(self) -> Client {
        let client = self.build();
        let (answer, _) = oneshot::channel::<Result<(), ConnectError>>();
        client.push_connect(answer);
        client
    }

    /// A client that does not connect before [`Client::connect`] is called.
    pub fn build(self) -> Client {
        let mut seed = [0; 8];
        if let Err(error) = getrandom::fill(&mut seed) {
            tracing::warn!(%error, "no randomness: many clients may reconnect at the same time");
        }
        let clock = Clock::new();
        let machine = wwr::client::Client::new(self.config, u64::from_le_bytes(seed));
        let shared = Arc::new(Shared::new(self.max_waiting_bytes, &machine));
        let task = Task::new(self.target, clock, machine, shared.clone());
        self.executor.spawn_task(Box::pin(task.run()));
        Client::new(shared)
    }
}

impl Client {
    fn push_connect(&self, answer: oneshot::Sender<Result<(), ConnectError>>) {
        // The task was just started and has not ended.
        let _ = self.push(Input::Connect(answer), 0);
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}
