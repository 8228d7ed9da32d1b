//! Engines that a sentinel watches.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{Engine, Program, SAFETY};

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

/// A replica gets the data at once, and not with those that ask for it some seconds later.
fn no_delay() -> Vec<String> {
    vec!["--repl-diskless-sync-delay".into(), "0".into()]
}

/// Waits until this is so.
///
/// # Panics
///
/// If it never is.
pub fn until(what: &str, done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < SAFETY, "{what}");
        sleep(Duration::from_millis(50));
    }
}

/// A master, its replica, and a sentinel that knows both.
pub struct Watched {
    /// The one that is the master at first.
    pub master: Engine,
    /// The other one.
    pub replica: Engine,
    sentinel: Engine,
}

impl Watched {
    /// Starts them. `None` if the program is missing.
    pub fn start() -> Option<Self> {
        let master = Engine::with(Program::Redis, |_, _| no_delay())?;
        let sentinel = sentinel(&master)?;
        let port = master.port.to_string();
        let replica = Engine::with(Program::Redis, |_, _| {
            [no_delay(), vec!["--replicaof".into(), "127.0.0.1".into(), port.clone()]].concat()
        })?;
        until("the sentinel knows the replica", || {
            let known = sentinel.asked("SENTINEL replicas mymaster");
            known.contains(&replica.port.to_string()) && known.contains("\"master-link-status\"")
        });
        Some(Self { master, replica, sentinel })
    }

    /// The URL of the sentinel.
    pub fn sentinel(&self) -> String {
        self.sentinel.url()
    }

    /// Starts the one that was killed as the replica of the other one, which is called the master from now on.
    pub fn mend(&mut self) {
        std::mem::swap(&mut self.master, &mut self.replica);
        let port = self.master.port.to_string();
        self.replica.set_master(&port);
        self.replica.restart();
        until("the replica has the data of the master", || {
            self.replica.asked("INFO replication").contains("master_link_status:up")
        });
    }

    /// Kills the master, and waits until the replica is the master.
    pub fn fail_over(&mut self) {
        self.master.kill();
        until("the replica is the master", || self.replica.asked("ROLE").contains("\"master\""));
    }
}
