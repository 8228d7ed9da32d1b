//! Closing the connection, and having another one.

use std::time::Duration;

use wwr::Payload;
use wwr::client::{ConnectError, DisconnectReason, Misuse, RequestError, Status};

use crate::adapter::client::Event;

use super::raw::{CLOSE, GOOD_BODY, RawServer, session_json};
use super::{
    builder, builder_with, changed, config, connected, connected_with, poll_once, request, spawn,
    until, wait,
};

const NEVER: Duration = Duration::from_secs(3600);

#[test]
fn sent_messages_are_written_before_the_close_frame() {
    let server = RawServer::bind();
    let (client, mut events, mut socket) = connected(&server);
    let answer = request(&client, "first", "x");
    assert_eq!(socket.request().name, "first");
    let closing = spawn(&client, |client| async move {
        client.signal("second", "x").await.unwrap();
        let mut third = Box::pin(client.request("third", "x"));
        assert!(smol::future::poll_once(&mut third).await.is_none());
        client.close().await;
        third.await
    });
    assert_eq!(socket.message(), b"\x40\x06secondx");
    assert_eq!(socket.request().name, "third");
    socket.closed_by_client();
    assert_eq!(wait(closing), Err(RequestError::ConnectionLost.into()));
    assert_eq!(wait(answer), Err(RequestError::ConnectionLost.into()));
    let reason = DisconnectReason::Closed;
    assert_eq!(wait(events.next()), Some(Event::Disconnected { reason, retry_in: None }));
    assert_eq!(client.status(), Status::Closed);
    assert_eq!(wait(client.request("a", "x")), Err(Misuse::NotConnected.into()));
    wait(client.close());
}

#[test]
fn a_server_that_does_not_close_its_side_holds_up_nothing_but_close() {
    let server = RawServer::bind();
    let (client, mut events, mut first) = connected_with(
        &server,
        builder_with(&server, changed(config(), |config| config.close_timeout = NEVER)),
    );
    let mut closing = Box::pin(client.close());
    assert_eq!(poll_once(&mut closing), None);
    assert_eq!(first.frame(), Some((CLOSE, 1000u16.to_be_bytes().to_vec())));
    assert!(matches!(wait(events.next()), Some(Event::Disconnected { .. })));

    let connecting = spawn(&client, |client| async move { client.connect().await });
    let mut second = server.open();
    assert_eq!(wait(connecting), Ok(()));
    let answer = request(&client, "a", "x");
    assert_eq!(second.echo(), "a");
    assert_eq!(wait(answer), Ok(Payload::binary("x")));
    assert_eq!(poll_once(&mut closing), None, "the first socket is not closed yet");
    drop(first);
    wait(closing);
    assert_eq!(client.status(), Status::Connected, "the second one is open");
}

#[test]
fn closing_ends_the_attempt_to_connect_wherever_it_is() {
    let server = RawServer::bind();
    let client = builder(&server).build().unwrap();
    let connect = || spawn(&client, |client| async move { client.connect().await });

    let (probing, probe) = (connect(), server.accept());
    wait(client.close());
    assert_eq!(wait(probing), Err(crate::adapter::client::ConnectError::Closed));
    drop(probe);

    let dialing = connect();
    server.answer_probe();
    let handshake = server.accept();
    let queued = request(&client, "a", "x");
    until(|| client.pending_requests() == 1);
    wait(client.close());
    assert_eq!(wait(dialing), Err(crate::adapter::client::ConnectError::Closed));
    assert_eq!(wait(queued), Err(RequestError::NotSent.into()));
    drop(handshake);

    let connecting = connect();
    let mut events = client.events();
    let mut socket = server.open();
    assert_eq!(wait(connecting), Ok(()));
    socket.send(&[b"\x15", session_json("KEY1").as_bytes()].concat());
    while !matches!(wait(events.next()), Some(Event::SessionCreated(_))) {}
    drop(socket);
    while !matches!(wait(events.next()), Some(Event::Disconnected { .. })) {}
    let resuming = connect();
    let mut socket = server.open();
    assert_eq!(socket.message()[0], 0x20);
    let closing = spawn(&client, |client| async move { client.close().await });
    assert_eq!(wait(resuming), Err(crate::adapter::client::ConnectError::Closed));
    socket.closed_by_client();
    wait(closing);
    assert_eq!(client.session().unwrap().key.as_str(), "KEY1");
}

#[test]
fn a_session_is_resumed_after_closing_and_connecting_again() {
    let server = RawServer::bind();
    let (client, mut events, mut socket) = connected(&server);
    socket.send(&[b"\x15", session_json("KEY1").as_bytes()].concat());
    assert!(matches!(wait(events.next()), Some(Event::SessionCreated(_))));
    let closing = spawn(&client, |client| async move { client.close().await });
    socket.closed_by_client();
    wait(closing);
    assert!(matches!(wait(events.next()), Some(Event::Disconnected { .. })));

    let connecting = spawn(&client, |client| async move { client.connect().await });
    let mut socket = server.open();
    let message = socket.message();
    assert_eq!((message[0], &message[9..]), (0x20, &b"KEY1"[..]));
    let session = session_json("KEY1");
    socket.send(&[&[0xc0], &message[1..9], session.as_bytes()].concat());
    assert_eq!(wait(connecting), Ok(()));
    assert!(matches!(wait(events.next()), Some(Event::SessionRestored(_))));

    // Without a connection, closing it forgets it.
    let closing = spawn(&client, |client| async move { client.close().await });
    socket.closed_by_client();
    wait(closing);
    assert_eq!(wait(client.close_session()), Ok(()));
    assert_eq!(client.session(), None);
    let connecting = spawn(&client, |client| async move { client.connect().await });
    let mut socket = server.open();
    assert_eq!(wait(connecting), Ok(()));
    let answer = request(&client, "a", "x");
    assert_eq!(socket.echo(), "a");
    assert!(wait(answer).is_ok());
}

#[test]
fn closing_stops_the_pause_between_attempts() {
    let server = RawServer::bind();
    let settings = changed(config(), |config| {
        config.machine.initial_backoff = NEVER;
        config.machine.max_backoff = NEVER;
    });
    let client = builder(&server).config(settings).start().unwrap();
    let mut events = client.events();
    let queued = request(&client, "a", "x");
    server.accept().respond("503 Service Unavailable", GOOD_BODY);
    assert!(matches!(wait(events.next()), Some(Event::ConnectFailed { .. })));
    assert_eq!(client.status(), Status::Waiting);
    wait(client.close());
    assert_eq!(wait(queued), Err(RequestError::NotSent.into()));
    assert_eq!(client.status(), Status::Closed);
    // Connecting does not wait for the pause either.
    let connecting = spawn(&client, |client| async move { client.connect().await });
    server.accept().respond("503 Service Unavailable", GOOD_BODY);
    assert_eq!(wait(connecting).unwrap_err().kind(), Some(&ConnectError::Unavailable));
    let connecting = spawn(&client, |client| async move { client.connect().await });
    let _socket = server.open();
    assert_eq!(wait(connecting), Ok(()));
}
