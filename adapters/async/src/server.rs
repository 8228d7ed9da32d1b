//! A WebWire server: implement [`Handler`], build a [`Server`], run it.

mod broadcast;
mod builder;
mod connection;
mod detection;
mod endpoint;
mod handle;
mod handler;
mod http;
mod hub;
mod invalid;
mod listener;
mod origin;
mod panics;
mod refusals;
mod service;
mod settings;
mod task;
mod throttle;

pub use broadcast::Broadcast;
pub use builder::Builder;
pub use connection::{Connection, ConnectionInfo, Ended, SessionError, SignalError};
pub use handle::{Connections, ServerHandle};
pub use handler::{ConnectionOptions, Handler, Response};
pub use invalid::InvalidSettings;
pub use listener::Server;
pub use origin::parse_origin;
pub use service::Service;
pub use settings::Limits;
pub use wwr::server::Expiry;
pub use wwr::server::IdleConnections;
pub use wwr::server::gate::{
    InvalidNetwork, InvalidOrigin, InvalidPath, Network, Origin, Origins, ProxyHeaders,
    TrustedProxies,
};
