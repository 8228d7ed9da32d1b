//! What the machines allocate, and what they keep. With `--nocapture`, the tests print the numbers.

use core::num::NonZeroU16;

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use wwr::server::{self, Observed};
use wwr::wire::{Encoder, Identifier, Message, decode};
use wwr::{Actions, Content, Dialect, Instant, Name, Payload, PreparedSignal, client};

const NOW: Instant = Instant::EPOCH;

/// How often everything is done.
const ROUNDS: u64 = 10_000;

/// How many bytes a chunk of an encoder has for small messages, and how many allocations it takes:
/// the bytes, and the count of their holders.
const CHUNK: u64 = 4096;
const PER_CHUNK: u64 = 2;

/// The lengths of a request of that name and 32 bytes, and of the reply to it.
const REQUEST: usize = 10 + 4 + 32;
const REPLY: usize = 9 + 32;

/// A server connection, its list, and a host whose handlers are ready at once.
struct Server {
    connection: server::Connection,
    out: Actions<server::Action>,
    /// What was sent and not written yet.
    sent: Vec<Bytes>,
}

impl Server {
    fn new(concurrency: u16) -> Self {
        Self::of(server::Protocol::Any, concurrency)
    }

    fn of(protocol: server::Protocol, concurrency: u16) -> Self {
        let concurrency = NonZeroU16::new(concurrency).unwrap();
        let mut config = server::Config::default();
        (config.protocol, config.concurrency) = (protocol, concurrency);
        let config = config.validate().unwrap();
        let mut out = Actions::new();
        let connection = server::Connection::accept(&config, Observed::Nothing, NOW, &mut out);
        let mut server = Self { connection, out, sent: Vec::with_capacity(512) };
        server.carry_out();
        // A server of all versions advertises its settings.
        server.sent.clear();
        server
    }

