//! A WebWire client: [`Client::connect_to`] a server, make requests, listen to [`Events`].

mod builder;
mod dial;
mod error;
mod event;
mod handle;
mod task;
mod url;

pub use builder::Builder;
pub use error::{ConnectError, Error, StartError};
pub use event::{Event, Events};
pub use handle::Client;
pub use url::{InvalidUrl, ServerUrl};
