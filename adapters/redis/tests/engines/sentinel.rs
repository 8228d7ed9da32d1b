//! Engines that sentinels find.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use smol::block_on;
use wwr_async::{SessionStore as _, StoreError};
use wwr_redis::{Engine as Place, RedisStore};
use wwr_smol::Smol;

use crate::support::{Engine, Program, SAFETY, configured, key, seconds, session, until_it_works};

/// Starts a sentinel of this master.
fn sentinel(master: &Engine) -> Option<Engine> {
    Engine::with(Program::Redis, |port, directory| {
        let file = directory.path().join("sentinel.conf");
        let lines = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor mymaster 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 3000\n",
            directory.path().display(),
            master.port,
        );
        fs::write(&file, lines).unwrap();
        vec![file.to_str().unwrap().into(), "--sentinel".into()]
    })
}

pub(crate) fn until(what: &str, done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < SAFETY, "{what}");
        sleep(Duration::from_millis(50));
    }
}

/// A master, its replica, and a sentinel that knows both.
pub(crate) struct Watched {
    pub(crate) master: Engine,
    pub(crate) replica: Engine,
    sentinel: Engine,
}

impl Watched {
    pub(crate) fn start() -> Option<Self> {
        let master = Engine::start(Program::Redis)?;
        let sentinel = sentinel(&master)?;
        let port = master.port.to_string();
        let replica = Engine::with(Program::Redis, |_, _| {
            vec!["--replicaof".into(), "127.0.0.1".into(), port.clone()]
        })?;
        until("the sentinel knows the replica", || {
            let known = sentinel.asked("SENTINEL replicas mymaster");
            known.contains(&replica.port.to_string()) && known.contains("\"master-link-status\"")
        });
        Some(Self { master, replica, sentinel })
    }

    /// The master of this name.
    pub(crate) fn place(&self, name: &str) -> Place {
        // The first one is down.
        let sentinels = ["redis://127.0.0.1:1".to_string(), self.sentinel.url()];
        Place::sentinel(sentinels, format!("redis://{name}"))
    }

    /// Kills the master, and waits until the replica is the master.
    pub(crate) fn fail_over(&mut self) {
        self.master.kill();
        until("the replica is the master", || self.replica.asked("ROLE").contains("\"master\""));
    }
}

#[test]
fn sessions_outlive_a_master() {
    let Some(mut watched) = Watched::start() else { return };
    let config = || configured(|config| config.timeout = Duration::from_secs(4));
    let open = |name: &str| -> Result<RedisStore<Smol>, StoreError> {
        block_on(RedisStore::connect(watched.place(name), config()))
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
