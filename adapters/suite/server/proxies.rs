//! Clients behind proxies.

use std::net::SocketAddr;
use std::time::Duration;

use tracing::Level;
use wwr::Dialect;

use crate::adapter::runtime;
use crate::adapter::server::{Config, ConnectionInfo, ProxyHeaders, Server, TrustedProxies};
use crate::suite::support::app::App;
use crate::suite::support::log::{captured, logged};
use crate::suite::support::peer::{Peer, handshake};
use crate::suite::support::{Fixture, configured};

/// Trusts the address that the clients of the tests come from, and a network.
fn trusted(headers: ProxyHeaders) -> TrustedProxies {
    let networks = ["127.0.0.1", "10.0.0.0/8"].map(|network| network.parse().unwrap()).into();
    let mut proxies = TrustedProxies::default();
    (proxies.networks, proxies.headers) = (networks, headers);
    proxies
}

fn behind_a_proxy(headers: ProxyHeaders) -> Fixture {
    Fixture::with(|config| config.trusted_proxies = trusted(headers))
}

fn behind_a_balancer() -> Fixture {
    Fixture::with(|config| {
        config.trusted_proxies = trusted(ProxyHeaders::Either);
        config.proxy_protocol = true;
    })
}

/// What the application sees of a client whose socket begins like this.
fn info(fixture: &Fixture, before: &[u8], headers: &str) -> ConnectionInfo {
    let mut peer = Peer::dial(fixture.address());
    peer.write(before);
    peer.upgrade("/", headers);
    let info = fixture.connected().info().clone();
    drop(peer);
    fixture.wait_for_disconnected();
    assert!(info.socket_addr.ip().is_loopback());
    info
}

#[test]
fn headers_of_a_trusted_proxy_name_the_client() {
    let fixture = behind_a_proxy(ProxyHeaders::Either);
    for (headers, client) in [
        ("X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1:0"),
        ("X-Forwarded-For: 6.6.6.6, 192.0.2.1:77, 10.1.1.1\r\n", "192.0.2.1:77"),
        ("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1:0"),
        ("X-Forwarded-For: [2001:db8::1]:5\r\n", "[2001:db8::1]:5"),
        ("Forwarded: for=192.0.2.1;proto=https\r\n", "192.0.2.1:0"),
        ("Forwarded: for=6.6.6.6, For=\"[2001:db8::1]:5\";by=10.1.1.1\r\n", "[2001:db8::1]:5"),
    ] {
        assert_eq!(info(&fixture, b"", headers).remote_addr.to_string(), client, "{headers}");
    }
    for headers in
        ["", "X-Forwarded-For: unknown\r\n", "Forwarded: for=_hidden\r\n", "Forwarded: \"\r\n"]
    {
        let info = info(&fixture, b"", headers);
        assert_eq!(info.remote_addr, info.socket_addr, "{headers}");
    }
}

#[test]
fn only_trusted_proxies_can_name_their_clients() {
    let fixture = Fixture::new();
    let both = "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n";
    let shown = info(&fixture, b"", both);
    assert_eq!(shown.remote_addr, shown.socket_addr);
    let mut elsewhere = TrustedProxies::default();
    elsewhere.networks = ["10.0.0.0/8".parse().unwrap()].into();
    let fixture = Fixture::with(|config| {
        config.trusted_proxies = elsewhere;
        config.proxy_protocol = true;
    });
    let shown = info(&fixture, b"", both);
    assert_eq!(shown.remote_addr, shown.socket_addr);
    // For others than proxies there is no PROXY protocol.
    let mut liar = Peer::dial(fixture.address());
    liar.write(b"PROXY TCP4 6.6.6.6 10.0.0.1 1 2\r\n");
    liar.write(handshake("/", "").as_bytes());
    let rest = liar.rest();
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400 "), "{rest:?}");
}

#[test]
fn only_one_of_the_headers_counts() {
    let both = "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.2\r\n";
    for (headers, client) in [
        (ProxyHeaders::XForwardedFor, Some("192.0.2.1:0")),
        (ProxyHeaders::Forwarded, Some("192.0.2.2:0")),
        (ProxyHeaders::Either, None),
    ] {
        let info = info(&behind_a_proxy(headers), b"", both);
        let client = client.map_or(info.socket_addr, |client| client.parse().unwrap());
        assert_eq!(info.remote_addr, client, "{headers:?}");
    }
}

