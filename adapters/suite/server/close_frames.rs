//! What each side says when it closes, and what the other learns of it.

use std::sync::mpsc;
use std::time::Duration;

use wwr::server::{CloseReason, RequestError};
use wwr::{CloseFrame, Content, InvalidCloseFrame, Payload, SessionInfo};

use crate::adapter::runtime;
use crate::adapter::server::{Config, Connection, Connections, Ended, Handler, Server};
use crate::suite::support::message::{SESSION_CLOSED, answer, ask};
use crate::suite::support::peer::{self, Peer, frame};
use crate::suite::support::{Running, SAFETY, configured};

/// Closes with what the request says, and tells how connections end.
struct Closes {
    connected: mpsc::Sender<Connection>,
    ended: mpsc::Sender<Option<Ended>>,
}

impl Handler for Closes {
    async fn request(&self, from: &Connection, request: Content) -> Result<Payload, RequestError> {
        assert_eq!(from.ended(), None);
        match request.name() {
            b"login" => drop(from.create_session(SessionInfo::default()).await?),
            b"ban" => {
                from.close_with(4003, "banned").unwrap();
                from.close_with(4004, "too late").unwrap();
                assert!(!from.is_connected());
            }
            _ => return Ok(request.into_payload()),
        }
        Ok("done".into())
    }

    async fn connected(&self, connection: &Connection) {
        self.connected.send(connection.clone()).unwrap();
    }

    async fn disconnected(&self, connection: &Connection) {
        self.ended.send(connection.ended()).unwrap();
    }
}

struct Scene {
    server: Running,
    connected: mpsc::Receiver<Connection>,
    ended: mpsc::Receiver<Option<Ended>>,
}

impl Scene {
    fn new(limits: impl FnOnce(&mut Config)) -> Self {
        let (connected, has_connected) = mpsc::channel();
        let (ended, has_ended) = mpsc::channel();
        let builder =
            Server::builder_on(runtime(), Closes { connected, ended }).config(configured(limits));
        let server = Running::new(builder);
        Self { server, connected: has_connected, ended: has_ended }
    }

    fn connect(&self) -> (Peer, Connection) {
        let peer = Peer::connect(self.server.address);
        (peer, self.connected.recv_timeout(SAFETY).unwrap())
    }

    fn ended(&self) -> Ended {
        self.ended.recv_timeout(SAFETY).unwrap().expect("it has ended without a reason")
    }
}

/// Checks that the server closes with this code and text.
fn closed(peer: &mut Peer, code: u16, text: &str) {
    let close = peer.frame().expect("closed without a close frame");
    assert_eq!((close.first, peer::code_of(&close)), (peer::CLOSE, code));
    assert_eq!(close.payload[2..], *text.as_bytes());
    peer.write(&frame(peer::CLOSE, &close.payload));
    peer.closed();
}

fn by_server(code: u16, text: &'static str) -> Ended {
    let frame = CloseFrame::new(code, text).unwrap();
    Ended::ByServer(CloseReason::Application(Box::new(frame)))
}

#[test]
fn the_application_says_code_and_reason_once_its_handlers_are_done() {
    let scene = Scene::new(|_| {});
    let (mut peer, _) = scene.connect();
    assert_eq!(peer.ask(1, "ban", "x"), answer(1, "done"));
    closed(&mut peer, 4003, "banned");
    assert_eq!(scene.ended(), by_server(4003, "banned"));

    let longest: &str = "é".repeat(61).leak();
    let (mut peer, connection) = scene.connect();
    connection.close_with(1013, longest).unwrap();
    closed(&mut peer, 1013, longest);
    assert_eq!(scene.ended(), by_server(1013, longest));
    assert_eq!(connection.ended(), Some(by_server(1013, longest)));
    connection.close_with(4000, "it is over already").unwrap();
}

