//! Settings with which no server could work, and the addresses it listens on.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use wwr::server::{Advertised, Protocol};
use wwr_smol::server::{Builder, Expiry, InvalidSettings, Limits, Origins, Server, parse_origin};

use crate::support::Fixture;
use crate::support::app::App;
use crate::support::peer::{Peer, handshake};

fn builder() -> Builder<App> {
    Server::builder(App::new().0)
}

/// Checks that neither kind of server can be built, and that both say this.
#[track_caller]
fn refused(configure: impl Fn(Builder<App>) -> Builder<App>, said: &str) -> InvalidSettings {
    let error = configure(builder()).headless().unwrap_err();
    assert!(error.to_string().contains(said), "{error}");
    let listening = smol::block_on(configure(builder()).listen("127.0.0.1:0")).unwrap_err();
    assert_eq!(listening.kind(), ErrorKind::InvalidInput);
    assert_eq!(listening.to_string(), error.to_string());
    error
}

#[test]
fn limits_that_admit_no_client_are_refused() {
    let none = Duration::ZERO;
    let limits = Limits::default;
    for (name, limits) in [
        ("max_connections", Limits { max_connections: 0, ..limits() }),
        ("max_handshakes", Limits { max_handshakes: 0, ..limits() }),
        ("header_timeout", Limits { header_timeout: none, ..limits() }),
        ("handshake_timeout", Limits { handshake_timeout: none, ..limits() }),
        ("max_message_size", Limits { max_message_size: 0, ..limits() }),
        ("stall_timeout", Limits { stall_timeout: none, ..limits() }),
        ("store_timeout", Limits { store_timeout: none, ..limits() }),
        ("max_header_size", Limits { max_header_size: 8191, ..limits() }),
    ] {
        refused(|builder| builder.limits(limits.clone()), &format!("Limits::{name} is "));
    }
    let collection = Expiry { unused_for: Duration::from_secs(1), every: none };
    refused(|builder| builder.expire_sessions(collection), "Expiry::every is zero");
    refused(Builder::proxy_protocol, "there are no trusted proxies");
}

#[test]
fn the_announced_buffer_has_to_fit_into_the_limit() {
    let small = Limits { max_message_size: 8191, ..Limits::default() };
    let error = refused(|builder| builder.limits(small.clone()), "8191 bytes, but the advertised");
    let sizes = (8191, 8192);
    assert!(matches!(error, InvalidSettings::MessageSize { max_message_size, advertised }
            if (max_message_size, advertised) == sizes));
    let large = Advertised::default().message_buffer(2 << 20).unwrap();
    refused(|builder| builder.advertise(large.clone()), "raise the limit, or lower");
    // What advertises nothing may read as little as it likes.
    let silent = builder().limits(small.clone()).protocol(Protocol::V1_4);
    assert!(silent.headless().is_ok());
    let on_a_path = |builder: Builder<App>| {
        builder.limits(small.clone()).protocol(Protocol::V1_4).protocol_at("/2", Protocol::V2_0)
    };
    refused(on_a_path, "advertised message buffer");
}

#[test]
fn paths_are_normalized_or_refused() {
    for path in ["", "chat", "/chat?room=1", "/chat#1", "/chat ", "/../chat", "/%zz"] {
        let said = format!("the path {path:?} cannot");
        refused(|builder| builder.protocol_at(path, Protocol::V2_0), &said);
    }
    let fixture = Fixture::with(|builder| builder.protocol_at("/bücher", Protocol::V2_0));
    for path in ["/b%C3%BCcher", "/b%c3%bccher", "/%62%C3%BCcher?a=b"] {
        assert_eq!(Peer::dial(fixture.address()).preflight(path).status, 400, "{path}");
    }
    assert_eq!(Peer::dial(fixture.address()).preflight("/b%C3%BCche").status, 200);
}

#[test]
fn listed_origins_match_in_any_spelling() {
    let listed = ["https://BÜCHER.example:443/", " http://127.1:3000", "null", "file://"];
    let list = listed.map(|origin| parse_origin(origin).unwrap()).into();
    let fixture = Fixture::with(|builder| builder.origins(Origins::List(list)));
    for (origin, status) in [
        ("https://xn--bcher-kva.example", 101),
        ("http://127.0.0.1:3000", 101),
        ("null", 101),
        ("file://", 101),
        ("http://xn--bcher-kva.example", 403),
        ("http://localhost", 403),
        ("http://null", 403),
    ] {
        let request = handshake("/", &format!("Origin: {origin}\r\n"));
        assert_eq!(Peer::dial(fixture.address()).http(&request).status, status, "{origin}");
    }
}

/// Addresses that this machine has, for one server.
fn several() -> Vec<SocketAddr> {
    let addresses =
        ["127.0.0.1:0", "[::1]:0", "127.0.0.2:0"].map(|address| address.parse().unwrap());
    addresses.into_iter().filter(|address| TcpListener::bind(address).is_ok()).take(2).collect()
}

#[test]
fn a_server_listens_on_all_addresses_it_is_given() {
    let addresses = several();
    let server = smol::block_on(builder().listen(&addresses[..])).unwrap();
    let (bound, handle) = (server.local_addrs().to_vec(), server.handle());
    assert_eq!(bound.len(), addresses.len());
    assert_eq!(server.local_addr(), bound[0]);
    assert!(bound.iter().all(|address| address.port() == bound[0].port()), "{bound:?}");
    let running = smol::spawn(server.run());
    for address in &bound {
        Peer::connect(*address).is_served();
    }
    let mut twice = bound.iter().map(|address| Peer::connect(*address)).collect::<Vec<_>>();
    twice.iter_mut().for_each(Peer::is_served);
    smol::block_on(handle.shut_down(Duration::ZERO));
    smol::block_on(running).unwrap();
    assert!(bound.iter().all(|address| TcpListener::bind(address).is_ok()), "all are free again");
}

#[test]
fn an_address_that_is_taken_is_named() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let held = holder.local_addr().unwrap();
    let both = ["127.0.0.1:0".parse().unwrap(), held];
    let error = smol::block_on(builder().listen(&both[..])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&held.to_string()), "{error}");
}
