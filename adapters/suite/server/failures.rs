//! Applications that fail: only the request concerned suffers.

use std::future::Future;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use hyper::header::HeaderMap;
use hyper::http::request::Parts;
use wwr::server::RequestError;
use wwr::{Content, KeyFormat, Payload, SessionInfo, SessionKey};

use crate::adapter::runtime;
use crate::adapter::server::{Connection, ConnectionOptions, Handler, Response, Server};
use crate::adapter::{KeyError, KeyGenerator, RandomKeys};
use crate::suite::support::message::{
    BINARY, INTERNAL, NOT_FOUND, answer, ask, restore, signal, special,
};
use crate::suite::support::peer::{Peer, handshake};
use crate::suite::support::{Fixture, Running, SAFETY, until};

/// When a method panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// When it is called, before there is a future.
    Called,
    /// When its future is polled.
    Polled,
    /// When its future is polled again.
    Later,
}

async fn panic_when(when: When, pass: bool) {
    if pass {
        return;
    }
    if when == When::Later {
        smol::future::yield_now().await;
    }
    panic!("a hook of a test panics on purpose ({when:?})");
}

/// Everything in it panics.
struct Fragile {
    when: When,
    ends: Sender<()>,
}

impl Fragile {
    /// Panics now if that is when it panics; otherwise returns the future that does.
    fn fall(&self, pass: bool) -> impl Future<Output = ()> + Send + use<> {
        assert!(pass || self.when != When::Called, "a hook of a test panics on purpose");
        panic_when(self.when, pass)
    }
}

impl Handler for Fragile {
    fn request(
        &self,
        _: &Connection,
        request: Content,
    ) -> impl Future<Output = Result<Payload, RequestError>> + Send {
        let fall = self.fall(request.name() != b"panic");
        async {
            fall.await;
            Ok(request.into_payload())
        }
    }

    fn signal(&self, connection: &Connection, signal: Content) -> impl Future<Output = ()> + Send {
        let fall = self.fall(signal.name() != b"panic");
        async {
            fall.await;
            connection.signal("back", signal.into_payload()).unwrap();
        }
    }

    fn connected(&self, _: &Connection) -> impl Future<Output = ()> + Send {
        self.fall(false)
    }

    fn disconnected(&self, _: &Connection) -> impl Future<Output = ()> + Send {
        self.ends.send(()).unwrap();
        self.fall(false)
    }

    fn before_upgrade(
        &self,
        request: &Parts,
    ) -> impl Future<Output = Result<ConnectionOptions, Box<Response>>> + Send {
        let fall = self.fall(request.uri.path() != "/panic");
        async {
            fall.await;
            Ok(ConnectionOptions::default())
        }
    }

    async fn options(&self, _: &Parts, _: &mut HeaderMap) {
        panic!("a hook of a test panics on purpose");
    }
}

#[test]
fn hooks_and_handlers_that_panic_harm_no_other_connection() {
    for when in [When::Called, When::Polled, When::Later] {
        let (ends, ended) = channel();
        let server = Running::new(Server::builder_on(runtime(), Fragile { when, ends }));
        let mut peer = Peer::connect(server.address);
        peer.send(&ask(1, "panic", "x"));
        peer.send(&signal(BINARY, "panic", b"x"));
        peer.send(&signal(BINARY, "fine", b"x"));
        assert_eq!(peer.message(), special(INTERNAL, 1), "{when:?}");
        assert_eq!(peer.message(), signal(BINARY, "back", b"x"), "{when:?}");

        let mut http = Peer::dial(server.address);
        assert_eq!(http.http("OPTIONS / HTTP/1.1\r\nHost: h\r\n\r\n").status, 500);
        assert_eq!(http.http(&handshake("/panic", "")).status, 500, "{when:?}");
        assert_eq!(http.http("WEBWIRE / HTTP/1.1\r\nHost: h\r\n\r\n").status, 200);
        http.upgrade("/", "");
        assert_eq!(http.ask(2, "fine", "x"), answer(2, "x"));

        drop((peer, http));
        (0..2).for_each(|_| ended.recv_timeout(SAFETY).unwrap());
        until(|| server.handle.connection_count() == 0);
        assert!(ended.try_recv().is_err(), "each connection ends once");
        smol::block_on(server.handle.shut_down(SAFETY));
        server.wait_for_end();
    }
}