    fn receive(&mut self, frame: &Bytes) {
        self.connection.handle_message(NOW, frame.clone(), &mut self.out);
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.out.pop() {
            match action {
                server::Action::Send(frame) => self.sent.push(frame),
                server::Action::Request(request) => {
                    let payload = request.content.into_payload();
                    self.connection.reply(request.id, Ok(payload), &mut self.out).unwrap();
                }
                server::Action::Signal(signal) => {
                    self.connection.signal_handled(signal.id, &mut self.out).unwrap();
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

fn content() -> Content {
    Content::new(b"echo", &Payload::binary(vec![b'x'; 32])).unwrap()
}

fn frame(message: &Message) -> Bytes {
    Encoder::new().encode(Dialect::Unknown, message).unwrap()
}

fn request() -> Bytes {
    frame(&Message::Request { id: Identifier::from_counter(1), content: content() })
}

/// Fails if more was allocated than the chunks that hold this many messages of one length.
fn assert_only_chunks(info: &AllocationInfo, messages: u64, length: usize, what: &str) {
    let most = PER_CHUNK * messages.div_ceil(CHUNK / length as u64);
    println!("{what}: {} allocations of {most} for {messages} messages", info.count_total);
    assert!(info.count_total <= most, "{what}: {} allocations, not {most}", info.count_total);
}

#[test]
fn replies_of_ready_handlers_take_nothing_but_chunks() {
    let request = request();
    // So many requests are there after one read; their replies are written together.
    for batch in [1, 16, 256] {
        let mut server = Server::new(1);
        let mut serve = |rounds| {
            for _ in 0..rounds / batch {
                for _ in 0..batch {
                    server.receive(&request);
                    server.carry_out();
                }
                assert!(server.sent.drain(..).all(|frame| frame.len() == REPLY));
            }
        };
        serve(ROUNDS);
        let info = measure(|| serve(ROUNDS));
        let what = format!("server, {batch} at a time");
        assert_only_chunks(&info, ROUNDS / batch * batch, REPLY, &what);
        if batch == 1 {
            assert_eq!(info.count_total, 0, "what was written is used again");
        }
    }
}

/// A large payload is copied once, behind the header of its reply, and is never in a chunk that
/// others share.
#[test]
fn a_large_reply_takes_only_its_own_memory() {
    for length in [64 << 10, 1 << 20] {
        let payload = Payload::binary(vec![b'x'; length]);
        let content = Content::new(b"echo", &payload).unwrap();
        let request = frame(&Message::Request { id: Identifier::from_counter(1), content });
        // A server of all versions would refuse replies longer than it has advertised.
        let mut server = Server::of(server::Protocol::V1_4, 1);
        let mut serve = || {
            server.receive(&request);
            server.carry_out();
            server.sent.pop().unwrap().len()
        };
        serve();
        let info = measure(|| assert_eq!(serve(), 9 + length));
        assert_eq!((info.count_total, info.bytes_total), (1, 9 + length as u64));
        assert_eq!(info.bytes_current, 0, "{length} bytes");
    }
}

#[test]
fn replies_that_come_later_take_nothing_but_chunks() {
    const RUNNING: u64 = 16;
    let request = request();
    let mut server = Server::new(RUNNING as u16);
    let mut running = Vec::with_capacity(RUNNING as usize);
    let mut serve = |rounds| {
        for _ in 0..rounds / RUNNING {
            for _ in 0..RUNNING {
                server.receive(&request);
            }
            while let Some(server::Action::Request(request)) = server.out.pop() {
                running.push(request);
            }
            for request in running.drain(..).rev() {
                let payload = request.content.into_payload();
                server.connection.reply(request.id, Ok(payload), &mut server.out).unwrap();
            }
            server.carry_out();
            assert!(server.sent.drain(..).all(|frame| frame.len() == REPLY));
        }
    };
    serve(ROUNDS);
    let info = measure(|| serve(ROUNDS));
    assert_only_chunks(&info, ROUNDS, REPLY, "server, in any order");
}

#[test]
fn signals_and_heartbeats_take_nothing() {
    for message in [Message::Signal(content()), Message::Heartbeat] {
        let frame = frame(&message);
        let mut server = Server::new(1);
        let mut serve = || {
            server.receive(&frame);
            // The first heartbeat tells what the peer speaks.
            if let Some(server::Action::Signal(signal)) = server.out.pop() {
                server.connection.signal_handled(signal.id, &mut server.out).unwrap();
            }
        };
        serve();
        let info = measure(|| (0..ROUNDS).for_each(|_| serve()));
        assert_eq!(info.count_total, 0, "{message:?}");
    }
}

#[test]
fn a_prepared_signal_takes_nothing_for_each_connection() {
    const CONNECTIONS: usize = 1000;
    let name = Name::from_static("news").unwrap();
    // Small ones come out of a chunk, large ones have memory of their own. With the six bytes that
    // precede the payload, the second is the longest of the small ones.
    for length in [32, CHUNK as usize / 4 - 6, 4000] {
        let payload = Payload::binary(vec![b'x'; length]);
        // Whatever is shared for the first time gets a count of its owners.
        let _shared = payload.clone();
        let mut signal = None;
        let info = measure(|| signal = Some(PreparedSignal::new(&name, &payload).unwrap()));
        let signal = signal.unwrap();
        println!("a signal of {length} bytes takes {} when prepared", info.bytes_current);
        assert!(info.bytes_current <= length as i64 + 64, "{}", info.bytes_current);

        let mut servers: Vec<_> = (0..CONNECTIONS).map(|_| Server::new(1)).collect();
        let mut tell = || {
            for server in &mut servers {
                server.connection.signal_prepared(&signal, &mut server.out).unwrap();
                server.carry_out();
            }
            for server in &mut servers {
                assert_eq!(server.sent.pop().unwrap().as_ptr(), signal.frame().as_ptr());
            }
        };
        // The lists of the connections grow.
        tell();
        let info = measure(|| (0..10).for_each(|_| tell()));
        assert_eq!(info.count_total, 0, "{length} bytes");
    }
}

#[test]
fn text_becomes_utf_16_in_memory_of_its_length() {
    let text = "how many roads";
    let info = measure(|| drop(Payload::utf16(text)));
    assert_eq!((info.count_total, info.bytes_total), (1, 2 * text.len() as u64));
}

#[test]
fn decoding_takes_nothing() {
    let id = Identifier::from_counter(1);
    let key = Bytes::from_static(b"key");
    for message in [
        Message::Request { id, content: content() },
        Message::Reply { id, payload: Payload::binary(vec![b'x'; 32]) },
        Message::Signal(content()),
        Message::RestoreSession { id, key },
        Message::CloseSession { id },
        Message::SessionCreated { object: Bytes::from_static(b"{}") },
        Message::Heartbeat,
    ] {
        let frame = frame(&message);
        drop(frame.clone());
        let info = measure(|| {
            for _ in 0..ROUNDS {
                drop(decode(Dialect::Unknown, frame.clone()).unwrap());
            }
        });
        assert_eq!(info.count_total, 0, "{message:?}");
    }
}

#[test]
fn encoding_takes_nothing_but_chunks() {
    let reply = Message::Reply { id: Identifier::from_counter(1), payload: Payload::utf8("done") };
    let mut encoder = Encoder::new();
    let mut sent = Vec::with_capacity(ROUNDS as usize);
    let mut encode = || {
        sent.clear();
        sent.extend((0..ROUNDS).map(|_| encoder.encode(Dialect::V2_0, &reply).unwrap()));
        sent.iter().map(Bytes::len).max().unwrap()
    };
    let length = encode();
    let info = measure(|| _ = encode());
    assert_only_chunks(&info, ROUNDS, length, "encoding");
}

/// A client of 2.0 whose connection is ready.
fn ready_client(out: &mut Actions<client::Action>) -> client::Client {
    let mut config = server::Config::default();
    config.protocol = server::Protocol::V2_0;
    let config = config.validate().unwrap();
    let mut from_server = Actions::new();
    server::Connection::accept(&config, Observed::Nothing, NOW, &mut from_server);
    let Some(server::Action::Send(conf)) = from_server.pop() else { panic!("it advertises") };

    let mut config = client::Config::default();
    config.protocol = client::Protocol::V2_0;
    let mut client = client::Client::new(&config.validate().unwrap(), 1);
    client.connect(NOW, out);
    client.handle_opened(NOW, None, out);
    client.handle_message(NOW, conf, out);
    out.drain().for_each(drop);
    assert_eq!(client.status(), client::Status::Connected);
    client
}

#[test]
fn requests_of_a_client_take_nothing_but_chunks() {
    let (name, payload) = (Name::new("echo").unwrap(), Payload::binary(vec![b'x'; 32]));
    for in_flight in [1, 16, 64, 256] {
        let replies: Vec<_> = (1..=2 * ROUNDS)
            .map(|number| {
                let id = Identifier::from_counter(number);
                frame(&Message::Reply { id, payload: payload.clone() })
            })
            .collect();
        let mut replies = replies.into_iter();
        let mut out = Actions::new();
        let mut client = ready_client(&mut out);
        let mut exchange = |rounds| {
            for _ in 0..rounds / in_flight {
                for _ in 0..in_flight {
                    client.request(NOW, name.clone(), payload.clone(), None, &mut out).unwrap();
                }
                for action in out.drain() {
                    let client::Action::Send(frame) = action else { panic!("{action:?}") };
                    assert_eq!(frame.len(), REQUEST);
                }
                for reply in replies.by_ref().take(in_flight as usize) {
                    client.handle_message(NOW, reply, &mut out);
                    let done = out.pop();
                    assert!(matches!(done, Some(client::Action::Done { outcome: Ok(_), .. })));
                }
            }
        };
        exchange(ROUNDS);
        let info = measure(|| exchange(ROUNDS));
        let what = format!("client, {in_flight} in flight");
        assert_only_chunks(&info, ROUNDS / in_flight * in_flight, REQUEST, &what);
        if in_flight == 1 {
            assert_eq!(info.count_total, 0, "what was written is used again");
        }
    }
}

#[test]
fn an_idle_connection_keeps_nothing_on_the_heap() {
    let request = request();
    let mut kept = None;
    let info = measure(|| {
        let mut server = Server::new(1);
        server.receive(&request);
        server.carry_out();
        server.sent = Vec::new();
        server.out.shrink();
        kept = Some(server);
    });
    assert_eq!(info.bytes_current, 0);
}

/// The queue of messages behind a handler does not shrink by itself: what it keeps is bounded by
/// its longest, a pointer and a length for each.
#[test]
fn after_a_burst_a_connection_keeps_a_kilobyte_at_most() {
    let request = request();
    let mut kept = None;
    let info = measure(|| {
        let mut server = Server::new(1);
        while server.connection.wants_input() {
            server.receive(&request);
        }
        server.carry_out();
        server.sent = Vec::new();
        server.out.shrink();
        kept = Some(server);
    });
    println!("after a burst: {} bytes", info.bytes_current);
    assert!(info.bytes_current <= 1024, "{}", info.bytes_current);
}
