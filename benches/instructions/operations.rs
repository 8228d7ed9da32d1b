//! What is counted.

mod client;
mod server;
mod session;
mod wire;

use bytes::Bytes;
use wwr::wire::{Encoder, Identifier, Message};
use wwr::{Content, Dialect, Instant, Payload};

const NOW: Instant = Instant::EPOCH;

/// Something that is done again and again.
pub(super) struct Operation {
    pub(super) name: &'static str,
    /// How many messages are handled each time.
    pub(super) messages: u32,
    pub(super) prepare: fn() -> Once,
}

/// Does an operation once.
pub(super) type Once = Box<dyn FnMut()>;

pub(super) const OPERATIONS: [Operation; 18] = [
    // Part of all that receive: a host gives frames away, here they are used again.
    operation("share a frame", 1, wire::share),
    operation("decode a request", 1, wire::decode_request),
    operation("decode a signal", 1, wire::decode_signal),
    operation("encode a request", 1, wire::encode_request),
    operation("encode a reply", 1, wire::encode_reply),
    operation("server: request to reply", 1, server::request),
    operation("server: request to reply, 1.4", 1, server::request_1_4),
    operation("server: request to reply, 16 together", 16, server::requests),
    operation("server: request to reply, 1 KiB", 1, server::large_request),
    operation("server: signal", 1, server::signal),
    operation("server: heartbeat", 1, server::heartbeat),
    operation("server: send a signal", 1, server::send_signal),
    operation("server: to 100 connections, signal", 100, server::broadcast),
    operation("server: to 100 connections, prepared", 100, server::broadcast_prepared),
    operation("server: prepare a signal", 1, server::prepare_signal),
    operation("server: restore a session and leave", 1, session::restore),
    operation("client: request and reply", 1, client::request),
    operation("client: request and reply, 16 together", 16, client::requests),
];

const fn operation(name: &'static str, messages: u32, prepare: fn() -> Once) -> Operation {
    Operation { name, messages, prepare }
}

fn id() -> Identifier {
    Identifier::from_counter(1)
}

fn payload() -> Payload {
    Payload::binary(vec![b'x'; 32])
}

fn content() -> Content {
    Content::new(b"echo", &payload()).expect("a short name")
}

fn frame(message: &Message) -> Bytes {
    Encoder::new().encode(Dialect::Unknown, message).expect("valid")
}
