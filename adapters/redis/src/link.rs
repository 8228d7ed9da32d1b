//! The connection that all calls share, and how it is replaced.

use core::time::Duration;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, Value};
use wwr_async::{Runtime, StoreError, StoreErrorKind, timeout};

use crate::config::RedisConfig;
use crate::engine::Engine;
use crate::fault::{Answer, Fault, Reason};
use crate::script::Request;
use crate::source::{Live, Lost, Source};

/// How long calls fail at once after the first attempt to connect has failed. Doubled after each further one.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest of these times.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A connection that has brought nothing for this long since a call was made that nobody waits for any more is replaced.
const SILENCE: Duration = Duration::from_millis(100);

/// The connection to an engine.
pub(crate) struct Link<R> {
    pub(crate) runtime: R,
    source: Source,
    /// What the engine is called in logs and errors.
    pub(crate) engine: String,
    /// What must not be there.
    secrets: Vec<String>,
    pub(crate) timeout: Duration,
    connect_timeout: Duration,
    state: Mutex<State>,
    /// Held by the only task that connects.
    connecting: async_lock::Mutex<()>,
}

enum State {
    /// The next call connects.
    Unconnected,
    Connected {
        live: Live,
        lost: Lost,
    },
    /// Calls fail until then.
    Failed {
        answer: Answer,
        pause: Duration,
        until: Instant,
    },
}

impl<R: Runtime> Link<R> {
    /// Prepares a link whose first call connects.
    pub(crate) async fn open(
        runtime: R,
        engine: Engine,
        config: &RedisConfig,
    ) -> Result<Self, StoreError> {
        config.check()?;
        let addresses = engine.read()?;
        let (engine, secrets) = (addresses.to_string(), addresses.secrets());
        #[cfg(feature = "rustls")]
        let certificates = match addresses.have_tls() {
            true => Some(crate::tls::certificates(&runtime, config).await?),
            false => None,
        };
        #[cfg(not(feature = "rustls"))]
        let certificates = crate::source::Certificates;
        let source = Source::new(addresses, config, certificates).map_err(|error| {
            let message = format!(
                "the settings for the engine {engine} are wrong; check certificates and addresses"
            );
            let cause = Answer::of(&error, &secrets);
            StoreError::new(StoreErrorKind::Failed, message).with_source(cause)
        })?;
        Ok(Self {
            runtime: runtime.without_executor(),
            source,
            engine,
            secrets,
            timeout: config.timeout,
            connect_timeout: config.connect_timeout,
            state: Mutex::new(State::Unconnected),
            connecting: async_lock::Mutex::new(()),
        })
    }

