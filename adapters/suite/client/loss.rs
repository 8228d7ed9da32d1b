//! Losing the connection, and having it again.

use std::net::Shutdown;

use wwr::client::{DisconnectReason, Misuse, RequestError, Status};
use wwr::{CloseFrame, Payload, SessionKey};

use crate::adapter::client::{Client, Error, Event, Events};

use super::raw::{CLOSE, RawServer, RawSocket, session_json};
use super::{builder, changed, config, connected, poll_once, request, wait};

/// What is told of a lost connection after which the client tries again.
fn assert_lost(events: &mut Events) {
    let Some(Event::Disconnected { reason, retry_in }) = wait(events.next()) else { panic!() };
    assert_eq!((reason, retry_in.is_some()), (DisconnectReason::Lost, true));
}

/// Sends a session to the client and sees that it has come.
fn create_session(socket: &mut RawSocket, events: &mut Events, key: &str) {
    socket.send(&[b"\x15", session_json(key).as_bytes()].concat());
    let Some(Event::SessionCreated(session)) = wait(events.next()) else { panic!() };
    assert_eq!(session.key.as_str(), key);
}

/// The identifier of the question for a session of this key.
fn asked_for(socket: &mut RawSocket, key: &str) -> Vec<u8> {
    let message = socket.message();
    assert_eq!((message[0], &message[9..]), (0x20, key.as_bytes()));
    message[1..9].to_vec()
}

fn key(client: &Client) -> Option<String> {
    client.session().map(|session| session.key.as_str().into())
}

#[test]
fn the_close_frame_of_a_server_is_answered() {
    let server = RawServer::bind();
    let (client, mut events, mut socket) = connected(&server);
    let close_frame = [&1001u16.to_be_bytes()[..], b"so long"].concat();
    let answer = request(&client, "a", "x");
    socket.request();
    socket.send_frame(true, CLOSE, &close_frame);
    let Some(Event::Disconnected { reason, retry_in }) = wait(events.next()) else { panic!() };
    let frame = CloseFrame::new(1001, "so long").unwrap();
    assert_eq!(reason, DisconnectReason::ClosedByServer(frame));
    assert!(retry_in.is_some());
    assert_eq!(wait(answer), Err(RequestError::ConnectionLost.into()));
    // The client is back before the server has closed its side of the old socket.
    let mut next = server.open();
    assert_eq!(wait(events.next()), Some(Event::Connected));
    assert_eq!(socket.frame(), Some((CLOSE, close_frame)));
    let answer = request(&client, "b", "y");
    assert_eq!(next.echo(), "b");
    assert_eq!(wait(answer), Ok(Payload::binary("y")));
}

#[test]
fn an_invalid_close_frame_of_a_server_counts_as_a_loss() {
    for payload in
        [&b"\x03"[..], b"\0\0", b"\x03\xedno code", b"\x03\xee", b"\x0b\xb7", b"\x13\x88"]
    {
        let server = RawServer::bind();
        let (_client, mut events, mut socket) = connected(&server);
        socket.send_frame(true, CLOSE, payload);
        let Some(Event::Disconnected { reason, retry_in }) = wait(events.next()) else { panic!() };
        assert_eq!(reason, DisconnectReason::Lost, "{payload:?}");
        assert!(retry_in.is_some());
        let (opcode, told) = socket.frame().expect("closed without a close frame");
        assert_eq!((opcode, &told[..2]), (CLOSE, &1002_u16.to_be_bytes()[..]));
    }
}

#[test]
fn a_lost_connection_ends_sent_requests_and_keeps_queued_ones() {
    let server = RawServer::bind();
    let (client, mut events, mut socket) = connected(&server);
    let answers = [request(&client, "1", ""), request(&client, "2", "")];
    let names = [socket.request().name, socket.request().name];
    assert!(names.contains(&"1".into()) && names.contains(&"2".into()));
    socket.stream.shutdown(Shutdown::Both).unwrap();
    for answer in answers {
        assert_eq!(wait(answer), Err(RequestError::ConnectionLost.into()));
    }
    assert_lost(&mut events);
    let probe = server.accept();
    assert_eq!(client.status(), Status::Connecting);
    assert_eq!(wait(client.signal("n", "x")), Err(Misuse::NotConnected.into()));
    let mut queued = [Box::pin(client.request("3", "x")), Box::pin(client.request("4", "x"))];
    queued.iter_mut().for_each(|request| assert_eq!(poll_once(request), None));
    probe.respond("200 OK", super::raw::GOOD_BODY);
    let mut next = server.accept().upgrade();
    // Nothing of the first two, and these in the order in which they were made.
    assert_eq!((next.echo(), next.echo()), ("3".into(), "4".into()));
    for request in queued {
        assert_eq!(wait(request), Ok(Payload::binary("x")));
    }
}

