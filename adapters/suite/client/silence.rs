//! Servers that fall silent, or only seem to; and what is not waited for.

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use wwr::Payload;
use wwr::client::{DisconnectReason, Pings, Protocol, RequestError, Status};

use crate::adapter::Manual;
use crate::adapter::client::{Client, Event, Events};

use super::raw::{BINARY, PING, PONG, RawServer, RawSocket, accept_conf};
use super::{builder_with, changed, config_of, connecting, in_time, request, spawn, wait};

fn pings(after: u64, timeout: u64) -> Option<Pings> {
    Some(Pings::new(Duration::from_millis(after), Duration::from_millis(timeout)))
}

/// A client of 2.0 that is ready.
fn connected(pings: Option<Pings>) -> (Client, Events, RawSocket) {
    let server = RawServer::bind();
    let settings = changed(config_of(Protocol::V2_0), |config| {
        config.machine.pings = pings;
        config.machine.reconnect = false;
    });
    let client = builder_with(&server, settings).build().unwrap();
    let mut events = client.events();
    let connected = connecting(&client);
    let socket = server.advertise(&accept_conf([2, 0], 60_000, u32::MAX, ""));
    assert_eq!(wait(connected), Ok(()));
    assert_eq!(wait(events.next()), Some(Event::Connected));
    (client, events, socket)
}

/// The server receives a ping.
fn pinged(socket: &mut RawSocket) -> Vec<u8> {
    let (opcode, payload) = socket.any_frame().unwrap();
    assert_eq!(opcode, PING, "{payload:?}");
    payload
}

/// A fresh client asks for the version, opens the WebSocket and sends the request: all that has to
/// happen within the tenth of a second that the request has. On a busy machine one may not make it.
#[test]
fn a_short_request_to_a_1_x_server_does_not_wait() {
    let made_it = (0..50).any(|_| {
        let server = RawServer::bind();
        let client = builder_with(&server, config_of(Protocol::Auto)).start().unwrap();
        let answer = smol::spawn(async move {
            client.request_within(Duration::from_millis(100), "a", "x").await
        });
        let serving = thread::spawn(move || {
            let mut socket = server.open();
            if let Some((BINARY, message)) = socket.frame() {
                socket.send(&[&[0xbf], &message[1..9], b"y"].concat());
            }
        });
        let answer = wait(answer);
        serving.join().unwrap();
        answer == Ok(Payload::binary("y"))
    });
    assert!(made_it);
}

/// As those of the reference (protocol §4.4).
#[test]
fn a_server_of_2_0_that_answers_no_pings_is_not_cut_off() {
    let (client, mut events, mut socket) = connected(pings(20, 20));
    for _ in 0..20 {
        pinged(&mut socket);
    }
    let answer = request(&client, "a", "x");
    assert_eq!(socket.echo(), "a");
    assert_eq!(wait(answer), Ok(Payload::binary("x")));
    assert_eq!(super::poll_once(&mut Box::pin(events.next())), None);
}

#[test]
fn unless_its_requests_run_out_of_time_in_a_row() {
    let (client, mut events, _socket) = connected(pings(20, 20));
    let limit = Duration::from_millis(100);
    let mut timeouts = 0;
    // A client on a busy machine that was kept from running begins to count again.
    let event = wait(async {
        loop {
            if let Some(event) = smol::future::poll_once(events.next()).await {
                break event;
            }
            let answer = client.request_within(limit, "a", "x").await;
            if answer == Err(RequestError::TimedOut { sent: true }.into()) {
                timeouts += 1;
            }
        }
    });
    let Some(Event::Disconnected { reason, .. }) = event else { panic!("{event:?}") };
    assert_eq!(reason, DisconnectReason::Silent);
    assert!(timeouts >= 2, "{timeouts}");
}

#[test]
fn a_server_that_answered_a_ping_is_missed_when_it_does_not() {
    let (client, mut events, mut socket) = connected(pings(50, 500));
    for _ in 0..3 {
        let payload = pinged(&mut socket);
        socket.send_frame(true, PONG, &payload);
    }
    let answer = request(&client, "a", "x");
    socket.request();
    let Some(Event::Disconnected { reason, retry_in: None }) = wait(events.next()) else {
        panic!()
    };
    assert_eq!(reason, DisconnectReason::Silent);
    assert_eq!(wait(answer), Err(RequestError::ConnectionLost.into()));
}

