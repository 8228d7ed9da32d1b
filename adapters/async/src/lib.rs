//! WebWire on any async runtime: a [server](server::Server) and a [client](client::Client).
//!
//! Both are thin tasks around the state machines of [`wwr`]: they own sockets, time, randomness and
//! storage, and decide nothing about the protocol. They run on a [`Runtime`]. The crates
//! `wwr-smol` and `wwr-tokio` have one each, and are all that an application on it depends on.
//!
//! * [`server`]: implement [`Handler`](server::Handler), build a [`Server`](server::Server), run it;
//!   or mount a [`Service`](server::Service) in an HTTP server of your own.
//!   The handler may be a [`Router`](server::Router): async functions by name, with typed arguments.
//! * [`Json`], and other formats: typed messages.
//! * [`client`]: [`Client::connect_to`](client::Client::connect_to) a server, make requests, listen
//!   to [`Events`](client::Events). Programs without async have [`client::blocking`].
//! * `inspect`, with the feature of that name: a web page that shows what a server does.
//! * [`SessionStore`]: where sessions are stored while no client is connected; [`MemoryStore`] and
//!   [`FileStore`] are here.
//! * [`cluster`]: the engine that nodes of one service share.
//! * [`KeyGenerator`]: where session keys come from; the default is like [`RandomKeys`].
//! * `testing`, with the feature of that name: servers and clients in one test, with virtual time.
//!
//! What happens is logged through [`tracing`]. Each connection has a span `connection` at `debug`, with the
//! target `wwr_async::connection` and the fields `id`, `peer` and `dialect`. Handlers and hooks that run for a
//! session are in a span `session` within it, with the field `key` (its first letters at that time). Each request
//! is an event in the spans in which it began, with the target `wwr_async::request` and the fields `name`,
//! `outcome` (`replied`, `failed`, `internal`, `panicked`, `lost`, or `too_large` if the client cannot read the
//! reply and got an internal error), `code` and `elapsed`. Lines of `info` and above name their connection
//! themselves, because the span may be off.
//!
//! What happens is counted: [`ServerHandle::stats`](server::ServerHandle::stats) and
//! [`Connection::stats`](server::Connection::stats). With the feature `metrics` the numbers go to recorders of
//! the crate `metrics` (`server::Metrics`).

mod addresses;
#[cfg(test)]
mod autobahn;
mod background;
pub mod client;
mod clock;
pub mod cluster;
mod format;
mod inbox;
#[cfg(feature = "inspect")]
pub mod inspect;
mod keep_alive;
mod key;
mod listen;
mod panics;
mod pipe;
mod pool;
mod re_export;
pub mod readiness;
mod runtime;
pub mod server;
mod socket;
mod store;
#[cfg(test)]
mod test_runtime;
#[cfg(feature = "testing")]
pub mod testing;
mod websocket;

pub use addresses::Addresses;
pub use background::BlockOn;
pub use clock::{Clock, TimeSource, sleep, timeout};
#[cfg(feature = "msgpack")]
pub use format::MessagePack;
pub use format::{FromPayload, Json, ToPayload};
#[cfg(feature = "rustls")]
pub use futures_rustls::rustls;
pub use hyper::http;
pub use key::{KeyError, KeyGenerator, RandomKeys};
pub use listen::Listen;
pub use pipe::{Pipe, pipe};
pub use runtime::{ListeningSocket, Runtime, SocketAddress, Stream, Timer};
pub use socket::ByteStream;
pub use store::{
    FileStore, MemoryStore, Removed, SessionStore, SharedStore, ShortKey, StoreError,
    StoreErrorKind,
};

// What stands in signatures, so that applications need no other crate of this project.
pub use wwr::session::EmptyKey;
pub use wwr::wire::OddUtf16;
pub use wwr::{
    CloseFrame, Content, Dialect, Encoding, ErrorCode, FormatError, FormatErrorKind, Instant,
    InvalidCloseFrame, InvalidConfig, InvalidInfo, InvalidName, InvalidSignal, InvalidTime,
    KeyFormat, Name, Payload, PreparedSignal, Session, SessionInfo, SessionKey, TypedInfoError,
    UnixTime, UnreadableSignal,
};
