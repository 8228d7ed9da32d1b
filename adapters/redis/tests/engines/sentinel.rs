//! Engines that sentinels find.

use std::time::Duration;

use smol::block_on;
use wwr_async::{SessionStore as _, StoreError};
use wwr_engines::Watched;
use wwr_redis::{Engine as Place, RedisStore};
use wwr_smol::Smol;

use crate::support::{configured, key, seconds, session, until, until_it_works};

/// The master of this name.
pub(crate) fn place(watched: &Watched, name: &str) -> Place {
    // The first one is down.
    let sentinels = ["redis://127.0.0.1:1".to_string(), watched.sentinel()];
    Place::sentinel(sentinels, format!("redis://{name}"))
}

#[test]
fn sessions_outlive_a_master() {
    let Some(mut watched) = Watched::start() else { return };
    let config = || configured(|config| config.timeout = Duration::from_secs(4));
    let open = |name: &str| -> Result<RedisStore<Smol>, StoreError> {
        block_on(RedisStore::connect(place(&watched, name), config()))
    };
    let error = open("nobody").unwrap_err().to_string();
    assert!(error.contains("nobody of the sentinels 127.0.0.1:1,"), "{error}");
    let store = open("mymaster").unwrap();
    block_on(store.create(&session("k"))).unwrap();
    until("the replica has the session", || !watched.replica.names().is_empty());

    watched.fail_over();
    until_it_works(&store);
    assert!(block_on(store.look_up(&key("k"), seconds(200))).unwrap().is_some());
    block_on(store.create(&session("new"))).unwrap();
    assert_eq!(watched.replica.names().len(), 2);
}
