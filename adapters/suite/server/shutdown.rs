//! The end of the whole server (protocol §5.10).

use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::time::Duration;

use wwr::server::RequestError;
use wwr::{Content, Payload};

use crate::adapter::server::{Connection, Handler, IdleConnections, Server};
use crate::adapter::{Threads, runtime};
use crate::suite::support::app::App;
use crate::suite::support::message::{
    BINARY, SHUTDOWN, answer, ask, close_session, signal, special,
};
use crate::suite::support::peer::Peer;
use crate::suite::support::{Fixture, Running, SAFETY, forever, until};

#[test]
fn a_setting_closes_idle_connections_at_once() {
    let fixture = Fixture::with(|config| config.hub.idle_connections = IdleConnections::Close);
    let mut idle = Peer::connect(fixture.address());
    let mut busy = Peer::connect(fixture.address());
    busy.send(&ask(1, "wait", "gate"));
    fixture.wait_for_start("wait");
    let done = fixture.server.begin_shut_down(Duration::MAX);
    idle.closed_with(1001);
    assert_eq!(busy.ask(2, "echo", "late"), special(SHUTDOWN, 2));
    fixture.gates.open("gate");
    assert_eq!(busy.message(), answer(1, "gate"));
    busy.closed_with(1001);
    done.recv_timeout(SAFETY).unwrap();
}

#[test]
fn a_shutdown_goes_on_without_a_waiting_caller() {
    let fixture = Fixture::new();
    let mut busy = Peer::connect(fixture.address());
    busy.send(&ask(1, "wait", "gate"));
    fixture.wait_for_start("wait");
    let handle = fixture.server.handle.clone();
    let begun = handle.shut_down(Duration::from_millis(20));
    assert!(smol::block_on(smol::future::poll_once(begun)).is_none());
    busy.closed_with(1001);
    fixture.server.wait_for_end();
}

#[test]
fn a_graceful_shutdown_finishes_running_handlers_and_closes_everything() {
    let fixture = Fixture::new();
    let mut idle = Peer::connect(fixture.address());
    let mut busy = Peer::connect(fixture.address());
    busy.send(&ask(1, "wait", "gate"));
    busy.send(&ask(2, "echo", "waits behind it"));
    fixture.wait_for_start("wait");
    let connections = fixture.server.handle.connections();

    let done = fixture.server.begin_shut_down(Duration::MAX);
    assert_eq!(busy.message(), special(SHUTDOWN, 2));
    // The idle one stays while a handler runs somewhere.
    assert_eq!(idle.ask(1, "echo", "late"), special(SHUTDOWN, 1));
    assert_eq!(busy.ask(3, "echo", "late"), special(SHUTDOWN, 3));
    busy.send(&close_session(4));
    assert_eq!(busy.message(), special(SHUTDOWN, 4));
    busy.send(&signal(BINARY, "dropped", b"x"));
    assert_eq!(idle.ask(2, "echo", "later"), special(SHUTDOWN, 2));
    assert_eq!(fixture.server.handle.connection_count(), 2);
    assert!(connections.iter().all(|connection| !connection.is_connected()));
    assert!(done.try_recv().is_err() && !fixture.server.has_ended());

    fixture.gates.open("gate");
    assert_eq!(busy.message(), answer(1, "gate"));
    busy.closed_with(1001);
    idle.closed_with(1001);
    done.recv_timeout(SAFETY).unwrap();
    fixture.server.wait_for_end();
    assert_eq!(fixture.server.handle.connection_count(), 0);
    let refused = TcpStream::connect(fixture.address()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    smol::block_on(fixture.server.handle.shut_down(SAFETY));
    let log: Vec<_> = fixture.events.try_iter().collect();
    assert!(!format!("{log:?}").contains("dropped"), "{log:?}");
}

#[test]
fn the_deadline_cuts_handlers_that_never_end() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    peer.send(&ask(1, "wait", "never opened"));
    fixture.wait_for_start("wait");
    smol::block_on(fixture.server.handle.shut_down(Duration::from_millis(20)));
    fixture.server.wait_for_end();
    peer.rest();
    fixture.wait_for_disconnected();
    assert_eq!(fixture.server.handle.connection_count(), 0);
}

#[test]
fn the_deadline_also_cuts_handlers_whose_client_has_gone() {
    let fixture = Fixture::with(|config| config.connection.drain_timeout = Duration::MAX);
    let mut peer = Peer::connect(fixture.address());
    let connection = fixture.connected();
    peer.send(&ask(1, "wait", "never opened"));
    fixture.wait_for_start("wait");
    drop(peer);
    until(|| !connection.is_connected());
    smol::block_on(fixture.server.handle.shut_down(Duration::from_millis(20)));
    fixture.wait_for_disconnected();
    until(|| fixture.server.handle.connection_count() == 0);
}

