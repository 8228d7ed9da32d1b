//! Handlers that are not `Send`.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use smol::LocalExecutor;
use smol::future::yield_now;

use crate::adapter::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, HeaderMap, HeaderValue};
use crate::adapter::http::request::Parts;
use crate::adapter::runtime;
use crate::adapter::server::{Connection, Local, LocalHandler, RequestError, Server};
use crate::adapter::{Content, Payload};
use crate::suite::support::message::{INTERNAL, answer, ask, special};
use crate::suite::support::peer::{Peer, handshake};
use crate::suite::support::{Fixture, Running, SAFETY};

/// Remembers names in memory that no other thread may see.
#[derive(Default)]
struct Names {
    seen: Rc<RefCell<Vec<String>>>,
    waits: Option<mpsc::Sender<&'static str>>,
}

/// Tells that a call has begun, and that it was dropped.
struct Waits(Option<mpsc::Sender<&'static str>>);

impl Waits {
    fn tell(&self, what: &'static str) {
        if let Some(waits) = &self.0 {
            waits.send(what).unwrap();
        }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.tell("dropped");
    }
}

impl LocalHandler for Names {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        let seen = self.seen.clone();
        match request.name() {
            b"panic" => panic!("on purpose"),
            b"wait" => {
                let waits = Waits(self.waits.clone());
                waits.tell("begun");
                std::future::pending().await
            }
            _ => {
                // Held while the call waits, so that its future is not `Send`.
                yield_now().await;
                seen.borrow_mut().push(request.text().unwrap_or_default().into_owned());
                Ok(Payload::utf8(seen.borrow().join(" ")))
            }
        }
    }

    async fn disconnected(&self, _: &Connection) {
        self.seen.borrow_mut().push("gone".to_owned());
    }

    fn listed_names(&self) -> Option<wwr::names::Names> {
        let mut names = wwr::names::Names::default();
        names.requests.push("wait".into());
        Some(names)
    }

    async fn options(&self, request: &Parts, headers: &mut HeaderMap) {
        let seen = self.seen.clone();
        yield_now().await;
        seen.borrow_mut().push(request.uri.path().to_owned());
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("https://a.test"));
    }
}

/// Runs a server on two threads, with its handler on this one, until the clients have done their work
/// and the server has ended.
fn serve(handler: impl LocalHandler, clients: impl FnOnce(&Running) + Send) {
    let (handler, calls) = Local::new(handler);
    let server = Running::new(Server::builder_on(runtime(), handler));
    thread::scope(|scope| {
        let clients = scope.spawn(move || {
            clients(&server);
            server.begin_shut_down(SAFETY).recv_timeout(SAFETY).unwrap();
            server
        });
        smol::block_on(LocalExecutor::new().run(calls));
        // Its threads run until then: they end the tasks that still hold the handler.
        drop(clients.join());
    });
}

#[test]
fn a_handler_that_is_not_send_serves_clients_of_all_threads() {
    let names = Names::default();
    let seen = names.seen.clone();
    serve(names, |server| {
        let mut peers = [Peer::connect(server.address), Peer::connect(server.address)];
        assert_eq!(peers[0].ask(1, "add", "ada"), answer(1, "ada"));
        assert_eq!(peers[1].ask(2, "add", "bob"), answer(2, "ada bob"));
        assert_eq!(peers[0].ask(3, "add", "eve"), answer(3, "ada bob eve"));
    });
    assert_eq!(*seen.borrow(), ["ada", "bob", "eve", "gone", "gone"]);
}

const OPTIONS: &str = "OPTIONS /page HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn a_local_handler_decides_what_browsers_may_do() {
    let names = Names::default();
    let seen = names.seen.clone();
    serve(names, |server| {
        let answer = Peer::dial(server.address).http(OPTIONS);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.test"));
        assert_eq!(answer.header("access-control-allow-methods"), None, "only what it adds");
        let ask = "OPTIONS /names HTTP/1.1\r\nHost: localhost\r\n";
        let accept = "Accept: application/vnd.webwire.names+json\r\n\r\n";
        let answer = Peer::dial(server.address).http(&format!("{ask}{accept}"));
        assert_eq!(answer.body(), r#"{"requests":["wait"],"signals":[]}"#);
    });
    assert_eq!(*seen.borrow(), ["/page", "/names"]);
}

#[test]
fn a_call_that_panics_costs_its_request_only() {
    serve(Names::default(), |server| {
        let mut peer = Peer::connect(server.address);
        assert_eq!(peer.ask(1, "panic", ""), special(INTERNAL, 1));
        assert_eq!(peer.ask(2, "add", "ada"), answer(2, "ada"));
    });
}

#[test]
fn a_call_that_no_connection_waits_for_any_more_is_dropped() {
    let (waits, told) = mpsc::channel();
    let (handler, calls) = Local::new(Names { waits: Some(waits), ..Names::default() });
    let server = Running::new(Server::builder_on(runtime(), handler));
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut peer = Peer::connect(server.address);
            peer.send(&ask(1, "wait", ""));
            assert_eq!(told.recv_timeout(SAFETY), Ok("begun"));
            smol::block_on(server.handle.shut_down(Duration::ZERO));
            assert_eq!(told.recv_timeout(SAFETY), Ok("dropped"));
        });
        smol::block_on(calls);
    });
}

/// Has the default of everything.
struct Plain;

impl LocalHandler for Plain {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }
}

#[test]
fn by_default_a_local_handler_lets_browsers_do_what_a_handler_does() {
    let handler = Fixture::new();
    let usual = handler.address();
    serve(Plain, |server| {
        let [local, other] =
            [server.address, usual].map(|address| Peer::dial(address).http(OPTIONS));
        for name in ["access-control-allow-origin", "access-control-allow-methods"] {
            assert!(local.header(name).is_some(), "{name}");
            assert_eq!(local.header(name), other.header(name));
        }
    });
}

#[test]
fn without_its_future_a_local_handler_opens_no_connection() {
    let (handler, calls) = Local::new(Names::default());
    let server = Running::new(Server::builder_on(runtime(), handler));
    drop(calls);
    let answer = Peer::dial(server.address).http(&handshake("/", ""));
    assert_eq!(answer.status, 500);
    let answer = Peer::dial(server.address).http(OPTIONS);
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None));
}
