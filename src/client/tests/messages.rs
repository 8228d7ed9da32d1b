//! What the server sends, in each state.

use super::*;
use crate::session::InvalidSession;
use crate::wire::{DecodeError, Kind, Malformation, UnreadableSignal};

/// One message of each kind, and some that are invalid.
fn messages() -> Vec<Bytes> {
    let mut messages =
        alloc::vec![Bytes::new(), Bytes::from_static(b"\x07"), Bytes::from_static(b"\x3f")];
    for kind in Kind::ALL {
        let rest: &[u8] = match kind {
            Kind::ErrorReply | Kind::RequestBinary | Kind::RequestUtf8 => b"\x01x",
            Kind::RequestUtf16 | Kind::ReplyUtf16 => b"\0x\0",
            _ => b"",
        };
        messages.push(frame(kind.as_byte(), 77, rest));
    }
    messages.push(Bytes::from_static(b"\x16"));
    messages.push([b"\x15", SESSION.as_bytes()].concat().into());
    messages.push(Bytes::from_static(b"\x3f\x01xy"));
    messages
}

#[test]
fn without_a_socket_messages_are_ignored() {
    let mut probing = Fixture::new(v1_4());
    probing.connect();
    let mut dialing = Fixture::new(v1_4());
    dialing.connect();
    dialing.dialing();
    let mut closed = Fixture::ready(v1_4());
    closed.close();
    let idle = Fixture::new(v1_4());
    let waiting = Fixture::waiting(v1_4());
    for mut fixture in [idle, probing, dialing, waiting, closed] {
        fixture.labels();
        let before = state(&fixture.client);
        for message in messages() {
            fixture.receive(message);
        }
        assert!(fixture.labels().is_empty(), "{before}");
        assert_eq!((state(&fixture.client), fixture.client.session()), (before, None));
    }
}

#[test]
fn nothing_that_a_server_sends_ends_a_connection() {
    for start in [Fixture::ready, Fixture::resuming] {
        let mut fixture = start(v1_4());
        let (before, timeout) = (state(&fixture.client), fixture.client.next_timeout());
        for message in messages() {
            fixture.receive(message);
        }
        assert_eq!((state(&fixture.client), fixture.client.next_timeout()), (before, timeout));
        assert!(fixture.take().iter().all(|action| matches!(action, Action::Event(_))));
    }
}

#[test]
fn anomalies_are_reported_without_consequence() {
    let unreadable = Anomaly::Unreadable;
    let malformed =
        |kind, identifier, reason| unreadable(DecodeError::Malformed { kind, identifier, reason });
    let short = |length, least| Malformation::TooShort { length, least };
    let id = Identifier::from_counter(1);
    for (message, anomaly) in [
        (Bytes::new(), unreadable(DecodeError::Empty)),
        (Bytes::from_static(b"\xff"), unreadable(DecodeError::UnknownKind(255))),
        (frame(0x17, 1, b"xxx"), unreadable(DecodeError::UnknownKind(23))),
        (Bytes::from_static(b"\x21"), unreadable(DecodeError::UnknownKind(33))),
        (Bytes::from_static(b"\xbf\x01"), malformed(Kind::ReplyBinary, None, short(2, 9))),
        (frame(0, 1, b"\0x"), malformed(Kind::ErrorReply, Some(id), Malformation::EmptyCode)),
        (frame(0x7f, 1, b"\x01x"), Anomaly::Unexpected(Kind::RequestBinary)),
        (frame(0x1f, 1, b""), Anomaly::Unexpected(Kind::CloseSession)),
        (frame(0x20, 1, b"k"), Anomaly::Unexpected(Kind::RestoreSession)),
        (frame(6, 0, b""), Anomaly::UnattributedError),
        (Bytes::from_static(b"\x15{}"), Anomaly::InvalidSession(InvalidSession::NoKey)),
        (Bytes::from_static(b"\x15x"), Anomaly::InvalidSession(InvalidSession::NotAnObject)),
        (Bytes::from_static(b"\x16"), Anomaly::NoSessionToClose),
    ] {
        let mut fixture = Fixture::ready(v1_4());
        fixture.request("x").unwrap();
        fixture.labels();
        fixture.receive(message);
        assert_eq!(fixture.take(), [Action::Event(Event::Anomaly(anomaly))]);
        assert_eq!(fixture.client.pending_requests(), 1, "the request has no outcome yet");
    }
}

