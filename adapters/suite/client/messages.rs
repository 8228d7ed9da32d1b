//! What a server may send on a connection.

use wwr::client::{DisconnectReason, RequestError};
use wwr::{Content, Encoding, Payload};

use crate::adapter::client::{Client, Event};

use super::raw::{BINARY, CLOSE, PING, PONG, RawServer, RawSocket, TEXT, session_json};
use super::{builder, builder_with, changed, config, connected, connected_with, request, wait};

fn assert_serves(client: &Client, socket: &mut RawSocket) {
    let answer = request(client, "still", "there");
    assert_eq!(socket.echo(), "still");
    assert_eq!(wait(answer), Ok(Payload::binary("there")));
}

#[test]
fn nothing_that_is_sent_ends_the_connection() {
    let server = RawServer::bind();
    let (client, _events, mut socket) = connected(&server);
    let with_id = |kind: u8, rest: &[u8]| [&[kind, 9, 0, 0, 0, 0, 0, 0, 0], rest].concat();
    let odd: Vec<Vec<u8>> = vec![
        b"\x17\x02\x00\x60\xea\0\0\0\x20\0\0".to_vec(),
        vec![],
        vec![0],
        vec![7],
        vec![255; 300],
        vec![0x15],
        b"\x15{".to_vec(),
        b"\x15{\"k\":7}".to_vec(),
        b"\x16".to_vec(),
        b"\x16\x16".to_vec(),
        b"\x21".to_vec(),
        b"\x3f\x05a".to_vec(),
        b"\x41\x01ax".to_vec(),
        vec![0xbf, 1, 2],
        with_id(0, b"\x00message"),
        with_id(0, b"\xffc"),
        with_id(6, b""),
        with_id(0x1f, b""),
        with_id(0x20, b"key"),
        with_id(0x7f, b"\x01ab"),
        with_id(0xbf, b"a reply to nobody"),
        with_id(0xc1, b"\0x"),
        b"\x06\0\0\0\0\0\0\0\0".to_vec(),
    ];
    for message in odd {
        socket.send(&message);
        assert_serves(&client, &mut socket);
    }
    assert_eq!(client.session(), None);
}

#[test]
fn an_accept_conf_before_the_first_message_is_ignored() {
    let server = RawServer::bind();
    let client = builder(&server).start().unwrap();
    let answer = request(&client, "a", "x");
    let mut socket = server.open();
    socket.send(b"\x17\x02\x00\x60\xea\0\0\0\x20\0\0");
    assert_eq!(socket.echo(), "a");
    assert_eq!(wait(answer), Ok(Payload::binary("x")));
}

#[test]
fn text_messages_are_read_like_binary_ones() {
    let server = RawServer::bind();
    let (client, mut events, mut socket) = connected(&server);
    let answer = request(&client, "a", "x");
    let asked = socket.request();
    assert_eq!((asked.kind, &asked.payload[..]), (0x80, &b"x"[..]), "text goes out as UTF-8");
    socket.send_frame(true, TEXT, b"@\x01nx");
    let Some(Event::Signal(signal)) = wait(events.next()) else { panic!() };
    assert_eq!((signal.name(), signal.payload()), (&b"n"[..], &b"x"[..]));
    // Any message whose bytes are text may come this way; a reply's first byte never is.
    socket.send(&[&[0xc0], &asked.id[..], b"y"].concat());
    assert_eq!(wait(answer), Ok(Payload::utf8("y")));
}

#[test]
fn replies_come_in_fragments_and_pings_between_them() {
    let server = RawServer::bind();
    let (client, _events, mut socket) = connected(&server);
    let answer = request(&client, "a", "x");
    let asked = socket.request();
    let text: Vec<u8> = "häppchen".repeat(4000).into_bytes();
    let reply = [&[0xc0], &asked.id[..], &text].concat();
    let (head, tail) = reply.split_at(5);
    let (middle, tail) = tail.split_at(4096);
    socket.send_frame(false, BINARY, head);
    socket.send_frame(true, PING, b"are you there?");
    socket.send_frame(false, 0, middle);
    socket.send_frame(false, 0, b"");
    socket.send_frame(true, 0, tail);
    assert_eq!(socket.frame(), Some((PONG, b"are you there?".to_vec())));
    let payload = wait(answer).unwrap();
    assert_eq!((payload.encoding(), payload.as_bytes()), (Encoding::Utf8, &text[..]));
    socket.send_frame(true, PONG, b"nobody asked");
    assert_serves(&client, &mut socket);
}

