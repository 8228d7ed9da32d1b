//! WebWire for Rust.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
// What `arbitrary` derives counts its recursion in a thread-local of std.
#[cfg(any(test, feature = "arbitrary"))]
extern crate std;

mod actions;
mod dialect;
pub mod session;
mod time;
pub mod wire;

pub use actions::Actions;
pub use dialect::{Dialect, MalformedRequest, Rules, SpecialErrors};
pub use session::{KeyFormat, Session, SessionInfo, SessionKey};
pub use time::{Instant, InvalidTime, UnixTime};
pub use wire::{Content, Encoding, ErrorCode, InvalidName, Name, Payload};
