//! Reads what passes: HTTP heads and WebSocket frames, as far as the demo shows them.

use std::io::Cursor;

use bytes::Bytes;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// Which way something went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    ToServer,
    ToClient,
}

/// Something that passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// The first line of an HTTP head, and the body that came with it.
    Http(Way, String),
    /// A message of the protocol.
    Message(Way, Bytes),
    /// A close frame with its code, if it has one.
    Close(Way, Option<u16>),
}

/// One direction of one connection.
#[derive(Debug)]
pub(super) struct Tap {
    way: Way,
    phase: Phase,
    buffer: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Head,
    Frames,
    /// The rest, which is not shown.
    Rest,
}

impl Tap {
    pub(super) const fn new(way: Way) -> Self {
        Self { way, phase: Phase::Head, buffer: Vec::new() }
    }

    /// Takes bytes, and adds what they complete.
    pub(super) fn feed(&mut self, bytes: &[u8], sights: &mut Vec<Sight>) {
        self.buffer.extend_from_slice(bytes);
        loop {
            let sight = match self.phase {
                Phase::Head => self.head(),
                Phase::Frames => self.frame(),
                Phase::Rest => {
                    self.buffer.clear();
                    None
                }
            };
            match sight {
                Some(sight) => sights.extend(sight),
                None => return,
            }
        }
    }

    /// Returns the head, if it is complete. `Some(None)` stands for one that is not shown.
    fn head(&mut self) -> Option<Option<Sight>> {
        let end = self.buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let mut line = String::from_utf8_lossy(line).into_owned();
        self.phase = if line.starts_with("GET ") || line.contains(" 101 ") {
            Phase::Frames
        } else {
            line.push(' ');
            line.push_str(&String::from_utf8_lossy(&self.buffer));
            Phase::Rest
        };
        Some(Some(Sight::Http(self.way, line.trim_end().into())))
    }

    /// Returns the next frame, if it is complete. The messages of the demo are one frame each.
    fn frame(&mut self) -> Option<Option<Sight>> {
        let mut cursor = Cursor::new(&self.buffer);
        let (header, length) = FrameHeader::parse(&mut cursor).ok()??;
        let start = usize::try_from(cursor.position()).ok()?;
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        let mut payload = self.buffer.get(start..end)?.to_vec();
        self.buffer.drain(..end);
        if let Some(mask) = header.mask {
            for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
                *byte ^= mask;
            }
        }
        Some(match header.opcode {
            OpCode::Data(Data::Binary) => Some(Sight::Message(self.way, payload.into())),
            OpCode::Control(Control::Close) => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                Some(Sight::Close(self.way, code))
            }
            OpCode::Data(_) | OpCode::Control(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the bytes at once, and one by one.
    fn sights(way: Way, bytes: &[u8]) -> Vec<Sight> {
        let (mut at_once, mut one_by_one) = (Vec::new(), Vec::new());
        Tap::new(way).feed(bytes, &mut at_once);
        let mut tap = Tap::new(way);
        bytes.iter().for_each(|byte| tap.feed(&[*byte], &mut one_by_one));
        assert_eq!(at_once, one_by_one);
        at_once
    }

    #[test]
    fn frames_follow_the_handshake() {
        let head = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        let ping = [0x89, 0x80, 0, 0, 0, 0];
        let message = [0x82, 0x82, 1, 2, 3, 4, 0x16 ^ 1, 0xff ^ 2];
        let close = [0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xe9 ^ 2];
        let bytes = [&head[..], &ping, &message, &close].concat();
        let way = Way::ToServer;
        let expected = [
            Sight::Http(way, "GET / HTTP/1.1".into()),
            Sight::Message(way, Bytes::from_static(&[0x16, 0xff])),
            Sight::Close(way, Some(1001)),
        ];
        assert_eq!(sights(way, &bytes), expected);
    }

    #[test]
    fn the_body_is_shown_with_the_head() {
        let mut found = Vec::new();
        Tap::new(Way::ToClient).feed(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n{}", &mut found);
        assert_eq!(found, [Sight::Http(Way::ToClient, "HTTP/1.1 200 OK {}".into())]);
    }
}
