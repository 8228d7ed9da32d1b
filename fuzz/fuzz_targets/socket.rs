//! Any bytes to a host, to a client, and to both sides of a WebSocket, cut anywhere, with output that is accepted in
//! pieces: the same happens however the bytes are cut and whatever other sockets do, nothing panics, each request has
//! one outcome, and the host is left as it was when the sockets have gone.
#![no_main]

#[path = "socket_world/client.rs"]
mod client;
#[path = "socket_world/served.rs"]
mod served;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use wwr::Instant;
use wwr::server::Protocol;
use wwr_socket::Memory;
use wwr_socket::websocket::{Role, WebSocket, WebSocketLimits};

pub(crate) const NOW: Instant = Instant::EPOCH;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    protocol: Protocol,
    /// What the application does with requests on which it decides; it is not asked if there is nothing.
    decision: Option<served::Decision>,
    client: client::Setting,
    /// Whether the client opens a WebSocket first.
    opens: bool,
    /// Whether frames are made of the bytes, masked with this key.
    frames: Option<[u8; 4]>,
    /// The lengths of the pieces, again and again.
    pieces: &'a [u8],
    /// How many bytes a socket accepts in a write, again and again.
    accepts: &'a [u8],
    bytes: &'a [u8],
}

impl Input<'_> {
    /// What a peer sends: of each frame the first byte, its length, its payload.
    fn sent(&self, opening: &[u8], masks: bool) -> Vec<u8> {
        let mut sent = if self.opens { opening.to_vec() } else { Vec::new() };
        let Some(key) = self.frames else {
            sent.extend(self.bytes);
            return sent;
        };
        let mut rest = self.bytes;
        while let [first, length, tail @ ..] = rest {
            let (payload, tail) = tail.split_at(tail.len().min(usize::from(length & 0x7f)));
            let length = payload.len().min(125);
            let payload = &payload[..length];
            sent.push(*first);
            if masks {
                sent.push(0x80 | length as u8);
                sent.extend(key);
                sent.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
            } else {
                sent.push(length as u8);
                sent.extend(payload);
            }
            rest = tail;
        }
        sent
    }
}

/// Cuts into pieces.
fn cut<'a>(mut bytes: &'a [u8], pieces: &[u8]) -> Vec<&'a [u8]> {
    let mut cut = Vec::new();
    for piece in pieces.iter().cycle().take(bytes.len()) {
        let (one, rest) = bytes.split_at(bytes.len().min(usize::from(*piece) + 1));
        cut.extend((!one.is_empty()).then_some(one));
        bytes = rest;
    }
    cut.extend((!bytes.is_empty()).then_some(bytes));
    cut
}

/// How many bytes are accepted, write by write.
pub(crate) struct Accepts<'a> {
    pieces: &'a [u8],
    at: usize,
}

impl<'a> Accepts<'a> {
    pub(crate) const fn new(pieces: &'a [u8]) -> Self {
        Self { pieces, at: 0 }
    }

    /// Of so many bytes, with a write that accepts nothing now and then.
    pub(crate) fn next(&mut self, length: usize) -> usize {
        if self.pieces.is_empty() {
            return length;
        }
        self.at += 1;
        // One in two accepts something: the output ends.
        let piece = usize::from(self.pieces[self.at / 2 % self.pieces.len()]);
        length.min(if self.at.is_multiple_of(2) { piece } else { piece + 1 })
    }
}

/// What one side of a WebSocket makes of it.
fn read(role: Role, pieces: &[&[u8]]) -> (Vec<String>, usize) {
    let limits = WebSocketLimits { max_message: 200, ..Default::default() };
    let (mut socket, mut memory) = (WebSocket::new(role, limits), Memory::with_chunk(64));
    let mut events = Vec::new();
    for piece in pieces {
        socket.receive(piece, &mut memory);
        while let Some(incoming) = socket.poll(&mut memory) {
            events.push(format!("{incoming:?}"));
        }
    }
    (events, socket.backlog())
}

fuzz_target!(|input: Input<'_>| {
    let sent = input.sent(served::HANDSHAKE, true);
    let pieces = cut(&sent, input.pieces);
    let setting = served::Setting { protocol: input.protocol, decision: input.decision };
    let whole = setting.run(&[&[&sent]], &[]).remove(0);
    assert_eq!(setting.run(&[&pieces], input.accepts), std::slice::from_ref(&whole));
    // Another socket changes nothing, whatever it does.
    let both = setting.run(&[&pieces, &[&sent], &pieces], input.accepts);
    assert_eq!(both, [whole.clone(), whole.clone(), whole]);
    for role in [Role::Server, Role::Client] {
        assert_eq!(read(role, &pieces), read(role, &[&sent]));
    }
    // What comes together with the handshake comes before the connection is ready, so that is in a piece of its own.
    let (opening, sent) = (client::opening(), input.sent(&[], false));
    let opening = if input.opens { &*opening } else { &[] };
    let with =
        |pieces: &[&[u8]], accepts| input.client.run(&[&[opening], pieces].concat(), accepts);
    if input.opens || !client::opens(&sent) {
        assert_eq!(with(&cut(&sent, input.pieces), input.accepts), with(&[&sent], &[]));
    }
});
