//! Session stores that fail, panic or never answer: only their callers are affected.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use wwr::session::StoreFailed;
use wwr::{Session, SessionInfo, SessionKey, UnixTime};

use crate::adapter::server::{Config, Connections, Expiry, Server};
use crate::adapter::{MemoryStore, Removed, SessionStore, StoreError, StoreErrorKind};
use crate::adapter::{Threads, runtime};
use crate::suite::support::app::{App, Gates};
use crate::suite::support::message::{
    INTERNAL, MAX_CONNECTIONS, NOT_FOUND, SESSION_CLOSED, answer, ask, close_session, empty_reply,
    error, restore, special,
};
use crate::suite::support::peer::Peer;
use crate::suite::support::{Fixture, Running, configured, until};

/// What a store does when it is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mood {
    Works,
    Fails,
    Panics,
    /// Answers once its gate is opened.
    Waits,
}

/// A store in memory whose moods can be chosen.
pub(super) struct Moody {
    inner: MemoryStore,
    mood: Mutex<Mood>,
    pub(super) gates: Gates,
    expiry_rounds: AtomicUsize,
    /// How many calls had to wait.
    pub(super) waits: AtomicUsize,
}

impl Moody {
    pub(super) fn new(mood: Mood) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryStore::new(),
            mood: Mutex::new(mood),
            gates: Gates::default(),
            expiry_rounds: AtomicUsize::new(0),
            waits: AtomicUsize::new(0),
        })
    }

    pub(super) fn becomes(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Keeps a session, whatever the mood.
    fn keep(&self, byte: u8) -> SessionKey {
        let key = SessionKey::from_entropy([byte; 48]);
        let info = SessionInfo::new().public("user", "ada").private("hidden", "secret");
        let session = Session::new(key.clone(), UnixTime::from_seconds(0), info);
        smol::block_on(self.inner.create(&session)).unwrap();
        key
    }

    async fn act(&self, gate: &str) -> Result<(), StoreError> {
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Works => Ok(()),
            Mood::Fails => Err(StoreError::new(StoreErrorKind::Failed, "in a bad mood")),
            Mood::Panics => panic!("a store of a test panics on purpose"),
            Mood::Waits => {
                self.waits.fetch_add(1, Ordering::Relaxed);
                self.gates.pass(gate).await;
                Ok(())
            }
        }
    }
}

impl SessionStore for Moody {
    async fn create(&self, session: &Session) -> Result<(), StoreError> {
        self.act("create").await?;
        self.inner.create(session).await
    }

    async fn look_up(
        &self,
        key: &SessionKey,
        now: UnixTime,
    ) -> Result<Option<Session>, StoreError> {
        self.act("look_up").await?;
        self.inner.look_up(key, now).await
    }

    async fn destroy(&self, key: &SessionKey) -> Result<(), StoreError> {
        self.act("destroy").await?;
        self.inner.destroy(key).await
    }

    async fn remove_expired(&self, _: UnixTime, _: Duration) -> Result<Removed, StoreError> {
        self.expiry_rounds.fetch_add(1, Ordering::Relaxed);
        self.act("remove expired").await?;
        Ok(Removed::default())
    }
}

fn serve(store: &Arc<Moody>, change: impl FnOnce(&mut Config)) -> Fixture {
    Fixture::built(|builder| builder.store(store.clone()).config(configured(change)))
}

#[test]
fn a_session_that_clients_could_not_read_is_refused_and_the_connection_stays_open() {
    let store = Moody::new(Mood::Works);
    let fixture = serve(&store, |_| {});
    let deep = (0..200).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    let long = Value::from("x".repeat(Session::MAX_JSON));
    for (byte, unreadable) in [(1, deep), (2, long)] {
        let key = SessionKey::from_entropy([byte; 48]);
        let info = SessionInfo::new().public("a", unreadable);
        let session = Session::new(key.clone(), UnixTime::from_seconds(0), info);
        smol::block_on(store.inner.create(&session)).unwrap();
        let mut peer = Peer::connect(fixture.address());
        peer.send(&restore(1, key.as_str()));
        assert_eq!(peer.message(), special(INTERNAL, 1));
        peer.is_served();
        assert_eq!(fixture.server.handle.active_sessions(), 0);
    }
}

