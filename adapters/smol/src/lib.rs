//! WebWire on [smol]: a [server](server::Server) and a [client](client::Client).
//!
//! Both are thin tasks around the state machines of [`wwr`]: they own sockets, time, randomness and
//! storage, and decide nothing about the protocol. They run on any executor, with one thread or
//! many; see [`Spawn`].
//!
//! * [`server`]: implement [`Handler`](server::Handler), build a [`Server`](server::Server), run it;
//!   or mount a [`Service`](server::Service) in an HTTP server of your own.
//! * [`client`]: [`Client::connect_to`](client::Client::connect_to) a server, make requests, listen
//!   to [`Events`](client::Events).
//! * [`SessionStore`]: where sessions are stored while no client is connected; [`MemoryStore`] and
//!   [`FileStore`] are here.
//! * [`KeyGenerator`]: where session keys come from; [`RandomKeys`] is the default.
//!
//! What happens is logged through [`tracing`].

pub mod client;
mod clock;
mod executor;
mod inbox;
mod keep_alive;
mod key;
mod pool;
pub mod server;
mod socket;
mod store;
mod websocket;

pub use clock::Clock;
pub use executor::{GlobalExecutor, Spawn, Task};
pub use hyper::http;
pub use key::{KeyError, KeyGenerator, RandomKeys};
pub use store::{
    FileStore, MemoryStore, Removed, SessionStore, SharedStore, ShortKey, StoreError,
    StoreErrorKind,
};

// What stands in signatures, so that applications need no other crate of this project.
pub use wwr::session::EmptyKey;
pub use wwr::wire::OddUtf16;
pub use wwr::{
    CloseFrame, Content, Dialect, Encoding, ErrorCode, Instant, InvalidCloseFrame, InvalidConfig,
    InvalidInfo, InvalidName, InvalidSignal, InvalidTime, KeyFormat, Name, Payload, PreparedSignal,
    Session, SessionInfo, SessionKey, UnixTime, UnreadableSignal,
};

/// Runs the example of the crate's README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct CrateReadme;

/// Compiles the examples of the project's README.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
