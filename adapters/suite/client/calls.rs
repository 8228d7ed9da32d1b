//! Requests: many at once, given up, out of time.

use std::collections::BTreeSet;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use wwr::client::{Misuse, RequestError};
use wwr::{Encoding, Payload};

use crate::adapter::Manual;
use crate::adapter::client::{Client, Error, Event};

use super::raw::{GOOD_BODY, RawServer};
use super::{builder, connected, in_time, poll_once, request, until, wait};

#[test]
fn many_tasks_on_many_threads_get_their_own_replies() {
    const THREADS: usize = 4;
    const TASKS: usize = 50;
    let server = RawServer::bind();
    let (client, _events, mut socket) = connected(&server);
    let ready = Arc::new(Barrier::new(THREADS));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (client, ready) = (client.clone(), ready.clone());
            thread::spawn(move || {
                ready.wait();
                let calls = (0..TASKS).map(|task| {
                    let client = &client;
                    async move {
                        for turn in 0..3 {
                            let text = format!("{thread}/{task}/{turn}");
                            let reply = client.request("echo", text.clone()).await.unwrap();
                            assert_eq!(reply.as_bytes(), text.as_bytes());
                        }
                    }
                });
                wait(futures_util::future::join_all(calls));
            })
        })
        .collect();
    let mut ids = BTreeSet::new();
    // All of one turn are there before any is answered, and the last comes first.
    for _ in 0..3 {
        let asked: Vec<_> = (0..THREADS * TASKS).map(|_| socket.request()).collect();
        asked.iter().for_each(|asked| assert!(ids.insert(asked.id), "an identifier twice"));
        asked.iter().rev().for_each(|asked| socket.reply(asked, &asked.payload));
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(client.pending_requests(), 0);
}

#[test]
fn a_request_that_is_dropped_is_cancelled() {
    let server = RawServer::bind();
    let (client, _events, mut socket) = connected(&server);
    let mut dropped = Box::pin(client.request("dropped", "x"));
    assert_eq!(poll_once(&mut dropped), None);
    let asked = socket.request();
    assert_eq!(client.pending_requests(), 1);
    drop(dropped);
    until(|| client.pending_requests() == 0);
    // What comes for it now is late; what comes after it is not mistaken for it.
    socket.reply(&asked, b"late");
    let answer = request(&client, "next", "y");
    assert_eq!(socket.echo(), "next");
    assert_eq!(wait(answer), Ok(Payload::binary("y")));
    assert_eq!(client.pending_requests(), 0);
}

#[test]
fn a_request_that_is_dropped_before_there_is_a_connection_is_never_sent() {
    let server = RawServer::bind();
    let client = builder(&server).start().unwrap();
    let probe = server.accept();
    let mut dropped = Box::pin(client.request("dropped", "x"));
    assert_eq!(poll_once(&mut dropped), None);
    drop(dropped);
    drop(client.request("never polled", "x"));
    let answer = request(&client, "kept", "y");
    probe.respond("200 OK", GOOD_BODY);
    let mut socket = server.accept().upgrade();
    assert_eq!(socket.echo(), "kept");
    assert_eq!(wait(answer), Ok(Payload::binary("y")));
}

#[test]
fn a_request_that_is_dropped_before_its_turn_is_never_sent() {
    let server = RawServer::bind();
    let executor = Manual::new();
    let client = builder(&server).executor(executor.runtime()).start().unwrap();
    let mut socket = executor.run(in_time(smol::unblock(move || server.open())));
    assert_eq!(executor.run(in_time(client.connect())), Ok(()));
    // Nothing runs between these.
    let mut dropped = Box::pin(client.request("dropped", "x"));
    assert_eq!(poll_once(&mut dropped), None);
    drop(dropped);
    let mut kept = Box::pin(client.request("kept", "y"));
    assert_eq!(poll_once(&mut kept), None);
    let serving = smol::unblock(move || socket.echo());
    assert_eq!(executor.run(in_time(kept)), Ok(Payload::binary("y")));
    assert_eq!(wait(serving), "kept");
}

