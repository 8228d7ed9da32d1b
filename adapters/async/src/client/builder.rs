//! Setting up a client.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_channel::oneshot;
use wwr::client::AnswerError;
use wwr::session::Instance;
use wwr::{Content, Payload};

use super::answers::{AnswerHandler, Answering};
use super::config::{Config, InvalidConfig};
use super::dial::Target;
use super::dialer::{AnyDial, Dial, Tcp};
use super::error::{ConnectError, StartError};
use super::handle::{Client, Input, Shared};
use super::http::Failure;
use super::task::Task;
use super::url::ServerUrl;
use crate::runtime::{Choice, Runtime};
use crate::socket::ByteStream;

/// What a [`Client`] is made of, on the way to one. [`Config`] has an example.
pub struct Builder<R> {
    runtime: Choice<R>,
    url: ServerUrl,
    config: Config,
    dialer: Arc<dyn AnyDial<R>>,
    answers: Option<AnswerHandler>,
}

impl<R: Runtime> Builder<R> {
    /// Begins to set up a client of the server at this address, on the default runtime of its type.
    pub fn new(url: ServerUrl) -> Self
    where
        R: Default,
    {
        let runtime = Choice::Default(R::default);
        Self { runtime, url, config: Config::default(), dialer: Arc::new(Tcp), answers: None }
    }

    /// Begins to set up a client of the server at this address, on this runtime.
    pub fn new_on(runtime: R, url: ServerUrl) -> Self {
        let runtime = Choice::Given(runtime);
        Self { runtime, url, config: Config::default(), dialer: Arc::new(Tcp), answers: None }
    }

    /// All settings. They are checked when the client is built. Default: [`Config::default`].
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// How the client gets a byte stream to the server: by a [`Dial`]. Default: [`Tcp`].
    #[must_use]
    pub fn dial(self, dialer: impl Dial<R>) -> Self {
        self.dial_by(Arc::new(dialer))
    }

    pub(super) fn dial_by(mut self, dialer: Arc<dyn AnyDial<R>>) -> Self {
        self.dialer = dialer;
        self
    }

    /// How the client answers questions of the server, which only servers of this project ask (protocol
    /// §10.4). Without a handler, the client states that it answers none. Questions are not
    /// [events](super::Events): each is answered once.
    ///
    /// Several questions may be handled at once, up to
    /// [`max_open_questions`](super::MachineConfig::max_open_questions). The handlers run in the task of
    /// the client: one that blocks its thread holds up the client. A handler that panics fails its
    /// question and nothing else. The future of a handler is dropped when the server does not wait any
    /// more, or the connection ends.
    ///
    /// ```no_run
    /// use wwr_async::client::{AnswerError, Client};
    /// use wwr_async::{Content, Payload, Runtime};
    ///
    /// async fn answer(question: Content) -> Result<Payload, AnswerError> {
    ///     match question.name() {
    ///         b"version" => Ok(Payload::utf8(env!("CARGO_PKG_VERSION"))),
    ///         _ => Err(AnswerError::failed("UNKNOWN_NAME", "try version")),
    ///     }
    /// }
    ///
    /// # async fn run<R: Runtime + Default>() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Client::<R>::builder("ws://localhost:7777/")?.answer(answer).connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn answer<H, F>(mut self, handler: H) -> Self
    where
        H: Fn(Content) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Payload, AnswerError>> + Send + 'static,
    {
        self.answers = Some(AnswerHandler::new(handler));
        self
    }

    /// As [`answer`](Self::answer), with a handler that was kept before.
    pub(super) fn answers(mut self, handler: Option<AnswerHandler>) -> Self {
        self.answers = handler;
        self
    }

    /// Where the task of the client runs: a runtime, or something that converts into one. Default: the
    /// [`Default`] of the runtime, where the client is built.
    #[must_use]
    pub fn executor(mut self, executor: impl Into<R>) -> Self {
        self.runtime = Choice::Given(executor.into());
        self
    }