/// A byte at a time, for longer than a silent server has.
#[test]
fn a_message_that_comes_slowly_is_a_sign_of_life() {
    let (client, mut events, mut socket) = connected(pings(50, 1500));
    let payload = pinged(&mut socket);
    socket.send_frame(true, PONG, &payload);
    let message = b"\x3f\x01a0123456789";
    socket.stream.write_all(&[0x82, message.len() as u8]).unwrap();
    for byte in message {
        thread::sleep(Duration::from_millis(250));
        socket.stream.write_all(&[*byte]).unwrap();
    }
    let Some(Event::Signal(signal)) = wait(events.next()) else { panic!() };
    assert_eq!(signal.payload(), b"0123456789");
    assert_eq!(client.status(), Status::Connected);
}

/// The ping waits behind it, and so does the answer. On a busy machine a single step may take longer than
/// the client waits for a pong: then it waits longer, and all goes as much more slowly.
#[test]
fn a_message_that_goes_slowly_is_a_sign_of_life() {
    assert!([1_000, 2_000, 4_000, 8_000, 16_000].into_iter().any(arrives_slowly));
}

/// Whether a message arrives that takes more than twice the timeout of the client's pings, in milliseconds.
fn arrives_slowly(timeout: u64) -> bool {
    let (client, _events, mut socket) = connected(pings(50, timeout));
    let payload = pinged(&mut socket);
    socket.send_frame(true, PONG, &payload);
    let length = 64 * 1024 * 1024;
    let answer =
        spawn(&client, move |client| async move { client.request("a", vec![b'x'; length]).await });
    // Pings may come before it, none within.
    let mut head = [0; 2];
    loop {
        if socket.stream.read_exact(&mut head).is_err() {
            return false;
        }
        if head[0] == 0x82 {
            break;
        }
        socket.stream.read_exact(&mut [0; 4]).unwrap();
        socket.send_frame(true, PONG, b"");
    }
    let mut chunk = vec![0; 512 * 1024];
    let mut left = length + 10 + 1 + 8 + 4;
    let mut start = None;
    while left > 0 {
        thread::sleep(Duration::from_millis(timeout / 50));
        let read = left.min(chunk.len());
        if socket.stream.read_exact(&mut chunk[..read]).is_err() {
            return false;
        }
        start.get_or_insert_with(|| {
            // Behind the length and the mask: the type, then the identifier.
            let mask: [u8; 4] = chunk[8..12].try_into().unwrap();
            let unmasked = chunk[12..21].iter().zip(mask.iter().cycle());
            unmasked.map(|(byte, mask)| byte ^ mask).collect::<Vec<u8>>()
        });
        left -= read;
    }
    socket.send(&[&[0xbf], &start.unwrap()[1..9], b"y"].concat());
    wait(answer) == Ok(Payload::binary("y"))
}

/// As on a machine that was suspended: nothing ran, and what has come meanwhile lies in the socket.
#[test]
fn a_client_that_slept_reads_before_it_gives_up_its_server() {
    let executor = Manual::new();
    let server = RawServer::bind();
    let settings = changed(config_of(Protocol::V2_0), |config| {
        config.machine.pings = pings(50, 200);
        config.machine.reconnect = false;
    });
    let client = builder_with(&server, settings).executor(executor.runtime()).build().unwrap();
    let mut events = client.events();
    // The client runs only in here.
    let run = |work: &mut dyn FnMut() -> bool| {
        executor.run(in_time(async {
            while !work() {
                smol::future::yield_now().await;
            }
        }));
    };
    let connecting = connecting(&client);
    let serving = thread::spawn(move || {
        let mut socket = server.advertise(&accept_conf([2, 0], 60_000, u32::MAX, ""));
        let payload = pinged(&mut socket);
        socket.send_frame(true, PONG, &payload);
        pinged(&mut socket);
        socket
    });
    run(&mut || serving.is_finished());
    assert_eq!(wait(connecting), Ok(()));
    let mut socket = serving.join().unwrap();
    // It sleeps, for longer than the answer may take, and the answer comes meanwhile.
    socket.send_frame(true, PONG, b"");
    thread::sleep(Duration::from_millis(600));
    let serving = thread::spawn(move || {
        for _ in 0..5 {
            let payload = pinged(&mut socket);
            socket.send_frame(true, PONG, &payload);
        }
        socket
    });
    run(&mut || serving.is_finished());
    let _socket = serving.join().unwrap();
    assert_eq!(wait(events.next()), Some(Event::Connected));
    assert_eq!(super::poll_once(&mut Box::pin(events.next())), None);
    assert_eq!(client.status(), Status::Connected);
}
