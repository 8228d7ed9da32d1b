//! What every session store has to do.

use core::time::Duration;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Builder, Handle};
use wwr_async::testing::{StoreExpiry, check_store};
use wwr_async::{Removed, Session, SessionInfo, SessionKey, SessionStore, StoreError, UnixTime};
use wwr_redis::{RedisConfig, RedisStore};
use wwr_tokio::Tokio;

use crate::support::{Engine, HOUR, Program, configured, store};

/// Settings under which other behaviours have stored nothing.
pub(crate) fn unused() -> RedisConfig {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    configured(|config| {
        config.prefix = format!("test {}:", NUMBER.fetch_add(1, Ordering::Relaxed));
        config.expire_after = Some(HOUR);
    })
}

fn on_smol(program: Program) {
    let Some(engine) = Engine::start(program) else { return };
    check_store(StoreExpiry::ByItself, || (store(&engine, unused()), ()));
}

/// Does its work in tasks of tokio, whoever waits for it.
pub(crate) struct InTokio(pub(crate) RedisStore<Tokio>, pub(crate) Handle);

impl InTokio {
    async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        self.1.spawn(work).await.unwrap()
    }
}

impl SessionStore for InTokio {
    async fn create(&self, session: &Session) -> Result<(), StoreError> {
        let (store, session) = (self.0.clone(), session.clone());
        self.run(async move { store.create(&session).await }).await
    }

    async fn look_up(
        &self,
        key: &SessionKey,
        now: UnixTime,
    ) -> Result<Option<Session>, StoreError> {
        let (store, key) = (self.0.clone(), key.clone());
        self.run(async move { store.look_up(&key, now).await }).await
    }

    async fn update(&self, key: &SessionKey, info: &SessionInfo) -> Result<bool, StoreError> {
        let (store, key, info) = (self.0.clone(), key.clone(), info.clone());
        self.run(async move { store.update(&key, &info).await }).await
    }

    async fn destroy(&self, key: &SessionKey) -> Result<(), StoreError> {
        let (store, key) = (self.0.clone(), key.clone());
        self.run(async move { store.destroy(&key).await }).await
    }

    async fn remove_expired(
        &self,
        now: UnixTime,
        unused_for: Duration,
    ) -> Result<Removed, StoreError> {
        self.0.remove_expired(now, unused_for).await
    }
}

fn on_tokio(program: Program) {
    let Some(engine) = Engine::start(program) else { return };
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    check_store(StoreExpiry::ByItself, || {
        let store = RedisStore::<Tokio>::connect(engine.url(), unused());
        (InTokio(runtime.block_on(store).unwrap(), runtime.handle().clone()), ())
    });
}

#[test]
fn sessions_in_redis_behave_on_smol() {
    on_smol(Program::Redis);
}

#[test]
fn sessions_in_redis_behave_on_tokio() {
    on_tokio(Program::Redis);
}

#[test]
fn sessions_in_valkey_behave_on_smol() {
    on_smol(Program::Valkey);
}

#[test]
fn sessions_in_valkey_behave_on_tokio() {
    on_tokio(Program::Valkey);
}