const WHO: &str = "Some(\"ada\") Some(\"secret\")";

#[test]
fn a_session_that_could_not_be_stored_lives_as_long_as_its_connection() {
    for mood in [Mood::Fails, Mood::Panics] {
        let store = Moody::new(mood);
        let fixture = serve(&store, |_| {});
        let mut peer = Peer::connect(fixture.address());
        peer.send(&ask(1, "login", "ada"));
        assert_eq!(peer.message()[0], 21, "{mood:?}");
        assert_eq!(peer.message()[..9], special(192, 1), "{mood:?}");
        assert_eq!(peer.ask(2, "whoami", "x"), answer(2, WHO));
    }
}

#[test]
fn a_durable_session_that_could_not_be_stored_is_not_created() {
    for mood in [Mood::Fails, Mood::Panics] {
        let store = Moody::new(mood);
        let fixture = serve(&store, |config| config.hub.sessions.durable = true);
        let mut peer = Peer::connect(fixture.address());
        assert_eq!(peer.ask(1, "login", "ada"), special(INTERNAL, 1), "{mood:?}");
        assert_eq!(peer.ask(2, "whoami", "x"), error(2, "NO_SESSION", "log in first"));
        assert_eq!(fixture.server.handle.active_sessions(), 0);

        store.becomes(Mood::Works);
        peer.send(&ask(3, "login", "ada"));
        assert_eq!(peer.message()[0], 21, "{mood:?}");
        assert_eq!(peer.message()[..9], special(192, 3), "{mood:?}");
        assert_eq!(store.inner.len(), 1);
    }
}

#[test]
fn a_durable_session_is_announced_once_it_is_stored() {
    let store = Moody::new(Mood::Waits);
    let fixture = serve(&store, |config| config.hub.sessions.durable = true);
    let mut peer = Peer::connect(fixture.address());
    peer.send(&ask(1, "login", "ada"));
    fixture.wait_for_start("login");
    let mut bystander = Peer::connect(fixture.address());
    bystander.is_served();
    assert_eq!((store.inner.len(), fixture.server.handle.active_sessions()), (0, 0));
    store.gates.open("create");
    assert_eq!(peer.message()[0], 21);
    assert_eq!(store.inner.len(), 1);
    assert_eq!(peer.message()[..9], special(192, 1));
}

#[test]
fn a_look_up_that_fails_costs_only_that_request() {
    for mood in [Mood::Fails, Mood::Panics] {
        let store = Moody::new(mood);
        let key = store.keep(1);
        let fixture = serve(&store, |_| {});
        let mut peer = Peer::connect(fixture.address());
        peer.send(&restore(1, key.as_str()));
        assert_eq!(peer.message(), special(INTERNAL, 1), "{mood:?}");
        store.becomes(Mood::Works);
        peer.send(&restore(2, key.as_str()));
        assert_eq!(peer.message()[..9], special(192, 2), "{mood:?}");
    }
}

#[test]
fn a_look_up_without_an_answer_holds_up_its_connection_and_finally_frees_its_slot() {
    let store = Moody::new(Mood::Waits);
    let key = store.keep(1);
    let one = NonZeroUsize::new(1).unwrap();
    let fixture = serve(&store, |config| config.hub.sessions.max_connections = Some(one));
    let mut waiting = Peer::connect(fixture.address());
    waiting.send(&restore(1, key.as_str()));
    waiting.send(&ask(2, "echo", "behind it"));
    let mut other = Peer::connect(fixture.address());
    let refused = special(MAX_CONNECTIONS, 1);
    // Until the first has its slot reserved, the other may ask the store and be told to wait; so
    // it asks for it only after the first was seen to.
    let (first, second) = (fixture.connected(), fixture.connected());
    assert_ne!(first.id(), second.id());
    other.is_served();
    waiting.write(&crate::suite::support::peer::frame(crate::suite::support::peer::PING, b""));
    assert_eq!(waiting.frame().unwrap().first, crate::suite::support::peer::PONG);
    other.send(&restore(1, key.as_str()));
    assert_eq!(other.message(), refused);

    drop(waiting);
    fixture.wait_for_disconnected();
    store.becomes(Mood::Works);
    other.send(&restore(2, key.as_str()));
    assert_eq!(other.message()[..9], special(192, 2));
}

