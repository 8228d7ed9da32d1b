//! The store.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use redis::Value;
use wwr_async::{
    Removed, Runtime, Session, SessionInfo, SessionKey, SessionStore, ShortKey, StoreError,
    StoreErrorKind, UnixTime,
};

use crate::config::RedisConfig;
use crate::engine::Engine;
use crate::fault::{Answer, Fault, Reason};
use crate::link::Link;
use crate::name;
use crate::record::{self, BrokenRecord};
use crate::script::{self, Request};

/// Keeps sessions in Redis or Valkey. Clones share the connection.
///
/// The [crate](crate) says what is stored, when it expires, and what happens when the engine fails.
///
/// ```no_run
/// use wwr_redis::{RedisConfig, RedisStore};
/// # use wwr_async::{Runtime, StoreError};
///
/// # async fn store<R: Runtime + Default>() -> Result<(), StoreError> {
/// let store = RedisStore::<R>::connect("redis://127.0.0.1/", RedisConfig::default()).await?;
/// # drop(store);
/// # Ok(())
/// # }
/// ```
pub struct RedisStore<R> {
    shared: Arc<Shared<R>>,
}

struct Shared<R> {
    link: Link<R>,
    prefix: String,
    expire_after: Option<Duration>,
}

impl<R: Runtime> RedisStore<R> {
    /// Connects to an engine, and checks that it can do what the store needs.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Failed`] if a URL or a setting is wrong, or if the engine cannot be reached, does not
    /// answer, or refuses.
    pub async fn connect(engine: impl Into<Engine>, config: RedisConfig) -> Result<Self, StoreError>
    where
        R: Default,
    {
        Self::connect_on(R::default(), engine, config).await
    }

    /// Connects like [`connect`](Self::connect). This runtime has the timers.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect).
    pub async fn connect_on(
        runtime: R,
        engine: impl Into<Engine>,
        config: RedisConfig,
    ) -> Result<Self, StoreError> {
        let store = Self::open_on(runtime, engine, config).await?;
        store.check().await?;
        Ok(store)
    }

    /// Prepares a store whose first call connects: for servers that are to start while the engine is down.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Failed`] if a URL or a setting is wrong.
    pub async fn open(engine: impl Into<Engine>, config: RedisConfig) -> Result<Self, StoreError>
    where
        R: Default,
    {
        Self::open_on(R::default(), engine, config).await
    }

    /// Prepares a store like [`open`](Self::open). This runtime has the timers.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub async fn open_on(
        runtime: R,
        engine: impl Into<Engine>,
        config: RedisConfig,
    ) -> Result<Self, StoreError> {
        let link = Link::open(runtime, engine.into(), &config).await?;
        let RedisConfig { prefix, expire_after, .. } = config;
        Ok(Self { shared: Arc::new(Shared { link, prefix, expire_after }) })
    }

    /// Checks that the engine can be reached and lets us look up sessions.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Failed`] if it cannot.
    pub async fn check(&self) -> Result<(), StoreError> {
        // No session has such a name.
        let name = format!("{}check", self.shared.prefix);
        let request = Request::look_up(&name, &record::time(UnixTime::NEVER), None);
        match self.shared.link.call(&request).await {
            Ok(_) => Ok(()),
            Err(fault) => Err(self.failed("use the session store", None, &request, fault)),
        }
    }

    fn name(&self, key: &SessionKey) -> String {
        name::of(&self.shared.prefix, key)
    }

    async fn call(
        &self,
        operation: &str,
        key: &SessionKey,
        request: &Request,
    ) -> Result<Value, StoreError> {
        let called = self.shared.link.call(request).await;
        called.map_err(|fault| self.failed(operation, Some(key), request, fault))
    }

    /// Calls a script. Returns whether there is such a session, and what the script returned with it.
    async fn run(
        &self,
        operation: &str,
        key: &SessionKey,
        request: &Request,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let answer = self.call(operation, key, request).await?;
        let Ok((became, value)) = redis::from_redis_value::<(i64, Vec<u8>)>(answer) else {
            let fault = Fault::Failed(Answer::unexpected());
            return Err(self.failed(operation, Some(key), request, fault));
        };
        match became {
            script::MISSING => Ok(None),
            script::DONE => Ok(Some(value)),
            _ => {
                let cause = match value.first() {
                    None => BrokenRecord::Length,
                    Some(&(record::VERSION..=record::CLUSTER_VERSION)) => BrokenRecord::Info,
                    Some(version) => BrokenRecord::Version(*version),
                };
                Err(self.broken(key, cause))
            }
        }
    }

    fn failed(
        &self,
        operation: &str,
        key: Option<&SessionKey>,
        request: &Request,
        fault: Fault,
    ) -> StoreError {
        let link = &self.shared.link;
        let what = fault.describe(&link.engine, request.verb, link.timeout);
        let message = match key {
            Some(key) => format!("cannot {operation} session {}: {what}", ShortKey(key)),
            None => format!("cannot {operation}: {what}"),
        };
        let answer = fault.answer();
        let kind = match &answer {
            Some(answer) if answer.reason == Reason::WrongType => StoreErrorKind::Broken,
            _ => StoreErrorKind::Failed,
        };
        let error = StoreError::new(kind, message);
        match answer {
            Some(answer) => error.with_source(answer),
            None => error,
        }
    }

    /// What is stored is left as it is.
    fn broken(&self, key: &SessionKey, cause: BrokenRecord) -> StoreError {
        let advice = match cause {
            BrokenRecord::Version(_) => "is a server of a newer release using it?",
            _ => "does anything else write to it?",
        };
        let message = format!(
            "what {} stores as session {} under {}... is none of this version; {advice}",
            self.shared.link.engine,
            ShortKey(key),
            self.shared.prefix.escape_debug(),
        );
        StoreError::new(StoreErrorKind::Broken, message).with_source(cause)
    }

    fn unwritable(key: &SessionKey, cause: BrokenRecord) -> StoreError {
        let key = ShortKey(key);
        let message = format!(
            "the info of session {key} could not be read back; make it shorter, nest it less deeply"
        );
        StoreError::new(StoreErrorKind::Failed, message).with_source(cause)
    }
}

