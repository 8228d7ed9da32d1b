//! Servers that are another one the next time.

use wwr::client::{Protocol, Status};
use wwr::{Dialect, Payload};

use crate::adapter::client::{Client, Event, Events};

use super::raw::{RawServer, RawSocket, accept_conf, default_conf, session_json};
use super::{builder_with, config_of, connecting, request, wait};

/// Answers the question for the session, which comes first, and sees the client go on.
fn resumed(client: &Client, events: &mut Events, socket: &mut RawSocket, dialect: Dialect) {
    let message = socket.message();
    assert_eq!((message[0], &message[9..]), (0x20, &b"KEY1"[..]), "{dialect}");
    socket.send(&[&[0xc0], &message[1..9], session_json("KEY1").as_bytes()].concat());
    // Unless something went wrong, this is all that happens.
    assert!(matches!(wait(events.next()), Some(Event::SessionRestored(_))), "{dialect}");
    assert_eq!(wait(events.next()), Some(Event::Connected), "{dialect}");
    assert_eq!(client.dialect(), dialect);
    let answer = request(client, "a", "x");
    assert_eq!(socket.echo(), "a", "{dialect}");
    assert_eq!(wait(answer), Ok(Payload::binary("x")), "{dialect}");
}

fn lost(events: &mut Events, socket: RawSocket) {
    drop(socket);
    assert!(matches!(wait(events.next()), Some(Event::Disconnected { .. })));
}

#[test]
fn a_session_outlasts_every_change_of_version() {
    let server = RawServer::bind();
    let client = builder_with(&server, config_of(Protocol::Auto)).build().unwrap();
    let mut events = client.events();

    // 2.0.
    let connected = connecting(&client);
    server.refuse_probe();
    let mut socket = server.advertise(&default_conf());
    assert_eq!(wait(connected), Ok(()));
    assert_eq!(wait(events.next()), Some(Event::Connected));
    socket.send(&[b"\x15", session_json("KEY1").as_bytes()].concat());
    assert!(matches!(wait(events.next()), Some(Event::SessionCreated(_))));
    lost(&mut events, socket);

    // Still 2.0: it is not asked again.
    let mut socket = server.advertise(&default_conf());
    resumed(&client, &mut events, &mut socket, Dialect::V2_0);
    lost(&mut events, socket);

    // 1.4: its first message shows it, and the client asks at once.
    let misled = server.advertise(b"\x3f\x01nx");
    server.answer_probe();
    let mut socket = server.accept().upgrade();
    misled.closed_by_client();
    resumed(&client, &mut events, &mut socket, Dialect::V1_4);
    lost(&mut events, socket);

    // 2.0 again: those of 1.4 are asked each time.
    server.refuse_probe();
    let mut socket = server.advertise(&default_conf());
    resumed(&client, &mut events, &mut socket, Dialect::V2_0);
    lost(&mut events, socket);

    // All versions: the client does not ask, and is taken for one of 2.0.
    let mut socket = server.advertise(&default_conf());
    resumed(&client, &mut events, &mut socket, Dialect::V2_0);
    lost(&mut events, socket);

    // Closed without a close frame, then 1.4 again: the failed attempt is told.
    drop(server.accept().upgrade());
    assert!(matches!(wait(events.next()), Some(Event::ConnectFailed { retry_in: Some(_), .. })));
    let mut socket = server.open();
    resumed(&client, &mut events, &mut socket, Dialect::V1_4);
}

#[test]
fn the_new_servers_settings_count() {
    let server = RawServer::bind();
    let client = builder_with(&server, config_of(Protocol::V2_0)).build().unwrap();
    let mut events = client.events();
    let connected = connecting(&client);
    let socket = server.advertise(&accept_conf([2, 0], 60_000, 32, ""));
    assert_eq!(wait(connected), Ok(()));
    assert_eq!(wait(events.next()), Some(Event::Connected));
    assert!(wait(client.request("a", vec![0; 100])).is_err());
    lost(&mut events, socket);

    let mut socket = server.advertise(&accept_conf([2, 0], 60_000, 256, ""));
    assert_eq!(wait(events.next()), Some(Event::Connected));
    assert_eq!(client.discovered().accept_conf.unwrap().message_buffer_size, 256);
    let answer = request(&client, "a", "0123456789012345678901234567890123456789");
    assert_eq!(socket.echo(), "a");
    assert!(wait(answer).is_ok());
    lost(&mut events, socket);

    // One that does not suit ends it, until the application asks again.
    let _socket = server.advertise(&accept_conf([2, 0], 60_000, 256, "other"));
    assert!(matches!(wait(events.next()), Some(Event::ConnectFailed { retry_in: None, .. })));
    assert_eq!(client.status(), Status::Idle);
    let connected = connecting(&client);
    let _socket = server.advertise(&default_conf());
    assert_eq!(wait(connected), Ok(()));
}
