//! The TLS handshake: it may be slow, wrong or missing, and is nothing to other clients.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{TryRecvError, channel};
use std::time::Duration;

use crate::adapter::rustls::{ClientConfig, ClientConnection};
use crate::adapter::server::{Server, TrustedProxies};
use crate::adapter::{Listen, Threads, runtime};
use tracing::Level;

use super::{Client, Identity, fixture, with};
use crate::suite::support::app::App;
use crate::suite::support::log::logged;
use crate::suite::support::peer::{Peer, frame, handshake};
use crate::suite::support::{Running, SAFETY, configured, until};

/// What a client does at an address.
type Attempt = Box<dyn Fn(SocketAddr) + Send>;

/// The beginning of a handshake.
fn hello(client: &Client) -> Vec<u8> {
    let name = "localhost".try_into().unwrap();
    let mut hello = Vec::new();
    ClientConnection::new(client.0.clone(), name).unwrap().write_tls(&mut hello).unwrap();
    hello
}

#[test]
fn requests_without_tls_are_told_so() {
    let identity = Identity::new();
    let builder = Server::builder_on(runtime(), App::new().0).tls(identity.server());
    let log = logged(builder, |address| {
        for request in [handshake("/", ""), "WEBWIRE / HTTP/1.1\r\nHost: h\r\n\r\n".into()] {
            let mut peer = Peer::dial(address);
            let answer = peer.http(&request);
            assert_eq!(answer.status, 400);
            assert_eq!(answer.header("connection"), Some("close"));
            for part in ["not TLS", "https or wss", "wss://"] {
                assert!(answer.body().contains(part), "{}", answer.body());
            }
            peer.write(&[b'x'; 1000]);
            assert!(peer.rest().is_empty());
        }
        identity.client().connect(address).is_served();
    });
    let lines: Vec<_> = log.iter().filter(|line| line.text.contains("not TLS")).collect();
    assert!(matches!(&lines[..], [line, ..] if line.level == Level::INFO), "{log:?}");
    assert!(lines[0].text.contains("wss"), "{lines:?}");
    assert!(lines.len() <= 2, "one a second: {lines:?}");
}

#[test]
fn what_is_neither_tls_nor_http_is_closed_without_an_answer() {
    let identity = Identity::new();
    let fixture = fixture(identity.server());
    for bytes in [&b"\x80\x2e\x01"[..], b"\0", b"ssh-2.0\r\n", b"\xff\xff\xff\xff"] {
        let mut peer = Peer::dial(fixture.address());
        peer.write(bytes);
        assert!(peer.rest().is_empty(), "{bytes:?}");
    }
    identity.client().connect(fixture.address()).is_served();
}

#[test]
fn handshakes_that_fail_are_logged_with_their_reason() {
    let identity = Identity::new();
    let strange = Identity::new().client();
    let reasons: [(&str, Attempt); 3] = [
        // The name of the authority is the same, but not its key.
        ("DecryptError", Box::new(move |address| drop(strange.refused(address)))),
        (
            "known protocol",
            Box::new({
                let client = identity.client().with(|config| {
                    config.alpn_protocols = vec![b"h2".to_vec()];
                });
                move |address| {
                    let refused = client.refused(address);
                    assert!(refused.contains("NoApplicationProtocol"), "{refused}");
                }
            }),
        ),
        (
            "corrupt",
            Box::new(|address| {
                let mut peer = Peer::dial(address);
                peer.write(b"\x16\x03\x01\xff\xff\x01\x02\x03");
                peer.rest();
            }),
        ),
    ];
    for (reason, client) in reasons {
        let builder = Server::builder_on(runtime(), App::new().0).tls(identity.server());
        let log = logged(builder, client);
        let lines: Vec<_> =
            log.iter().filter(|line| line.text.starts_with("The TLS handshake failed")).collect();
        assert!(
            matches!(&lines[..], [line] if line.level == Level::INFO && line.text.contains(reason)),
            "{reason}: {log:?}"
        );
    }
}

#[test]
fn a_protocol_of_alpn_is_agreed_if_the_client_asks() {
    let identity = Identity::new();
    let fixture = fixture(identity.server());
    let both = [&b"h2"[..], b"http/1.1"].map(<[u8]>::to_vec).to_vec();
    let client = identity.client().with(|config: &mut ClientConfig| config.alpn_protocols = both);
    let stream = client.encrypt(TcpStream::connect(fixture.address()).unwrap()).unwrap();
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut peer = Peer::on(stream);
    peer.upgrade("/", "");
    peer.is_served();
}

#[test]
fn a_slow_handshake_times_out_and_the_log_names_the_setting() {
    let identity = Identity::new();
    let hello = hello(&identity.client());
    let config = configured(|config| config.limits.header_timeout = Duration::from_millis(300));
    let builder = Server::builder_on(runtime(), App::new().0).config(config).tls(identity.server());
    let log = logged(builder, |address| {
        for half in [&hello[..0], &hello[..1], &hello[..60], &hello] {
            let mut peer = Peer::dial(address);
            peer.write(half);
            let rest = peer.rest();
            // The server may have its part of the handshake ready in time, or not.
            if half.len() < hello.len() {
                assert!(rest.is_empty(), "{rest:?}");
            }
        }
    });
    let lines: Vec<_> = log.iter().filter(|line| line.text.contains("header_timeout")).collect();
    assert!(!lines.is_empty(), "{log:?}");
    assert!(lines.iter().all(|line| line.text.starts_with("The TLS handshake did not")), "{log:?}");
}

