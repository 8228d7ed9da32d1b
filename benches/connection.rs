//! How long a server connection takes for one message, from the frame to what is sent.

use core::hint::black_box;
use core::time::Duration;

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use wwr::server::{
    Action, Config, Connection, Hub, HubAction, Observed, Protocol, StoreAnswer, Work,
};
use wwr::wire::{Encoder, Identifier, Message};
use wwr::{
    Actions, Content, Dialect, Instant, Name, Payload, PreparedSignal, Session, SessionInfo,
    SessionKey, UnixTime, Valid,
};

const NOW: Instant = Instant::EPOCH;

/// A connection that serves, and whose list has been used before.
struct Server {
    connection: Connection,
    out: Actions<Action>,
}

impl Server {
    fn new(protocol: Protocol) -> Self {
        let mut out = Actions::new();
        let mut config = Config::default();
        config.protocol = protocol;
        let config = config.validate().expect("valid");
        let connection = Connection::accept(&config, Observed::Nothing, NOW, &mut out);
        out.drain().for_each(drop);
        Self { connection, out }
    }

    fn receive(&mut self, frame: &Bytes) {
        self.receive_at(NOW, frame);
    }

    fn receive_at(&mut self, now: Instant, frame: &Bytes) {
        self.connection.handle_message(now, black_box(frame.clone()), &mut self.out);
    }

    /// Carries everything out with a handler that answers at once with what it was asked.
    fn answer(&mut self) {
        while let Some(action) = self.out.pop() {
            match action {
                Action::Send(frame) => drop(black_box(frame)),
                Action::Request(request) => {
                    let payload = request.content.into_payload();
                    let reply = self.connection.reply(request.id, Ok(payload), &mut self.out);
                    reply.expect("it runs");
                }
                Action::Signal(signal) => {
                    black_box(signal.content);
                    let handled = self.connection.signal_handled(signal.id, &mut self.out);
                    handled.expect("it runs");
                }
                other => unreachable!("{other:?}"),
            }
        }
    }
}

fn encode(message: &Message) -> Bytes {
    Encoder::new().encode(Dialect::V1_4, message).expect("valid")
}

fn id() -> Identifier {
    Identifier::from_counter(1)
}

fn content() -> Content {
    Content::new(b"echo", &Payload::binary(vec![b'x'; 32])).expect("a short name")
}

fn messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("server");
    let request = encode(&Message::Request { id: id(), content: content() });
    let signal = encode(&Message::Signal(content()));
    let malformed = Bytes::from_static(b"\x7f\x01\0\0\0\0\0\0\0\xffname");
    let heartbeat = encode_heartbeat();
    for (name, frames) in [
        ("request to reply", &[&request][..]),
        ("signal", &[&signal]),
        // With something meaningful after it, so that the connection is not closed.
        ("malformed, then signal", &[&malformed, &signal]),
        ("heartbeat", &[&heartbeat]),
    ] {
        let mut server = Server::new(Protocol::V1_4);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for frame in frames {
                    server.receive(frame);
                    server.answer();
                }
            });
        });
    }
    // Sixteen requests are there after one read of the socket; the replies go out together.
    // A reply to a peer that may have a message buffer is checked against it.
    for (name, protocol) in
        [("request to reply, any", Protocol::Any), ("request to reply, 2.0", Protocol::V2_0)]
    {
        let mut server = Server::new(protocol);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                server.receive(&request);
                server.answer();
            });
        });
    }
    let mut server = Server::new(Protocol::V1_4);
    group.bench_function("16 pipelined requests", |bencher| {
        bencher.iter(|| {
            for _ in 0..16 {
                server.receive(&request);
            }
            server.answer();
        });
    });
    heartbeats(&mut group);
    group.finish();
}

