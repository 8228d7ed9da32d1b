//! What the program does with the library; each step is `Some` if it went well.

use bytes::Bytes;
use wwr::wire::{Encoder, Identifier, Message, decode};
use wwr::{Content, Dialect, Payload};

pub(crate) const STEPS: &[fn() -> Option<()>] = &[reads, writes, refuses];

fn reads() -> Option<()> {
    let frame = Bytes::from_static(b"\x41\x05alarm\0f\0i\0r\0e\0");
    let Ok(Message::Signal(content)) = decode(Dialect::V1_4, frame) else { return None };
    (content.name() == b"alarm" && content.text().ok()? == "fire").then_some(())
}

fn writes() -> Option<()> {
    let id = Identifier::from_counter(1);
    let content = Content::new(b"echo", &Payload::utf8("hi")).ok()?;
    let request = Message::Request { id, content };
    let frame = Encoder::new().encode(Dialect::V2_0, &request).ok()?;
    (decode(Dialect::V2_0, frame) == Ok(request)).then_some(())
}

fn refuses() -> Option<()> {
    decode(Dialect::V1_4, Bytes::from_static(b"\x7f")).is_err().then_some(())
}
