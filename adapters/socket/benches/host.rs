//! What a message costs in a host, from the bytes of the client to those of the server.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wwr::server::Protocol;
use wwr::{Instant, UnixTime};
use wwr_socket::Memory;
use wwr_socket::host::{Host, HostEvent};
use wwr_socket::server::{Event, ServerConfig, SocketId};
use wwr_socket::websocket::{Incoming, Role, WebSocket, WebSocketLimits};

const NOW: Instant = Instant::EPOCH;

/// A host with one connection.
struct Served {
    host: Host,
    id: SocketId,
}

impl Served {
    fn new() -> Self {
        let mut config = ServerConfig::default();
        config.connection.protocol = Protocol::V1_4;
        let unix = UnixTime::from_seconds(1_800_000_000);
        let mut host = Host::new(config, NOW, unix).expect("the default settings are valid");
        let id = host.accepted(NOW, IpAddr::V4(Ipv4Addr::LOCALHOST)).0;
        let handshake =
            b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let mut served = Self { host, id };
        served.exchange(handshake);
        served
    }

    /// Hands over received bytes, answers requests, takes the output.
    fn exchange(&mut self, bytes: &[u8]) -> usize {
        let Self { host, id } = self;
        host.received(NOW, *id, bytes);
        while let Some(event) = host.poll_event(NOW) {
            if let HostEvent::Socket { id, event: Event::Request(request) } = event {
                let payload = request.content.into_payload();
                host.reply(NOW, id, request.id, Ok(payload)).expect("it was not answered before");
            }
        }
        let mut sent = 0;
        while let Some(id) = host.poll_output() {
            let output = black_box(host.output(id)).len();
            host.sent(NOW, id, output);
            sent += output;
        }
        sent
    }
}

/// Requests of a client, each with a payload of 32 bytes.
fn requests(count: u64) -> Vec<u8> {
    let (mut client, mut memory) =
        (WebSocket::new(Role::Client, WebSocketLimits::default()), Memory::new());
    for id in 0..count {
        let message = [&[127][..], &(id + 1).to_le_bytes(), b"\x04echo", &[7; 32]].concat();
        client.send(&message, &mut memory);
    }
    client.mask(|| [1, 2, 3, 4]);
    client.output().to_vec()
}

fn requests_to_replies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("requests to replies");
    for count in [1, 16, 64] {
        group.throughput(Throughput::Elements(count));
        let (mut served, bytes) = (Served::new(), requests(count));
        group.bench_function(format!("{count} at once"), |bencher| {
            bencher.iter(|| assert_eq!(served.exchange(&bytes), count as usize * 43));
        });
    }
    group.finish();
}

fn frames_to_messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frames to messages");
    group.throughput(Throughput::Elements(64));
    let mut memory = Memory::new();
    let mut socket = WebSocket::new(Role::Server, WebSocketLimits::default());
    let bytes = requests(64);
    group.bench_function("64 at once", |bencher| {
        bencher.iter(|| {
            socket.receive(&bytes, &mut memory);
            while let Some(incoming) = socket.poll(&mut memory) {
                assert!(matches!(black_box(incoming), Incoming::Message(_)));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, requests_to_replies, frames_to_messages);
criterion_main!(benches);