    /// Makes a connection of its own that is subscribed to a channel. It tells what it hears, the subscription first.
    pub(crate) async fn subscribe(
        &self,
        channel: &str,
        hear: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<MultiplexedConnection, Answer> {
        let subscribe = async {
            runtime_is_there()?;
            let mut connection =
                self.source.listen(hear).await.map_err(|error| self.read(&error))?;
            connection.subscribe(channel).await.map_err(|error| self.read(&error))?;
            Ok(connection)
        };
        let subscribed = timeout(&self.runtime, self.connect_timeout, subscribe).await;
        subscribed.unwrap_or_else(|| Err(Answer::connect_timeout()))
    }

    /// Returns whether a connection answers in time.
    pub(crate) async fn is_alive(&self, connection: &mut MultiplexedConnection) -> bool {
        let ping = redis::cmd("PING");
        let asked = ping.query_async::<Value>(connection);
        matches!(timeout(&self.runtime, self.timeout, asked).await, Some(Ok(_)))
    }

    /// Sends a request and waits for the answer, but not for longer than the timeout.
    pub(crate) async fn call(&self, request: &Request) -> Result<Value, Fault> {
        let mut asked = Asked { link: self, on: None };
        let answer = timeout(&self.runtime, self.timeout, self.send(request, &mut asked)).await;
        answer.unwrap_or_else(|| {
            // The engine hangs, or the network lost it without a word. A new connection tells which.
            if let Some(on) = asked.on.take() {
                self.forget(&on.lost, "it does not answer");
            }
            Err(Fault::Late)
        })
    }

    /// Does so without a limit of time. `asked` gets the connection that is to be replaced if it takes too long.
    async fn send(&self, request: &Request, asked: &mut Asked<'_, R>) -> Result<Value, Fault> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (mut live, lost) = self.connection().await?;
            asked.on = live.ends_with_silence().then(|| On::new(&lost));
            let mut answer = live.send(&request.command).await;
            if let (Err(error), Some(command)) = (&answer, &request.with_script)
                && self.read(error).reason == Reason::NoScript
            {
                answer = live.send(command).await;
            }
            asked.on = None;
            lost.answered();
            let error = match answer {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let answer = self.read(&error);
            let demoted = answer.reason == Reason::ReadOnly;
            if demoted || error.is_io_error() || error.is_unrecoverable_error() {
                self.forget(&lost, &answer.to_string());
            }
            // The master is another one now. Nothing has happened on this one.
            if !demoted || attempts > 1 {
                return Err(Fault::Failed(answer));
            }
        }
    }

    /// Returns the connection, and makes one if there is none.
    async fn connection(&self) -> Result<(Live, Lost), Fault> {
        if let Some(present) = self.present()? {
            return Ok(present);
        }
        let _only_one = self.connecting.lock().await;
        // Another task may have connected meanwhile, or failed.
        if let Some(present) = self.present()? {
            return Ok(present);
        }
        let lost = Lost::default();
        let connect = async {
            runtime_is_there()?;
            self.source.connect(lost.clone()).await.map_err(|error| self.read(&error))
        };
        let connected = timeout(&self.runtime, self.connect_timeout, connect).await;
        match connected.unwrap_or_else(|| Err(Answer::connect_timeout())) {
            Ok(live) => {
                tracing::info!(engine = %self.engine, "connected to the engine of sessions");
                self.set(State::Connected { live: live.clone(), lost: lost.clone() });
                Ok((live, lost))
            }
            Err(answer) => Err(self.failed(answer)),
        }
    }

    /// Returns the connection, if there is one, or why there can be none yet.
    fn present(&self) -> Result<Option<(Live, Lost)>, Fault> {
        match &*self.lock() {
            State::Connected { live, lost } if !lost.get() => {
                Ok(Some((live.clone(), lost.clone())))
            }
            State::Failed { answer, pause, until } if Instant::now() < *until => {
                Err(Fault::Unconnected { cause: answer.clone(), pause: *pause })
            }
            State::Unconnected | State::Connected { .. } | State::Failed { .. } => Ok(None),
        }
    }

    /// Remembers why no connection could be made, so that the next calls fail at once.
    fn failed(&self, answer: Answer) -> Fault {
        let pause = match &*self.lock() {
            State::Failed { pause, .. } => (*pause * 2).min(LONGEST_PAUSE),
            State::Unconnected | State::Connected { .. } => FIRST_PAUSE,
        };
        // Told once; errors of the store are in the log of the server.
        if pause == FIRST_PAUSE {
            tracing::warn!(
                engine = %self.engine, cause = %answer,
                "cannot connect to the engine of sessions: {}", answer.reason.advice()
            );
        }
        let until = Instant::now() + pause;
        self.set(State::Failed { answer: answer.clone(), pause, until });
        Fault::Unconnected { cause: answer, pause }
    }

    /// Drops a connection, unless it was replaced already.
    fn forget(&self, which: &Lost, why: &str) {
        let mut state = self.lock();
        if matches!(&*state, State::Connected { lost, .. } if lost.is(which)) {
            let dropped = std::mem::replace(&mut *state, State::Unconnected);
            drop(state);
            drop(dropped);
            tracing::warn!(
                engine = %self.engine, why, "dropped the connection to the engine of sessions"
            );
        }
    }

    fn set(&self, new: State) {
        let old = std::mem::replace(&mut *self.lock(), new);
        drop(old);
    }

    fn read(&self, error: &redis::RedisError) -> Answer {
        Answer::of(error, &self.secrets)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // It is replaced as a whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that was sent and has no answer yet. Its caller may wait for a shorter time than
/// the link would, and drops it then.
struct Asked<'a, R: Runtime> {
    link: &'a Link<R>,
    on: Option<On>,
}

/// A connection when a call was sent on it.
struct On {
    lost: Lost,
    answers: u64,
    since: Instant,
}

impl On {
    fn new(lost: &Lost) -> Self {
        Self { lost: lost.clone(), answers: lost.answers(), since: Instant::now() }
    }

    /// Returns whether nothing has come since then, for long enough to wonder.
    fn is_silent(&self) -> bool {
        self.lost.answers() == self.answers && self.since.elapsed() >= SILENCE
    }
}

impl<R: Runtime> Drop for Asked<'_, R> {
    fn drop(&mut self) {
        if let Some(on) = self.on.take_if(|on| on.is_silent()) {
            self.link.forget(&on.lost, "nobody waits for its answers any more");
        }
    }
}

/// Connections are tasks of tokio if that is the only runtime that was compiled in: outside of it, the library would
/// panic.
#[cfg(all(feature = "tokio", not(any(feature = "rustls", feature = "smol"))))]
fn runtime_is_there() -> Result<(), Answer> {
    match tokio::runtime::Handle::try_current() {
        Ok(_) => Ok(()),
        Err(_) => Err(Answer::no_runtime()),
    }
}

#[cfg(not(all(feature = "tokio", not(any(feature = "rustls", feature = "smol")))))]
fn runtime_is_there() -> Result<(), Answer> {
    Ok(())
}
