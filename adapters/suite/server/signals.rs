//! Signals of the server.

use std::thread;

use wwr::wire::{InvalidName, UnreadableSignal};
use wwr::{Name, Payload};

use crate::adapter::server::SignalError;
use crate::suite::support::Fixture;
use crate::suite::support::message::{BINARY, UTF8, UTF16, signal, utf16};
use crate::suite::support::peer::Peer;

#[test]
fn signals_are_sent_from_anywhere_in_the_order_of_the_calls() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    let connection = fixture.connected();
    let sender = thread::spawn(move || {
        for number in 0..1000 {
            connection.signal("n", Payload::utf8(format!("{number}"))).unwrap();
        }
        connection.signal("", vec![1, 2, 3]).unwrap();
        connection.signal(Name::NONE, Payload::utf16("x")).unwrap();
        connection.signal("odd".to_owned(), Payload::utf16("x")).unwrap();
    });
    for number in 0..1000 {
        assert_eq!(peer.message(), signal(UTF8, "n", format!("{number}").as_bytes()));
    }
    assert_eq!(peer.message(), signal(BINARY, "", &[1, 2, 3]));
    assert_eq!(peer.message(), signal(UTF16, "", &utf16("x")));
    assert_eq!(peer.message(), signal(UTF16, "odd", &utf16("x")));
    sender.join().unwrap();
}

#[test]
fn many_threads_may_send_to_many_connections() {
    let fixture = Fixture::new();
    let mut peers: Vec<_> = (0..4).map(|_| Peer::connect(fixture.address())).collect();
    (0..4).for_each(|_| drop(fixture.connected()));
    thread::scope(|scope| {
        for sender in 0..4 {
            let connections = fixture.server.handle.connections();
            scope.spawn(move || {
                for number in 0..250 {
                    for connection in &connections {
                        let text = format!("{sender} {number}");
                        connection.signal("n", Payload::utf8(text)).unwrap();
                    }
                }
            });
        }
    });
    for peer in &mut peers {
        let mut next = [0; 4];
        for _ in 0..1000 {
            let message = peer.message();
            let text = std::str::from_utf8(&message[3..]).unwrap();
            let (sender, number) = text.split_once(' ').unwrap();
            let next = &mut next[sender.parse::<usize>().unwrap()];
            assert_eq!(number.parse(), Ok(*next), "each sender's signals stay in order");
            *next += 1;
        }
        assert_eq!(next, [250; 4]);
    }
}

#[test]
fn signals_that_no_client_reads_are_not_sent() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    let connection = fixture.connected();
    let needs_payload = SignalError::Unreadable(UnreadableSignal::NeedsPayload);
    assert_eq!(connection.signal("name", Payload::EMPTY), Err(needs_payload));
    assert_eq!(connection.signal("name", Payload::utf16("")), Err(needs_payload));
    let empty = SignalError::Unreadable(UnreadableSignal::Empty);
    assert_eq!(connection.signal("", Payload::EMPTY), Err(empty));
    let too_long = SignalError::InvalidName(InvalidName::TooLong { length: 256 });
    assert_eq!(connection.signal("x".repeat(256), "x"), Err(too_long));
    let not_printable = InvalidName::NotPrintable { position: 2, byte: b'\n' };
    assert_eq!(connection.signal("no\n", "x"), Err(SignalError::InvalidName(not_printable)));
    peer.is_served();
}

#[test]
fn nothing_is_sent_to_a_client_that_has_gone() {
    let fixture = Fixture::new();
    let peer = Peer::connect(fixture.address());
    let connection = fixture.connected();
    drop(peer);
    fixture.wait_for_disconnected();
    assert!(!connection.is_connected());
    assert_eq!(connection.signal("n", "x"), Err(SignalError::Disconnected));
}
