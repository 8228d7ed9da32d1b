//! The server mounted in another HTTP server, on streams of another kind.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;

use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use smol::Async;
use smol::io::{AsyncRead, AsyncWrite};
use smol_hyper::rt::FuturesIo;

use crate::adapter::server::{Handler, Server, Service};
use crate::adapter::{Threads, http_stream};
use crate::suite::support::SAFETY;
use crate::suite::support::app::{App, Event};
use crate::suite::support::message::{answer, ask};
use crate::suite::support::peer::{self, Peer, frame, handshake};

const REMOTE: &str = "192.0.2.7:4711";

/// Serves one end of a socket pair and returns a client on the other.
fn mount(service: &Service<App>, threads: &Threads) -> Peer {
    mount_wrapped(service, threads, |stream| stream)
}

/// The same, with a stream around the server's end.
pub(crate) fn mount_wrapped<H: Handler, S>(
    service: &Service<H>,
    threads: &Threads,
    wrap: impl FnOnce(smol::net::unix::UnixStream) -> S,
) -> Peer
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(SAFETY)).unwrap();
    let stream = wrap(smol::net::unix::UnixStream::from(Async::new(theirs).unwrap()));
    serve(service, threads, || FuturesIo::new(stream));
    Peer::on(ours)
}

/// Serves HTTP on a stream that is made on the runtime.
fn serve<H: Handler, S>(
    service: &Service<H>,
    threads: &Threads,
    open: impl FnOnce() -> S + Send + 'static,
) where
    S: Read + Write + Unpin + Send + 'static,
{
    let service = service.clone();
    threads.spawn(async move {
        let remote: SocketAddr = REMOTE.parse().unwrap();
        let answer = service_fn(|request: Request<Incoming>| {
            let service = service.clone();
            async move {
                Ok::<_, Infallible>(match request.uri().path() {
                    "/health" => Response::new("fine".to_owned().into()),
                    _ => service.answer(request, remote).await,
                })
            }
        });
        let served = http1::Builder::new().serve_connection(open(), answer);
        // Ends with an error when a test ends in the middle of something.
        let _ = served.with_upgrades().await;
    });
}

/// Such a server has sockets of the runtime. Those are used without what HTTP had around them, and have the
/// same options as those of our own server.
#[test]
fn a_websocket_uses_the_tcp_socket_of_another_http_server() {
    use rustix::net::sockopt::socket_keepalive;

    let threads = Threads::start();
    let (app, _events, _gates) = App::new();
    let service = Server::builder_on(threads.runtime(), app).headless().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = Peer::dial(listener.local_addr().unwrap());
    let (stream, _) = listener.accept().unwrap();
    let same = stream.try_clone().unwrap();
    serve(&service, &threads, || http_stream(stream));
    peer.preflight("/");
    assert!(!socket_keepalive(&same).unwrap());
    peer.upgrade("/", "");
    let payload = "x".repeat(1_000_000);
    assert_eq!(peer.ask(1, "echo", &payload), answer(1, &payload));
    assert!(socket_keepalive(&same).unwrap());
}

#[test]
fn a_service_shares_an_http_server_with_other_routes() {
    let threads = Threads::start();
    let (app, events, _gates) = App::new();
    let service = Server::builder_on(threads.runtime(), app).headless().unwrap();
    assert_eq!(service.handle().local_addr(), None);

    let mut peer = mount(&service, &threads);
    let health = peer.http("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((health.status, health.body()), (200, "fine"));
    let preflight = peer.http("WEBWIRE /any HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(preflight.body(), "{\"protocol-version\":\"1.4\"}\n");
    peer.upgrade("/socket", "");
    peer.is_served();

    let connection = match events.recv_timeout(SAFETY).unwrap() {
        Event::Connected(connection) => connection,
        other => panic!("{other:?}"),
    };
    assert_eq!(connection.info().remote_addr, REMOTE.parse().unwrap());
    assert_eq!(connection.server().local_addr(), None);
    connection.close();
    peer.closed_with(1000);
}

#[test]
fn bytes_read_beyond_the_handshake_are_not_lost() {
    let threads = Threads::start();
    let (app, _events, _gates) = App::new();
    let service = Server::builder_on(threads.runtime(), app).headless().unwrap();
    let mut peer = mount(&service, &threads);
    let mut early = handshake("/", "").into_bytes();
    early.extend(frame(peer::BINARY, &ask(1, "echo", "early")));
    let last = frame(peer::BINARY, &ask(2, "echo", "split"));
    early.extend(&last[..7]);
    peer.write(&early);
    assert_eq!(peer.http_answer().status, 101);
    peer.advertised();
    assert_eq!(peer.message(), answer(1, "early"));
    peer.write(&last[7..]);
    assert_eq!(peer.message(), answer(2, "split"));
}

#[test]
fn large_messages_pass_through_other_streams_both_ways() {
    let threads = Threads::start();
    let (app, _events, _gates) = App::new();
    let service = Server::builder_on(threads.runtime(), app).headless().unwrap();
    let mut peer = mount(&service, &threads);
    peer.preflight("/");
    peer.upgrade("/", "");
    let payload = "x".repeat(1_000_000);
    assert_eq!(peer.ask(1, "echo", &payload), answer(1, &payload));
}

#[test]
fn a_headless_server_shuts_down_as_well() {
    let threads = Threads::start();
    let (app, _events, gates) = App::new();
    let service = Server::builder_on(threads.runtime(), app).headless().unwrap();
    let mut peer = mount(&service, &threads);
    peer.upgrade("/", "");
    peer.send(&ask(1, "wait", "gate"));
    gates.open("gate");
    assert_eq!(peer.message(), answer(1, "gate"));
    let handle = service.handle();
    std::thread::scope(|scope| {
        scope.spawn(|| smol::block_on(handle.shut_down(SAFETY)));
        peer.closed_with(1001);
    });
    let mut late = mount(&service, &threads);
    assert_eq!(late.http(&handshake("/", "")).status, 503);
    let mut health = mount(&service, &threads);
    assert_eq!(health.http("GET /health HTTP/1.1\r\nHost: h\r\n\r\n").status, 200);
}
