//! The bytes that go over the sockets, made beforehand.

use wwr::wire::{ComposeError, Encoder, Identifier, Message};
use wwr::{Content, Dialect, Payload};

use super::case::Case;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A binary message in one frame, and the flag of a masked one (RFC 6455 §5.2).
const BINARY: u8 = 0x82;
const MASKED: u8 = 0x80;

/// As many requests as a connection has in flight, no two alike, and the reply to each. They are
/// sent round and round.
#[derive(Debug)]
pub(crate) struct Traffic {
    /// The frames of the requests, twice, so that any of them can be followed by as many as there
    /// are.
    requests: Vec<u8>,
    request_length: usize,
    replies: Vec<u8>,
    reply_length: usize,
    depth: usize,
}

impl Traffic {
    /// `webwire`: whether replies come back, and not the requests themselves.
    pub(crate) fn new(case: &Case, webwire: bool) -> Result<Self, ComposeError> {
        let mut encoder = Encoder::new();
        let (mut requests, mut replies) = (Vec::new(), Vec::new());
        for number in 0..case.depth {
            let id = Identifier::from_counter(number as u64 + 1);
            let bytes: Vec<u8> = (number..number + case.payload).map(|byte| byte as u8).collect();
            let payload = Payload::binary(bytes);
            let content = Content::new(b"e", &payload).map_err(ComposeError::InvalidName)?;
            let request = Message::Request { id, content };
            let request = encoder.encode(Dialect::V2_0, &request)?;
            append_frame(&mut requests, &request, Some(MASK));
            let reply = match webwire {
                false => request,
                true => encoder.encode(Dialect::V2_0, &Message::Reply { id, payload })?,
            };
            append_frame(&mut replies, &reply, None);
        }
        let request_length = requests.len() / case.depth;
        let reply_length = replies.len() / case.depth;
        requests.extend_from_within(..);
        Ok(Self { requests, request_length, replies, reply_length, depth: case.depth })
    }

    pub(crate) const fn depth(&self) -> usize {
        self.depth
    }

    pub(crate) const fn request_length(&self) -> usize {
        self.request_length
    }

    /// The length of a round of requests.
    pub(crate) const fn round(&self) -> usize {
        self.depth * self.request_length
    }

    /// `length` bytes of requests, at most a round, that begin `start` bytes into a round.
    pub(crate) fn requests(&self, start: usize, length: usize) -> &[u8] {
        &self.requests[start..start + length]
    }

    /// What comes back for a request of the round.
    pub(crate) fn reply(&self, number: usize) -> &[u8] {
        &self.replies[number * self.reply_length..][..self.reply_length]
    }
}

fn append_frame(out: &mut Vec<u8>, message: &[u8], mask: Option<[u8; 4]>) {
    let masked = if mask.is_some() { MASKED } else { 0 };
    out.push(BINARY);
    match message.len() {
        length @ ..126 => out.push(masked | length as u8),
        length @ ..0x1_0000 => {
            out.push(masked | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(masked | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    match mask {
        None => out.extend_from_slice(message),
        Some(mask) => {
            out.extend_from_slice(&mask);
            out.extend(message.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        }
    }
}