impl<R: Runtime> SessionStore for RedisStore<R> {
    async fn create(&self, session: &Session) -> Result<(), StoreError> {
        let key = &session.key;
        let record = record::write(session).map_err(|cause| Self::unwritable(key, cause))?;
        let request = Request::create(&self.name(key), &record, self.shared.expire_after);
        match self.call("create", key, &request).await? {
            Value::Nil => Err(StoreError::key_exists(key)),
            _ => Ok(()),
        }
    }

    async fn look_up(
        &self,
        key: &SessionKey,
        now: UnixTime,
    ) -> Result<Option<Session>, StoreError> {
        let now = record::time(now);
        let request = Request::look_up(&self.name(key), &now, self.shared.expire_after);
        let Some(found) = self.run("look up", key, &request).await? else { return Ok(None) };
        let read = record::read(key, &found).map_err(|cause| self.broken(key, cause));
        read.map(|(session, _)| Some(session))
    }

    async fn update(&self, key: &SessionKey, info: &SessionInfo) -> Result<bool, StoreError> {
        let info = record::info(info).map_err(|cause| Self::unwritable(key, cause))?;
        let request = Request::update(&self.name(key), &info);
        Ok(self.run("update", key, &request).await?.is_some())
    }

    async fn destroy(&self, key: &SessionKey) -> Result<(), StoreError> {
        let request = Request::destroy(&self.name(key));
        self.call("destroy", key, &request).await.map(drop)
    }

    /// Removes nothing: the engine does. Checks that it does so after the same time.
    async fn remove_expired(
        &self,
        _: UnixTime,
        unused_for: Duration,
    ) -> Result<Removed, StoreError> {
        let after = self.shared.expire_after;
        if after == Some(unused_for) {
            return Ok(Removed::default());
        }
        let engine = &self.shared.link.engine;
        let does = match after {
            Some(after) => format!("after {after:?}"),
            None => "never".into(),
        };
        let message = format!(
            "sessions expire after {unused_for:?} by hub.expiry, but {does} in {engine} by RedisConfig::expire_after; \
             set both to the same time"
        );
        Err(StoreError::new(StoreErrorKind::Failed, message))
    }
}

impl<R> Clone for RedisStore<R> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<R> fmt::Debug for RedisStore<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("engine", &self.shared.link.engine)
            .field("prefix", &self.shared.prefix)
            .field("expire_after", &self.shared.expire_after)
            .finish_non_exhaustive()
    }
}
