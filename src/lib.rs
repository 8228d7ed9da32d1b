//! WebWire for Rust.
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::alloc_instead_of_core, clippy::std_instead_of_core)]

extern crate alloc;
// The derive macro of `arbitrary` needs it, too.
#[cfg(any(test, feature = "arbitrary"))]
extern crate std;

mod actions;
pub mod client;
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
