//! How single connections end (protocol §4.4, §5.8, §5.9).

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use wwr::server::RequestError;
use wwr::{Content, Payload};

use crate::adapter::runtime;
use crate::adapter::server::{Config, Connection, Handler, Server};
use crate::suite::support::app::{Event, Gates};
use crate::suite::support::message::{BINARY, SHUTDOWN, answer, ask, restore, signal, special};
use crate::suite::support::peer::{self, CLOSE, Frame, Peer, frame};
use crate::suite::support::{Fixture, Running, SAFETY, configured, forever, until};

#[test]
fn an_idle_connection_is_closed_at_once() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    let connection = fixture.connected();
    connection.close();
    assert!(!connection.is_connected());
    connection.close();
    peer.closed_with(1000);
    assert!(!fixture.wait_for_disconnected().0);
    until(|| fixture.server.handle.connection_count() == 0);
    Peer::connect(fixture.address()).is_served();
}

#[test]
fn a_handler_that_closes_its_connection_replies_first() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    peer.send(&ask(1, "close", "x"));
    assert_eq!(peer.message(), answer(1, "false"));
    peer.closed_with(1000);
    fixture.wait_for_disconnected();
}

#[test]
fn a_closing_connection_finishes_running_handlers_and_refuses_new_requests() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    let connection = fixture.connected();
    peer.send(&ask(1, "wait", "gate"));
    peer.send(&ask(2, "echo", "waits behind it"));
    fixture.wait_for_start("wait");
    connection.signal("farewell", "x").unwrap();
    connection.close();
    let farewell = signal(crate::suite::support::message::UTF8, "farewell", b"x");
    assert_eq!(peer.message(), farewell);
    assert_eq!(peer.message(), special(SHUTDOWN, 2));
    peer.send(&signal(BINARY, "dropped", b"x"));
    assert_eq!(peer.ask(3, "echo", "late"), special(SHUTDOWN, 3));
    peer.send(&restore(4, "key"));
    assert_eq!(peer.message(), special(SHUTDOWN, 4));
    peer.send(&[9]);
    fixture.gates.open("gate");
    assert_eq!(peer.message(), answer(1, "gate"));
    peer.closed_with(1000);
    let (_, before) = fixture.wait_for_disconnected();
    assert!(matches!(&before[..], [Event::Passed(gate)] if gate == "gate"), "{before:?}");
}

#[test]
fn a_close_frame_is_answered_after_earlier_requests() {
    let fixture = Fixture::new();
    for payload in [&b""[..], &1000u16.to_be_bytes(), b"\x0f\xa0own code"] {
        let mut peer = Peer::connect(fixture.address());
        let mut bytes = frame(peer::BINARY, &ask(1, "echo", "before"));
        bytes.extend(frame(CLOSE, payload));
        bytes.extend(frame(peer::BINARY, &ask(2, "echo", "after")));
        peer.write(&bytes);
        assert_eq!(peer.message(), answer(1, "before"));
        assert_eq!(peer.frame(), Some(Frame { first: CLOSE, payload: payload.to_vec() }));
        peer.closed();
        fixture.wait_for_disconnected();
    }
}

#[test]
fn a_client_that_only_stops_sending_still_gets_its_replies() {
    let fixture = Fixture::new();
    let stream = std::net::TcpStream::connect(fixture.address()).unwrap();
    stream.set_read_timeout(Some(SAFETY)).unwrap();
    let mut peer = Peer::on(stream.try_clone().unwrap());
    peer.upgrade("/", "");
    let frames = (0..100).flat_map(|id| frame(peer::BINARY, &ask(id, "echo", "x")));
    peer.write(&frames.collect::<Vec<_>>());
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    (0..100).for_each(|id| assert_eq!(peer.message(), answer(id, "x")));
    peer.closed();
}

#[test]
fn a_client_that_vanishes_is_noticed_once_and_its_handler_finishes() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    let connection = fixture.connected();
    peer.send(&ask(1, "login", "ada"));
    (0..2).for_each(|_| drop(peer.message()));
    peer.send(&ask(2, "wait", "gate"));
    fixture.wait_for_start("wait");
    drop(peer);
    until(|| !connection.is_connected());
    assert_eq!(fixture.server.handle.active_sessions(), 0, "its session is free already");
    fixture.gates.open("gate");
    let (session, before) = fixture.wait_for_disconnected();
    assert!(session, "the hook sees the one that the connection had");
    assert!(matches!(&before[..], [Event::Passed(gate)] if gate == "gate"), "{before:?}");
    until(|| fixture.server.handle.connection_count() == 0);
    assert!(fixture.events.try_recv().is_err(), "once");
}

