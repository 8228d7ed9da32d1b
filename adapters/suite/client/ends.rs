//! The end of a client: of its handles, of its executor.

use wwr::SessionKey;
use wwr::client::{DisconnectReason, Status};

use crate::adapter::Manual;
use crate::adapter::client::ConnectError;
use crate::adapter::client::{Error, Event};

use super::raw::{CLOSE, RawServer};
use super::{builder, connected, in_time, poll_once, request, wait};

#[test]
fn the_connection_is_closed_with_the_last_handle() {
    let server = RawServer::bind();
    let (client, mut events, mut socket) = connected(&server);
    let other = client.clone();
    drop(client);
    let answer = request(&other, "a", "x");
    assert_eq!(socket.echo(), "a");
    assert!(wait(answer).is_ok());
    assert_eq!(wait(other.signal("last", "words")), Ok(()));
    drop(other);
    let reason = DisconnectReason::Closed;
    assert_eq!(wait(events.next()), Some(Event::Disconnected { reason, retry_in: None }));
    // Nothing more comes, though the server has not closed its side.
    assert_eq!(wait(events.next()), None);
    assert_eq!(wait(events.next()), None);
    assert_eq!(socket.message(), b"\x40\x04lastwords");
    assert_eq!(socket.frame(), Some((CLOSE, 1000u16.to_be_bytes().to_vec())));
}

#[test]
fn a_client_that_never_connected_ends_too() {
    let server = RawServer::bind();
    let client = builder(&server).start().unwrap();
    let mut events = client.events();
    let probe = server.accept();
    drop(client);
    assert_eq!(wait(events.next()), None);
    drop(probe);
}

#[test]
fn no_call_waits_for_an_executor_that_has_ended() {
    let server = RawServer::bind();
    let executor = Manual::new();
    let client = builder(&server).executor(executor.runtime()).build().unwrap();
    let mut events = client.events();

    let mut connecting = Box::pin(client.connect());
    assert_eq!(poll_once(&mut connecting), None);
    let mut socket = executor.run(in_time(smol::unblock(move || server.open())));
    assert_eq!(executor.run(in_time(connecting)), Ok(()));
    let mut sent = Box::pin(client.request("sent", "x"));
    assert_eq!(poll_once(&mut sent), None);
    let mut socket = executor.run(in_time(smol::unblock(move || {
        socket.request();
        socket
    })));
    let mut unseen = Box::pin(client.request("unseen", "x"));
    assert_eq!(poll_once(&mut unseen), None);
    let mut closing = Box::pin(client.close());
    assert_eq!(poll_once(&mut closing), None);

    drop(executor);
    assert_eq!(socket.frame(), None);
    assert_eq!(wait(sent), Err(Error::Ended));
    assert_eq!(wait(unseen), Err(Error::Ended));
    wait(closing);
    assert_eq!(wait(events.next()), Some(Event::Connected));
    assert_eq!(wait(events.next()), None);

    assert_eq!(wait(client.request("late", "x")), Err(Error::Ended));
    assert_eq!(wait(client.signal("late", "x")), Err(Error::Ended));
    assert_eq!(wait(client.close_session()), Err(Error::Ended));
    let key = SessionKey::new("KEY1").unwrap();
    assert_eq!(wait(client.restore_session(key)), Err(Error::Ended));
    assert_eq!(wait(client.connect()), Err(ConnectError::Closed));
    wait(client.close());
    assert_eq!(wait(client.events().next()), None);
    assert_eq!((client.status(), client.pending_requests()), (Status::Closed, 0));
}

#[test]
fn an_executor_may_go_before_it_has_begun() {
    let server = RawServer::bind();
    let executor = Manual::new();
    let client = builder(&server).executor(executor.runtime()).start().unwrap();
    let mut request = Box::pin(client.request("a", "x"));
    assert_eq!(poll_once(&mut request), None);
    drop(executor);
    assert_eq!(wait(request), Err(Error::Ended));
    assert_eq!(wait(client.events().next()), None);
}