    /// Whether the client gets the signals to its session that it misses while it has no connection; see
    /// [`resume_signals`](super::MachineConfig::resume_signals). Later `config` replaces it. Default: no.
    #[must_use]
    pub const fn resume_signals(mut self, resumes: bool) -> Self {
        self.config.machine.resume_signals = resumes;
        self
    }

    /// Whether [`Client::request_idempotent`] may repeat requests; see
    /// [`Config::idempotent_requests`]. Later `config` replaces it. Default: no.
    #[must_use]
    pub const fn idempotent_requests(mut self, repeats: bool) -> Self {
        self.config.idempotent_requests = repeats;
        self
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// Why the first attempt failed, or the settings are wrong; there is no client then. To keep
    /// trying, [start](Self::start) a client.
    pub async fn connect(self) -> Result<Client<R>, StartError> {
        let client = self.build()?;
        client.connect().await?;
        Ok(client)
    }

    /// A client that connects in the background, and keeps trying. Requests can be made at once.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`].
    pub fn start(self) -> Result<Client<R>, InvalidConfig> {
        let client = self.build()?;
        let (answer, _) = oneshot::channel::<Result<(), ConnectError>>();
        client.push_connect(answer);
        Ok(client)
    }

    /// Opens a byte stream to the server, by the dialer and with TLS if the URL asks for it, and sends
    /// nothing on it. For programs that speak HTTP and WebSocket themselves, such as tests of servers; there
    /// is no client then. Nothing limits its time.
    ///
    /// # Errors
    ///
    /// Why the server was not reached, or [`InvalidConfig`] as an error of the kind
    /// [`InvalidInput`](io::ErrorKind::InvalidInput).
    pub async fn open_stream(self) -> io::Result<impl ByteStream + use<R>> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let checked = self.config.check(&self.url).map_err(invalid)?;
        let runtime = self.runtime.get();
        let target = Target::new(self.url, self.dialer, &checked);
        match target.connect(&runtime, None).await {
            Ok((socket, _)) => Ok(socket),
            Err(Failure::Io(error)) => Err(error),
            Err(failure) => Err(io::Error::other(failure)),
        }
    }

    /// A client that does not connect before [`Client::connect`] is called.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`].
    pub fn build(self) -> Result<Client<R>, InvalidConfig> {
        let mut config = self.config;
        if self.answers.is_none() {
            // The server learns before it asks that nobody would answer.
            config.machine.max_open_questions = 0;
        }
        let checked = config.check(&self.url)?;
        let runtime = self.runtime.get();
        let mut seed = [0; 8];
        if let Err(error) = runtime.fill_random(&mut seed) {
            tracing::warn!(%error, "no randomness: many clients may reconnect at the same time");
        }
        let target = Target::new(self.url, self.dialer, &checked);
        let config = &checked.machine;
        let mut machine = wwr::client::Client::new(config, u64::from_le_bytes(seed));
        let mut instance = [0; 16];
        if checked.idempotent_requests {
            match runtime.fill_random(&mut instance) {
                Ok(()) => machine.set_instance(Instance(instance)),
                Err(error) => tracing::warn!(%error, "no randomness: no request is repeated"),
            }
        }
        let shared = Arc::new(Shared::new(checked.max_unsent_bytes, checked.events, &machine));
        let clock = runtime.clock();
        let runtime_of_task = runtime.without_executor();
        let task = Task::new(
            runtime_of_task,
            target,
            clock,
            machine,
            shared.clone(),
            Answering::new(self.answers),
        );
        runtime.spawn(task.run());
        Ok(Client::new(shared))
    }

    /// Returns how to reach the server, and how long that may take.
    pub(super) fn target(self) -> Result<(R, Duration, Target<R>), InvalidConfig> {
        let checked = self.config.check(&self.url)?;
        let limit = checked.machine.dial_timeout;
        Ok((self.runtime.get(), limit, Target::new(self.url, self.dialer, &checked)))
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