/// Says so when it is dropped.
struct OnDrop(Sender<&'static str>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

/// Its handlers never end, and hold a lock that the last hook wants.
struct Endless {
    log: Sender<&'static str>,
    lock: smol::lock::Mutex<()>,
}

impl Endless {
    fn serve(close: Duration) -> (Running, std::sync::mpsc::Receiver<&'static str>) {
        let (log, logged) = channel();
        let endless = Self { log, lock: smol::lock::Mutex::new(()) };
        let limits = |config: &mut Config| config.limits.close_timeout = close;
        let builder = Server::builder_on(runtime(), endless).config(configured(|config| {
            limits(config);
            config.connection.drain_timeout = Duration::from_millis(20);
        }));
        (Running::new(builder), logged)
    }
}

impl Handler for Endless {
    async fn request(&self, connection: &Connection, _: Content) -> Result<Payload, RequestError> {
        let _guard = self.lock.lock().await;
        let _on_drop = OnDrop(self.log.clone());
        self.log.send("started").unwrap();
        connection.signal("started", "x").unwrap();
        forever().await
    }

    async fn disconnected(&self, _: &Connection) {
        drop(self.lock.lock().await);
        self.log.send("disconnected").unwrap();
    }
}

#[test]
fn handlers_without_end_are_dropped_after_a_while_before_the_last_hook() {
    let (server, log) = Endless::serve(SAFETY);
    let mut told = Peer::connect(server.address);
    told.send(&ask(1, "x", "x"));
    assert_eq!(log.recv_timeout(SAFETY), Ok("started"));
    told.message();
    server.handle.connections().iter().for_each(Connection::close);
    told.closed_with(1000);
    assert_eq!(log.recv_timeout(SAFETY), Ok("dropped"));
    assert_eq!(log.recv_timeout(SAFETY), Ok("disconnected"));

    let mut gone = Peer::connect(server.address);
    gone.send(&ask(1, "x", "x"));
    assert_eq!(log.recv_timeout(SAFETY), Ok("started"));
    drop(gone);
    assert_eq!(log.recv_timeout(SAFETY), Ok("dropped"));
    assert_eq!(log.recv_timeout(SAFETY), Ok("disconnected"));
    until(|| server.handle.connection_count() == 0);
}

#[test]
fn a_client_that_does_not_answer_the_close_frame_is_not_waited_for_long() {
    let fixture = Fixture::with(|config| config.limits.close_timeout = Duration::from_millis(20));
    let mut peer = Peer::connect(fixture.address());
    fixture.connected().close();
    let close = peer.frame().unwrap();
    assert_eq!(peer::code_of(&close), 1000);
    peer.closed();
    fixture.wait_for_disconnected();
}

#[test]
fn a_client_that_floods_instead_of_closing_holds_up_no_other() {
    let fixture = Fixture::with(|config| config.limits.close_timeout = Duration::from_millis(200));
    let mut peer = Peer::connect(fixture.address());
    let connection = fixture.connected();
    let mut bystander = Peer::connect(fixture.address());
    fixture.connected();
    let flood = frame(peer::BINARY, b"\x07 nothing").repeat(1000);
    thread::scope(|scope| {
        scope.spawn(move || while peer.try_write(&flood).is_ok() {});
        connection.close();
        bystander.is_served();
        fixture.wait_for_disconnected();
    });
    bystander.is_served();
}

/// Turns its clients away, and has something to do afterwards.
struct Bouncer {
    gates: Arc<Gates>,
    log: Sender<&'static str>,
}

impl Handler for Bouncer {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }

    async fn connected(&self, connection: &Connection) {
        connection.signal("sorry", "full").unwrap();
        connection.close();
        self.gates.pass("noted").await;
        self.log.send("noted").unwrap();
    }

    async fn disconnected(&self, _: &Connection) {
        self.log.send("disconnected").unwrap();
    }
}

#[test]
fn the_hook_for_new_connections_may_turn_a_client_away_and_finish() {
    let (log, logged) = channel();
    let gates = Arc::<Gates>::default();
    let bouncer = Bouncer { gates: gates.clone(), log };
    let server = Running::new(Server::builder_on(runtime(), bouncer));
    let mut peer = Peer::connect(server.address);
    assert_eq!(peer.message(), signal(crate::suite::support::message::UTF8, "sorry", b"full"));
    peer.closed_with(1000);
    gates.open("noted");
    assert_eq!(logged.recv_timeout(SAFETY), Ok("noted"));
    assert_eq!(logged.recv_timeout(SAFETY), Ok("disconnected"));
}
