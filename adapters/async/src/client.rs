//! A WebWire client: [`Client::connect_to`] a server, make requests, listen to [`Events`].

pub mod blocking;
mod builder;
mod config;
mod dial;
mod error;
mod event;
mod handle;
mod headers;
mod http;
mod refusal;
mod retry_after;
mod task;
mod text;
mod url;

pub use builder::Builder;
pub use config::{Config, InvalidConfig};
pub use error::{ConnectError, Error, StartError};
pub use event::{Event, Events};
pub use handle::Client;
pub use headers::InvalidHeader;
pub use url::{InvalidUrl, ServerUrl};
pub use wwr::client::{
    Config as MachineConfig, ConnectError as ConnectErrorKind, DisconnectReason, Discovered,
    Misuse, Pings, Protocol, RequestError, SessionLoss, Status,
};
pub use wwr::preflight::{Metadata, Verdict, Version};
pub use wwr::wire::{AcceptConf, ErrorReply};
