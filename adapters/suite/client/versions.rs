//! Servers of each version, and what the client makes of them.

use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;

use wwr::client::{ConnectError as Kind, Misuse, Protocol, RequestError, Status};
use wwr::preflight::{Metadata, Verdict};
use wwr::wire::{AcceptConf, UnreadableSignal};
use wwr::{Dialect, Payload};

use crate::adapter::client::{Client, ConnectError, Event};

use super::raw::{BODY_1_5, RawServer, RawSocket, accept_conf, default_conf};
use super::{builder_with, changed, config_of, connecting, request, spawn, until, wait};

const HEARTBEAT: &[u8] = b"\x21";

fn client(server: &RawServer, protocol: Protocol) -> Client {
    builder_with(server, config_of(protocol)).build().unwrap()
}

fn assert_echoes(client: &Client, socket: &mut RawSocket) {
    let answer = request(client, "a", "x");
    assert_eq!(socket.echo(), "a");
    assert_eq!(wait(answer), Ok(Payload::binary("x")));
}

fn failed(error: ConnectError) -> Kind {
    error.kind().unwrap().clone()
}

fn advertised(sub_protocol: Option<&'static str>) -> Option<AcceptConf> {
    Some(AcceptConf {
        major: 2,
        minor: 0,
        read_timeout_ms: 60_000,
        message_buffer_size: 8192,
        sub_protocol: sub_protocol.map(Into::into),
    })
}

#[test]
fn a_silent_server_of_1_4_is_spoken_to_in_1_4() {
    for protocol in [Protocol::Auto, Protocol::V1_4] {
        let server = RawServer::bind();
        let client = client(&server, protocol);
        assert_eq!(client.dialect(), Dialect::Unknown);
        let connected = connecting(&client);
        let mut socket = server.open();
        assert_eq!(wait(connected), Ok(()), "{protocol}");
        assert_eq!(client.dialect(), Dialect::V1_4, "{protocol}");
        assert_eq!(client.preflight_status(), Some(200));
        assert_eq!(client.discovered().preflight, Some(Verdict::Speaks(Metadata::V1_4)));
        assert_eq!(client.discovered().accept_conf, None);
        assert_echoes(&client, &mut socket);
        // Such a server reads no signal without a payload, and messages of any length.
        let unreadable = wait(client.signal("n", Payload::EMPTY)).unwrap_err();
        assert!(unreadable.to_string().contains("payload"), "{unreadable}");
        let long = vec![b'x'; 100_000];
        let answer = spawn(&client, |client| async move { client.request("long", long).await });
        assert_eq!(socket.echo(), "long");
        assert!(wait(answer).is_ok());
    }
}

#[test]
fn a_server_of_1_4_may_begin_with_a_signal() {
    let server = RawServer::bind();
    let client = client(&server, Protocol::Auto);
    let mut events = client.events();
    let connected = connecting(&client);
    let mut socket = server.open();
    socket.send(b"\x3f\x01nx");
    assert_eq!(wait(connected), Ok(()));
    assert_eq!(wait(events.next()), Some(Event::Connected));
    assert!(matches!(wait(events.next()), Some(Event::Signal(_))));
    assert_eq!(client.dialect(), Dialect::V1_4);
    assert_echoes(&client, &mut socket);
}

#[test]
fn a_server_of_1_5_gets_heartbeats_when_nothing_else_comes() {
    for protocol in [Protocol::Auto, Protocol::V1_5] {
        let server = RawServer::bind();
        let client = client(&server, protocol);
        let connected = connecting(&client);
        server.accept().respond("200 OK", BODY_1_5);
        let mut socket = server.accept().upgrade();
        assert_eq!(wait(connected), Ok(()), "{protocol}");
        assert_eq!(client.dialect(), Dialect::V1_5, "{protocol}");
        let read_timeout = Duration::from_secs(1);
        let verdict = Verdict::Speaks(Metadata::V1_5 { read_timeout });
        assert_eq!(client.discovered().preflight, Some(verdict));
        assert_eq!(socket.message(), HEARTBEAT, "{protocol}");
        assert_eq!(socket.message(), HEARTBEAT, "{protocol}");
    }
}

