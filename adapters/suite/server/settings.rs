//! Settings with which no server could work, and the addresses it listens on.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use wwr::server::Protocol;

use crate::adapter::server::{
    Builder, Config, Expiry, InvalidConfig, Origins, Server, parse_origin,
};
use crate::adapter::{SocketAddress, runtime};
use crate::suite::support::app::App;
use crate::suite::support::peer::{Peer, handshake};
use crate::suite::support::{Fixture, configured, spawn};

fn builder() -> Builder<App> {
    Server::builder_on(runtime(), App::new().0)
}

/// Checks that neither kind of server can be built with such settings, and that both say this.
#[track_caller]
fn refused(change: impl Fn(&mut Config), said: &str) -> InvalidConfig {
    let error = builder().config(configured(&change)).headless().unwrap_err();
    assert!(error.to_string().contains(said), "{error}");
    let builder = builder().config(configured(&change));
    let listening = smol::block_on(builder.listen("127.0.0.1:0")).unwrap_err();
    assert_eq!(listening.kind(), ErrorKind::InvalidInput);
    assert_eq!(listening.to_string(), error.to_string());
    error
}

#[test]
fn limits_that_admit_no_client_are_refused() {
    const NONE: Duration = Duration::ZERO;
    type Change = fn(&mut Config);
    let changes: [(&str, Change); 12] = [
        ("hub.max_connections is zero", |config| config.hub.max_connections = 0),
        ("hub.store_timeout is zero", |config| config.hub.store_timeout = NONE),
        ("hub.expiry.every is zero", |config| {
            config.hub.expiry = Some(Expiry::new(Duration::from_secs(1), NONE));
        }),
        ("limits.max_handshakes is zero", |config| config.limits.max_handshakes = 0),
        ("limits.header_timeout is 0ns; it has to be 10ms or more", |config| {
            config.limits.header_timeout = NONE;
        }),
        ("limits.handshake_timeout is 1ns; it has to be 10ms or more", |config| {
            config.limits.handshake_timeout = Duration::from_nanos(1);
        }),
        ("limits.stall_timeout is zero", |config| config.limits.stall_timeout = NONE),
        ("limits.max_write_backlog is zero", |config| config.limits.max_write_backlog = 0),
        ("limits.max_remembered_addresses is zero", |config| {
            config.limits.max_remembered_addresses = 0;
        }),
        ("limits.max_header_size is 8191;", |config| config.limits.max_header_size = 8191),
        ("connection.max_message_size is zero", |config| config.connection.max_message_size = 0),
        ("trusted_proxies is empty", |config| config.proxy_protocol = true),
    ];
    for (said, change) in changes {
        refused(change, said);
    }
}

#[test]
fn the_announced_buffer_has_to_fit_into_the_limit() {
    let small = |config: &mut Config| config.connection.max_message_size = 8191;
    let error = refused(small, "connection.max_message_size is 8191, but the advertised");
    let (max_message_size, message_buffer) = (8191, 8192);
    let sizes = wwr::InvalidConfig::MessageSize { max_message_size, message_buffer };
    assert_eq!(error, InvalidConfig::Connection(sizes));
    let large = |config: &mut Config| config.connection.advertised.message_buffer = 2 << 20;
    refused(large, "raise it, or lower advertised.message_buffer");
    // What advertises nothing may read as little as it likes.
    let silent = |config: &mut Config| {
        small(config);
        config.connection.protocol = Protocol::V1_4;
    };
    assert!(builder().config(configured(silent)).headless().is_ok());
    let on_a_path = |config: &mut Config| {
        silent(config);
        config.paths.insert("/2".into(), Protocol::V2_0);
    };
    refused(on_a_path, "advertised message buffer");
}

#[test]
fn paths_are_normalized_or_refused() {
    for path in ["", "chat", "/chat?room=1", "/chat#1", "/chat ", "/../chat", "/%zz"] {
        let said = format!("paths has {path:?}, which no client can ask for");
        refused(
            |config| {
                config.paths.insert(path.into(), Protocol::V2_0);
            },
            &said,
        );
    }
    let fixture = Fixture::with(|config| {
        config.paths.insert("/bücher".into(), Protocol::V2_0);
    });
    for path in ["/b%C3%BCcher", "/b%c3%bccher", "/%62%C3%BCcher?a=b"] {
        assert_eq!(Peer::dial(fixture.address()).preflight(path).status, 400, "{path}");
    }
    assert_eq!(Peer::dial(fixture.address()).preflight("/b%C3%BCche").status, 200);
}

#[test]
fn listed_origins_match_in_any_spelling() {
    let listed = ["https://BÜCHER.example:443/", " http://127.1:3000", "null", "file://"];
    let list = listed.map(|origin| parse_origin(origin).unwrap()).into();
    let fixture = Fixture::with(|config| config.origins = Origins::List(list));
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
    let bound: Vec<_> = server.local_addrs().iter().filter_map(SocketAddress::tcp).collect();
    let handle = server.handle();
    assert_eq!(bound.len(), addresses.len());
    assert_eq!(server.local_addr(), bound[0]);
    assert!(bound.iter().all(|address| address.port() == bound[0].port()), "{bound:?}");
    let running = spawn(server.run());
    for address in &bound {
        Peer::connect(*address).is_served();
    }
    let mut twice = bound.iter().map(|address| Peer::connect(*address)).collect::<Vec<_>>();
    twice.iter_mut().for_each(Peer::is_served);
    smol::block_on(handle.shut_down(Duration::ZERO));
    assert!(smol::block_on(running.recv()).is_err(), "it is only closed");
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
