//! Servers that do not read.

use std::time::Duration;

use wwr::Payload;
use wwr::client::{DisconnectReason, Misuse, RequestError};

use crate::adapter::client::{Builder, Client, Error, Event};

use super::raw::{RawServer, RawSocket};
use super::{
    Answer, builder_with, changed, config, connected, connected_with, poll_once, spawn, until, wait,
};

/// More than the buffers of both sockets and of the client hold together.
const MUCH: usize = 32 * 1024 * 1024;
const LARGE: usize = 256 * 1024;

/// A client that gives up a server which takes nothing for this long, and keeps as many unsent bytes.
fn with_limits(server: &RawServer, stall_timeout: Duration, max_unsent_bytes: usize) -> Builder {
    let config = changed(config(), |config| {
        config.stall_timeout = stall_timeout;
        config.max_unsent_bytes = max_unsent_bytes;
    });
    builder_with(server, config)
}

/// A client that does not give up its server.
fn patient(server: &RawServer, max_unsent_bytes: usize) -> Builder {
    with_limits(server, Duration::from_secs(3600), max_unsent_bytes)
}

/// Makes requests until what waits is all that may wait; returns those that were taken. The first
/// is more than the socket takes, so that the others wait behind it for good.
fn fill(client: &Client) -> Vec<Answer> {
    let mut taken =
        vec![spawn(client, |client| async move { client.request("much", vec![0; MUCH]).await })];
    until(|| client.pending_requests() == 1);
    loop {
        let mut request = Box::pin({
            let client = client.clone();
            async move { client.request("large", vec![0; LARGE]).await }
        });
        match poll_once(&mut request) {
            Some(refused) => {
                assert_eq!(refused, Err(Misuse::QueueFull.into()));
                return taken;
            }
            None => taken.push(smol::spawn(request)),
        }
        assert!(taken.len() <= 5, "it takes more and more");
    }
}

#[test]
fn calls_are_refused_when_too_much_waits_and_closing_is_possible_nonetheless() {
    let server = RawServer::bind();
    let patient = builder_with(
        &server,
        changed(config(), |config| {
            config.stall_timeout = Duration::from_secs(3600);
            config.close_timeout = Duration::from_millis(10);
            config.max_unsent_bytes = 4 * LARGE;
        }),
    );
    let (client, mut events, socket) = connected_with(&server, patient);
    let taken = fill(&client);
    assert_eq!(taken.len(), 4, "the first, and three that wait");
    wait(client.close());
    for answer in taken {
        // By then the client may have been closed.
        let error = wait(answer).unwrap_err();
        let ended = [Error::Request(RequestError::ConnectionLost), Misuse::NotConnected.into()];
        assert!(ended.contains(&error), "{error:?}");
    }
    let Some(Event::Disconnected { reason, .. }) = wait(events.next()) else { panic!() };
    assert_eq!(reason, DisconnectReason::Closed);
    drop(socket);
}

#[test]
fn a_caller_that_waits_for_room_is_never_refused() {
    let server = RawServer::bind();
    let patient = patient(&server, 4 * LARGE);
    let (client, _events, mut socket) = connected_with(&server, patient);
    let mut taken = fill(&client);
    assert_eq!(poll_once(&mut Box::pin(client.ready())), None, "nobody reads");
    let count = 3 * taken.len();
    let many = smol::spawn(async move {
        while taken.len() < count {
            client.ready().await.unwrap();
            let client = client.clone();
            let mut call = Box::pin(async move { client.request("l", vec![1; LARGE]).await });
            assert_eq!(smol::future::poll_once(&mut call).await, None);
            taken.push(smol::spawn(call));
        }
        for call in taken {
            assert_eq!(call.await, Ok(Payload::binary("x")));
        }
    });
    for _ in 0..count {
        let asked = socket.request();
        socket.reply(&asked, b"x");
    }
    wait(many);
}

#[test]
fn dropping_the_client_ends_it_with_any_server() {
    let server = RawServer::bind();
    let patient = patient(&server, 4 * LARGE);
    let (client, mut events, socket) = connected_with(&server, patient);
    drop(fill(&client));
    drop(client);
    assert!(matches!(wait(events.next()), Some(Event::Disconnected { .. })));
    assert_eq!(wait(events.next()), None);
    drop(socket);
}

#[test]
fn a_server_that_takes_nothing_for_too_long_is_left() {
    let server = RawServer::bind();
    let impatient = with_limits(&server, Duration::from_millis(50), 4 * LARGE);
    let (client, mut events, socket) = connected_with(&server, impatient);
    let much = spawn(&client, |client| async move { client.request("much", vec![0; MUCH]).await });
    let Some(Event::Disconnected { reason, .. }) = wait(events.next()) else { panic!() };
    assert_eq!(reason, DisconnectReason::Lost);
    assert_eq!(wait(much), Err(RequestError::ConnectionLost.into()));
    drop(socket);
}

#[test]
fn two_that_write_to_each_other_do_not_wait_for_ever() {
    let server = RawServer::bind();
    let patient = patient(&server, 2 * MUCH);
    let (client, _events, mut socket) = connected_with(&server, patient);
    let requests: Vec<_> = (0..MUCH / LARGE)
        .map(|_| spawn(&client, |client| async move { client.request("l", vec![1; LARGE]).await }))
        .collect();
    // The server reads nothing before it has written as much.
    let asked = socket.request();
    let signal = [b"\x3f\x01n", &vec![0; LARGE][..]].concat();
    (0..MUCH / LARGE).for_each(|_| socket.send(&signal));
    socket.reply(&asked, &asked.payload);
    for _ in 1..requests.len() {
        socket.echo();
    }
    for request in requests {
        assert_eq!(wait(request).map(|payload| payload.len()), Ok(LARGE));
    }
}

#[test]
fn signals_that_are_not_taken_use_bounded_memory() {
    let server = RawServer::bind();
    let (client, mut events, mut socket) = connected(&server);
    let signal = [b"\x3f\x01n", &vec![0; LARGE][..]].concat();
    (0..MUCH / LARGE).for_each(|_| socket.send(&signal));
    let answer = spawn(&client, |client| async move { client.request("a", "x").await });
    let echo = |socket: &mut RawSocket| socket.echo();
    assert_eq!(echo(&mut socket), "a");
    assert_eq!(wait(answer), Ok(Payload::binary("x")));
    let mut bytes = 0;
    while let Some(Event::Signal(signal)) = wait(events.next()) {
        bytes += signal.payload().len();
    }
    assert!(bytes < 8 * 1024 * 1024, "{bytes} bytes were kept");
}
