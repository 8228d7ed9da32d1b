//! Reading and writing messages.

use std::hint::black_box;

use bytes::Bytes;
use wwr::Dialect;
use wwr::wire::{Encoder, Message, decode};

use super::{Once, content, frame, id, payload};

pub(super) fn share() -> Once {
    let frame = frame(&Message::Signal(content()));
    Box::new(move || drop(black_box(Bytes::clone(black_box(&frame)))))
}

pub(super) fn decode_request() -> Once {
    decoding(&Message::Request { id: id(), content: content() })
}

pub(super) fn decode_signal() -> Once {
    decoding(&Message::Signal(content()))
}

pub(super) fn encode_request() -> Once {
    encoding(Message::Request { id: id(), content: content() })
}

pub(super) fn encode_reply() -> Once {
    encoding(Message::Reply { id: id(), payload: payload() })
}

/// Of a frame that is not counted, so that sharing it is not part of this.
fn decoding(message: &Message) -> Once {
    let frame = Bytes::from_static(Box::leak(Box::from(&frame(message)[..])));
    Box::new(move || {
        let message = decode(Dialect::Unknown, black_box(frame.clone()));
        drop(black_box(message));
    })
}

/// Into chunks that are still in use when the next one is needed, as on a busy server.
fn encoding(message: Message) -> Once {
    let mut encoder = Encoder::new();
    let mut sent = Vec::with_capacity(256);
    Box::new(move || {
        if sent.len() == 256 {
            sent.clear();
        }
        sent.push(encoder.encode(Dialect::Unknown, black_box(&message)));
    })
}