#[test]
fn a_request_without_a_reply_in_time_says_whether_it_was_sent() {
    let soon = Duration::from_millis(10);
    let server = RawServer::bind();
    let client = builder(&server).start().unwrap();
    let probe = server.accept();
    let unsent = wait(client.request_within(soon, "a", "x"));
    assert_eq!(unsent, Err(RequestError::TimedOut { sent: false }.into()));
    probe.respond("200 OK", GOOD_BODY);
    let mut socket = server.accept().upgrade();
    wait(client.connect()).unwrap();
    let sent = wait(client.request_within(soon, "b", "x"));
    assert_eq!(sent, Err(RequestError::TimedOut { sent: true }.into()));
    let asked = socket.request();
    assert_eq!(asked.name, "b");
    let answer = request(&client, "c", "y");
    socket.reply(&asked, b"late");
    assert_eq!(socket.echo(), "c");
    assert_eq!(wait(answer), Ok(Payload::binary("y")));
}

#[test]
fn requests_can_be_made_where_events_are_handled() {
    let server = RawServer::bind();
    let (client, mut events, mut socket) = connected(&server);
    let listening = smol::spawn(async move {
        let mut replies = Vec::new();
        while let Some(Event::Signal(signal)) = events.next().await {
            replies.push(client.request("about", signal.into_payload()).await.unwrap());
            if replies.len() == 2 {
                break;
            }
        }
        replies
    });
    socket.send(b"\x3f\x01n1");
    socket.send(b"\x40\x01n2");
    assert_eq!((socket.echo(), socket.echo()), ("about".into(), "about".into()));
    assert_eq!(wait(listening), [Payload::binary("1"), Payload::binary("2")]);
}

#[test]
fn names_and_payloads_are_sent_unchanged_or_refused() {
    let server = RawServer::bind();
    let (client, _events, mut socket) = connected(&server);
    for payload in [Payload::binary(vec![0, 255]), Payload::utf8("ä"), Payload::utf16("ä")] {
        let encoding = payload.encoding();
        let bytes = payload.as_bytes().to_vec();
        let calling =
            super::spawn(&client, |client| async move { client.request("name", payload).await });
        let asked = socket.request();
        let kind = [Encoding::Binary, Encoding::Utf8, Encoding::Utf16]
            .iter()
            .position(|known| *known == encoding);
        assert_eq!((Some(usize::from(asked.kind - 127)), asked.payload), (kind, bytes));
        drop(calling);
    }
    assert!(matches!(wait(client.request("nämlich", "x")), Err(Error::InvalidName(_))));
    assert!(matches!(wait(client.signal("x".repeat(256), "x")), Err(Error::InvalidName(_))));
    assert_eq!(wait(client.request("", "")), Err(Misuse::EmptyRequest.into()));
    assert!(matches!(
        wait(client.signal("name", "")),
        Err(Error::Misuse(Misuse::UnreadableSignal(_)))
    ));
    assert_eq!(wait(client.signal("last", "x")), Ok(()));
    assert_eq!(socket.message(), b"\x40\x04lastx");
}

#[test]
fn a_client_runs_on_an_executor_of_one_thread() {
    let server = RawServer::bind();
    let executor = Manual::new();
    let builder = builder(&server).executor(executor.runtime());
    let serving = thread::spawn(move || {
        let mut socket = server.open();
        for _ in 0..10 {
            socket.echo();
        }
        socket.closed_by_client();
    });
    let day = async {
        let client: Client = builder.connect().await.unwrap();
        let calls = (0..10).map(|call| client.request("a", call.to_string()));
        for (call, reply) in futures_util::future::join_all(calls).await.into_iter().enumerate() {
            assert_eq!(reply, Ok(Payload::binary(call.to_string())));
        }
        client.close().await;
    };
    executor.run(in_time(day));
    serving.join().unwrap();
}
