//! Killing the server, again and again, while clients come and go.
//!
//! What a client was told holds afterwards: a session that was announced is there and whole, one
//! that was closed is gone, and no file is half a session. `WWR_CRASH_ROUNDS` sets how often,
//! `WWR_CRASH_SEED` begins with another choice of moments.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use std::{env, fs, thread};

use futures_util::future::join_all;
use rustix::process::Signal;
use smol::block_on;
use wwr::client::{Misuse, RequestError};
use wwr::{Session, SessionInfo, SessionKey, UnixTime};
use wwr_smol::client::{Client, Config, Error};
use wwr_smol::{Clock, FileStore, SessionStore as _};

use crate::support::Server;

/// How many clients there are at once.
const CLIENTS: u64 = 4;

/// How many sessions of a round are there in the next one.
const CARRIED_OVER: usize = 3;

#[test]
fn a_durable_server_that_is_killed_loses_and_resurrects_no_session() {
    Crashes::new(Promise::Durable).run(rounds(12));
}

#[test]
fn any_server_that_is_killed_leaves_whole_sessions_and_resurrects_none() {
    Crashes::new(Promise::Whole).run(rounds(8));
}

fn rounds(usual: u64) -> u64 {
    from_environment("WWR_CRASH_ROUNDS").unwrap_or(usual)
}

fn from_environment(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect(name))
}

/// What a server keeps.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Promise {
    /// Each session that was announced.
    Durable,
    /// Nothing, but what it keeps is whole.
    Whole,
}

/// What clients know of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Announced,
    /// It was asked to be closed, and the answer did not come.
    Closing,
    Closed,
}

type Ledger = HashMap<SessionKey, (SessionInfo, Fate)>;

struct Crashes {
    promise: Promise,
    directory: tempfile::TempDir,
    ledger: Mutex<Ledger>,
    random: Random,
    /// How much was announced in this round.
    announced: AtomicUsize,
    checked: usize,
    leftovers: u64,
}

impl Crashes {
    fn new(promise: Promise) -> Self {
        let seed = from_environment("WWR_CRASH_SEED").unwrap_or(1);
        println!("WWR_CRASH_SEED={seed}");
        Self {
            promise,
            directory: tempfile::tempdir().unwrap(),
            ledger: Mutex::default(),
            random: Random(AtomicU64::new(seed)),
            announced: AtomicUsize::new(0),
            checked: 0,
            leftovers: 0,
        }
    }

    fn run(mut self, rounds: u64) {
        for _ in 0..rounds {
            self.write();
            self.restore();
        }
        let Self { checked, leftovers, .. } = self;
        println!("{rounds} rounds: {checked} sessions were right, {leftovers} writes were cut off");
        assert!(checked > 0);
    }

    /// Serves clients until a moment of chance, then kills the server.
    fn write(&self) {
        let mut arguments =
            vec!["--log", "error", "--sessions", self.directory.path().to_str().unwrap()];
        if self.promise == Promise::Durable {
            arguments.push("--durable");
        }
        let server = Server::start(&arguments);
        self.announced.store(0, Ordering::Relaxed);
        let enough = 1 + self.random.below(40);
        let pause = Duration::from_micros(self.random.below(2000));
        let known: Vec<_> = self.ledger.lock().unwrap().keys().cloned().collect();
        thread::scope(|scope| {
            let clients = scope.spawn(|| {
                let url = server.url();
                block_on(join_all((0..CLIENTS).map(|number| self.client(&url, number, &known))));
            });
            while self.announced.load(Ordering::Relaxed) < enough as usize && !clients.is_finished()
            {
                thread::yield_now();
            }
            // Any moment will do; this makes it one inside of an operation.
            thread::sleep(pause);
            server.running.signal(Signal::KILL);
            clients.join().unwrap();
        });
    }

    /// Logs in, comes back and logs out until the server is gone.
    async fn client(&self, url: &str, number: u64, known: &[SessionKey]) {
        for key in known.iter().skip(number as usize).step_by(CLIENTS as usize) {
            if self.come_back(url, key).await.is_none() {
                return;
            }
        }
        while self.come_and_go(url).await.is_some() {}
    }

    /// None if the server is gone.
    async fn come_and_go(&self, url: &str) -> Option<()> {
        let client = connect(url).await?;
        // Sometimes longer than one block of the disk.
        let pad = "x".repeat(self.random.below(7_000) as usize);
        let info = SessionInfo::new().public("user", "ada").public("pad", pad);
        let object = serde_json::to_string(&info.to_public()).unwrap();
        let reply = client.request("login", object).await;
        if let Some(session) = client.session() {
            assert_eq!(session.info, info);
            self.note(&session.key, &info, Fate::Announced);
        }
        let key = SessionKey::new(answered(reply)?.text().unwrap()).unwrap();
        match self.random.below(3) {
            0 => self.log_out(&client, &key, &info).await,
            // Beside the first connection, which keeps a logout from closing the session.
            1 => restore(url, &key, &info).await.map(drop),
            _ => Some(()),
        }
    }