/// Its last hook never ends.
struct Clingy;

impl Handler for Clingy {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }

    async fn disconnected(&self, _: &Connection) {
        forever().await
    }
}

#[test]
fn a_hook_that_never_ends_does_not_keep_the_server() {
    let server = Running::new(Server::builder_on(runtime(), Clingy));
    let mut peer = Peer::connect(server.address);
    assert_eq!(peer.ask(1, "x", "x"), answer(1, "x"));
    drop(peer);
    smol::block_on(server.handle.shut_down(Duration::from_millis(20)));
    server.wait_for_end();
    until(|| server.handle.connection_count() == 0);
}

#[test]
fn a_later_shutdown_may_be_less_patient() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    peer.send(&ask(1, "wait", "never opened"));
    fixture.wait_for_start("wait");
    let patient = fixture.server.begin_shut_down(Duration::MAX);
    smol::block_on(fixture.server.handle.shut_down(Duration::ZERO));
    patient.recv_timeout(SAFETY).unwrap();
    fixture.server.wait_for_end();
}

#[test]
fn a_shutdown_without_a_waiting_caller_can_be_awaited_again() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    peer.send(&ask(1, "wait", "gate"));
    fixture.wait_for_start("wait");
    let dropped = async { fixture.server.handle.shut_down(Duration::MAX).await };
    smol::block_on(smol::future::or(dropped, async {}));
    assert!(fixture.server.handle.is_shutting_down());
    assert_eq!(peer.ask(2, "echo", "late"), special(SHUTDOWN, 2));
    let done = fixture.server.begin_shut_down(Duration::MAX);
    fixture.gates.open("gate");
    assert_eq!(peer.message(), answer(1, "gate"));
    peer.closed_with(1001);
    done.recv_timeout(SAFETY).unwrap();
    fixture.server.wait_for_end();
}

#[test]
fn a_server_that_is_shut_down_before_it_runs_ends_at_once() {
    let threads = Threads::start();
    let builder = Server::builder_on(threads.runtime(), App::new().0);
    let server = smol::block_on(builder.listen("127.0.0.1:0")).unwrap();
    let handle = server.handle();
    assert!(!handle.is_shutting_down());
    smol::block_on(handle.shut_down(Duration::ZERO));
    assert!(handle.is_shutting_down());
    smol::block_on(server.run());
}

#[test]
fn sockets_on_which_http_is_spoken_do_not_outlive_the_server() {
    let fixture = Fixture::new();
    let mut silent = Peer::dial(fixture.address());
    let mut halfway = Peer::dial(fixture.address());
    assert_eq!(halfway.http("WEBWIRE / HTTP/1.1\r\nHost: h\r\n\r\n").status, 200);
    halfway.write(b"GET / HTTP/1.1\r\nHost:");
    smol::block_on(fixture.server.handle.shut_down(SAFETY));
    fixture.server.wait_for_end();
    assert!(silent.rest().is_empty() && halfway.rest().is_empty());
}

#[test]
fn a_handler_may_shut_its_own_server_down() {
    struct Button;
    impl Handler for Button {
        async fn request(
            &self,
            connection: &Connection,
            _: Content,
        ) -> Result<Payload, RequestError> {
            // Waiting for the end in here would be waiting for itself.
            let server = connection.server();
            smol::spawn(async move { server.shut_down(SAFETY).await }).detach();
            until(|| connection.server().is_shutting_down());
            Ok(Payload::utf8("good night"))
        }
    }
    let server = Running::new(Server::builder_on(runtime(), Button));
    let mut peer = Peer::connect(server.address);
    peer.send(&ask(1, "x", "x"));
    assert_eq!(peer.message(), answer(1, "good night"));
    peer.closed_with(1001);
    server.wait_for_end();
}

#[test]
fn a_server_whose_executor_goes_away_leaves_nothing_behind() {
    let threads = Threads::start();
    let (sender, events) = channel();
    struct Seen(std::sync::mpsc::Sender<Connection>);
    impl Handler for Seen {
        async fn request(&self, _: &Connection, _: Content) -> Result<Payload, RequestError> {
            forever().await
        }

        async fn connected(&self, connection: &Connection) {
            self.0.send(connection.clone()).unwrap();
        }
    }
    let builder = Server::builder_on(threads.borrowed_runtime(), Seen(sender));
    let server = smol::block_on(builder.listen("127.0.0.1:0")).unwrap();
    let (address, handle) = (server.local_addr(), server.handle());
    threads.spawn(server.run());
    let mut peer = Peer::connect(address);
    let connection = events.recv_timeout(SAFETY).unwrap();
    drop(threads);
    peer.rest();
    assert!(!connection.is_connected());
    assert_eq!(handle.connection_count(), 0);
}
