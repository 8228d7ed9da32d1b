//! Setting up a blocking client.

use std::fmt;
use std::sync::Arc;

use wwr::client::AnswerError;
use wwr::{Content, Payload};

use super::Client;
use crate::background::{Background, BlockOn};
use crate::client::answers::AnswerHandler;
use crate::client::config::Config;
use crate::client::dialer::{AnyDial, Dial, Tcp};
use crate::client::error::StartError;
use crate::client::url::ServerUrl;

/// What a blocking [`Client`] is made of, on the way to one.
pub struct Builder<R> {
    url: ServerUrl,
    config: Config,
    answers: Option<AnswerHandler>,
    /// How the client reaches the server. On the runtime of the client.
    dialer: Arc<dyn AnyDial<R>>,
}

impl<R: BlockOn> Builder<R> {
    /// Begins to set up a client of the server at this address.
    pub fn new(url: ServerUrl) -> Self {
        Self { url, config: Config::default(), answers: None, dialer: Arc::new(Tcp) }
    }

    /// All settings. They are checked when the client is built. Default: [`Config::default`].
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// How the client answers questions of the server. See
    /// [the async method](crate::client::Builder::answer). The handler runs on the thread of all blocking
    /// clients of the process, which it must not block: what takes long belongs on a thread of its own.
    #[must_use]
    pub fn answer<H, F>(mut self, handler: H) -> Self
    where
        H: Fn(Content) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Payload, AnswerError>> + Send + 'static,
    {
        self.answers = Some(AnswerHandler::new(handler));
        self
    }

    /// How the client gets a byte stream to the server, as [`dial`](crate::client::Builder::dial) of the
    /// async client. Default: [`Tcp`].
    #[must_use]
    pub fn dial(mut self, dialer: impl Dial<R>) -> Self {
        self.dialer = Arc::new(dialer);
        self
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// Why the first attempt failed, the settings are wrong, or the system has no thread left; there is
    /// no client then. To keep trying, [start](Self::start) a client.
    pub fn connect(self) -> Result<Client<R>, StartError> {
        let client = self.build()?;
        client.connect()?;
        Ok(client)
    }

    /// A client that connects in the background, and keeps trying. Requests can be made at once.
    ///
    /// # Errors
    ///
    /// [`StartError::Config`] and [`StartError::Thread`].
    pub fn start(self) -> Result<Client<R>, StartError> {
        self.made_by(|builder| builder.start().map_err(StartError::Config))
    }

    /// A client that does not connect before [`Client::connect`] is called.
    ///
    /// # Errors
    ///
    /// [`StartError::Config`] and [`StartError::Thread`].
    pub fn build(self) -> Result<Client<R>, StartError> {
        self.made_by(|builder| builder.build().map_err(StartError::Config))
    }

    fn made_by(
        self,
        make: impl FnOnce(crate::client::Builder<R>) -> Result<crate::client::Client<R>, StartError>,
    ) -> Result<Client<R>, StartError> {
        let background = Background::<R>::shared()
            .map_err(|error| StartError::Thread(error.to_string().into()))?;
        let builder = crate::client::Builder::new_on(background.runtime().clone(), self.url);
        let builder = builder.config(self.config).dial_by(self.dialer).answers(self.answers);
        Ok(Client::new(make(builder)?, background))
    }
}

impl<R> fmt::Debug for Builder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}
