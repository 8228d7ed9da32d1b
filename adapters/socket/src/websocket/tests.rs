//! What one side makes of bytes, however they are cut.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::*;

const NOW: Instant = Instant::EPOCH;
const KEY: Key = [0x37, 0xfa, 0x21, 0x3d];

fn limits() -> WebSocketLimits {
    WebSocketLimits { max_message: 1000, max_backlog: 300, stall_timeout: Duration::from_secs(1) }
}

fn server() -> WebSocket {
    WebSocket::new(Role::Server, limits())
}

/// A frame of a client.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame::write(Opcode::Binary, payload, Some(KEY), &mut frame);
    frame[0] = first;
    frame
}

/// What a server makes of these bytes, in pieces of this size, and what it sends.
fn events_of(bytes: &[u8], piece: usize) -> (Vec<Incoming>, Vec<u8>) {
    let (mut socket, mut memory) = (server(), Memory::new());
    let mut events = Vec::new();
    for piece in bytes.chunks(piece) {
        socket.receive(piece, &mut memory);
        events.extend(core::iter::from_fn(|| socket.poll(&mut memory)));
    }
    (events, socket.output().to_vec())
}

fn message(text: &'static str) -> Incoming {
    Incoming::Message(text.into())
}

/// A conversation with everything in it.
fn conversation() -> Vec<u8> {
    [
        frame(0x82, b"hello"),
        frame(0x01, "grü".as_bytes()),
        frame(0x89, b"ping"),
        frame(0x00, b""),
        frame(0x80, "ße".as_bytes()),
        frame(0x82, &[7; 200]),
        frame(0x8a, b"pong"),
        frame(0x82, b""),
        frame(0x88, b"\x03\xe8bye"),
        frame(0x82, b"too late"),
    ]
    .concat()
}

#[test]
fn the_same_events_come_however_the_bytes_are_cut() {
    let expected = [
        message("hello"),
        Incoming::Ping,
        Incoming::Text("grüße".into()),
        Incoming::Message(vec![7; 200].into()),
        Incoming::Pong,
        message(""),
        Incoming::Closed(CloseFrame::received(Some(1000), "bye")),
    ];
    let conversation = conversation();
    for piece in 1..=conversation.len() {
        let (events, sent) = events_of(&conversation, piece);
        assert_eq!(events, expected, "in pieces of {piece}");
        assert_eq!(sent, b"\x8a\x04ping\x88\x05\x03\xe8bye", "in pieces of {piece}");
    }
}

#[test]
fn a_peer_that_breaks_the_rules_is_told_and_not_read_any_more() {
    for (bytes, violation, code) in [
        (frame(0xc2, b"x"), Violation::ReservedBits, 1002),
        (frame(0x83, b"x"), Violation::UnknownOpcode, 1002),
        (vec![0x82, 0x01, 0x00], Violation::Masking, 1002),
        (frame(0x09, b"x"), Violation::ControlFrame, 1002),
        (frame(0x80, b"x"), Violation::Fragments, 1002),
        ([frame(0x02, b"x"), frame(0x82, b"x")].concat(), Violation::Fragments, 1002),
        ([frame(0x02, b"x"), frame(0x01, b"x")].concat(), Violation::Fragments, 1002),
        // Whether it would be too long for the message that it does not belong to is not asked.
        ([frame(0x02, &[0; 600]), frame(0x82, &[0; 500])].concat(), Violation::Fragments, 1002),
        (frame(0x81, b"\xff"), Violation::Utf8, 1007),
        ([frame(0x01, b"\xe2"), frame(0x80, b"\x82")].concat(), Violation::Utf8, 1007),
        (frame(0x01, b"\xff"), Violation::Utf8, 1007),
        ([frame(0x01, b"a"), frame(0x00, b"\xff")].concat(), Violation::Utf8, 1007),
        (frame(0x88, b"\x03"), Violation::CloseFrame, 1002),
        (frame(0x88, b"\x03\xed"), Violation::CloseFrame, 1002),
        (frame(0x88, b"\x03\xe8\xff"), Violation::Utf8, 1007),
        (frame(0x82, &[0; 1001])[..8].into(), Violation::TooLarge, 1009),
        ([frame(0x02, &[0; 600]), frame(0x80, &[0; 401])].concat(), Violation::TooLarge, 1009),
        (vec![0x82, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4], Violation::TooLarge, 1009),
    ] {
        let later = [bytes.clone(), frame(0x82, b"later")].concat();
        for piece in [1, later.len()] {
            let (events, sent) = events_of(&later, piece);
            assert_eq!(events.last(), Some(&Incoming::Violated(violation)), "{bytes:x?}");
            assert_eq!(u16::from_be_bytes([sent[2], sent[3]]), code, "{bytes:x?}");
        }
    }
}

