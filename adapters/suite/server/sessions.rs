//! Sessions on the wire: created, restored, shared, limited, closed (protocol §5.5 to §5.8).

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use wwr::server::{Expiry, RequestError};
use wwr::{Content, Payload, SessionInfo, SessionKey};

use crate::adapter::server::{Builder, Connection, Connections, Handler, Server, Sessions};
use crate::adapter::{FileStore, MemoryStore, SharedStore, runtime};
use crate::suite::support::app::App;
use crate::suite::support::log::logged;
use crate::suite::support::message::{
    DISABLED, MAX_CONNECTIONS, NOT_FOUND, PROTOCOL, SESSION_CLOSED, UTF8, answer, ask,
    close_session, empty_reply, error, restore, special,
};
use crate::suite::support::peer::Peer;
use crate::suite::support::{Fixture, Running, configured, until};

const WHO: &str = "Some(\"ada\") Some(\"secret\")";

/// Logs in and returns the key, after checking what came before the reply.
pub(crate) fn login(peer: &mut Peer) -> String {
    peer.send(&ask(100, "login", "ada"));
    let created = peer.message();
    let reply = peer.message();
    let key = std::str::from_utf8(&reply[9..]).unwrap().to_owned();
    assert_eq!((reply, key.len()), (answer(100, &key), 64));
    assert_eq!(created[0], 21);
    check_object(&created[1..], &key);
    key
}

/// Checks a session object (protocol §3.1).
fn check_object(json: &[u8], key: &str) {
    let json = std::str::from_utf8(json).unwrap();
    assert!(json.starts_with(&format!("{{\"k\":\"{key}\",\"c\":\"2")), "{json}");
    assert!(json.contains("Z\",\"l\":\"2"), "{json}");
    assert!(json.ends_with("Z\",\"i\":{\"user\":\"ada\"}}"), "private fields stay here: {json}");
}

/// Restores a session.
pub(crate) fn resume(peer: &mut Peer, key: &str) {
    peer.send(&restore(200, key));
    let reply = peer.message();
    assert_eq!(reply[..9], special(192, 200), "{reply:?}");
    check_object(&reply[9..], key);
}

fn count(fixture: &Fixture, key: &str) -> usize {
    let key = SessionKey::new(key).unwrap();
    fixture.server.handle.session_connections(&key).len()
}

#[test]
fn a_session_is_announced_before_the_reply_of_the_request_that_made_it() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    let connection = fixture.connected();
    assert_eq!(peer.ask(1, "whoami", "x"), error(1, "NO_SESSION", "log in first"));
    assert_eq!((connection.session(), connection.session_key()), (None, None));
    let key = login(&mut peer);
    assert_eq!(peer.ask(2, "whoami", "x"), answer(2, WHO));
    assert_eq!(connection.session_key().unwrap().as_str(), key);
    let session = connection.session().unwrap();
    assert_eq!((session.key.as_str(), session.created), (&key[..], session.last_lookup));
    assert_eq!(peer.ask(3, "login", "again"), special(2, 3), "one session is enough");
    assert_eq!(peer.ask(4, "whoami", "x"), answer(4, WHO));
}

#[test]
fn a_session_outlives_its_connection_and_may_be_shared() {
    let fixture = Fixture::new();
    let mut first = Peer::connect(fixture.address());
    let key = login(&mut first);
    let handle = &fixture.server.handle;
    assert_eq!((handle.active_sessions(), count(&fixture, &key)), (1, 1));

    let mut second = Peer::connect(fixture.address());
    resume(&mut second, &key);
    assert_eq!(second.ask(1, "whoami", "x"), answer(1, WHO));
    assert_eq!((handle.active_sessions(), count(&fixture, &key)), (1, 2));

    drop((first, second));
    for _ in 0..2 {
        let (session, _) = fixture.wait_for_disconnected();
        assert!(session, "the hook sees the one that the connection had");
    }
    assert_eq!((handle.active_sessions(), count(&fixture, &key)), (0, 0));
    let mut third = Peer::connect(fixture.address());
    resume(&mut third, &key);
    assert_eq!(third.ask(1, "whoami", "x"), answer(1, WHO));
}

#[test]
fn keys_that_were_never_made_are_not_found() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    for key in ["k", &"a".repeat(64), "../../etc/passwd", "\u{e9}", &"x".repeat(100_000), "\0"] {
        peer.send(&restore(1, key));
        assert_eq!(peer.message(), special(NOT_FOUND, 1));
    }
    peer.send(&[&special(32, 2)[..], &[0xff; 64]].concat());
    assert_eq!(peer.message(), special(NOT_FOUND, 2));
    peer.is_served();
}

