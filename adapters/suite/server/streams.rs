//! Byte streams that come from the application, as pipes in memory do.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::adapter::server::Server;
use crate::adapter::{ByteStream, Threads, runtime};
use smol::Async;
use wwr::Dialect;

use crate::suite::support::app::{App, Event};
use crate::suite::support::message::{BINARY, reply, request};
use crate::suite::support::peer::{Peer, handshake};
use crate::suite::support::{SAFETY, configured, until};

/// An address that no socket of the tests has.
const REMOTE: &str = "192.0.2.1:4660";

/// The ends of a stream. That of the server is nothing that it knows.
fn stream() -> (Async<TcpStream>, Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = Peer::dial(listener.local_addr().unwrap());
    (Async::new(listener.accept().unwrap().0).unwrap(), peer)
}

fn remote() -> SocketAddr {
    REMOTE.parse().unwrap()
}

#[test]
fn a_service_without_a_listener_serves_streams() {
    let threads = Threads::start();
    let (app, events, _gates) = App::new();
    let config = configured(|config| {
        config.limits.max_handshakes = 3;
        config.limits.header_timeout = Duration::MAX;
    });
    let builder = Server::builder_on(runtime(), app).config(config).executor(threads.runtime());
    let service = builder.headless().unwrap();
    let serve = || {
        let (ours, peer) = stream();
        service.serve_stream(ours, remote());
        peer
    };
    assert_eq!(serve().preflight("/").status, 200);
    let mut peer = serve();
    peer.upgrade("/", "");
    peer.is_served();
    let large = vec![7; 1_000_000];
    peer.send(&request(BINARY, 1, "echo", &large));
    assert!(peer.message() == reply(BINARY, 1, &large));
    let connected = events.recv_timeout(SAFETY).unwrap();
    let Event::Connected(connection) = connected else { panic!("{connected:?}") };
    let info = connection.info();
    assert_eq!((info.remote_addr, info.socket_addr), (remote(), remote()));
    assert_eq!(connection.dialect(), Dialect::V1_4, "known by the preflight from that address");

    // Their handshakes have slots.
    let mut flood: Vec<_> = (0..10).map(|_| serve()).collect();
    flood[..7].iter_mut().for_each(|half| assert!(half.rest().is_empty()));
    flood[9].upgrade("/", "");
    flood[9].is_served();

    let handle = service.handle();
    let done = std::thread::spawn(move || smol::block_on(handle.shut_down(SAFETY)));
    peer.closed_with(1001);
    flood[9].closed_with(1001);
    done.join().unwrap();
    assert!(serve().rest().is_empty(), "nothing is served any more");
}

#[test]
fn the_service_of_a_server_shares_its_connections_and_limits() {
    let (app, _events, _gates) = App::new();
    let config = configured(|config| config.hub.max_connections = 2);
    let threads = Threads::start();
    let builder = Server::builder_on(runtime(), app).config(config).executor(threads.runtime());
    let server = smol::block_on(builder.listen("127.0.0.1:0")).unwrap();
    let (service, address) = (server.service(), server.local_addr());
    threads.spawn(server.run());
    let mut accepted = Peer::connect(address);
    let (ours, mut given) = stream();
    service.serve_stream(ours, remote());
    given.upgrade("/", "");
    accepted.is_served();
    given.is_served();
    until(|| service.handle().connection_count() == 2);
    let (ours, mut third) = stream();
    service.serve_stream(ours, remote());
    assert_eq!(third.http(&handshake("/", "")).status, 503);
    smol::block_on(service.handle().shut_down(Duration::ZERO));
}

/// A stream that is boxed already, and one that ends at once.
#[test]
fn any_type_of_stream_will_do() {
    let (app, _events, _gates) = App::new();
    let builder = Server::builder_on(runtime(), app);
    let threads = Threads::start();
    let service = builder.executor(threads.runtime()).headless().unwrap();
    let (ours, mut peer) = stream();
    let boxed: Box<dyn ByteStream> = Box::new(ours);
    service.serve_stream(boxed, remote());
    peer.upgrade("/", "");
    peer.is_served();
    service.serve_stream(smol::io::Cursor::new(Vec::new()), remote());
    peer.is_served();
}