#[test]
fn a_store_that_takes_too_long_counts_as_failed() {
    let store = Moody::new(Mood::Waits);
    let key = store.keep(1);
    let fixture = serve(&store, |config| config.hub.store_timeout = Duration::from_millis(20));
    let mut peer = Peer::connect(fixture.address());
    peer.send(&restore(1, key.as_str()));
    assert_eq!(peer.message(), special(INTERNAL, 1));
    let closing = fixture.server.handle.close_session(key.clone(), Connections::Keep);
    assert_eq!(smol::block_on(closing), Err(StoreFailed));
    store.becomes(Mood::Works);
    peer.send(&restore(2, key.as_str()));
    assert_eq!(peer.message()[..9], special(192, 2));
}

#[test]
fn a_session_that_cannot_be_destroyed_stays() {
    for mood in [Mood::Fails, Mood::Panics] {
        let store = Moody::new(Mood::Works);
        let key = store.keep(1);
        let fixture = serve(&store, |_| {});
        let mut peer = Peer::connect(fixture.address());
        peer.send(&restore(1, key.as_str()));
        peer.message();
        store.becomes(mood);
        peer.send(&close_session(2));
        assert_eq!(peer.message(), special(INTERNAL, 2), "{mood:?}");
        assert_eq!(peer.ask(3, "logout", "x"), special(INTERNAL, 3), "{mood:?}");
        assert_eq!(peer.ask(4, "whoami", "x"), answer(4, WHO));
        assert_eq!(fixture.server.handle.active_sessions(), 1);

        let closing = fixture.server.handle.close_session(key.clone(), Connections::Keep);
        assert_eq!(smol::block_on(closing).unwrap_err(), StoreFailed);
        assert_eq!(peer.message(), SESSION_CLOSED, "told all the same");

        store.becomes(Mood::Works);
        peer.send(&restore(5, key.as_str()));
        assert_eq!(peer.message()[..9], special(192, 5), "{mood:?}");
        peer.send(&close_session(6));
        assert_eq!((peer.message(), peer.message()), (SESSION_CLOSED.to_vec(), empty_reply(6)));
    }
}

#[test]
fn a_session_is_destroyed_before_its_client_hears_of_it() {
    let store = Moody::new(Mood::Works);
    let key = store.keep(1);
    let fixture = serve(&store, |_| {});
    let mut peer = Peer::connect(fixture.address());
    peer.send(&restore(1, key.as_str()));
    peer.message();
    store.becomes(Mood::Waits);
    peer.send(&close_session(2));
    until(|| fixture.server.handle.active_sessions() == 0);
    let mut other = Peer::connect(fixture.address());
    other.send(&restore(1, key.as_str()));
    assert_eq!(other.message(), special(NOT_FOUND, 1), "what is being destroyed is not found");
    assert_eq!(store.inner.len(), 1);
    store.gates.open("destroy");
    assert_eq!(peer.message(), SESSION_CLOSED);
    assert_eq!(store.inner.len(), 0);
    assert_eq!(peer.message(), empty_reply(2));
}

#[test]
fn a_store_that_never_answers_does_not_keep_the_server_from_ending() {
    let store = Moody::new(Mood::Waits);
    let key = store.keep(1);
    let fixture = serve(&store, |config| config.hub.sessions.durable = true);
    let mut creating = Peer::connect(fixture.address());
    creating.send(&ask(1, "login", "ada"));
    fixture.wait_for_start("login");
    let mut restoring = Peer::connect(fixture.address());
    restoring.send(&restore(1, key.as_str()));
    smol::block_on(fixture.server.handle.shut_down(Duration::from_millis(10)));
    fixture.server.wait_for_end();
    creating.rest();
    restoring.rest();
}

#[test]
fn unused_sessions_expire_in_rounds_until_the_server_has_ended() {
    let threads = Threads::start();
    let config = configured(|config| {
        config.hub.store_timeout = Duration::from_millis(5);
        config.hub.expiry = Some(Expiry::new(Duration::ZERO, Duration::from_millis(1)));
    });
    // All side by side, as a round takes its time.
    let served = [Mood::Works, Mood::Fails, Mood::Panics, Mood::Waits].map(|mood| {
        let store = Moody::new(mood);
        let (app, ..) = App::new();
        let builder = Server::builder_on(threads.runtime(), app);
        let builder = builder.config(config.clone());
        let service = builder.store(store.clone()).headless().unwrap();
        (store, service)
    });
    for (store, service) in served {
        until(|| store.expiry_rounds.load(Ordering::Relaxed) >= 3);
        drop(service);
        until(|| Arc::strong_count(&store) == 1);
    }
}

