//! The server's side of the protocol: one [`Connection`] per socket.

mod action;
mod config;
mod connection;
mod error;
mod in_flight;
mod reply;
mod session;
#[cfg(test)]
mod tests;

pub use action::{Action, CloseReason, Request, SessionEvent, Signal};
pub use config::{Config, Sessions};
pub use connection::Connection;
pub use error::{Misuse, RequestError};
pub use in_flight::{RequestId, SignalId};