    /// Restores a session that must be there, and sometimes closes it. None if the server is gone.
    async fn come_back(&self, url: &str, key: &SessionKey) -> Option<()> {
        let info = self.ledger.lock().unwrap()[key].0.clone();
        let client = restore(url, key, &info).await?;
        match self.random.below(2) {
            0 => self.log_out(&client, key, &info).await,
            _ => Some(()),
        }
    }

    /// Closes a session that no other connection has. None if the server is gone.
    async fn log_out(&self, client: &Client, key: &SessionKey, info: &SessionInfo) -> Option<()> {
        self.note(key, info, Fate::Closing);
        let reply = client.request("logout", "").await;
        if client.session().is_none() {
            self.note(key, info, Fate::Closed);
        }
        answered(reply).map(drop)
    }

    fn note(&self, key: &SessionKey, info: &SessionInfo, fate: Fate) {
        self.ledger.lock().unwrap().insert(key.clone(), (info.clone(), fate));
        self.announced.fetch_add(1, Ordering::Relaxed);
    }

    /// Opens the directory anew and compares it with what the clients were told.
    fn restore(&mut self) {
        let mut store = block_on(FileStore::open(self.directory.path())).unwrap();
        if self.promise == Promise::Durable {
            store = store.durable();
        }
        let now = Clock::new().unix_now();
        let mut files = self.files();
        let mut kept = Ledger::new();
        for (key, (info, fate)) in self.ledger.get_mut().unwrap().drain() {
            let found = block_on(store.look_up(&key, now)).unwrap();
            let must = fate == Fate::Announced && self.promise == Promise::Durable;
            assert!(found.is_some() || !must, "an announced session is lost");
            assert!(found.is_none() || fate != Fate::Closed, "a closed session is back");
            self.checked += 1;
            files.remove(&key);
            if let Some(found) = found {
                assert_eq!(found.info, info);
                if kept.len() < CARRIED_OVER {
                    kept.insert(key, (info, Fate::Announced));
                } else {
                    block_on(store.destroy(&key)).unwrap();
                }
            }
        }
        // No client was told about the rest.
        for (key, content) in files {
            Session::from_stored(key.clone(), &content).expect("half a session");
            block_on(store.destroy(&key)).unwrap();
        }
        let later = UnixTime::from_seconds(now.seconds() + 2 * 60 * 60);
        let removed = block_on(store.remove_expired(later, Duration::MAX)).unwrap();
        assert_eq!((removed.examined, removed.failed), (kept.len() as u64, 0));
        assert_eq!(fs::read_dir(self.directory.path()).unwrap().count(), kept.len());
        self.leftovers += removed.leftovers;
        *self.ledger.get_mut().unwrap() = kept;
    }

    /// The session files.
    fn files(&self) -> HashMap<SessionKey, Vec<u8>> {
        let entries = fs::read_dir(self.directory.path()).unwrap().map(Result::unwrap);
        let files = entries.filter_map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            let key = name.strip_suffix(".wwrsess")?;
            Some((SessionKey::new(key).unwrap(), fs::read(entry.path()).unwrap()))
        });
        files.collect()
    }
}

/// A client that stays away once it is cut off. None if the server is gone.
async fn connect(url: &str) -> Option<Client> {
    let mut config = Config::default();
    config.machine.reconnect = false;
    Client::builder(url).unwrap().config(config).connect().await.ok()
}

/// A client that has restored a session which must be there. None if the server is gone.
async fn restore(url: &str, key: &SessionKey, info: &SessionInfo) -> Option<Client> {
    let client = connect(url).await?;
    let session = answered(client.restore_session(key.clone()).await)?;
    assert_eq!(session.info, *info);
    Some(client)
}

/// `None` if the server has gone. There are no other errors.
fn answered<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(
            Error::Request(RequestError::ConnectionLost | RequestError::NotSent)
            | Error::Misuse(Misuse::NotConnected),
        ) => None,
        Err(error) => panic!("{error}"),
    }
}

/// A sequence that the seed decides, drawn from by all.
struct Random(AtomicU64);

impl Random {
    fn below(&self, bound: u64) -> u64 {
        let step = 0x9e37_79b9_7f4a_7c15;
        let state = self.0.fetch_add(step, Ordering::Relaxed).wrapping_add(step);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 31)) % bound
    }
}