#[test]
fn a_server_of_2_0_is_spoken_to_in_2_0() {
    for protocol in [Protocol::Auto, Protocol::V2_0] {
        let server = RawServer::bind();
        let client = client(&server, protocol);
        let connected = connecting(&client);
        if protocol == Protocol::Auto {
            server.refuse_probe();
        }
        let mut socket = server.advertise(&accept_conf([2, 7], 400, 8192, ""));
        assert_eq!(wait(connected), Ok(()), "{protocol}");
        assert_eq!(client.dialect(), Dialect::V2_0, "{protocol}");
        let asked = protocol == Protocol::Auto;
        assert_eq!(client.preflight_status(), asked.then_some(400));
        assert_eq!(client.discovered().preflight, asked.then_some(Verdict::NotWebWire));
        assert_eq!(client.discovered().accept_conf.unwrap().minor, 7, "no matter");
        // Heartbeats come and pings do not, and their answers are not missed.
        assert_eq!(socket.message(), HEARTBEAT);
        assert_eq!(socket.message(), HEARTBEAT);
        assert_eq!(wait(client.signal("n", Payload::EMPTY)), Ok(()));
        let signal = std::iter::repeat_with(|| socket.message()).find(|m| m != HEARTBEAT);
        assert_eq!(signal.unwrap(), b"\x3f\x01n", "a signal may be a name alone");
    }
}

#[test]
fn the_servers_buffer_is_honoured() {
    let server = RawServer::bind();
    let client = client(&server, Protocol::Auto);
    let connected = connecting(&client);
    let probe = server.accept();
    // A request takes 10 bytes and its name.
    let fits = request(&client, "fits", "0123456789abcdefgh");
    until(|| client.pending_requests() == 1);
    let too_long = request(&client, "long", "0123456789abcdefghi");
    until(|| client.pending_requests() == 2);
    probe.respond("400 Bad Request", "");
    let mut socket = server.advertise(&accept_conf([2, 0], 60_000, 32, ""));
    assert_eq!(wait(connected), Ok(()));
    let error = RequestError::TooLarge { length: 33, buffer: 32 };
    assert_eq!(wait(too_long), Err(error.into()), "it waited, and was never sent");
    assert_eq!(socket.echo(), "fits");
    assert!(wait(fits).is_ok());

    let misuse = Misuse::TooLarge { length: 33, buffer: 32 };
    assert_eq!(wait(client.request("", vec![0; 23])), Err(misuse.into()));
    let signal = wait(client.signal("n", vec![0; 30])).unwrap_err();
    let misuse = UnreadableSignal::TooLarge { length: 33, buffer: 32 };
    assert_eq!(signal, Misuse::UnreadableSignal(misuse).into());
    // None of it left the client.
    assert_eq!(wait(client.signal("n", vec![0; 29])), Ok(()));
    assert_eq!(socket.message().len(), 32);
}

#[test]
fn both_sides_name_the_same_sub_protocol_or_none() {
    for (ours, theirs, suits) in [
        (None, "", true),
        (Some("chat/1"), "chat/1", true),
        (Some("chat/1"), "chat/2", false),
        (Some("chat/1"), "", false),
        (None, "chat/1", false),
    ] {
        for protocol in [Protocol::Auto, Protocol::V2_0] {
            let server = RawServer::bind();
            let mut settings = config_of(protocol);
            if let Some(name) = ours {
                settings.machine.sub_protocol = Some(name.into());
            }
            let client = builder_with(&server, settings).build().unwrap();
            let connected = connecting(&client);
            if protocol == Protocol::Auto {
                server.refuse_probe();
            }
            let mut socket = server.advertise(&accept_conf([2, 0], 60_000, 8192, theirs));
            let connected = wait(connected);
            let conf = advertised(Some(theirs).filter(|name| !name.is_empty()));
            assert_eq!(client.discovered().accept_conf, conf);
            if suits {
                assert_eq!(connected, Ok(()));
                assert_echoes(&client, &mut socket);
                continue;
            }
            let error = connected.unwrap_err();
            let text = error.to_string();
            assert!(matches!(failed(error), Kind::IncompatibleSubProtocol { .. }), "{text}");
            assert!(text.contains(theirs) && text.contains(ours.unwrap_or_default()), "{text}");
            assert_eq!(client.status(), Status::Idle, "it does not try again by itself");
        }
    }
}