#[test]
fn a_whole_hello_is_answered_with_one() {
    let identity = Identity::new();
    let fixture = fixture(identity.server());
    let mut stream = TcpStream::connect(fixture.address()).unwrap();
    stream.set_read_timeout(Some(SAFETY)).unwrap();
    stream.write_all(&hello(&identity.client())).unwrap();
    let mut head = [0; 6];
    stream.read_exact(&mut head).unwrap();
    let [record, _, _, _, _, message] = head;
    assert_eq!((record, message), (22, 2), "a handshake record with a ServerHello");
}

/// The handshake of TLS and that of the WebSocket have one time together.
#[test]
fn the_whole_handshake_has_a_limit_of_its_own() {
    let identity = Identity::new();
    let hello = hello(&identity.client());
    let fixture = with(identity.server(), |config| {
        config.limits.header_timeout = Duration::MAX;
        config.limits.handshake_timeout = Duration::from_millis(300);
    });
    let mut half = Peer::dial(fixture.address());
    half.write(&hello[..60]);
    assert!(half.rest().is_empty());
    let mut silent = TcpStream::connect(fixture.address()).unwrap();
    let _encrypted = identity.client().encrypt(silent.try_clone().unwrap()).unwrap();
    silent.read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_flood_of_half_open_handshakes_keeps_no_client_out() {
    let identity = Identity::new();
    let hello = hello(&identity.client());
    let fixture = with(identity.server(), |config| {
        config.limits.max_handshakes = 20;
        config.limits.header_timeout = Duration::MAX;
        config.limits.handshake_timeout = Duration::MAX;
    });
    let client = identity.client();
    let mut flood = Vec::new();
    for number in 0..300 {
        let mut half = Peer::dial(fixture.address());
        // The whole, too: it makes the server sign.
        half.write(&hello[..1 + number * 7 % hello.len()]);
        flood.push(half);
        if number % 20 == 19 {
            client.connect(fixture.address()).is_served();
        }
    }
    // Their slots went to others.
    flood[..280].iter_mut().for_each(|half| drop(half.rest()));
    client.connect(fixture.address()).is_served();
}

/// All of them share one thread, and the message of the flood never ends: without the limit on what is read
/// in one turn, the thread would read on as long as there is something.
#[test]
fn a_flood_of_small_records_holds_up_no_other_connection() {
    let identity = Identity::new();
    let threads = Threads::one();
    let config = configured(|config| config.connection.max_message_size = u32::MAX);
    let builder = Server::builder_on(threads.runtime(), App::new().0);
    let builder = builder.config(config).tls(identity.server());
    let server = Running::spawned(builder, |task| threads.spawn(task));
    let mut bystander = identity.client().connect(server.address);
    let mut stream =
        identity.client().encrypt(TcpStream::connect(server.address).unwrap()).unwrap();
    stream.write_all(handshake("/", "").as_bytes()).unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 101");
    stream.write_all(&frame(0x02, b"x")).unwrap();

    // The flood also ends when this test fails, because the sender is dropped.
    let (stop, stopped) = channel::<()>();
    let sent = Arc::<AtomicUsize>::default();
    let flood = std::thread::spawn({
        let sent = sent.clone();
        move || -> std::io::Result<()> {
            let part = frame(0x00, b"x");
            while stopped.try_recv() == Err(TryRecvError::Empty) {
                // Each becomes a record. Many leave at once, so that the server has always more to read.
                for _ in 0..500 {
                    stream.conn.writer().write_all(&part)?;
                }
                while stream.conn.wants_write() {
                    stream.conn.write_tls(&mut stream.sock)?;
                }
                sent.fetch_add(500, Ordering::Relaxed);
            }
            Ok(())
        }
    });
    // More than one turn.
    until(|| sent.load(Ordering::Relaxed) > 20_000 || flood.is_finished());
    (0..50).for_each(|_| bystander.is_served());
    assert!(!flood.is_finished(), "{:?}", flood.join());
    stop.send(()).unwrap();
    flood.join().unwrap().unwrap();
}

#[test]
fn the_header_of_the_proxy_protocol_comes_before_tls() {
    let identity = Identity::new();
    let fixture = with(identity.server(), |config| {
        config.trusted_proxies = TrustedProxies::default();
        config.trusted_proxies.networks = vec!["127.0.0.1".parse().unwrap()];
        config.proxy_protocol = true;
    });
    let mut stream = TcpStream::connect(fixture.address()).unwrap();
    stream.write_all(b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 443\r\n").unwrap();
    let mut peer = Peer::on(identity.client().encrypt(stream).unwrap());
    peer.upgrade("/", "");
    peer.is_served();
    let info = fixture.connected().info().clone();
    assert_eq!(info.remote_addr.to_string(), "192.0.2.1:4660");
    assert!(info.tls.is_some());
    let mut without = Peer::dial(fixture.address());
    without.write(&hello(&identity.client()));
    assert!(without.rest().is_empty());
}

#[test]
fn some_listeners_may_be_without_tls() {
    let identity = Identity::new();
    let listen = [Listen::from("127.0.0.1:0"), Listen::from("127.0.0.1:0").plain()];
    let builder = Server::builder_on(runtime(), App::new().0).tls(identity.server());
    let (running, addresses) = Running::listening(builder, listen);
    let [encrypted, plain] = [0, 1].map(|index| addresses[index].tcp().unwrap());
    assert_eq!(running.address, encrypted);
    identity.client().connect(encrypted).is_served();
    Peer::connect(plain).is_served();
    assert_eq!(Peer::dial(encrypted).http(&handshake("/", "")).status, 400);
}
