//! Servers at `wss://`: which ones the client trusts, and what it tells of those that it does not.

mod front;
mod openssl;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use crate::adapter::client::{Builder, Config, Event, InvalidTls, Proxy, Tls};
use futures_rustls::rustls::{self, HandshakeKind, RootCertStore, ServerConfig};
use wwr::Payload;
use wwr::client::{ConnectError as Kind, DisconnectReason, Protocol};

use crate::suite::client::raw::{CLOSE, RawServer};
use crate::suite::client::{
    builder_at, changed, config, config_of, connecting, request, spawn, wait,
};
use front::{Authority, Certificate, Front, server_config};

/// Settings with which one attempt fails or not.
fn once(tls: Tls) -> Config {
    changed(config(), |config| {
        config.machine.reconnect = false;
        config.tls = tls;
    })
}

fn builder(url: &str, tls: Tls) -> Builder {
    builder_at(url).unwrap().config(once(tls))
}

/// Why a client does not connect.
fn failure(url: &str, tls: Tls) -> String {
    let client = builder(url, tls).build().unwrap();
    let error = wait(client.connect()).unwrap_err();
    assert!(!error.kind().unwrap().is_definite(), "a certificate may be mended: {error}");
    error.to_string()
}

fn trusting(authority: &Authority) -> Tls {
    Tls::roots_pem(authority.pem().as_bytes()).unwrap()
}

/// A server with a certificate of an authority for `localhost` and 127.0.0.1.
fn good() -> (Authority, Front) {
    let authority = Authority::new();
    let front = Front::new(server_config(&authority.issue(Certificate::default())));
    (authority, front)
}

#[test]
fn a_server_is_trusted_by_a_root_of_ones_own_and_its_session_is_resumed() {
    let (authority, front) = good();
    for (host, name) in [("localhost", Some("localhost")), ("127.0.0.1", None)] {
        let client = builder(&front.url(host), trusting(&authority)).build().unwrap();
        let connected = connecting(&client);
        let mut socket = front.raw.open();
        assert_eq!(wait(connected), Ok(()));
        let answer = request(&client, "a", "x");
        assert_eq!(socket.echo(), "a");
        assert_eq!(wait(answer), Ok(Payload::binary("x")));
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let opened = front.opened();
            assert_eq!(opened.kind, kind, "{host}");
            assert_eq!(opened.name.as_deref(), name);
            assert_eq!(opened.alpn.as_deref(), Some(&b"http/1.1"[..]));
            assert!(!opened.has_certificate);
        }
        let closing = spawn(&client, |client| async move { client.close().await });
        assert_eq!(socket.frame(), Some((CLOSE, 1000u16.to_be_bytes().to_vec())));
        socket.send_frame(true, CLOSE, &1000u16.to_be_bytes());
        front.close_notify();
        wait(closing);
    }
}

#[test]
fn a_close_handshake_of_the_server_ends_with_close_notify_as_well() {
    let (authority, front) = good();
    let client = builder(&front.url("localhost"), trusting(&authority)).build().unwrap();
    let mut events = client.events();
    let connected = connecting(&client);
    let mut socket = front.raw.open();
    assert_eq!(wait(connected), Ok(()));
    assert_eq!(wait(events.next()), Some(Event::Connected));
    socket.send_frame(true, CLOSE, &1000u16.to_be_bytes());
    assert_eq!(socket.frame(), Some((CLOSE, 1000u16.to_be_bytes().to_vec())));
    front.close_notify();
}

#[test]
fn messages_before_an_end_without_close_notify_are_not_lost() {
    let (authority, front) = good();
    let mut config = once(trusting(&authority));
    config.machine.protocol = Protocol::V2_0;
    let builder = builder_at(&front.url("localhost")).unwrap().config(config);
    let client = builder.build().unwrap();
    let mut events = client.events();
    let connected = connecting(&client);
    let mut socket = front.raw.advertise(&crate::suite::client::raw::default_conf());
    assert_eq!(wait(connected), Ok(()));
    let answer = request(&client, "a", "x");
    let asked = socket.request();
    let large = vec![b'y'; 100_000];
    socket.reply(&asked, &large);
    socket.send(b"\x3f\x01nlast");
    // The front then cuts the connection.
    drop(socket);
    assert_eq!(wait(answer), Ok(Payload::binary(large)));
    assert_eq!(wait(events.next()), Some(Event::Connected));
    assert!(matches!(wait(events.next()), Some(Event::Signal(_))));
    let reason = DisconnectReason::Lost;
    assert_eq!(wait(events.next()), Some(Event::Disconnected { reason, retry_in: None }));
}