#[test]
fn restoring_while_there_is_a_session_leaves_it_untouched() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    let key = login(&mut peer);
    peer.send(&restore(1, &key));
    assert_eq!(peer.message(), special(PROTOCOL, 1));
    assert_eq!(peer.ask(2, "whoami", "x"), answer(2, WHO));
    assert_eq!(count(&fixture, &key), 1);
}

#[test]
fn a_limit_on_connections_of_a_session_holds() {
    let most = NonZeroUsize::new(2).unwrap();
    let fixture = Fixture::with(|config| config.hub.sessions.max_connections = Some(most));
    let mut first = Peer::connect(fixture.address());
    let key = login(&mut first);
    let mut second = Peer::connect(fixture.address());
    resume(&mut second, &key);
    let mut third = Peer::connect(fixture.address());
    third.send(&restore(1, &key));
    assert_eq!(third.message(), special(MAX_CONNECTIONS, 1));
    drop(first);
    until(|| count(&fixture, &key) == 1);
    resume(&mut third, &key);
    second.is_served();
}

#[test]
fn a_client_that_closes_its_session_gets_a_notice_and_a_reply() {
    let fixture = Fixture::new();
    let mut first = Peer::connect(fixture.address());
    let key = login(&mut first);
    let mut second = Peer::connect(fixture.address());
    resume(&mut second, &key);

    first.send(&close_session(1));
    assert_eq!(first.message(), SESSION_CLOSED);
    assert_eq!(first.message(), empty_reply(1));
    assert_eq!(first.ask(2, "whoami", "x"), error(2, "NO_SESSION", "log in first"));
    assert_eq!(second.ask(1, "whoami", "x"), answer(1, WHO), "the other keeps it, and is not told");
    assert_eq!(count(&fixture, &key), 1);

    second.send(&close_session(2));
    assert_eq!((second.message(), second.message()), (SESSION_CLOSED.to_vec(), empty_reply(2)));
    first.send(&restore(3, &key));
    assert_eq!(first.message(), special(NOT_FOUND, 3), "the last one has destroyed it");
    first.send(&close_session(4));
    assert_eq!(first.message(), empty_reply(4), "there is nothing to close");
    assert_ne!(login(&mut first), key);
}

#[test]
fn a_handler_that_closes_the_session_replies_after_it() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    let key = login(&mut peer);
    peer.send(&ask(1, "logout", "x"));
    assert_eq!((peer.message(), peer.message()), (SESSION_CLOSED.to_vec(), answer(1, "true")));
    assert_eq!(peer.ask(2, "logout", "x"), answer(2, "false"));
    peer.send(&restore(3, &key));
    assert_eq!(peer.message(), special(NOT_FOUND, 3));
}

#[test]
fn without_sessions_everything_about_them_says_so() {
    let fixture = Fixture::with(|config| config.connection.sessions = Sessions::Disabled);
    let mut peer = Peer::connect(fixture.address());
    peer.send(&restore(1, &"a".repeat(64)));
    assert_eq!(peer.message(), special(DISABLED, 1));
    peer.send(&close_session(2));
    assert_eq!(peer.message(), special(DISABLED, 2));
    assert_eq!(peer.ask(3, "login", "ada"), special(DISABLED, 3));
    assert_eq!(peer.ask(4, "logout", "x"), special(DISABLED, 4));
    peer.is_served();
}

/// A session with two connections, which `how` ends.
fn kicked(how: Connections) -> (Fixture, [Peer; 2], String) {
    let fixture = Fixture::new();
    let mut peers = [Peer::connect(fixture.address()), Peer::connect(fixture.address())];
    let key = login(&mut peers[0]);
    resume(&mut peers[1], &key);
    let mut bystander = Peer::connect(fixture.address());
    login(&mut bystander);
    let closing = fixture.server.handle.close_session(SessionKey::new(&key[..]).unwrap(), how);
    assert_eq!(smol::block_on(closing).unwrap(), 2);
    for peer in &mut peers {
        assert_eq!(peer.message(), SESSION_CLOSED);
    }
    assert_eq!(bystander.ask(1, "whoami", "x"), answer(1, WHO));
    assert_eq!(fixture.server.handle.active_sessions(), 1);
    (fixture, peers, key)
}

#[test]
fn a_session_closed_by_its_key_leaves_the_connections_without_it() {
    let (fixture, mut peers, key) = kicked(Connections::Keep);
    for peer in &mut peers {
        assert_eq!(peer.ask(1, "whoami", "x"), error(1, "NO_SESSION", "log in first"));
        peer.send(&restore(2, &key));
        assert_eq!(peer.message(), special(NOT_FOUND, 2));
    }
    until(|| fixture.server.handle.connection_count() == 2);
}