#[test]
fn an_invalid_close_code_is_refused_and_the_connection_stays_open() {
    let scene = Scene::new(|_| {});
    let (mut peer, connection) = scene.connect();
    for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, u16::MAX] {
        assert_eq!(connection.close_with(code, ""), Err(InvalidCloseFrame::Code { code }));
    }
    let too_long = connection.close_with(4000, "x".repeat(124));
    assert_eq!(too_long, Err(InvalidCloseFrame::ReasonTooLong { length: 124 }));
    assert!(connection.is_connected());
    peer.is_served();
    connection.close();
    closed(&mut peer, 1000, "closed by the server");
    assert_eq!(scene.ended(), Ended::ByServer(CloseReason::Requested));
}

#[test]
fn the_application_learns_how_clients_end() {
    let scene = Scene::new(|_| {});
    for (payload, code, reason) in [
        (&b""[..], None, ""),
        (b"\x03\xe9", Some(1001), ""),
        (b"\x0f\xa1moved on", Some(4001), "moved on"),
    ] {
        let (mut peer, _) = scene.connect();
        peer.write(&frame(peer::CLOSE, payload));
        assert_eq!(peer.frame().map(|frame| frame.first), Some(peer::CLOSE));
        assert_eq!(scene.ended(), Ended::ByClient(CloseFrame::received(code, reason)));
    }
    let (peer, _) = scene.connect();
    drop(peer);
    assert_eq!(scene.ended(), Ended::Lost);

    let (mut peer, _) = scene.connect();
    peer.write(&frame(0x83, b"no such kind"));
    peer.closed_with(1002);
    let Ended::Violated(told) = scene.ended() else { panic!() };
    assert_eq!(told.code(), 1002);
}

#[test]
fn an_invalid_close_frame_of_a_client_is_a_violation() {
    let scene = Scene::new(|_| {});
    for payload in [
        &b"\x03"[..],
        b"\0\0",
        b"\x03\xe7",
        b"\x03\xec",
        b"\x03\xedno code",
        b"\x03\xeelost",
        b"\x03\xf7tls",
        b"\x0b\xb7",
        b"\x13\x88",
        b"\xff\xffx",
    ] {
        let (mut peer, _) = scene.connect();
        peer.write(&frame(peer::CLOSE, payload));
        let close = peer.frame().expect("closed without a close frame");
        assert_eq!((close.first, peer::code_of(&close)), (peer::CLOSE, 1002), "{payload:?}");
        peer.closed();
        drop(peer);
        let Ended::Violated(told) = scene.ended() else { panic!("{payload:?}") };
        assert_eq!((told.code(), told.reason().as_bytes()), (1002, &close.payload[2..]));
    }
}

#[test]
fn a_client_that_reads_nothing_is_lost() {
    let limits = |config: &mut Config| config.limits.stall_timeout = Duration::from_millis(100);
    let scene = Scene::new(limits);
    let (_peer, connection) = scene.connect();
    // More than all sockets hold.
    connection.signal("large", vec![7; 64 << 20]).unwrap();
    assert_eq!(scene.ended(), Ended::Lost);
}

#[test]
fn a_session_that_is_closed_everywhere_may_be_closed_with_a_frame() {
    let scene = Scene::new(|_| {});
    let (mut peer, connection) = scene.connect();
    let (mut bystander, _other) = scene.connect();
    peer.send(&ask(1, "login", ""));
    assert_eq!(peer.message()[0], 21);
    assert_eq!(peer.message(), answer(1, "done"));
    let key = connection.session_key().unwrap();
    let frame = CloseFrame::new(4003, "banned").unwrap();
    let handle = &scene.server.handle;
    let told = smol::block_on(handle.close_session(key, Connections::CloseWith(frame)));
    assert_eq!(told, Ok(1));
    assert_eq!(peer.message(), SESSION_CLOSED);
    closed(&mut peer, 4003, "banned");
    assert_eq!(scene.ended(), by_server(4003, "banned"));
    bystander.is_served();
}

#[test]
fn a_shutdown_is_reported_as_the_reason() {
    let scene = Scene::new(|_| {});
    let (mut peer, _connection) = scene.connect();
    let done = scene.server.begin_shut_down(SAFETY);
    closed(&mut peer, 1001, "server shutting down");
    assert_eq!(scene.ended(), Ended::ByServer(CloseReason::Shutdown));
    done.recv_timeout(SAFETY).unwrap();
}
