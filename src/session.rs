//! Sessions: what they are, and who holds which. Knows no wire and no socket.

mod info;
mod key;
mod object;

pub use info::SessionInfo;
pub use key::{EmptyKey, KeyFormat, SessionKey};
pub use object::{InvalidSession, Session};
