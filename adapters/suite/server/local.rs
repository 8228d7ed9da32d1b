//! Handlers that are not `Send`.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use smol::LocalExecutor;
use smol::future::yield_now;

use crate::adapter::runtime;
use crate::adapter::server::{Connection, Local, LocalHandler, RequestError, Server};
use crate::adapter::{Content, Payload};
use crate::suite::support::message::{INTERNAL, answer, ask, special};
use crate::suite::support::peer::{Peer, handshake};
use crate::suite::support::{Running, SAFETY};

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
}

/// Runs a server on two threads, with its handler on this one, until the clients have done their work
/// and the server has ended.
fn serve(names: Names, clients: impl FnOnce(&Running) + Send) {
    let (handler, calls) = Local::new(names);
    let server = Running::new(Server::builder_on(runtime(), handler));
    thread::scope(|scope| {
        scope.spawn(move || {
            clients(&server);
            server.begin_shut_down(SAFETY).recv_timeout(SAFETY).unwrap();
        });
        smol::block_on(LocalExecutor::new().run(calls));
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

#[test]
fn without_its_future_a_local_handler_opens_no_connection() {
    let (handler, calls) = Local::new(Names::default());
    let server = Running::new(Server::builder_on(runtime(), handler));
    drop(calls);
    let answer = Peer::dial(server.address).http(&handshake("/", ""));
    assert_eq!(answer.status, 500);
}