#[test]
fn a_message_is_refused_by_its_length_before_it_is_buffered() {
    // The head of the last fragment is enough.
    let bytes = [frame(0x02, &[0; 600]), frame(0x80, &[0; 401])[..8].into()].concat();
    assert_eq!(events_of(&bytes, 1).0, [Incoming::Violated(Violation::TooLarge)]);
    // The longest length, at a socket that allows everything.
    let limits = WebSocketLimits { max_message: usize::MAX, ..limits() };
    for before in [&[][..], &frame(0x02, b"x")] {
        let (mut memory, mut socket) = (Memory::new(), WebSocket::new(Role::Server, limits));
        let first = if before.is_empty() { 0x82 } else { 0x80 };
        let head = [&[first, 0xff][..], &[0xff; 12]].concat();
        socket.receive(&[before, &head].concat(), &mut memory);
        let violated = socket.poll(&mut memory);
        assert_eq!(violated, Some(Incoming::Violated(Violation::TooLarge)), "{before:x?}");
    }
}

#[test]
fn a_close_frame_without_a_code_is_answered_alike() {
    let (events, sent) = events_of(&frame(0x88, b""), 1);
    assert_eq!(events, [Incoming::Closed(CloseFrame::received(None, ""))]);
    assert_eq!(sent, b"\x88\x00");
}

#[test]
fn messages_behind_our_close_frame_are_dropped_until_that_of_the_peer() {
    let (mut socket, mut memory) = (server(), Memory::new());
    socket.close(&CloseFrame::NORMAL, &mut memory);
    socket.close(&CloseFrame::NORMAL, &mut memory);
    socket.send(b"too late", &mut memory);
    socket.ping(&mut memory);
    assert_eq!(socket.output(), b"\x88\x02\x03\xe8");
    let bytes = [frame(0x82, b"x"), frame(0x89, b"x"), frame(0x88, b"\x03\xe8")].concat();
    socket.receive(&bytes, &mut memory);
    let events: Vec<_> = core::iter::from_fn(|| socket.poll(&mut memory)).collect();
    let closed = Incoming::Closed(CloseFrame::received(Some(1000), ""));
    assert_eq!(events, [Incoming::Ping, closed]);
    assert!(socket.has_ended());
    assert_eq!(socket.backlog(), 4);
}

#[test]
fn nothing_of_a_client_is_sent_unmasked() {
    let (mut socket, mut memory) = (WebSocket::new(Role::Client, limits()), Memory::new());
    socket.send(b"one", &mut memory);
    socket.send_text("two", &mut memory);
    assert_eq!(socket.output(), b"");
    let mut keys = [[1, 2, 3, 4], [5, 6, 7, 8]].into_iter();
    socket.mask(|| keys.next().unwrap());
    socket.send(b"three", &mut memory);
    let expected = [
        &b"\x82\x83\x01\x02\x03\x04"[..],
        &[b'o' ^ 1, b'n' ^ 2, b'e' ^ 3],
        b"\x81\x83\x05\x06\x07\x08",
        &[b't' ^ 5, b'w' ^ 6, b'o' ^ 7],
    ];
    assert_eq!(socket.output(), expected.concat());
    let sent = socket.output().len();
    socket.sent(NOW, sent, &mut memory);
    assert_eq!((socket.output(), socket.backlog()), (&b""[..], 11));
    socket.mask(|| KEY);
    assert_eq!(socket.output().len(), 11);
}

