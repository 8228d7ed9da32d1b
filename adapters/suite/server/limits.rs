//! What clients may cost before they have a WebSocket.

use std::time::Duration;

#[cfg(target_os = "linux")]
use crate::suite::support::until;
use hyper::http::request::Parts;
use wwr::server::RequestError;
use wwr::{Content, Payload};

use crate::adapter::runtime;
use crate::adapter::server::{Config, Connection, ConnectionOptions, Handler, Response, Server};
use crate::suite::support::peer::{Peer, handshake};
use crate::suite::support::{Fixture, Running, configured, forever};

const SOON: Duration = Duration::from_millis(200);

fn with(limits: impl FnOnce(&mut Config)) -> Fixture {
    Fixture::with(limits)
}

#[test]
fn a_head_that_does_not_come_is_not_waited_for() {
    let limits = |config: &mut Config| {
        config.limits.header_timeout = SOON;
        config.limits.handshake_timeout = Duration::MAX;
    };
    let fixture = with(limits);
    let mut bystander = Peer::connect(fixture.address());
    for beginning in ["", "G", "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: web"] {
        let mut peer = Peer::dial(fixture.address());
        peer.write(beginning.as_bytes());
        let rest = peer.rest();
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408 "), "{beginning:?}: {rest:?}");
    }
    bystander.is_served();
}

#[test]
fn a_socket_may_not_be_used_for_http_for_ever() {
    let limits = |config: &mut Config| {
        config.limits.handshake_timeout = SOON;
        config.limits.header_timeout = Duration::MAX;
    };
    let fixture = with(limits);
    let mut bystander = Peer::connect(fixture.address());
    let mut peer = Peer::dial(fixture.address());
    assert!(peer.rest().is_empty());
    bystander.is_served();
}

#[test]
fn an_application_that_does_not_decide_about_a_handshake_is_not_waited_for() {
    struct Undecided;
    impl Handler for Undecided {
        async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
            Ok(request.into_payload())
        }

        async fn before_upgrade(&self, _: &Parts) -> Result<ConnectionOptions, Box<Response>> {
            forever().await
        }
    }
    let limits = |config: &mut Config| config.limits.handshake_timeout = SOON;
    let server = Running::new(Server::builder_on(runtime(), Undecided).config(configured(limits)));
    let mut peer = Peer::dial(server.address);
    peer.write(handshake("/", "").as_bytes());
    assert!(peer.rest().is_empty());
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let fixture = with(|config| config.limits.max_header_size = 8192);
    let long = format!("X: {}\r\n", "x".repeat(10_000));
    let many = "A: b\r\n".repeat(500);
    for headers in [&long, &many] {
        let mut peer = Peer::dial(fixture.address());
        // Fails if the server has read enough before all is written.
        let _ = peer.try_write(handshake("/", headers).as_bytes());
        let rest = String::from_utf8(peer.rest()).unwrap();
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 431 "), "{rest}");
    }
    let target = format!("/{}", "x".repeat(7000));
    let mut peer = Peer::dial(fixture.address());
    peer.upgrade(&target, "");
    peer.is_served();
    let mut endless = Peer::dial(fixture.address());
    while endless.try_write(&[b'x'; 1024]).is_ok() {}
    Peer::connect(fixture.address()).is_served();
}

#[test]
fn the_oldest_of_too_many_sockets_is_closed() {
    let fixture = with(|config| {
        config.limits.max_handshakes = 2;
        config.limits.header_timeout = Duration::MAX;
        config.limits.handshake_timeout = Duration::MAX;
    });
    let preflight = "WEBWIRE / HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut first = Peer::dial(fixture.address());
    let mut second = Peer::dial(fixture.address());
    for peer in [&mut first, &mut second] {
        assert_eq!(peer.http(preflight).status, 200);
    }
    let mut third = Peer::dial(fixture.address());
    assert!(first.rest().is_empty());
    // One that has become a WebSocket does not count any more.
    second.upgrade("/", "");
    second.is_served();
    let mut fourth = Peer::dial(fixture.address());
    for peer in [&mut third, &mut fourth] {
        assert_eq!(peer.http(preflight).status, 200);
    }
    second.is_served();
}

#[test]
fn slots_are_freed_by_a_websocket_or_the_end_of_the_socket() {
    // One stays, one comes, and one may not have quite left.
    let fixture = with(|config| config.limits.max_handshakes = 3);
    let mut patient = Peer::dial(fixture.address());
    assert_eq!(patient.preflight("/").status, 200);
    for _ in 0..10 {
        Peer::connect(fixture.address()).is_served();
    }
    assert_eq!(patient.preflight("/").status, 200);
}

#[test]
fn enormous_limits_do_not_overflow() {
    let limits = |config: &mut Config| {
        config.hub.max_connections = usize::MAX;
        config.limits.max_handshakes = usize::MAX;
        config.limits.header_timeout = Duration::MAX;
        config.limits.max_header_size = 1 << 20;
        config.limits.handshake_timeout = Duration::MAX;
        config.connection.max_message_size = u32::MAX;
        config.limits.max_signal_backlog = usize::MAX;
        config.limits.stall_timeout = Duration::MAX;
        config.limits.close_timeout = Duration::MAX;
        config.hub.store_timeout = Duration::MAX;
    };
    let fixture = Fixture::with(|config| {
        limits(config);
        config.connection.drain_timeout = Duration::MAX;
    });
    let mut peer = Peer::connect(fixture.address());
    let connection = fixture.connected();
    peer.is_served();
    // More than the socket takes at once, so that the stall timer is set.
    peer.send(&crate::suite::support::message::ask(1, "big", "20000000"));
    fixture.wait_for_start("big");
    assert_eq!(peer.message().len(), 9 + 20_000_000);
    connection.close();
    peer.closed_with(1000);
}

/// Clients that vanish silently are noticed by the system.
#[cfg(target_os = "linux")]
#[test]
fn the_system_looks_after_silent_connections() {
    let fixture = Fixture::new();
    let stream = std::net::TcpStream::connect(fixture.address()).unwrap();
    let client = stream.local_addr().unwrap().port();
    let mut peer = Peer::on(stream);
    peer.upgrade("/", "");
    let (server, client) = (format!(":{:04X}", fixture.address().port()), format!(":{client:04X}"));
    // The kind of timer that runs; 02 is that for keeping alive.
    let timer = || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let line = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        line.filter(|line| line[1].ends_with(&server) && line[2].ends_with(&client))
            .map(|line| line[5].to_owned())
            .next()
    };
    until(|| timer().is_some_and(|timer| timer.starts_with("02:")));
}

/// A client without room in the system's queue waits for a second or more, through no fault of the
/// server's.
#[cfg(target_os = "linux")]
#[test]
fn many_clients_can_wait_to_be_accepted_by_a_busy_server() {
    use std::net::TcpStream;

    struct Nobody;

    impl Handler for Nobody {
        async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
            Ok(request.into_payload())
        }
    }

    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let crowd = most.trim().parse::<usize>().unwrap().min(500);
    // It listens and accepts no client.
    let server =
        smol::block_on(Server::builder_on(runtime(), Nobody).listen("127.0.0.1:0")).unwrap();
    let connect =
        |_| TcpStream::connect_timeout(&server.local_addr(), crate::suite::support::SAFETY);
    let connected = (0..crowd).map(connect).collect::<Result<Vec<_>, _>>();
    assert_eq!(connected.unwrap().len(), crowd);
}
