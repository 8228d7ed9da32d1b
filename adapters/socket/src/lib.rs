//! WebWire on any byte stream.
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
