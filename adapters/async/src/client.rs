//! A WebWire client: [`Client::connect_to`] a server, make requests, listen to [`Events`].

mod answers;
pub mod blocking;
mod builder;
mod config;
mod dial;
mod dialer;
#[cfg(test)]
pub(crate) mod echo;
mod error;
mod event;
mod handle;
mod headers;
mod http;
mod names;
mod race;
mod redirect;
mod refusal;
mod retry_after;
mod task;
mod tcp;
mod text;
#[cfg(feature = "rustls")]
mod tls;
mod typed;
mod url;

pub use builder::Builder;
pub use config::{Config, InvalidConfig};
#[cfg(unix)]
pub use dialer::UnixSocket;
pub use dialer::{Destination, Dial, Dialed, EnvironmentProxies, InvalidProxy, Proxy, Tcp};
pub use error::{ConnectError, Error, StartError};
pub use event::{Event, Events};
pub use handle::Client;
pub use headers::InvalidHeader;
#[cfg(feature = "rustls")]
pub use tls::{InvalidTls, Tls};
pub use typed::{InvalidSignals, Signals};
pub use url::{InvalidUrl, ServerUrl};
pub use wwr::client::{
    AnswerError, Config as MachineConfig, ConnectError as ConnectErrorKind, DisconnectReason,
    Discovered, Misuse, Pings, Protocol, RequestError, SessionLoss, Status,
};
pub use wwr::names::Names;
pub use wwr::preflight::{Metadata, Verdict, Version};
pub use wwr::session::Position;
pub use wwr::wire::{AcceptConf, ErrorReply};
