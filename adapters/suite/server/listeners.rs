//! What a server listens on: several things at once, sockets of others, unix sockets.

use std::net::TcpListener;

use crate::adapter::server::Server;
use crate::adapter::{Listen, SocketAddress, runtime};

use crate::suite::support::Running;
use crate::suite::support::app::App;
use crate::suite::support::peer::Peer;

fn listening(on: impl Into<Listen>) -> (Running, Vec<SocketAddress>) {
    Running::listening(Server::builder_on(runtime(), App::new().0), on)
}

#[test]
fn a_listener_of_the_application_is_taken_over() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // One that came before the server is served, too.
    let mut early = Peer::dial(address);
    let (running, addresses) = listening(listener);
    assert_eq!((running.address, &addresses[..]), (address, &[SocketAddress::Tcp(address)][..]));
    early.upgrade("/", "");
    early.is_served();
}

#[test]
fn several_addresses_and_sockets_are_listened_on_at_once() {
    let own = TcpListener::bind("127.0.0.1:0").unwrap();
    let given = own.local_addr().unwrap();
    let on: Listen = ["127.0.0.1:0", "localhost:0"].map(Listen::from).into_iter().collect();
    let (_running, addresses) = listening([on, Listen::from(own)]);
    assert!(addresses.len() >= 3 && addresses.contains(&SocketAddress::Tcp(given)));
    for address in addresses {
        Peer::connect(address.tcp().unwrap()).is_served();
    }
    let nothing =
        smol::block_on(Server::builder_on(runtime(), App::new().0).listen(Vec::<Listen>::new()));
    assert_eq!(nothing.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
}

#[cfg(unix)]
mod unix {
    use std::io::{ErrorKind, Read as _, Write as _};
    use std::net::SocketAddr;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::Path;
    use std::time::Duration;

    use crate::adapter::Manual;
    use crate::adapter::server::{Config, Connection, TrustedProxies};
    use tracing::Level;
    use wwr::Dialect;

    use super::*;
    use crate::suite::support::log::captured;
    use crate::suite::support::message::{BINARY, answer, ask, reply, request};
    use crate::suite::support::peer::handshake;
    use crate::suite::support::{Fixture, SAFETY, configured};

    /// The address of peers on unix sockets.
    const LOCAL: &str = "127.0.0.1:0";

    fn dial(path: &Path) -> Peer {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(SAFETY)).unwrap();
        stream.set_write_timeout(Some(SAFETY)).unwrap();
        Peer::on(stream)
    }

    fn connect(path: &Path) -> Peer {
        dial(path).preflight("/");
        let mut peer = dial(path);
        peer.upgrade("/", "");
        peer
    }

    /// A server on a unix socket in a directory of its own.
    fn fixture(
        change: impl FnOnce(&mut Config),
    ) -> (tempfile::TempDir, std::path::PathBuf, Fixture) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let (app, events, gates) = App::new();
        let builder = Server::builder_on(runtime(), app).config(configured(change));
        let (server, addresses) = Running::listening(builder, Listen::unix(&path));
        assert_eq!(addresses, [SocketAddress::Unix(path.clone())]);
        assert_eq!(addresses[0].to_string(), format!("unix:{}", path.display()));
        (directory, path, Fixture { server, events, gates })
    }

    /// The next connection, and whether its addresses are these.
    fn connected(fixture: &Fixture, client: &str) -> Connection {
        let connection = fixture.connected();
        let info = connection.info();
        assert_eq!(info.remote_addr.to_string(), client);
        assert_eq!(info.socket_addr.to_string(), LOCAL);
        connection
    }

    #[test]
    fn clients_are_served_on_a_unix_socket() {
        let (_directory, path, fixture) = fixture(|_| {});
        assert_eq!(fixture.address().to_string(), LOCAL);
        assert_eq!(fixture.server.handle.local_addr(), None);
        let mut peer = connect(&path);
        peer.is_served();
        let connection = connected(&fixture, LOCAL);
        assert_eq!(connection.dialect(), Dialect::V1_4, "known by its preflight");
        assert_eq!(connection.server().local_addr(), None);
        assert_eq!(connection.info().tls, None);
        let large = vec![7; 1_000_000];
        peer.send(&request(BINARY, 1, "echo", &large));
        assert!(peer.message() == reply(BINARY, 1, &large));
        let done = fixture.server.begin_shut_down(SAFETY);
        peer.closed_with(1001);
        done.recv_timeout(SAFETY).unwrap();
        fixture.server.wait_for_end();
        assert!(!path.exists(), "it is removed at the end");
    }

    /// nginx in front: `proxy_pass http://unix:/run/wwr.sock`, with `X-Forwarded-For`.
    #[test]
    fn a_proxy_on_a_unix_socket_is_one_at_the_loopback_address() {
        let proxies = || {
            let mut proxies = TrustedProxies::default();
            proxies.networks = vec!["127.0.0.1".parse().unwrap()];
            proxies
        };
        let (_directory, path, fixture_one) = fixture(|config| config.trusted_proxies = proxies());
        let client = |header: &str| {
            let mut peer = dial(&path);
            peer.upgrade("/", header);
            peer
        };
        let _named = client("X-Forwarded-For: 192.0.2.1\r\n");
        connected(&fixture_one, "192.0.2.1:0");
        let _unnamed = client("");
        connected(&fixture_one, LOCAL);
        // A page of the host that the proxy names.
        let page = handshake("/", "Origin: https://localhost\r\nX-Forwarded-For: 192.0.2.1\r\n");
        assert_eq!(dial(&path).http(&page).status, 101);
        assert_eq!(dial(&path).http(&handshake("/", "Origin: https://e\r\n")).status, 403);

        let (_directory, path, fixture) = fixture(|config| {
            config.trusted_proxies = proxies();
            config.proxy_protocol = true;
        });
        let mut peer = dial(&path);
        peer.write(b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n");
        peer.upgrade("/", "");
        connected(&fixture, "192.0.2.1:4660");
        let mut without = dial(&path);
        without.write(handshake("/", "").as_bytes());
        assert!(without.rest().is_empty());
    }

    #[test]
    fn slots_and_times_hold_on_unix_sockets() {
        let (_directory, path, _fixture) = fixture(|config| {
            config.limits.max_handshakes = 5;
            config.limits.header_timeout = Duration::MAX;
            config.limits.handshake_timeout = Duration::MAX;
        });
        let mut flood: Vec<_> = (0..50).map(|_| dial(&path)).collect();
        connect(&path).is_served();
        flood[..45].iter_mut().for_each(|peer| assert!(peer.rest().is_empty()));
        let (_directory, path, _fixture) =
            fixture(|config| config.limits.header_timeout = Duration::from_millis(100));
        assert!(dial(&path).rest().is_empty());
    }

    #[test]
    fn nothing_is_logged_that_only_tcp_has() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let executor = Manual::new();
        let server = Server::builder_on(executor.runtime(), App::new().0);
        let server = smol::block_on(server.listen(Listen::unix(&path))).unwrap();
        let handle = server.handle();
        let client = std::thread::spawn(move || {
            connect(&path).is_served();
            smol::block_on(handle.shut_down(Duration::ZERO));
        });
        let log = captured(|| executor.run(server.run()));
        client.join().unwrap();
        assert!(log.iter().all(|line| !line.text.contains("keep-alive")), "{log:?}");
        assert!(log.iter().all(|line| line.level > Level::WARN), "{log:?}");
    }

    #[test]
    fn unix_sockets_and_addresses_are_listened_on_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let (running, addresses) =
            listening([Listen::unix(&path).mode(0o600), Listen::from("127.0.0.1:0")]);
        let address: SocketAddr = addresses[1].tcp().unwrap();
        assert_eq!((running.address, running.handle.local_addr()), (address, Some(address)));
        connect(&path).is_served();
        Peer::connect(address).is_served();
    }

    #[test]
    fn a_socket_in_use_is_an_error_that_names_it_and_stays() {
        let (_directory, path, _fixture) = fixture(|_| {});
        let error =
            smol::block_on(Server::builder_on(runtime(), App::new().0).listen(Listen::unix(&path)));
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
        connect(&path).is_served();
    }

    #[test]
    fn a_unix_listener_of_the_application_is_taken_over_and_its_file_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let (running, addresses) = listening(UnixListener::bind(&path).unwrap());
        assert_eq!(addresses, [SocketAddress::Unix(path.clone())]);
        connect(&path).is_served();
        smol::block_on(running.handle.shut_down(Duration::ZERO));
        running.wait_for_end();
        assert!(path.exists());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn abstract_names_work_and_are_shown_with_an_at_sign() {
        use std::os::linux::net::SocketAddrExt as _;

        let name = format!("wwr-test-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let (_running, addresses) = listening(UnixListener::bind_addr(&address).unwrap());
        assert_eq!(addresses[0].to_string(), format!("unix:@{name}"));
        let mut peer = Peer::on(UnixStream::connect_addr(&address).unwrap());
        peer.upgrade("/", "");
        peer.is_served();
    }

    /// A client that shuts its side down gets its answers nevertheless.
    #[test]
    fn half_closed_sockets_are_answered() {
        let (_directory, path, _fixture) = fixture(|_| {});
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(handshake("/", "").as_bytes()).unwrap();
        let frame = crate::suite::support::peer::frame(0x82, &ask(1, "echo", "last"));
        stream.write_all(&frame).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        let reply = answer(1, "last");
        assert!(all.windows(reply.len()).any(|part| part == reply), "{all:?}");
    }
}
