//! A WebWire server: implement [`Handler`], build a [`Server`], run it.

mod broadcast;
mod builder;
mod connection;
mod endpoint;
mod handle;
mod handler;
mod http;
mod hub;
mod listener;
mod origin;
mod panics;
mod rarely;
mod service;
mod settings;
mod task;

pub use broadcast::Broadcast;
pub use builder::Builder;
pub use connection::{Connection, ConnectionInfo, Ended, SessionError, SignalError};
pub use handle::{Connections, ServerHandle};
pub use handler::{ConnectionOptions, Handler, Response};
pub use listener::Server;
pub use origin::Origins;
pub use service::Service;
pub use settings::{Collection, Limits};