#[test]
fn events_come_in_the_order_of_the_messages() {
    let server = RawServer::bind();
    let (client, mut events, mut socket) = connected(&server);
    let created = [b"\x15", session_json("KEY1").as_bytes()].concat();
    socket.send(b"\x3f\x011a");
    socket.send(&created);
    socket.send(b"\x40\x002");
    socket.send(b"\x16");
    socket.send(b"\x41\x013\x004\0");
    let Some(Event::Signal(first)) = wait(events.next()) else { panic!() };
    let Some(Event::SessionCreated(session)) = wait(events.next()) else { panic!() };
    let Some(Event::Signal(second)) = wait(events.next()) else { panic!() };
    assert_eq!(wait(events.next()), Some(Event::SessionClosed));
    let Some(Event::Signal(third)) = wait(events.next()) else { panic!() };
    let content = |name: &[u8], payload| Content::new(name, &payload).unwrap();
    assert_eq!(first, content(b"1", Payload::binary("a")));
    assert_eq!(second, content(b"", Payload::utf8("2")));
    assert_eq!(third, content(b"3", Payload::utf16("4")));
    assert_eq!((session.key.as_str(), session.info.value("user")), ("KEY1", Some(&"ada".into())));
    assert_eq!(client.session(), None);
}

#[test]
fn events_that_are_not_taken_are_dropped_and_hold_nothing_up() {
    let server = RawServer::bind();
    let (client, mut events, mut socket) = connected(&server);
    let sent = 3000;
    (0..sent).for_each(|_| socket.send(b"\x3f\x01nx"));
    assert_serves(&client, &mut socket);
    let mut taken = 0;
    let missed = loop {
        match wait(events.next()) {
            Some(Event::Signal(_)) => taken += 1,
            Some(Event::Missed(missed)) => break missed,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((taken > 0, taken + missed), (true, sent));
    socket.send(b"\x3f\x01nx");
    assert!(matches!(wait(events.next()), Some(Event::Signal(_))));
}

#[test]
fn a_request_is_answered_once_and_by_its_own_reply() {
    let server = RawServer::bind();
    let (client, _events, mut socket) = connected(&server);
    let (first, second) = (request(&client, "1", "x"), request(&client, "2", "x"));
    let asked = [socket.request(), socket.request()];
    for payload in [b"right", b"wrong"] {
        asked.iter().rev().for_each(|asked| socket.reply(asked, payload));
    }
    assert_eq!(wait(first), Ok(Payload::binary("right")));
    assert_eq!(wait(second), Ok(Payload::binary("right")));
    assert_serves(&client, &mut socket);
}

#[test]
fn each_reply_has_its_error() {
    let server = RawServer::bind();
    let (client, _events, mut socket) = connected(&server);
    let errors = [
        RequestError::ServerShutdown,
        RequestError::Internal,
        RequestError::SessionNotFound,
        RequestError::MaxSessionConnections,
        RequestError::SessionsDisabled,
        RequestError::Protocol,
    ];
    for (kind, error) in (1..).zip(errors) {
        let answer = request(&client, "a", "x");
        let asked = socket.request();
        socket.send(&[&[kind], &asked.id[..]].concat());
        assert_eq!(wait(answer), Err(error.into()));
    }
}

#[test]
fn a_message_of_the_limit_is_read_and_a_longer_one_ends_the_connection() {
    let server = RawServer::bind();
    let limited =
        builder_with(&server, changed(config(), |config| config.machine.max_message_size = 1000));
    let (client, mut events, mut socket) = connected_with(&server, limited);
    let signal = |length: usize| [b"\x3f\x01n", &vec![b'x'; length - 3][..]].concat();
    socket.send(&signal(1000));
    assert!(matches!(wait(events.next()), Some(Event::Signal(_))));
    let answer = request(&client, "a", "x");
    socket.request();
    socket.send(&signal(1001));
    assert_eq!(wait(answer), Err(RequestError::ConnectionLost.into()));
    let Some(Event::Disconnected { reason, .. }) = wait(events.next()) else { panic!() };
    assert_eq!(reason, DisconnectReason::Lost);
}

#[test]
fn a_violation_of_websocket_ends_the_connection() {
    type Breach = fn(&mut RawSocket);
    let breaches: [(Breach, u16); 5] = [
        (|socket| socket.send_frame(true, 3, b"an invalid opcode"), 1002),
        (|socket| socket.send_frame(true, 0, b"goes on with nothing"), 1002),
        (|socket| socket.send_frame(false, PING, b"a fragmented ping"), 1002),
        (|socket| socket.send_frame(true, TEXT, b"\xff is no text"), 1007),
        (|socket| socket.send_frame(true, CLOSE, b"\x03"), 1002),
    ];
    for (breach, code) in breaches {
        let server = RawServer::bind();
        let (_client, mut events, mut socket) = connected(&server);
        breach(&mut socket);
        assert!(matches!(wait(events.next()), Some(Event::Disconnected { .. })));
        let Some((CLOSE, close)) = socket.frame() else { panic!("no close frame") };
        assert_eq!(close[..2], code.to_be_bytes());
        let _next = server.open();
        assert_eq!(wait(events.next()), Some(Event::Connected));
    }
}
