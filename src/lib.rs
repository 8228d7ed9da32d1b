//! WebWire for Rust.
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::alloc_instead_of_core, clippy::std_instead_of_core)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod actions;
mod dialect;
pub mod preflight;
pub mod server;
pub mod session;
mod time;
pub mod wire;

pub use actions::Actions;
pub use dialect::{Dialect, MalformedRequest, Rules, SpecialErrors};
pub use session::{KeyFormat, Session, SessionInfo, SessionKey};
pub use time::{Instant, InvalidTime, UnixTime};
pub use wire::{Content, Encoding, ErrorCode, InvalidName, Name, Payload};