#[test]
fn a_server_of_all_versions_is_spoken_to_in_the_newest() {
    let server = RawServer::bind();
    let client = client(&server, Protocol::Auto);
    let connected = connecting(&client);
    server.promise_accept_conf();
    let mut socket = server.advertise(&default_conf());
    assert_eq!(wait(connected), Ok(()));
    assert_eq!(client.dialect(), Dialect::V2_0);
    let found = client.discovered();
    assert_eq!(found.preflight, Some(Verdict::Speaks(Metadata::V1_4)));
    assert_eq!(found.accept_conf, advertised(None));
    // It was asked, and would take the client for one of 1.4.
    assert_eq!(socket.message(), HEARTBEAT);
    assert_echoes(&client, &mut socket);
}

#[test]
fn a_client_of_one_version_ignores_the_others() {
    let server = RawServer::bind();
    let client = client(&server, Protocol::V1_4);
    let connected = connecting(&client);
    server.answer_probe();
    let mut socket = server.advertise(&default_conf());
    assert_eq!(wait(connected), Ok(()));
    assert_echoes(&client, &mut socket);
    assert_eq!(client.dialect(), Dialect::V1_4);
}

#[test]
fn the_preflight_can_be_skipped() {
    for (protocol, dialect) in [(Protocol::V1_4, Dialect::V1_4), (Protocol::V1_5, Dialect::V1_5)] {
        let server = RawServer::bind();
        let settings = changed(config_of(protocol), |config| config.machine.skip_preflight = true);
        let client = builder_with(&server, settings).build().unwrap();
        let connected = connecting(&client);
        let mut socket = server.accept().upgrade();
        assert_eq!(wait(connected), Ok(()));
        assert_eq!((client.dialect(), client.preflight_status()), (dialect, None));
        assert_echoes(&client, &mut socket);
    }
}

#[test]
fn another_version_is_named_and_not_tried_again() {
    // In the preflight, and by a refusal then; and in accept-conf.
    let server = RawServer::bind();
    let client = client(&server, Protocol::Auto);
    let connected = connecting(&client);
    server.accept().respond("200 OK", "{\"protocol-version\":\"3.1\"}");
    server.accept().respond("404 Not Found", "");
    let error = wait(connected).unwrap_err();
    assert!(error.to_string().contains("\"3.1\""), "{error}");
    assert!(matches!(failed(error), Kind::IncompatibleVersion { .. }));
    assert_eq!(client.status(), Status::Idle);

    let connected = connecting(&client);
    server.refuse_probe();
    let _socket = server.advertise(&accept_conf([3, 4], 60_000, 8192, ""));
    let error = wait(connected).unwrap_err();
    assert!(error.to_string().contains("\"3.4\""), "{error}");
    assert!(matches!(failed(error), Kind::IncompatibleVersion { .. }));
    assert_eq!((client.status(), client.dialect()), (Status::Idle, Dialect::Unknown));
    assert_eq!(client.discovered().accept_conf.unwrap().major, 3, "as far as is known");

    // A server that suits may be there later.
    let connected = connecting(&client);
    server.refuse_probe();
    let mut socket = server.advertise(&default_conf());
    assert_eq!(wait(connected), Ok(()));
    assert_echoes(&client, &mut socket);
}

#[test]
fn a_client_of_one_version_refuses_others() {
    let server = RawServer::bind();
    for (protocol, body) in [(Protocol::V1_4, BODY_1_5), (Protocol::V1_5, super::raw::GOOD_BODY)] {
        let client = client(&server, protocol);
        let connected = connecting(&client);
        server.accept().respond("200 OK", body);
        let error = failed(wait(connected).unwrap_err());
        assert!(matches!(error, Kind::IncompatibleVersion { client, .. } if client == protocol));
    }
    // A client of 2.0 sends no preflight; what is not 2.0 is recognized by its first message.
    let client = client(&server, Protocol::V2_0);
    let connected = connecting(&client);
    let _socket = server.advertise(b"\x3f\x01nx");
    assert_eq!(failed(wait(connected).unwrap_err()), Kind::NotAcceptConf);
    assert_eq!(client.status(), Status::Idle);
}

