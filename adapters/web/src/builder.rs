//! The settings of a client.

use std::rc::Rc;

use wwr::client::{AnswerError, Client as Machine, Config};
use wwr::{Content, Payload, Valid};

use crate::address::Address;
use crate::browser::random;
use crate::client::Client;
use crate::error::StartError;
use crate::handlers::Futures;
use crate::host::{Application, Host};
use crate::store::{Kept, KeyStore, WebStorage};

/// Describes a client: [`Client::builder`].
///
/// ```no_run
/// use std::time::Duration;
/// use wwr_web::{Client, WebStorage};
///
/// let client = Client::builder("/socket")
///     .keep_session_in(WebStorage::Local)
///     .configure(|config| config.request_timeout = Duration::from_secs(10))
///     .build()?;
/// # Ok::<(), wwr_web::StartError>(())
/// ```
#[must_use = "nothing happens without `build`"]
pub struct Builder {
    url: String,
    config: Config,
    keep: Keep,
    application: Application,
}

/// Where the key of the session is kept.
enum Keep {
    InMemory,
    InBrowser(WebStorage),
    Elsewhere(Box<dyn KeyStore>),
}

impl Builder {
    pub(crate) fn new(url: String) -> Self {
        let mut config = Config::default();
        config.max_open_questions = 0;
        let application = Application { listener: None, handlers: None };
        Self { url, config, keep: Keep::InMemory, application }
    }

    /// Changes settings. [`Config::can_ping`] and [`Config::needs_selection`] stay what browsers need.
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Keeps the key of the session in a store of the browser, so that the session is resumed when the page is
    /// opened again. By default it is not kept.
    pub fn keep_session_in(mut self, storage: WebStorage) -> Self {
        self.keep = Keep::InBrowser(storage);
        self
    }

    /// Keeps the key of the session in a store of the application's own.
    pub fn keep_session(mut self, store: impl KeyStore + 'static) -> Self {
        self.keep = Keep::Elsewhere(Box::new(store));
        self
    }

    /// Answers questions of the server (protocol §10.4), up to 64 at once. When the server does not wait for an answer
    /// any more, the future is dropped.
    pub fn answer<Answer>(mut self, handler: impl Fn(Content) -> Answer + 'static) -> Self
    where
        Answer: Future<Output = Result<Payload, AnswerError>> + 'static,
    {
        self.config.max_open_questions = Config::default().max_open_questions;
        self.application.handlers = Some(Box::new(Futures::new(handler)));
        self
    }

    #[cfg(feature = "js")]
    pub(crate) fn handlers(mut self, handlers: impl crate::host::Handlers + 'static) -> Self {
        self.application.handlers = Some(Box::new(handlers));
        self
    }

    #[cfg(feature = "js")]
    pub(crate) fn listener(mut self, listener: impl Fn(&crate::event::Event) + 'static) -> Self {
        self.application.listener = Some(Box::new(listener));
        self
    }

    /// Creates the client. It does not connect yet.
    ///
    /// # Errors
    ///
    /// [`StartError`] if the URL or a setting is invalid, or the browser does not allow connections without TLS.
    pub fn build(self) -> Result<Client, StartError> {
        self.host(Machine::new).map(Client::of)
    }

    pub(crate) fn host(
        mut self,
        machine: impl FnOnce(&Valid<Config>, u64) -> Machine,
    ) -> Result<Rc<Host>, StartError> {
        // Pages can neither send pings nor see pongs; their WebSockets need what they offer to be selected.
        self.config.can_ping = false;
        self.config.needs_selection = true;
        let config = self.config.validate()?;
        let address = Address::parse(&self.url)?;
        let store: Option<Box<dyn KeyStore>> = match self.keep {
            Keep::InMemory => None,
            Keep::InBrowser(storage) => {
                Some(Box::new(storage.item(format!("wwr {}", address.name()))))
            }
            Keep::Elsewhere(store) => Some(store),
        };
        let machine = machine(&config, random());
        Ok(Host::new(address, &config, machine, Kept::new(store), self.application))
    }
}
