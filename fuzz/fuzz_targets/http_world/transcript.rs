//! What a client may be sent: HTTP answers, then WebSocket frames with messages of a server.

use bytes::Bytes;
use wwr::Dialect;
use wwr::wire::{Identifier, Message, Sender, decode};

const SWITCHING: &[u8] = b"HTTP/1.1 101 ";
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

pub(crate) fn check(received: &[u8]) {
    assert!(received.is_empty() || received.starts_with(b"HTTP/1."), "no HTTP");
    assert!(frames_at(received).is_some() || find(received, SWITCHING).is_none(), "half a head");
    if let Some(frames) = frames_at(received) {
        for_each_message(&received[frames..], |_| {});
    }
}

/// Where the first frame begins, if the WebSocket was opened.
pub(crate) fn frames_at(received: &[u8]) -> Option<usize> {
    let switch = find(received, SWITCHING)?;
    let head = find(&received[switch..], END_OF_HEAD)?;
    Some(switch + head + END_OF_HEAD.len())
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// Whether a request was answered with a reply.
pub(crate) fn is_answered(received: &[u8], asked: Identifier) -> bool {
    let frames = frames_at(received).expect("it is let in");
    let mut answered = false;
    for_each_message(&received[frames..], |message| {
        answered |= matches!(message, Message::Reply { id, .. } if id == asked);
    });
    answered
}

/// Whole frames, unmasked, in one part each, nothing after the close frame.
fn for_each_message(mut rest: &[u8], mut see: impl FnMut(Message)) {
    while let [first, length, after @ ..] = rest {
        assert_eq!(first & 0x70, 0, "reserved bits");
        assert_eq!(first & 0x80, 0x80, "a part of a message");
        let (length, after) = match length {
            0..=125 => (u64::from(*length), after),
            126 => {
                let (length, after) = after.split_first_chunk().expect("a length");
                (u16::from_be_bytes(*length).into(), after)
            }
            127 => {
                let (length, after) = after.split_first_chunk().expect("a length");
                (u64::from_be_bytes(*length), after)
            }
            _ => panic!("a masked frame"),
        };
        let (body, after) = after.split_at(length.try_into().expect("a short frame"));
        match first & 0x0f {
            0x2 => see(message(body)),
            0x8 => assert!(after.is_empty() && body.len() <= 125, "frames after the close frame"),
            0x9 | 0xa => assert!(body.len() <= 125, "a long control frame"),
            opcode => panic!("a frame of type {opcode}"),
        }
        rest = after;
    }
    assert!(rest.is_empty(), "half a frame");
}

fn message(body: &[u8]) -> Message {
    let message = decode(Dialect::Unknown, Bytes::copy_from_slice(body)).expect("it can be read");
    assert_ne!(message.kind().sender(), Sender::Client, "{message:?}");
    message
}