/// One signal goes to a hundred connections.
fn broadcast(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("server/to 100 connections");
    let mut servers: Vec<_> = (0..100).map(|_| Server::new(Protocol::Any)).collect();
    let name = Name::new("news").expect("valid");
    for size in [32, 1 << 10] {
        let payload = Payload::binary(vec![b'x'; size]);
        group.bench_function(format!("signal, {size} bytes"), |bencher| {
            bencher.iter(|| {
                for server in &mut servers {
                    let payload = black_box(&payload);
                    let sent = server.connection.signal(&name, payload, &mut server.out);
                    sent.expect("it is open");
                    server.answer();
                }
            });
        });
        group.bench_function(format!("prepared signal, {size} bytes"), |bencher| {
            bencher.iter(|| {
                let signal = PreparedSignal::new(&name, black_box(&payload)).expect("readable");
                for server in &mut servers {
                    let sent = server.connection.signal_prepared(&signal, &mut server.out);
                    sent.expect("it is open");
                    server.answer();
                }
            });
        });
    }
    group.finish();
}

/// A peer known to speak 2.0 sends one each millisecond, and the host keeps its timer.
fn heartbeats(group: &mut BenchmarkGroup<'_, WallTime>) {
    let heartbeat = encode_heartbeat();
    let mut server = Server::new(Protocol::V2_0);
    let mut now = NOW;
    group.bench_function("heartbeat, watched", |bencher| {
        bencher.iter(|| {
            now = now + Duration::from_millis(1);
            server.receive_at(now, &heartbeat);
            if server.connection.next_timeout().is_some_and(|due| due <= now) {
                server.connection.handle_timeout(now, &mut server.out);
            }
            assert!(server.out.is_empty());
        });
    });
}

fn encode_heartbeat() -> Bytes {
    Encoder::new().encode(Dialect::V1_5, &Message::Heartbeat).expect("valid")
}

/// A client restores a session and closes the connection; the store answers at once.
fn restore(criterion: &mut Criterion) {
    let key = SessionKey::from_entropy([7; SessionKey::ENTROPY]);
    let info = SessionInfo::new().public("user", "ada").private("quota", 10);
    let session = Session::new(key.clone(), UnixTime::from_seconds(1_500_000_000), info);
    let key = Bytes::copy_from_slice(key.as_str().as_bytes());
    let frame = encode(&Message::RestoreSession { id: id(), key });
    let mut hub = Hub::new(&Valid::default());
    let mut control = Actions::<HubAction>::new();
    let mut out = Actions::new();

    let mut config = Config::default();
    config.protocol = Protocol::V1_4;
    let config = config.validate().expect("valid");
    criterion.bench_function("server/restore and leave", |bencher| {
        bencher.iter(|| {
            let id = hub.admit(NOW).expect("it is the only one");
            let mut connection = Connection::accept(&config, Observed::Nothing, NOW, &mut out);
            hub.opened(NOW, id, &mut control);
            connection.handle_message(NOW, black_box(frame.clone()), &mut out);
            loop {
                if let Some(action) = out.pop() {
                    match action {
                        Action::Send(frame) => {
                            black_box(frame);
                            connection.close(NOW, &mut out);
                        }
                        Action::Session(command) => {
                            hub.handle(NOW, id, command, &mut control);
                        }
                        Action::SessionEvent(_) | Action::Close(_) => {}
                        other => unreachable!("{other:?}"),
                    }
                } else if let Some(action) = control.pop() {
                    match action {
                        HubAction::Store(job) => {
                            assert!(matches!(job.work, Work::LookUp(_)));
                            let found = Ok(Some(Box::new(session.clone())));
                            let answer = StoreAnswer::LookedUp(found);
                            hub.answered(NOW, job.id, answer, &mut control);
                        }
                        HubAction::Deliver { outcome, .. } => {
                            connection.handle_session(NOW, outcome, &mut out);
                        }
                        other => unreachable!("{other:?}"),
                    }
                } else {
                    break;
                }
            }
            hub.left(NOW, id, &mut control);
            assert!(hub.is_idle());
        });
    });
}

criterion_group!(benches, messages, broadcast, restore);
criterion_main!(benches);