#[test]
fn a_session_closed_by_its_key_may_take_its_connections_along() {
    let (fixture, mut peers, key) = kicked(Connections::Close);
    for peer in &mut peers {
        peer.closed_with(1000);
    }
    until(|| fixture.server.handle.connection_count() == 0);
    let mut late = Peer::connect(fixture.address());
    late.send(&restore(1, &key));
    assert_eq!(late.message(), special(NOT_FOUND, 1));
}

#[test]
fn a_session_without_connections_can_be_closed_by_its_key() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    let key = login(&mut peer);
    drop(peer);
    fixture.wait_for_disconnected();
    let close = |key: &str| {
        let key = SessionKey::new(key).unwrap();
        smol::block_on(fixture.server.handle.close_session(key, Connections::Close)).unwrap()
    };
    assert_eq!(close(&key), 0);
    let mut late = Peer::connect(fixture.address());
    late.send(&restore(1, &key));
    assert_eq!(late.message(), special(NOT_FOUND, 1));
    assert_eq!(close("nobody ever had this"), 0);
}

#[test]
fn session_files_survive_a_restart_of_the_server() {
    let temporary = tempfile::tempdir().unwrap();
    let open =
        || crate::adapter::block_on(FileStore::open(temporary.path().join("sessions"))).unwrap();
    let key = {
        let fixture = Fixture::built(|builder| builder.store(open()));
        let mut peer = Peer::connect(fixture.address());
        login(&mut peer)
    };
    let fixture = Fixture::built(|builder| builder.store(open()));
    let mut peer = Peer::connect(fixture.address());
    resume(&mut peer, &key);
    assert_eq!(peer.ask(1, "whoami", "x"), answer(1, WHO));
    peer.send(&close_session(2));
    assert_eq!((peer.message(), peer.message()), (SESSION_CLOSED.to_vec(), empty_reply(2)));
    let left = std::fs::read_dir(temporary.path().join("sessions")).unwrap();
    assert_eq!(left.filter(|file| file.as_ref().unwrap().path().is_file()).count(), 0);
}

/// Knows its clients as soon as they connect.
struct Doorman;

impl Handler for Doorman {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }

    async fn connected(&self, connection: &Connection) {
        connection.signal("welcome", "first").unwrap();
        connection.create_session(SessionInfo::new().public("user", "ada")).await.unwrap();
        connection.signal("welcome", "last").unwrap();
    }
}

#[test]
fn signals_of_the_hook_for_new_connections_come_first() {
    let server = Running::new(Server::builder_on(runtime(), Doorman));
    let mut peer = Peer::connect(server.address);
    peer.send(&ask(1, "echo", "x"));
    let welcome =
        |text: &str| crate::suite::support::message::signal(UTF8, "welcome", text.as_bytes());
    assert_eq!(peer.message(), welcome("first"));
    assert_eq!(peer.message()[0], 21);
    assert_eq!(peer.message(), welcome("last"));
    assert_eq!(peer.message(), answer(1, "x"));
}

#[test]
fn the_log_says_once_that_sessions_stay_in_memory_for_ever() {
    /// How many lines name the setting when so many clients log in.
    fn warnings(logins: usize, built: impl FnOnce(Builder<App>) -> Builder<App>) -> usize {
        let builder = built(Server::builder_on(runtime(), App::new().0));
        let log = logged(builder, |address| {
            for _ in 0..logins {
                login(&mut Peer::connect(address));
            }
            Peer::connect(address).is_served();
        });
        log.iter().filter(|line| line.text.contains("hub.expiry")).count()
    }
    assert_eq!(warnings(2, |builder| builder), 1);
    assert_eq!(warnings(0, |builder| builder), 0, "it has no sessions");
    let shared = || SharedStore::new(Arc::new(MemoryStore::new()));
    assert_eq!(warnings(1, |builder| builder.store(shared())), 1);
    let age = Duration::from_secs(3600);
    let config = configured(|config| config.hub.expiry = Some(Expiry::new(age, age)));
    assert_eq!(warnings(1, |builder| builder.config(config)), 0);
    let temporary = tempfile::tempdir().unwrap();
    let opened = FileStore::open(temporary.path().join("sessions"));
    let store = crate::adapter::block_on(opened).unwrap();
    assert_eq!(warnings(1, |builder| builder.store(store)), 0, "a disk has more room");
}
