//! Messages of clients.

use std::hint::black_box;

use bytes::Bytes;
use wwr::server::{Action, Config, Connection, Observed, Protocol};
use wwr::wire::Message;
use wwr::{Actions, Content, Name, Payload, PreparedSignal};

use super::{NOW, Once, content, frame, id, payload};

/// How many messages are sent before they are written.
const BATCH: usize = 16;

/// A connection with a handler that answers at once with what it was asked.
struct Server {
    connection: Connection,
    out: Actions<Action>,
    sent: Vec<Bytes>,
}

impl Server {
    fn new(protocol: Protocol) -> Self {
        let mut out = Actions::new();
        let mut config = Config::default();
        config.protocol = protocol;
        let config = config.validate().expect("valid");
        let connection = Connection::accept(&config, Observed::Nothing, NOW, &mut out);
        out.drain().for_each(drop);
        Self { connection, out, sent: Vec::with_capacity(2 * BATCH) }
    }

    fn receive(&mut self, frame: &Bytes) {
        self.connection.handle_message(NOW, black_box(frame.clone()), &mut self.out);
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.out.pop() {
            match action {
                Action::Send(frame) => self.send(frame),
                Action::Request(request) => {
                    let payload = request.content.into_payload();
                    let reply = self.connection.reply(request.id, Ok(payload), &mut self.out);
                    reply.expect("it runs");
                }
                Action::Signal(signal) => {
                    drop(black_box(signal.content));
                    let handled = self.connection.signal_handled(signal.id, &mut self.out);
                    handled.expect("it runs");
                }
                // A heartbeat tells what the client speaks.
                Action::Learned(_) => {}
                other => unreachable!("{other:?}"),
            }
        }
    }

    fn send(&mut self, frame: Bytes) {
        self.sent.push(frame);
        if self.sent.len() >= BATCH {
            self.sent.clear();
        }
    }
}

pub(super) fn request() -> Once {
    receiving(Protocol::Any, &Message::Request { id: id(), content: content() }, 1)
}

pub(super) fn request_1_4() -> Once {
    receiving(Protocol::V1_4, &Message::Request { id: id(), content: content() }, 1)
}

pub(super) fn requests() -> Once {
    receiving(Protocol::Any, &Message::Request { id: id(), content: content() }, BATCH)
}

pub(super) fn large_request() -> Once {
    let payload = Payload::binary(vec![b'x'; 1 << 10]);
    let content = Content::new(b"echo", &payload).expect("a short name");
    receiving(Protocol::Any, &Message::Request { id: id(), content }, 1)
}

pub(super) fn signal() -> Once {
    receiving(Protocol::Any, &Message::Signal(content()), 1)
}

pub(super) fn heartbeat() -> Once {
    receiving(Protocol::Any, &Message::Heartbeat, 1)
}

pub(super) fn send_signal() -> Once {
    let mut server = Server::new(Protocol::Any);
    let (name, payload) = (Name::new("echo").expect("valid"), payload());
    Box::new(move || {
        let sent = server.connection.signal(&name, black_box(&payload), &mut server.out);
        sent.expect("it is open");
        if let Some(Action::Send(frame)) = server.out.pop() {
            server.send(frame);
        }
    })
}

pub(super) fn prepare_signal() -> Once {
    let (name, payload) = (Name::new("echo").expect("valid"), payload());
    Box::new(move || {
        black_box(PreparedSignal::new(&name, black_box(&payload)).expect("readable"));
    })
}

/// A signal goes to many connections.
pub(super) fn broadcast() -> Once {
    let name = Name::new("echo").expect("valid");
    telling(move |servers| {
        let payload = payload();
        for server in servers {
            let sent = server.connection.signal(&name, black_box(&payload), &mut server.out);
            sent.expect("it is open");
            server.carry_out();
        }
    })
}

/// The same, prepared each time.
pub(super) fn broadcast_prepared() -> Once {
    let name = Name::new("echo").expect("valid");
    telling(move |servers| {
        let signal = PreparedSignal::new(&name, black_box(&payload())).expect("readable");
        for server in servers {
            let sent = server.connection.signal_prepared(&signal, &mut server.out);
            sent.expect("it is open");
            server.carry_out();
        }
    })
}

fn telling(mut tell: impl FnMut(&mut [Server]) + 'static) -> Once {
    let mut servers: Vec<_> = (0..100).map(|_| Server::new(Protocol::Any)).collect();
    Box::new(move || tell(&mut servers))
}

/// So many messages come together; all but the first wait behind a handler.
fn receiving(protocol: Protocol, message: &Message, times: usize) -> Once {
    let mut server = Server::new(protocol);
    let frame = frame(message);
    Box::new(move || {
        for _ in 0..times {
            server.receive(&frame);
        }
        server.carry_out();
    })
}
