//! Questions of a server made by hand (protocol §10.4).

use std::sync::{Arc, Mutex};

use wwr::client::{DisconnectReason, Protocol};
use wwr::{Content, Payload};

use crate::adapter::client::{AnswerError, Builder, Client, Event};

use super::raw::{RawServer, RawSocket, accept_conf};
use super::wwr1::{SETTINGS, agree_with};
use super::{builder_with, config_of, connecting, wait};

/// What a client states that has a handler for questions: that it handles 64 at once.
const ANSWERS: &[u8] = b"\x18\0\0\0\x01\x40\0";

/// A client that has agreed on `wwr.1`, and its socket. It has no handler but for what is changed.
fn connected(
    server: &RawServer,
    settings: &[u8],
    change: impl FnOnce(Builder) -> Builder,
) -> (Client, RawSocket) {
    let client = change(builder_with(server, config_of(Protocol::Auto))).build().unwrap();
    let connected = connecting(&client);
    server.answer_probe();
    let mut socket = agree_with(server, settings);
    socket.send(&accept_conf([2, 0], 60_000, 20_000, ""));
    assert_eq!(wait(connected), Ok(()));
    (client, socket)
}

#[test]
fn questions_are_answered_and_what_is_cancelled_is_not() {
    let server = RawServer::bind();
    let names = Arc::new(Mutex::new(Vec::new()));
    let noted = names.clone();
    let (_client, mut socket) = connected(&server, ANSWERS, |builder| {
        builder.answer(move |question: Content| {
            noted.lock().unwrap().push(question.name().to_vec());
            async move { Ok(question.into_payload()) }
        })
    });
    socket.send(b"\x0c\x05\0\0\0\0\0\0\0\x01ahi");
    assert_eq!(socket.message(), b"\x1a\x05\0\0\0\0\0\0\0hi");
    socket.send(b"\x0e\x05\0\0\0\0\0\0\0");
    socket.send(b"\x0e\x09\0\0\0\0\0\0\0");
    socket.send(b"\x0b\x06\0\0\0\0\0\0\0\x01b");
    assert_eq!(socket.message(), b"\x19\x06\0\0\0\0\0\0\0");
    assert_eq!(*names.lock().unwrap(), [b"a".to_vec(), b"b".to_vec()]);
}

#[test]
fn without_a_handler_a_client_states_that_and_says_so_if_it_is_asked() {
    let server = RawServer::bind();
    let (_client, mut socket) = connected(&server, SETTINGS, |builder| builder);
    socket.send(b"\x0b\x07\0\0\0\0\0\0\0\x01a");
    assert_eq!(socket.message(), b"\x1d\x07\0\0\0\0\0\0\0\x01");
}

#[test]
fn a_server_that_asks_without_an_end_is_left() {
    let server = RawServer::bind();
    let (client, mut socket) = connected(&server, ANSWERS, |builder| {
        builder.answer(|_| std::future::pending::<Result<Payload, AnswerError>>())
    });
    let mut events = client.events();
    let ask = |socket: &mut RawSocket, id: u64| {
        socket.send(&[&[0x0b], &id.to_le_bytes()[..], b"\x01q"].concat());
    };
    for id in 1..=64_u64 {
        ask(&mut socket, id);
    }
    for id in 65..=1064_u64 {
        ask(&mut socket, id);
        let busy = [&[0x1d], &id.to_le_bytes()[..], &[2]].concat();
        assert_eq!(socket.message(), busy);
    }
    ask(&mut socket, 1065);
    let lost = wait(events.next());
    let reason = DisconnectReason::TooManyQuestions;
    assert!(
        matches!(&lost, Some(Event::Disconnected { reason: why, .. }) if *why == reason),
        "{lost:?}"
    );
}