#[test]
fn replies_to_nothing_are_ignored() {
    let mut fixture = Fixture::ready(v1_4());
    for kind in [0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0xbf, 0xc0] {
        fixture.receive(frame(kind, 9, b""));
    }
    fixture.receive(frame(0xbf, 0, b""));
    fixture.receive(frame(0, 9, b"\x01C"));
    assert!(fixture.take().is_empty());
}

#[test]
fn signals_come_with_their_names_as_slices_of_the_frame() {
    for start in [Fixture::ready, Fixture::resuming] {
        let mut fixture = start(v1_4());
        let received = Bytes::from_static(b"\x40\x05alarmfire");
        fixture.receive(received.clone());
        let actions = fixture.take();
        let [Action::Event(Event::Signal(signal))] = &actions[..] else { panic!("{actions:?}") };
        assert_eq!((signal.name(), signal.payload()), (&b"alarm"[..], &b"fire"[..]));
        assert_eq!(signal.payload().as_ptr(), received[7..].as_ptr());
    }
}

#[test]
fn signals_are_sent_at_once_or_refused() {
    let text = Payload::utf8("x");
    let mut ready = Fixture::ready(v1_4());
    ready.signal("a", &text).unwrap();
    ready.signal("", &text).unwrap();
    ready.signal("a", &Payload::utf16("x")).unwrap();
    let sent = [&b"\x40\x01ax"[..], b"\x40\0x", b"\x41\x01a\0x\0"].map(Bytes::from_static);
    assert_eq!(ready.take(), sent.map(Action::Send));
    for mut fixture in [Fixture::new(v1_4()), Fixture::waiting(v1_4()), Fixture::resuming(v1_4())] {
        assert_eq!(fixture.signal("a", &text), Err(Misuse::NotConnected));
        assert!(fixture.take().is_empty());
    }
}

/// Q14-27: the reference sends signals that no peer reads.
#[test]
fn signals_without_payload_go_only_to_servers_that_read_them() {
    let mut fixture = Fixture::ready(v1_4());
    let empty = [Payload::EMPTY, Payload::utf8(""), Payload::utf16("")];
    for payload in &empty {
        assert_eq!(fixture.signal("a", payload), Err(UnreadableSignal::NeedsPayload.into()));
    }
    fixture.client.discovery.found.dialect = crate::Dialect::V2_0;
    assert_eq!(fixture.signal("a", &empty[0]), Ok(()));
    assert_eq!(fixture.signal("a", &empty[1]), Ok(()));
    assert_eq!(fixture.signal("a", &empty[2]), Err(UnreadableSignal::NeedsPayload.into()));
    assert_eq!(fixture.labels(), ["Send 3f", "Send 40"]);
}

#[test]
fn messages_of_other_versions_depend_on_the_dialect() {
    let mut fixture = Fixture::ready(v1_4());
    fixture.client.discovery.found.dialect = crate::Dialect::V2_0;
    fixture.client.discovery.found.preflight = None;
    fixture.receive(Bytes::from_static(b"\x21"));
    fixture.receive(Bytes::from_static(b"\x17\x02\0\x60\xea\0\0\0\x20\0\0"));
    let anomalies = [Anomaly::Unexpected(Kind::Heartbeat), Anomaly::Unexpected(Kind::AcceptConf)];
    assert_eq!(fixture.take(), anomalies.map(|anomaly| Action::Event(Event::Anomaly(anomaly))));
}
