//! WebSocket frames as peers may send them, and as they may not (RFC 6455).

use crate::suite::support::Fixture;
use crate::suite::support::message::{BINARY as REQUEST, UTF8, answer, ask, reply, request};
use crate::suite::support::peer::{BINARY, CLOSE, PING, PONG, Peer, TEXT, code_of, frame};

#[test]
fn fragments_are_put_together_and_control_frames_may_stand_between() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    let message = ask(1, "echo", "in pieces");
    peer.write(&frame(0x02, &message[..1]));
    peer.write(&frame(0x00, &message[1..4]));
    peer.write(&frame(PING, b"between"));
    peer.write(&frame(0x00, b""));
    peer.write(&frame(0x80, &message[4..]));
    let pong = peer.frame().unwrap();
    assert_eq!((pong.first, &pong.payload[..]), (PONG, &b"between"[..]));
    assert_eq!(peer.message(), answer(1, "in pieces"));

    let message = ask(2, "echo", "an empty end");
    peer.write(&frame(0x02, &message));
    peer.write(&frame(0x80, b""));
    assert_eq!(peer.message(), answer(2, "an empty end"));
}

#[test]
fn a_message_may_come_byte_by_byte() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    for byte in frame(BINARY, &ask(1, "echo", "slowly")) {
        peer.write(&[byte]);
    }
    assert_eq!(peer.message(), answer(1, "slowly"));
}

#[test]
fn text_frames_are_messages_too_and_get_binary_replies() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    // The first byte of a binary request is ASCII, so the whole may be text.
    peer.write(&frame(TEXT, &request(REQUEST, 1, "echo", "t\u{e9}xt".as_bytes())));
    assert_eq!(peer.message(), reply(REQUEST, 1, "t\u{e9}xt".as_bytes()));
}

#[test]
fn pings_are_answered_also_while_a_handler_runs() {
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    peer.write(&frame(PING, b""));
    assert_eq!(peer.frame().map(|frame| frame.first), Some(PONG));
    peer.write(&frame(PONG, b"nobody asked"));
    peer.send(&ask(1, "wait", "gate"));
    peer.write(&frame(PING, &[b'x'; 125]));
    let pong = peer.frame().unwrap();
    assert_eq!((pong.first, &pong.payload[..]), (PONG, &[b'x'; 125][..]));
    fixture.gates.open("gate");
    assert_eq!(peer.message(), answer(1, "gate"));
}

#[test]
fn large_messages_come_back_whole() {
    let fixture = Fixture::with(|config| config.connection.max_message_size = 6_000_000);
    let mut peer = Peer::connect(fixture.address());
    for size in [125, 126, 65_535, 65_536, 5_000_000] {
        let payload = vec![b'x'; size];
        peer.send(&request(UTF8, 1, "echo", &payload));
        assert!(peer.message() == reply(UTF8, 1, &payload), "{size}");
    }
}

#[test]
fn a_client_that_breaks_the_rules_is_closed_with_a_code_and_others_go_on() {
    let fixture = Fixture::new();
    let mut bystander = Peer::connect(fixture.address());
    let message = ask(1, "echo", "x");
    let unmasked = [&[BINARY, message.len() as u8][..], &message].concat();
    for (what, bytes, code) in [
        ("unmasked", unmasked, 1002),
        ("reserved bit 1", frame(BINARY | 0x40, &message), 1002),
        ("reserved bit 3", frame(BINARY | 0x10, &message), 1002),
        ("reserved data opcode", frame(0x83, &message), 1002),
        ("reserved control opcode", frame(0x8b, &message), 1002),
        ("fragmented ping", frame(0x09, b"x"), 1002),
        ("long ping", frame(PING, &[0; 126]), 1002),
        ("continues nothing", frame(0x80, b"x"), 1002),
        ("not continued", [frame(0x02, b"x"), frame(BINARY, b"x")].concat(), 1002),
        ("invalid text", frame(TEXT, &[0xff, 0xff]), 1007),
        ("a close frame of one byte", frame(CLOSE, b"x"), 1002),
    ] {
        let mut peer = Peer::connect(fixture.address());
        // What came before it is answered.
        peer.send(&ask(7, "echo", "before"));
        peer.write(&bytes);
        assert_eq!(peer.message(), answer(7, "before"), "{what}");
        let close = peer.frame().unwrap_or_else(|| panic!("{what}: no close frame"));
        assert_eq!((close.first, code_of(&close)), (CLOSE, code), "{what}");
        peer.closed();
        bystander.is_served();
    }
}

#[test]
fn a_message_that_is_too_large_is_refused_by_its_length() {
    let fixture = Fixture::with(|config| config.connection.max_message_size = 8192);
    let mut bystander = Peer::connect(fixture.address());

    let mut peer = Peer::connect(fixture.address());
    let largest = request(UTF8, 1, "echo", &[b'x'; 8192 - 14]);
    assert_eq!(largest.len(), 8192);
    peer.send(&largest);
    assert_eq!(peer.message(), reply(UTF8, 1, &[b'x'; 8192 - 14]));

    // Only the head of the frame is sent: the answer cannot depend on the rest.
    for length in [8193, 1 << 40, u64::MAX >> 1, u64::MAX] {
        let mut peer = Peer::connect(fixture.address());
        let head = [&[BINARY, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat();
        peer.write(&head);
        let close = peer.frame().unwrap();
        assert_eq!((close.first, code_of(&close)), (CLOSE, 1009), "{length}");
        peer.closed();
    }

    // The sum of fragments counts.
    let mut peer = Peer::connect(fixture.address());
    peer.write(&frame(0x02, &[0; 5000]));
    peer.write(&frame(0x00, &[0; 3193]));
    let close = peer.frame().unwrap();
    assert_eq!((close.first, code_of(&close)), (CLOSE, 1009));
    peer.closed();
    bystander.is_served();
}

#[test]
fn by_default_a_message_has_at_most_one_mebibyte() {
    let fixture = Fixture::new();
    let payload = vec![b'x'; (1 << 20) - 14];
    let mut peer = Peer::connect(fixture.address());
    peer.send(&request(UTF8, 1, "echo", &payload));
    assert!(peer.message() == reply(UTF8, 1, &payload));
    peer.write(&[&[BINARY, 0xff][..], &((1_u64 << 20) + 1).to_be_bytes(), &[0; 4]].concat());
    let close = peer.frame().unwrap();
    assert_eq!((close.first, code_of(&close)), (CLOSE, 1009));
}

#[test]
fn a_client_that_goes_on_sending_a_refused_message_still_learns_why() {
    let fixture = Fixture::with(|config| config.connection.max_message_size = 8192);
    let mut peer = Peer::connect(fixture.address());
    peer.send(&ask(1, "echo", "before"));
    peer.send(&vec![0; 3_000_000]);
    assert_eq!(peer.message(), answer(1, "before"));
    let close = peer.frame().unwrap();
    assert_eq!((close.first, code_of(&close)), (CLOSE, 1009));
}

#[test]
fn endless_empty_fragments_hold_up_no_other_connection() {
    let fixture = Fixture::new();
    let mut bystander = Peer::connect(fixture.address());
    let mut peer = Peer::connect(fixture.address());
    peer.write(&frame(0x02, b""));
    let nothing = frame(0x00, b"").repeat(1000);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                peer.write(&nothing);
            }
        });
        (0..20).for_each(|_| bystander.is_served());
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
