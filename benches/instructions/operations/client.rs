//! Requests of a client.

use std::hint::black_box;

use bytes::Bytes;
use wwr::client::{Action, Client, Config, Protocol};
use wwr::server;
use wwr::wire::{Encoder, Identifier, Message};
use wwr::{Actions, Dialect, Name};

use super::{NOW, Once, payload};
use crate::callgrind::{TIMES, WARM_UP};

pub(super) fn request() -> Once {
    requesting(1)
}

pub(super) fn requests() -> Once {
    requesting(16)
}

/// As many requests, then the reply to each.
fn requesting(together: u32) -> Once {
    let mut out = Actions::new();
    let mut client = ready(&mut out);
    let (name, payload) = (Name::new("echo").expect("valid"), payload());
    let mut replies = replies((WARM_UP + TIMES) * together).into_iter();
    Box::new(move || {
        for _ in 0..together {
            let (name, payload) = (name.clone(), payload.clone());
            client.request(NOW, name, payload, None, &mut out).expect("it is connected");
        }
        out.drain().for_each(|action| drop(black_box(action)));
        for reply in replies.by_ref().take(together as usize) {
            client.handle_message(NOW, reply, &mut out);
        }
        for action in out.drain() {
            assert!(matches!(action, Action::Done { outcome: Ok(_), .. }));
        }
    })
}

/// The replies to the first requests of a client, whose identifiers count from 1.
fn replies(number: u32) -> Vec<Bytes> {
    let mut encoder = Encoder::new();
    let reply =
        |number| Message::Reply { id: Identifier::from_counter(number), payload: payload() };
    (1..=u64::from(number))
        .map(|number| encoder.encode(Dialect::V2_0, &reply(number)).expect("valid"))
        .collect()
}

/// A client of 2.0 whose connection is ready.
fn ready(out: &mut Actions<Action>) -> Client {
    let mut config = Config::default();
    config.protocol = Protocol::V2_0;
    let mut client = Client::new(&config.validate().expect("valid"), 1);
    client.connect(NOW, out);
    client.handle_opened(NOW, None, out);
    client.handle_message(NOW, accept_conf(), out);
    out.drain().for_each(drop);
    client
}

fn accept_conf() -> Bytes {
    let conf = server::Advertised::default().to_accept_conf();
    Encoder::new().encode(Dialect::V2_0, &Message::AcceptConf(conf)).expect("valid")
}
