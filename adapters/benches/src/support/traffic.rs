//! The bytes that go over the sockets, made beforehand.

use wwr::wire::{ComposeError, Encoder, Identifier, Message};
use wwr::{Content, Dialect, Payload};

use super::case::Case;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A text or binary message in one frame, and the flag of a masked one (RFC 6455 §5.2).
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const MASKED: u8 = 0x80;

/// What payloads consist of. JSON escapes none of it.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Nothing: each message comes back as it is.
    Echo,
    /// WebWire 2.0; the server advertises itself.
    WebWire,
    /// JSON-RPC 2.0 in text messages. Replies may come in any order.
    JsonRpc,
}

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
    /// Where in a reply the letter is that says which it is, if they come in any order.
    letter_at: Option<usize>,
}

impl Traffic {
    pub(crate) fn new(case: &Case, protocol: Protocol) -> Result<Self, ComposeError> {
        let mut encoder = Encoder::new();
        let (mut requests, mut replies) = (Vec::new(), Vec::new());
        let mut letter_at = None;
        for number in 0..case.depth {
            let text: Vec<u8> = (number..number + case.payload).map(letter).collect();
            if protocol == Protocol::JsonRpc {
                let id = [letter(number)];
                let call = [
                    br#"{"jsonrpc":"2.0","id":""#,
                    &id[..],
                    br#"","method":"e","params":[""#,
                    &text,
                    br#""]}"#,
                ];
                append_frame(&mut requests, TEXT, &call.concat(), Some(MASK));
                let beginning = br#"{"jsonrpc":"2.0","id":""#;
                let reply = [beginning, &id[..], br#"","result":""#, &text, br#""}"#].concat();
                let from = replies.len();
                append_frame(&mut replies, TEXT, &reply, None);
                letter_at = Some(replies.len() - from - reply.len() + beginning.len());
                continue;
            }
            let id = Identifier::from_counter(number as u64 + 1);
            let payload = Payload::binary(text);
            let content = Content::new(b"e", &payload).map_err(ComposeError::InvalidName)?;
            let request = Message::Request { id, content };
            let request = encoder.encode(Dialect::V2_0, &request)?;
            append_frame(&mut requests, BINARY, &request, Some(MASK));
            let reply = match protocol {
                Protocol::Echo => request,
                _ => encoder.encode(Dialect::V2_0, &Message::Reply { id, payload })?,
            };
            append_frame(&mut replies, BINARY, &reply, None);
        }
        let request_length = requests.len() / case.depth;
        let reply_length = replies.len() / case.depth;
        requests.extend_from_within(..);
        let depth = case.depth;
        Ok(Self { requests, request_length, replies, reply_length, depth, letter_at })
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

    /// Where in a reply the letter is that says which it is, if they come in any order. All of them are
    /// the same up to there.
    pub(crate) const fn letter_at(&self) -> Option<usize> {
        self.letter_at
    }

    /// Which request of the round a letter belongs to.
    pub(crate) fn number(&self, found: u8) -> Option<usize> {
        (0..self.depth).find(|number| letter(*number) == found)
    }
}

const fn letter(number: usize) -> u8 {
    LETTERS[number % LETTERS.len()]
}

fn append_frame(out: &mut Vec<u8>, first: u8, message: &[u8], mask: Option<[u8; 4]>) {
    let masked = if mask.is_some() { MASKED } else { 0 };
    out.push(first);
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
