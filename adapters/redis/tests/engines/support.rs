//! Settings, stores and sessions of these tests.

use std::thread::sleep;
use std::time::{Duration, Instant};

use wwr_async::{Runtime, Session, SessionInfo, SessionKey, UnixTime};
pub(crate) use wwr_engines::{Engine, Program, SAFETY, free_port, tell, until};
use wwr_redis::{RedisConfig, RedisStore};
use wwr_smol::Smol;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// Settings that differ from the default ones in this.
pub(crate) fn configured(change: impl FnOnce(&mut RedisConfig)) -> RedisConfig {
    let mut config = RedisConfig::default();
    change(&mut config);
    config
}

/// Settings for engines that are to be slow or dead.
pub(crate) fn impatient() -> RedisConfig {
    configured(|config| {
        config.timeout = Duration::from_millis(500);
        config.connect_timeout = Duration::from_millis(250);
    })
}

/// A store on smol.
pub(crate) fn store(engine: &Engine, config: RedisConfig) -> RedisStore<Smol> {
    smol::block_on(RedisStore::connect(engine.url(), config)).unwrap()
}

pub(crate) fn key(text: &str) -> SessionKey {
    SessionKey::new(text).unwrap()
}

pub(crate) fn seconds(seconds: i64) -> UnixTime {
    UnixTime::from_seconds(seconds)
}

/// Returns a session created 100 seconds after the epoch.
pub(crate) fn session(text: &str) -> Session {
    let info = SessionInfo::new().public("user", "ada").private("quota", 7);
    Session::new(key(text), seconds(100), info)
}

/// Waits until the store can use its engine again.
pub(crate) fn until_it_works<R: Runtime>(store: &RedisStore<R>) {
    let started = Instant::now();
    while let Err(error) = smol::block_on(store.check()) {
        assert!(started.elapsed() < SAFETY, "{error}");
        sleep(Duration::from_millis(20));
    }
}

/// The whole text of an error, with what only `Debug` and the sources say.
pub(crate) fn whole_text(error: &dyn std::error::Error) -> String {
    let mut text = format!("{error} | {error:?}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(" | {cause} | {cause:?}"));
        source = cause.source();
    }
    text
}