#[test]
fn a_certificate_that_is_refused_is_refused_with_a_reason() {
    let authority = Authority::new();
    let day = |year| rcgen::date_time_ymd(year, 1, 1);
    let issue = |change: fn(&mut rcgen::CertificateParams)| {
        let mut certificate = Certificate::default();
        change(&mut certificate.params);
        certificate
    };
    for (certificate, said) in [
        (
            Certificate::for_names(&["example.com", "*.example.org"]),
            "it is for another name; use one that it has in the URL: example.com, *.example.org",
        ),
        (
            issue(|params| params.not_after = rcgen::date_time_ymd(2001, 1, 1)),
            "it has expired; the server needs a new one, or the clock of this machine is wrong",
        ),
        (
            issue(|params| params.not_before = rcgen::date_time_ymd(3000, 1, 1)),
            "it is not valid yet; perhaps the clock of this machine or that of its issuer is wrong",
        ),
        (
            issue(|params| {
                params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
            }),
            "it is not one for servers; the server needs one that is",
        ),
    ] {
        let mut certificate = certificate;
        if said.contains("not valid yet") {
            certificate.params.not_after = day(3001);
        }
        let front = Front::new(server_config(&authority.issue(certificate)));
        let text = failure(&front.url("localhost"), trusting(&authority));
        let said = format!("the certificate of the server is refused: {said}");
        assert!(text.ends_with(&said), "{text}");
    }
}

#[test]
fn an_issuer_that_is_not_trusted_is_refused_unless_nothing_is_verified() {
    let (_, front) = good();
    for tls in [Tls::webpki_roots(), trusting(&Authority::new())] {
        let text = failure(&front.url("localhost"), tls);
        assert!(text.contains("name its root certificate with Tls::roots_pem"), "{text}");
    }
    let client = builder(&front.url("localhost"), Tls::without_verification()).build().unwrap();
    let connected = connecting(&client);
    let _socket = front.raw.open();
    assert_eq!(wait(connected), Ok(()));
}

#[test]
fn a_configuration_of_the_application_decides_alone() {
    let (authority, front) = good();
    let mut roots = RootCertStore::empty();
    roots.add(authority.der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let given = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = builder(&front.url("localhost"), given.into()).build().unwrap();
    let connected = connecting(&client);
    let _socket = front.raw.open();
    assert_eq!(wait(connected), Ok(()));
    let opened = front.opened();
    assert_eq!(opened.version, Some(rustls::ProtocolVersion::TLSv1_2));
    assert_eq!(opened.alpn.as_deref(), Some(&b"http/1.1"[..]));
}

#[test]
fn a_server_gets_the_certificate_of_the_client_that_it_wants() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let certificate = authority.issue(Certificate::default());
    let mut roots = RootCertStore::empty();
    roots.add(clients.der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        provider.clone(),
    );
    for versions in [&[&rustls::version::TLS12][..], &[&rustls::version::TLS13]] {
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(verifier.clone().build().unwrap());
        let (chain, key) = certificate.der();
        let front = Front::new(server.with_single_cert(chain, key).unwrap());
        let url = front.url("localhost");

        let text = failure(&url, trusting(&authority));
        assert!(text.contains("wants a certificate of the client"), "{text}");

        let identity = |issuer: &Authority| {
            let shown = issuer.issue(Certificate::for_names(&["ada"]));
            trusting(&authority).with_identity_pem(shown.pem().as_bytes(), shown.key().as_bytes())
        };
        let text = failure(&url, identity(&authority).unwrap());
        assert!(text.contains("it refuses the certificate of the client"), "{text}");

        let client = builder(&url, identity(&clients).unwrap()).build().unwrap();
        let connected = connecting(&client);
        let _socket = front.raw.open();
        assert_eq!(wait(connected), Ok(()));
        assert!(front.opened().has_certificate);
    }
}