#[test]
fn other_servers_are_distinguished_from_unavailable_ones() {
    let server = RawServer::bind();
    let client = client(&server, Protocol::Auto);
    // A web server takes neither request for what it is.
    for (probe, handshake, answer) in [
        ("200 OK", "200 OK", "<html></html>\n"),
        ("404 Not Found", "404 Not Found", "nothing here\nat all"),
        ("405 Method Not Allowed", "426 Upgrade Required", ""),
    ] {
        let connected = connecting(&client);
        server.accept().respond(probe, answer);
        server.accept().respond(handshake, answer);
        let error = wait(connected).unwrap_err();
        let text = error.to_string();
        assert_eq!(failed(error), Kind::NotWebWire { client: Protocol::Auto }, "{text}");
        assert!(text.contains(handshake.split(' ').next().unwrap()), "{text}");
        assert!(!text.contains("at all"), "{text}");
        assert_eq!(client.status(), Status::Idle, "{handshake}");
    }
    // One that is down may come back, whichever of the two requests it answers so.
    let mut events = client.events();
    let connected = connecting(&client);
    server.refuse_probe();
    server.accept().respond("503 Service Unavailable", "server shutting down\n");
    let error = wait(connected).unwrap_err();
    assert!(error.to_string().contains("server shutting down"), "{error}");
    assert_eq!(failed(error), Kind::Unavailable);
    let Some(Event::ConnectFailed { retry_in, .. }) = wait(events.next()) else { panic!() };
    assert!(retry_in.is_some());
    server.accept().respond("502 Bad Gateway", "");
    let Some(Event::ConnectFailed { error, retry_in }) = wait(events.next()) else { panic!() };
    assert_eq!((failed(error), retry_in.is_some()), (Kind::Unavailable, true));
    server.refuse_probe();
    let mut socket = server.advertise(&default_conf());
    assert_echoes(&client, &mut socket);
}

#[test]
fn an_intermediary_without_preflight_does_not_hide_a_server_of_2_0() {
    type Refuse = fn(&RawServer);
    let refusals: [Refuse; 4] = [
        |server| server.accept().respond("405 Method Not Allowed", "no"),
        |server| server.accept().respond("501 Not Implemented", "{}"),
        |server| drop(server.accept()),
        |server| {
            let mut stream = server.accept().stream;
            stream.write_all(b"HTTP/1.1 4").unwrap();
            stream.shutdown(Shutdown::Both).unwrap();
        },
    ];
    for refuse in refusals {
        let server = RawServer::bind();
        let client = client(&server, Protocol::Auto);
        let connected = connecting(&client);
        refuse(&server);
        let mut socket = server.advertise(&default_conf());
        assert_eq!(wait(connected), Ok(()));
        assert_eq!(client.dialect(), Dialect::V2_0);
        assert_echoes(&client, &mut socket);
    }
}

#[test]
fn a_preflight_without_an_answer_does_not_hide_a_server_of_2_0() {
    let server = RawServer::bind();
    let settings = changed(config_of(Protocol::Auto), |config| {
        config.machine.probe_timeout = Duration::from_millis(20)
    });
    let client = builder_with(&server, settings).build().unwrap();
    let connected = connecting(&client);
    let mut silent = Vec::new();
    let handshake = loop {
        // The client may have hung up before it wrote anything.
        match server.try_accept() {
            Some(exchange) if exchange.method() == "GET" => break exchange,
            other => silent.push(other),
        }
    };
    let mut socket = handshake.upgrade();
    socket.send(&default_conf());
    assert_eq!(wait(connected), Ok(()));
    assert_eq!(client.preflight_status(), None);
    assert_echoes(&client, &mut socket);
}

#[test]
fn a_websocket_that_closes_without_accept_conf_is_not_one_of_2_0() {
    let server = RawServer::bind();
    let client = client(&server, Protocol::V2_0);
    let mut events = client.events();
    let connected = connecting(&client);
    drop(server.accept().upgrade());
    assert_eq!(failed(wait(connected).unwrap_err()), Kind::NoAcceptConf);
    let Some(Event::ConnectFailed { retry_in, .. }) = wait(events.next()) else { panic!() };
    assert!(retry_in.is_some(), "it may have been the network");
    let mut socket = server.advertise(&default_conf());
    assert_echoes(&client, &mut socket);
}