#[test]
fn a_peer_that_takes_nothing_for_too_long_is_noticed() {
    let at = |millis| Instant::from_millis(millis);
    let (mut socket, mut memory) = (server(), Memory::new());
    socket.send(&[1; 100], &mut memory);
    assert_eq!((socket.next_timeout(), socket.is_writable()), (None, true));
    socket.sent(at(0), 0, &mut memory);
    assert_eq!((socket.next_timeout(), socket.is_writable()), (Some(at(1000)), false));
    socket.sent(at(500), 0, &mut memory);
    assert_eq!(socket.next_timeout(), Some(at(1000)));
    socket.sent(at(600), 90, &mut memory);
    assert_eq!((socket.next_timeout(), socket.backlog()), (Some(at(1600)), 12));
    assert_eq!(socket.output(), [1; 12]);
    socket.send(b"more", &mut memory);
    socket.sent(at(700), 18, &mut memory);
    assert_eq!((socket.next_timeout(), socket.is_writable()), (None, true));
    assert_eq!(socket.output(), b"");
}

#[test]
fn a_peer_that_pings_without_reading_is_not_read_for_ever() {
    let (mut socket, mut memory) = (server(), Memory::new());
    let ping = frame(0x89, &[0; 100]);
    for _ in 0..1000 {
        socket.receive(&ping, &mut memory);
        while socket.poll(&mut memory).is_some() {}
        if socket.backlog() >= limits().max_backlog {
            break;
        }
    }
    assert_eq!(socket.backlog(), 306);
    socket.receive(&ping, &mut memory);
    assert_eq!(socket.poll(&mut memory), None);
    assert!(socket.has_input());
    socket.sent(NOW, 306, &mut memory);
    assert_eq!(socket.poll(&mut memory), Some(Incoming::Ping));
}

#[test]
fn no_memory_is_left_when_nothing_is_under_way() {
    let (mut socket, mut memory) = (server(), Memory::new());
    socket.receive(&frame(0x82, b"hello"), &mut memory);
    let Some(Incoming::Message(message)) = socket.poll(&mut memory) else { panic!() };
    socket.send(&message, &mut memory);
    socket.sent(NOW, 7, &mut memory);
    assert_eq!(socket.poll(&mut memory), None);
    drop(message);
    // A part of a message is all that is kept.
    socket.receive(&[frame(0x82, &[0; 900]), frame(0x82, b"x")[..3].into()].concat(), &mut memory);
    assert!(socket.poll(&mut memory).is_some());
    assert_eq!(socket.poll(&mut memory), None);
    assert!(socket.has_input());
    socket.receive(&frame(0x82, b"x")[3..], &mut memory);
    assert_eq!(socket.poll(&mut memory), Some(message_of("x")));
    assert_eq!(socket.poll(&mut memory), None);
    // From now on, nothing is allocated.
    let bytes = frame(0x82, b"hello");
    let allocated = allocation_counter::measure(|| {
        for _ in 0..1000 {
            socket.receive(&bytes, &mut memory);
            while let Some(Incoming::Message(message)) = socket.poll(&mut memory) {
                socket.send(&message, &mut memory);
            }
            let sent = socket.output().len();
            socket.sent(NOW, sent, &mut memory);
        }
    });
    assert_eq!(allocated.count_total, 0, "{allocated:?}");
}

fn message_of(text: &str) -> Incoming {
    Incoming::Message(Bytes::from(String::from(text)))
}