#[test]
fn a_side_without_tls_is_told_apart() {
    // Neither HTTP nor TLS: the server sees what comes, and answers in its own way.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("wss://{}/", listener.local_addr().unwrap());
    for (answer, said) in [
        (&b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..], "use ws://, or the port"),
        (b"", "if it does not speak TLS on this port, use ws://"),
    ] {
        let client = builder(&url, Tls::webpki_roots()).build().unwrap();
        let connected = connecting(&client);
        let (mut stream, _) = listener.accept().unwrap();
        let mut record = [0; 5];
        stream.read_exact(&mut record).unwrap();
        assert_eq!(record[..2], [0x16, 3], "the beginning of a handshake");
        let mut hello = vec![0; usize::from(u16::from_be_bytes([record[3], record[4]]))];
        stream.read_exact(&mut hello).unwrap();
        stream.write_all(answer).unwrap();
        drop(stream);
        let text = wait(connected).unwrap_err().to_string();
        assert!(text.contains(said), "{text}");
    }
    let (authority, front) = good();
    let url = front.url("localhost").replace("wss://", "ws://");
    let text = failure(&url, trusting(&authority));
    assert!(
        text.ends_with(
            "the server speaks TLS on this port: use wss://, or a port where it does not"
        ),
        "{text}"
    );
}

#[test]
fn a_handshake_that_does_not_go_on_ends_with_the_time_of_the_attempt() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("wss://{}/", listener.local_addr().unwrap());
    let short = Duration::from_millis(50);
    for (protocol, kind) in
        [(Protocol::V1_4, Kind::ProbeTimedOut), (Protocol::V2_0, Kind::DialTimedOut)]
    {
        let config = changed(config_of(protocol), |config| {
            config.machine.reconnect = false;
            config.machine.probe_timeout = short;
            config.machine.dial_timeout = short;
            config.tls = Tls::webpki_roots();
        });
        let client = builder_at(&url).unwrap().config(config).build().unwrap();
        let connected = connecting(&client);
        let (mut silent, _) = listener.accept().unwrap();
        assert_eq!(wait(connected).unwrap_err().kind(), Some(&kind));
        // The client has closed the connection.
        silent.set_read_timeout(Some(crate::suite::client::raw::TIMEOUT)).unwrap();
        let mut hello = Vec::new();
        silent.read_to_end(&mut hello).unwrap();
        assert!(hello.starts_with(&[0x16, 3]));
    }
}

#[test]
fn a_client_goes_from_tls_to_a_plain_server_and_back_without_mixing_them_up() {
    let (authority, front) = good();
    let plain = RawServer::bind();
    for _ in 0..2 {
        let client = builder(&front.url("localhost"), trusting(&authority)).build().unwrap();
        let connected = connecting(&client);
        let _socket = front.raw.open();
        assert_eq!(wait(connected), Ok(()));
        let client = builder(&plain.url("/"), trusting(&authority)).build().unwrap();
        let connected = connecting(&client);
        let _socket = plain.open();
        assert_eq!(wait(connected), Ok(()));
    }
}

#[test]
fn a_certificate_of_the_client_needs_its_own_key() {
    let authority = Authority::new();
    let [one, other] = [(), ()].map(|()| authority.issue(Certificate::for_names(&["ada"])));
    let identity =
        |key: &str| Tls::default().with_identity_pem(one.pem().as_bytes(), key.as_bytes());
    assert!(identity(&one.key()).is_ok());
    assert!(matches!(identity(&other.key()), Err(InvalidTls::Identity(_))));
}

#[test]
fn tls_is_spoken_through_the_tunnel_of_a_proxy() {
    let (authority, front) = good();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy: Proxy = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let target = front.url("localhost").replace("wss://", "").replace('/', "");
    let proxied = std::thread::spawn({
        let target = target.clone();
        move || {
            // The preflight and the WebSocket.
            for _ in 0..2 {
                let (mut client, _) = listener.accept().unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    client.read_exact(&mut byte).unwrap();
                    head.push(byte[0]);
                }
                assert!(head.starts_with(format!("CONNECT {target} HTTP/1.1\r\n").as_bytes()));
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
                let server = std::net::TcpStream::connect(target.replace("localhost", "127.0.0.1"));
                let server = server.unwrap();
                for (mut from, mut to) in
                    [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
                {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(std::net::Shutdown::Write);
                    });
                }
            }
        }
    });
    let client =
        builder(&front.url("localhost"), trusting(&authority)).dial(proxy).build().unwrap();
    let connected = connecting(&client);
    let mut socket = front.raw.open();
    assert_eq!(wait(connected), Ok(()));
    assert_eq!(front.opened().name.as_deref(), Some("localhost"));
    let answer = request(&client, "a", "x");
    assert_eq!(socket.echo(), "a");
    assert_eq!(wait(answer), Ok(Payload::binary("x")));
    proxied.join().unwrap();
}