#[test]
fn the_proxy_protocol_names_the_client() {
    let fixture = behind_a_balancer();
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\x0a\0\0\x01\x12\x34\0\x50";
    for (before, client) in [
        (&b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n"[..], "192.0.2.1:4660"),
        (b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", "[2001:db8::1]:1"),
        (&v2[..], "192.0.2.1:4660"),
    ] {
        assert_eq!(info(&fixture, before, "").remote_addr.to_string(), client);
        // What the client itself says does not count: it is not a proxy.
        let lies = "X-Forwarded-For: 6.6.6.6\r\n";
        assert_eq!(info(&fixture, before, lies).remote_addr.to_string(), client);
    }
    let own = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for before in [&b"PROXY UNKNOWN\r\n"[..], own] {
        let info = info(&fixture, before, "");
        assert_eq!(info.remote_addr, info.socket_addr);
    }
    // An HTTP proxy behind a TCP balancer.
    let before = b"PROXY TCP4 10.1.1.1 10.0.0.1 4660 80\r\n";
    let info = info(&fixture, before, "X-Forwarded-For: 192.0.2.7\r\n");
    assert_eq!(info.remote_addr.to_string(), "192.0.2.7:0");
}

#[test]
fn the_head_may_come_with_the_proxy_header_and_frames_behind_it() {
    let fixture = behind_a_balancer();
    let mut peer = Peer::dial(fixture.address());
    let before = b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n";
    let ask = crate::suite::support::message::ask(1, "echo", "early");
    let frame = crate::suite::support::peer::frame(crate::suite::support::peer::BINARY, &ask);
    peer.write(&[&before[..], handshake("/", "").as_bytes(), &frame].concat());
    assert_eq!(peer.http_answer().status, 101);
    peer.advertised();
    assert_eq!(peer.message(), crate::suite::support::message::answer(1, "early"));
}

#[test]
fn a_proxy_without_the_header_is_closed_and_logged() {
    let limits = |config: &mut Config| config.limits.header_timeout = Duration::from_millis(100);
    let builder = Server::builder_on(runtime(), App::new().0).config(configured(|config| {
        limits(config);
        config.trusted_proxies = trusted(ProxyHeaders::Either);
        config.proxy_protocol = true;
    }));
    let log = logged(builder, |address| {
        let mut http = Peer::dial(address);
        http.write(handshake("/", "").as_bytes());
        assert!(http.rest().is_empty());
        let mut half = Peer::dial(address);
        half.write(b"PROXY TCP4 192.0.");
        assert!(half.rest().is_empty(), "it is not waited for");
        let mut long = Peer::dial(address);
        let _ = long.try_write(&[b"PROXY UNKNOWN ", &[b'x'; 500][..]].concat());
        assert!(long.rest().is_empty());
    });
    let lines = log.iter().filter(|line| line.text.starts_with("No PROXY protocol header"));
    let lines: Vec<_> = lines.collect();
    assert!(!lines.is_empty() && lines.iter().all(|line| line.level == Level::WARN), "{log:?}");
    assert!(lines[0].text.contains("send-proxy"), "{lines:?}");
}

#[test]
fn the_log_names_the_client_and_wrong_headers_of_proxies() {
    let builder = || {
        Server::builder_on(runtime(), App::new().0)
            .config(configured(|config| config.trusted_proxies = trusted(ProxyHeaders::Either)))
    };
    let refused = |headers: &str| handshake("/", &format!("Origin: http://e\r\n{headers}"));
    let log = logged(builder(), |address| {
        let client = refused("X-Forwarded-For: 192.0.2.1\r\n");
        assert_eq!(Peer::dial(address).http(&client).status, 403);
        let hidden = refused("X-Forwarded-For: unknown\r\n");
        assert_eq!(Peer::dial(address).http(&hidden).status, 403);
        let both = refused("X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.2\r\n");
        assert_eq!(Peer::dial(address).http(&both).status, 403);
    });
    let has = |text: &str| log.iter().any(|line| line.text.contains(text));
    assert!(has("remote=192.0.2.1:0"), "{log:?}");
    assert!(has("a trusted proxy names no address of its client"), "{log:?}");
    assert!(has("Forwarded and X-Forwarded-For name different clients"), "{log:?}");
    assert!(has("TrustedProxies::headers"), "{log:?}");
}

/// A client of 1.4 is known by its preflight, whatever the others behind the proxy are.
#[test]
fn preflights_are_remembered_by_client() {
    for balancer in [false, true] {
        let fixture =
            if balancer { behind_a_balancer() } else { behind_a_proxy(ProxyHeaders::Either) };
        let dial = |client: &str| {
            let mut peer = Peer::dial(fixture.address());
            if balancer {
                peer.write(format!("PROXY TCP4 {client} 10.0.0.1 1 2\r\n").as_bytes());
                return (peer, String::new());
            }
            (peer, format!("X-Forwarded-For: {client}\r\n"))
        };
        let (mut peer, header) = dial("192.0.2.1");
        let request = format!("WEBWIRE / HTTP/1.1\r\nHost: h\r\n{header}\r\n");
        assert_eq!(peer.http(&request).status, 200);
        for (client, dialect) in [("192.0.2.2", Dialect::Unknown), ("192.0.2.1", Dialect::V1_4)] {
            let (mut peer, header) = dial(client);
            peer.upgrade("/", &header);
            assert_eq!(fixture.connected().dialect(), dialect, "{client}");
            drop(peer);
            fixture.wait_for_disconnected();
        }
    }
}

/// One client behind a proxy that opens socket after socket takes no slot of another one.
#[test]
fn slots_are_shared_between_clients_and_not_between_proxies() {
    for balancer in [false, true] {
        let fixture = Fixture::with(|config| {
            config.limits.max_handshakes = 6;
            config.limits.header_timeout = Duration::MAX;
            config.limits.handshake_timeout = Duration::MAX;
            config.trusted_proxies = trusted(ProxyHeaders::Either);
            config.proxy_protocol = balancer;
        });
        let ask = |client: &str| {
            let mut peer = Peer::dial(fixture.address());
            let header = match balancer {
                true => {
                    peer.write(format!("PROXY TCP4 {client} 10.0.0.1 1 2\r\n").as_bytes());
                    String::new()
                }
                false => format!("X-Forwarded-For: {client}\r\n"),
            };
            let request = format!("WEBWIRE / HTTP/1.1\r\nHost: h\r\n{header}\r\n");
            assert_eq!(peer.http(&request).status, 200);
            peer
        };
        let mut good = ask("192.0.2.1");
        let mut flood: Vec<_> = (0..30).map(|_| ask("192.0.2.2")).collect();
        flood[..25].iter_mut().for_each(|peer| assert!(peer.rest().is_empty()));
        good.upgrade("/", "X-Forwarded-For: 192.0.2.1\r\n");
        good.is_served();
    }
}

/// A headless server knows proxies by their headers, too.
#[test]
fn the_address_given_to_a_service_is_that_of_the_proxy() {
    let proxies = trusted(ProxyHeaders::XForwardedFor);
    for (peer, remote) in [("10.9.9.9:1", "192.0.2.1:0"), ("192.0.2.9:1", "192.0.2.9:1")] {
        let request = hyper::Request::builder()
            .uri("/")
            .header("Host", "h")
            .header("X-Forwarded-For", "192.0.2.1")
            .body(())
            .unwrap();
        let peer: SocketAddr = peer.parse().unwrap();
        let builder = Server::builder_on(runtime(), App::new().0)
            .config(configured(|config| config.trusted_proxies = proxies.clone()));
        let service = builder.headless().unwrap();
        let log = captured(|| {
            assert_eq!(smol::block_on(service.answer(request, peer)).status(), 426);
        });
        let remote = format!("remote={remote}");
        assert!(log.len() == 1 && log[0].text.contains(&remote), "{log:?}");
    }
}
