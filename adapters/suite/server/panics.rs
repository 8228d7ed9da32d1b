//! What is logged when something of the application panics.

use std::sync::mpsc;
use std::time::Duration;

use hyper::header::HeaderMap;
use hyper::http::request::Parts;
use smol::future::yield_now;
use tracing::Level;
use wwr::server::RequestError;
use wwr::session::{SessionInfo, SessionKey};
use wwr::{Content, KeyFormat, Payload, Session, UnixTime};

use crate::adapter::runtime;
use crate::adapter::server::{Connection, ConnectionOptions, Handler, Response, Server};
use crate::adapter::{KeyError, KeyGenerator, RandomKeys, Removed, SessionStore, StoreError};
use crate::suite::support::SAFETY;
use crate::suite::support::log::written;
use crate::suite::support::message::{BINARY, INTERNAL, restore, signal, special};
use crate::suite::support::peer::{Peer, handshake};

/// All of it panics, with words that say where.
struct Panics;

impl Handler for Panics {
    async fn request(&self, from: &Connection, request: Content) -> Result<Payload, RequestError> {
        match request.name() {
            b"id" => return Ok(Payload::utf8(from.id().to_string())),
            b"later" => {
                yield_now().await;
                panic!("request {}", "after a while");
            }
            b"session" => {
                from.create_session(SessionInfo::default()).await?;
            }
            b"number" => std::panic::panic_any(7),
            _ => {}
        }
        panic!("request at once\nwith a second line")
    }

    async fn signal(&self, _: &Connection, _: Content) {
        panic!("signal at once")
    }

    async fn connected(&self, _: &Connection) {
        panic!("hook connected")
    }

    fn disconnected(&self, _: &Connection) -> impl Future<Output = ()> + Send {
        assert!(std::hint::black_box(false), "hook disconnected");
        async {}
    }

    async fn before_upgrade(&self, request: &Parts) -> Result<ConnectionOptions, Box<Response>> {
        assert_ne!(request.uri.path(), "/panic", "hook before_upgrade");
        Ok(ConnectionOptions::default())
    }

    async fn options(&self, _: &Parts, _: &mut HeaderMap) {
        panic!("hook options")
    }
}

impl KeyGenerator for Panics {
    fn format(&self) -> KeyFormat {
        RandomKeys.format()
    }

    fn generate(&self) -> Result<SessionKey, KeyError> {
        panic!("generator")
    }
}

impl SessionStore for Panics {
    async fn create(&self, _: &Session) -> Result<(), StoreError> {
        panic!("store create")
    }

    async fn look_up(&self, _: &SessionKey, _: UnixTime) -> Result<Option<Session>, StoreError> {
        panic!("store look-up")
    }

    async fn destroy(&self, _: &SessionKey) -> Result<(), StoreError> {
        panic!("store destroy")
    }

    async fn remove_expired(&self, _: UnixTime, _: Duration) -> Result<Removed, StoreError> {
        panic!("store collect")
    }
}

fn id_of(peer: &mut Peer) -> String {
    String::from_utf8(peer.ask(99, "id", "x")[9..].to_vec()).unwrap()
}

#[test]
fn the_log_line_names_the_hook_the_connection_and_the_panic() {
    let (sender, receiver) = mpsc::channel();
    let builder = Server::builder_on(runtime(), Panics).key_generator(Panics).store(Panics);
    let lines = written(Level::DEBUG, builder, |address, _| {
        let mut peer = Peer::connect(address);
        let id = id_of(&mut peer);
        let long = "n".repeat(255);
        for (request, name) in [(1, "at once"), (2, "later"), (3, "number"), (4, &long[..])] {
            assert_eq!(peer.ask(request, name, "x"), special(INTERNAL, request));
        }
        peer.send(&signal(BINARY, "bell", b"x"));
        assert_eq!(peer.ask(5, "session", "x"), special(INTERNAL, 5));
        let key = "A".repeat(64);
        peer.send(&restore(6, &key));
        assert_eq!(peer.message(), special(INTERNAL, 6));
        drop(peer);
        let mut http = Peer::dial(address);
        assert_eq!(http.http(&handshake("/panic", "")).status, 500);
        let mut http = Peer::dial(address);
        let options = "OPTIONS /what?token=secret HTTP/1.1\r\nHost: localhost\r\n\r\n";
        assert_eq!(http.http(options).status, 500);
        sender.send(id).unwrap();
    });
    let id = receiver.recv_timeout(SAFETY).unwrap();
    let errors: Vec<_> = lines.into_iter().filter(|line| line.contains("ERROR")).collect();
    let connection = format!("connection={id}");
    let long = format!("name={}…", "n".repeat(47));
    for expected in [
        &["hook=\"connected\"", &connection, "panic=hook connected"][..],
        &["request=0000000000000001", "name=at once", &connection, "panic=request at once\\nwith"],
        &["request=0000000000000002", "name=later", &connection, "panic=request after a while"],
        &["request=0000000000000003", "name=number", &connection, "panic=no text"],
        &["request=0000000000000004", &long, &connection],
        &["handler of a signal", "name=bell", &connection, "panic=signal at once"],
        &["generator of session keys", &connection, "panic=generator"],
        &[
            "session store panicked: store look-up",
            "operation=\"look up\"",
            "session=\"AAAAAAAA…\"",
        ],
        &["hook=\"disconnected\"", &connection, "panic=hook disconnected"],
        &["hook=\"before_upgrade\"", "path=/panic", "remote=127.0.0.1:", "panic="],
        &["hook=\"options\"", "path=/what", "remote=127.0.0.1:", "panic=hook options"],
    ] {
        let found = errors.iter().filter(|line| expected.iter().all(|part| line.contains(part)));
        assert_eq!(found.count(), 1, "{expected:?} in {errors:#?}");
    }
    assert!(!errors.iter().any(|line| line.contains("secret")), "{errors:#?}");
}
