//! The server's side of the protocol: one [`Connection`] per socket.

mod action;
mod announcement;
mod config;
mod connection;
mod error;
mod in_flight;
mod peer;
mod pings;
mod preflights;
mod protocol;
mod reply;
mod session;
#[cfg(test)]
mod tests;
mod watch;

pub use action::{Action, CloseReason, Request, SessionEvent, Signal};
pub use announcement::{Announcement, InvalidAnnouncement};
pub use config::{Config, Sessions};
pub use connection::Connection;
pub use error::{Misuse, RequestError};
pub use in_flight::{RequestId, SignalId};
pub use pings::{InvalidPings, Pings};
pub use preflights::{Acquaintance, Preflights};
pub use protocol::{Observed, Protocol};