#[test]
fn the_session_is_resumed_before_anything_else_is_sent() {
    let server = RawServer::bind();
    let (client, mut events, mut socket) = connected(&server);
    create_session(&mut socket, &mut events, "KEY1");
    drop(socket);
    assert_lost(&mut events);
    let answer = request(&client, "a", "x");
    let mut socket = server.open();
    let id = asked_for(&mut socket, "KEY1");
    socket.send(&[&[0xc0], &id[..], session_json("KEY1").as_bytes()].concat());
    assert_eq!(socket.echo(), "a");
    assert_eq!(wait(answer), Ok(Payload::binary("x")));
    let Some(Event::SessionRestored(session)) = wait(events.next()) else { panic!() };
    assert_eq!(Some(session), client.session());
    assert_eq!(wait(events.next()), Some(Event::Connected));
}

#[test]
fn a_session_that_the_server_lost_is_reported_and_forgotten() {
    let server = RawServer::bind();
    let (client, mut events, mut socket) = connected(&server);
    create_session(&mut socket, &mut events, "KEY1");
    drop(socket);
    assert_lost(&mut events);
    let mut socket = server.open();
    let id = asked_for(&mut socket, "KEY1");
    // A passing failure is worth another question, with the same identifier.
    socket.send(&[&[2], &id[..]].concat());
    assert_eq!(asked_for(&mut socket, "KEY1"), id);
    socket.send(&[&[3], &id[..]].concat());
    assert!(matches!(wait(events.next()), Some(Event::SessionLost(_))));
    assert_eq!(wait(events.next()), Some(Event::Connected));
    assert_eq!(client.session(), None);
}

#[test]
fn sessions_are_restored_and_closed_on_request() {
    let server = RawServer::bind();
    let (client, mut events, mut socket) = connected(&server);
    let restoring = super::spawn(&client, |client| async move {
        client.restore_session(SessionKey::new("KEY2").unwrap()).await
    });
    let id = asked_for(&mut socket, "KEY2");
    socket.send(&[&[0xc0], &id[..], session_json("KEY2").as_bytes()].concat());
    assert_eq!(wait(restoring).unwrap().key.as_str(), "KEY2");
    assert!(matches!(wait(events.next()), Some(Event::SessionRestored(_))));
    let held = wait(client.restore_session(SessionKey::new("KEY3").unwrap()));
    assert_eq!(held, Err(Misuse::SessionHeld.into()));

    let closing = super::spawn(&client, |client| async move { client.close_session().await });
    let message = socket.message();
    assert_eq!((message[0], message.len()), (0x1f, 9));
    assert_eq!(key(&client), Some("KEY2".into()), "as long as the server has not agreed");
    socket.send(b"\x16");
    socket.send(&[&[0xbf], &message[1..9]].concat());
    assert_eq!(wait(closing), Ok(()));
    assert_eq!(wait(events.next()), Some(Event::SessionClosed));
    assert_eq!(client.session(), None);
    assert_eq!(wait(client.close_session()), Ok(()), "nothing is sent without a session");
}

#[test]
fn the_queue_for_a_connection_is_bounded() {
    let server = RawServer::bind();
    let settings = changed(config(), |config| config.machine.max_queued_bytes = 100);
    let client = builder(&server).config(settings).start().unwrap();
    let probe = server.accept();
    let mut fits = Box::pin(client.request("fits", "x".repeat(80)));
    assert_eq!(poll_once(&mut fits), None);
    let refused = Err(Error::Misuse(Misuse::QueueFull));
    assert_eq!(wait(client.request("too much", "x")), refused);
    // What is cancelled makes room.
    drop(fits);
    let mut fits = Box::pin(client.request("fits", "y".repeat(80)));
    while poll_once(&mut fits) == Some(refused.clone()) {
        fits = Box::pin(client.request("fits", "y".repeat(80)));
    }
    probe.respond("200 OK", super::raw::GOOD_BODY);
    let mut socket = server.accept().upgrade();
    assert_eq!(socket.echo(), "fits");
    assert_eq!(wait(fits), Ok(Payload::binary("y".repeat(80))));
}

#[test]
fn without_reconnection_a_lost_connection_stays_lost() {
    let server = RawServer::bind();
    let settings = changed(config(), |config| config.machine.reconnect = false);
    let (client, mut events, socket) =
        super::connected_with(&server, builder(&server).config(settings));
    drop(socket);
    let Some(Event::Disconnected { reason, retry_in }) = wait(events.next()) else { panic!() };
    assert_eq!((reason, retry_in), (DisconnectReason::Lost, None));
    assert_eq!(client.status(), Status::Idle);
    assert_eq!(wait(client.request("a", "x")), Err(Misuse::NotConnected.into()));
    let connecting = super::spawn(&client, |client| async move { client.connect().await });
    let _socket = server.open();
    assert_eq!(wait(connecting), Ok(()));
}
