//! WebWire on any byte stream: HTTP/1.1 and WebSocket as pure machines around those of the crate `wwr`.
//!
//! Received bytes go in, events and bytes to send come out. Nothing in here knows a socket, a clock, a random
//! source or a thread, and `std` is not needed. So it works in an event loop of your own, on a unix socket, in a
//! pipe in memory, on a microcontroller with smoltcp.
//!
//! ```text
//!        your loop: sockets, clock, random source, application
//!   ┌──────────────────────────────────────────────────────────┐
//!   │ bytes, time                              events, bytes   │
//!   │    ▼                                        ▲            │
//!   │  Host: sockets by number, deadlines, sessions in memory  │   ClientSocket
//!   │    ▼                                        ▲            │        ▼ ▲
//!   │  ServerSocket: HTTP by the gate, then a connection       │   client::Client
//!   │    ▼                                        ▲            │        ▼ ▲
//!   │  WebSocket: frames, fragments, close handshake           │   WebSocket
//!   └──────────────────────────────────────────────────────────┘
//! ```
//!
//! * [`Host`] is a server with all its sockets on one thread. `examples/event_loop.rs` is a loop around it.
//! * [`server::ServerSocket`] is one socket of a server, and [`server::Server`] what its sockets share, for
//!   programs with an arrangement of their own.
//! * [`ClientSocket`] is a client that reconnects and resumes its session.
//! * [`websocket::WebSocket`] is a WebSocket and nothing else.
//! * `blocking` (feature of that name) has a server and a client on sockets of the system, for programs that
//!   just want it to work.
//!
//! Buffers are shared by the sockets of a thread ([`Memory`]): an idle connection has none. A server's requests
//! allocate nothing in a steady state. A payload that the application keeps holds the chunk into which it was
//! received, 16 KiB unless [another size](server::Limits::receive_chunk) is set: copy it.
//!
//! # Turns
//!
//! A [`Host`] hands out one event of a socket, then one of the next, so a socket that floods it holds up no other.
//! For that, a loop takes events until there is none before it receives more, writes in each turn, accepts a
//! limited number of sockets in one, and calls [`Host::accept_failed`] when the system has no room for another
//! one.
//!
//! # What is not here
//!
//! TLS: terminate it before, or put the bytes of a TLS library in. The headers of proxies and the PROXY protocol:
//! the address that you give to [`Host::accepted`] is what counts. The crates `wwr-smol` and `wwr-tokio` have
//! both, and handlers that run side by side.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "blocking"))]
extern crate std;

#[cfg(feature = "blocking")]
pub mod blocking;
pub mod client;
pub mod host;
mod http;
mod memory;
pub mod server;
mod store;
pub mod websocket;

pub use client::ClientSocket;
pub use host::Host;
pub use memory::Memory;

/// Runs the example of the README.
#[cfg(all(doctest, feature = "blocking"))]
#[doc = include_str!("../README.md")]
struct Readme;
