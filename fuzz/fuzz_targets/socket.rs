//! Any bytes to a host and to both sides of a WebSocket, cut anywhere: the same happens however they are cut,
//! nothing panics, and the host is left as it was when the socket has gone.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use wwr::server::Protocol;
use wwr::{Instant, UnixTime};
use wwr_socket::Memory;
use wwr_socket::host::{Host, HostEvent};
use wwr_socket::server::{Event, ServerConfig};
use wwr_socket::websocket::{Role, WebSocket, WebSocketLimits};

const NOW: Instant = Instant::EPOCH;

const HANDSHAKE: &[u8] =
    b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    protocol: Protocol,
    /// Whether the client opens a WebSocket first.
    opens: bool,
    /// Whether masked frames are made of the bytes.
    frames: bool,
    /// The lengths of the pieces, again and again.
    pieces: &'a [u8],
    bytes: &'a [u8],
}

impl Input<'_> {
    /// What the client sends.
    fn sent(&self) -> Vec<u8> {
        let mut sent = if self.opens { HANDSHAKE.to_vec() } else { Vec::new() };
        if self.frames {
            // The first byte of each frame, its length, its payload.
            let mut rest = self.bytes;
            while let [first, length, tail @ ..] = rest {
                let (payload, tail) = tail.split_at(tail.len().min(usize::from(length & 0x7f)));
                let length = payload.len().min(125);
                sent.extend([*first, 0x80 | length as u8, 0, 0, 0, 0]);
                sent.extend(&payload[..length]);
                rest = tail;
            }
        } else {
            sent.extend(self.bytes);
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

/// What a host makes of it: what happens, and what it sends.
fn served(protocol: Protocol, pieces: &[&[u8]]) -> (Vec<String>, Vec<u8>) {
    let mut config = ServerConfig::default();
    config.connection.protocol = protocol;
    config.connection.max_message_size = 8192;
    let mut host = Host::new(config, NOW, UnixTime::from_seconds(0)).unwrap();
    let id = host.accepted(NOW, IpAddr::V4(Ipv4Addr::LOCALHOST)).0;
    let (mut events, mut sent) = (Vec::new(), Vec::new());
    let mut work = |host: &mut Host| {
        while let Some(event) = host.poll_event(NOW) {
            if let HostEvent::Socket { id, event: Event::Request(request) } = &event {
                let payload = request.content.clone().into_payload();
                host.reply(NOW, *id, request.id, Ok(payload)).unwrap();
            }
            events.push(format!("{event:?}"));
        }
        let output = host.output(id).to_vec();
        host.sent(NOW, id, output.len());
        sent.extend(output);
    };
    for piece in pieces {
        assert!(
            host.wants_input(id) || host.disposition(id) != wwr_socket::server::Disposition::Keep
        );
        host.received(NOW, id, piece);
        work(&mut host);
    }
    host.end_of_input(id);
    work(&mut host);
    let later = NOW + Duration::from_secs(3600);
    host.handle_timeout(later);
    assert!(host.next_timeout().is_none_or(|next| next > later));
    work(&mut host);
    host.closed(later, id);
    assert_eq!((host.socket_count(), host.hub().admitted_count()), (0, 0));
    (events, sent)
}

/// What one side of a WebSocket makes of it.
fn read(role: Role, pieces: &[&[u8]]) -> (Vec<String>, usize) {
    let limits = WebSocketLimits { max_message: 200, ..Default::default() };
    let (mut socket, mut memory) = (WebSocket::new(role, limits), Memory::new());
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
    let sent = input.sent();
    let pieces = cut(&sent, input.pieces);
    assert_eq!(served(input.protocol, &pieces), served(input.protocol, &[&sent]));
    for role in [Role::Server, Role::Client] {
        assert_eq!(read(role, &pieces), read(role, &[&sent]));
    }
});