#[test]
fn a_look_up_without_an_answer_does_not_end_expiry() {
    let store = Moody::new(Mood::Works);
    let expiry = Expiry::new(Duration::ZERO, Duration::from_millis(1));
    let fixture = serve(&store, |config| {
        config.hub.store_timeout = Duration::from_millis(20);
        config.hub.expiry = Some(expiry);
    });
    let mut peer = Peer::connect(fixture.address());
    peer.send(&ask(1, "login", "ada"));
    assert_eq!([peer.message()[0], peer.message()[0]], [21, 192]);
    // Before each expiry the session in use is looked up. That never ends at first: nothing is
    // removed, as the session could be lost. But the rounds go on.
    store.becomes(Mood::Waits);
    until(|| store.waits.load(Ordering::Relaxed) >= 2);
    let before = store.expiry_rounds.load(Ordering::Relaxed);
    store.becomes(Mood::Works);
    until(|| store.expiry_rounds.load(Ordering::Relaxed) >= before + 2);
}

/// A store in memory that collects once it may.
#[derive(Default)]
struct Patient {
    sessions: MemoryStore,
    may_expire: AtomicBool,
}

impl SessionStore for Patient {
    async fn create(&self, session: &Session) -> Result<(), StoreError> {
        self.sessions.create(session).await
    }

    async fn look_up(
        &self,
        key: &SessionKey,
        now: UnixTime,
    ) -> Result<Option<Session>, StoreError> {
        self.sessions.look_up(key, now).await
    }

    async fn destroy(&self, key: &SessionKey) -> Result<(), StoreError> {
        self.sessions.destroy(key).await
    }

    async fn remove_expired(&self, now: UnixTime, age: Duration) -> Result<Removed, StoreError> {
        match self.may_expire.load(Ordering::Relaxed) {
            true => self.sessions.remove_expired(now, age).await,
            false => Ok(Removed::default()),
        }
    }
}

#[test]
fn a_session_in_use_does_not_expire_at_any_age() {
    let store = Arc::new(Patient::default());
    // Every session that is not in use expires at once.
    let expiry = Expiry::new(Duration::ZERO, Duration::from_millis(1));
    let fixture = Fixture::built(|builder| {
        builder.store(store.clone()).config(configured(|config| config.hub.expiry = Some(expiry)))
    });
    let mut peer = Peer::connect(fixture.address());
    peer.send(&ask(1, "login", "ada"));
    assert_eq!([peer.message()[0], peer.message()[0]], [21, 192]);
    until(|| store.sessions.len() == 1);
    store.may_expire.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        let left = Session::new(
            SessionKey::new("left").unwrap(),
            UnixTime::from_seconds(1),
            SessionInfo::new(),
        );
        smol::block_on(store.create(&left)).unwrap();
        until(|| store.sessions.len() < 2);
        assert_eq!(store.sessions.len(), 1);
    }
    drop(peer);
    until(|| store.sessions.is_empty());
}

#[test]
fn a_session_closed_while_it_is_restored_is_never_left_behind() {
    let store = Moody::new(Mood::Works);
    let (app, events, _gates) = App::new();
    let builder = Server::builder_on(runtime(), app).store(store.clone());
    let server = Running::new(builder);
    let mut peer = Peer::connect(server.address);
    let Ok(crate::suite::support::app::Event::Connected(connection)) = events.recv() else {
        panic!()
    };
    for round in 0..200 {
        let key = store.keep((round % 251) as u8);
        peer.send(&restore(round, key.as_str()));
        let closing = server.handle.close_session(key, Connections::Keep);
        smol::block_on(closing).unwrap();
        let reply = peer.message();
        if reply[0] == 192 {
            assert_eq!(peer.message(), SESSION_CLOSED, "round {round}");
        } else {
            assert_eq!(reply, special(NOT_FOUND, round));
        }
        peer.is_served();
        assert_eq!(connection.session(), None);
    }
}