/// Fails, panics, then works.
struct Unsure(Mutex<u32>);

impl KeyGenerator for Unsure {
    fn generate(&self) -> Result<SessionKey, KeyError> {
        let mut calls = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        *calls += 1;
        match *calls {
            1 => Err(KeyError::new("no randomness today")),
            2 => panic!("a key generator of a test panics on purpose"),
            _ => RandomKeys.generate(),
        }
    }

    fn format(&self) -> KeyFormat {
        RandomKeys.format()
    }
}

#[test]
fn a_key_generator_that_fails_costs_a_session() {
    let fixture = Fixture::built(|builder| builder.key_generator(Unsure(Mutex::new(0))));
    let mut peer = Peer::connect(fixture.address());
    assert_eq!(peer.ask(1, "login", "ada"), special(INTERNAL, 1), "it failed");
    assert_eq!(peer.ask(2, "login", "ada"), special(INTERNAL, 2), "it panicked");
    assert_eq!(fixture.server.handle.active_sessions(), 0);
    peer.send(&ask(3, "login", "ada"));
    assert_eq!(peer.message()[0], 21);
    assert_eq!(peer.message()[..9], special(192, 3));
}

/// Checks keys in a way that is easily written and wrong.
struct Careless;

impl KeyGenerator for Careless {
    fn generate(&self) -> Result<SessionKey, KeyError> {
        SessionKey::new("shop-1").map_err(KeyError::new)
    }

    fn format(&self) -> KeyFormat {
        KeyFormat::Custom(|key| &key[..5] == "shop-")
    }
}

#[test]
fn a_check_of_keys_that_panics_ends_only_the_connection_that_sent_the_key() {
    let fixture = Fixture::built(|builder| builder.key_generator(Careless));
    let mut bystander = Peer::connect(fixture.address());
    bystander.send(&restore(1, "shop-2"));
    assert_eq!(bystander.message(), special(NOT_FOUND, 1));
    let mut peer = Peer::connect(fixture.address());
    peer.send(&restore(1, "key"));
    peer.closed();
    fixture.wait_for_disconnected();
    until(|| fixture.server.handle.connection_count() == 1);
    bystander.is_served();
}

#[test]
fn no_two_sessions_have_the_same_key() {
    struct Stuck;
    impl KeyGenerator for Stuck {
        fn generate(&self) -> Result<SessionKey, KeyError> {
            Ok(SessionKey::from_entropy([1; 48]))
        }

        fn format(&self) -> KeyFormat {
            KeyFormat::Generated
        }
    }
    let fixture = Fixture::built(|builder| builder.key_generator(Stuck));
    let mut first = Peer::connect(fixture.address());
    first.send(&ask(1, "login", "ada"));
    assert_eq!(first.message()[0], 21);
    first.message();
    let mut second = Peer::connect(fixture.address());
    assert_eq!(second.ask(1, "login", "eve"), special(INTERNAL, 1));
    assert_eq!(first.ask(2, "whoami", "x"), answer(2, "Some(\"ada\") Some(\"secret\")"));
}

#[test]
fn calls_on_a_connection_that_has_ended_say_so() {
    let fixture = Fixture::new();
    let peer = Peer::connect(fixture.address());
    let connection = fixture.connected();
    drop(peer);
    fixture.wait_for_disconnected();
    let disconnected = crate::adapter::server::SessionError::Disconnected;
    let created = smol::block_on(connection.create_session(SessionInfo::new()));
    assert_eq!(created.unwrap_err(), disconnected);
    assert_eq!(smol::block_on(connection.close_session()), Err(disconnected));
    connection.close();
    assert_eq!(RequestError::from(disconnected), RequestError::Internal);
}
