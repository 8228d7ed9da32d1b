//! A WebWire client in browsers: around the same machine as everywhere else, [`wwr::client`], with the
//! browser's `WebSocket`, `fetch` and timers. For pages and workers.
//!
//! ```no_run
//! use wwr_web::{Client, Event, WebStorage};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder("wss://example.com/").keep_session_in(WebStorage::Local).build()?;
//! let mut events = client.events();
//! client.connect().await?;
//! let reply = client.request("echo", "hello").await?;
//! assert_eq!(reply.text()?, "hello");
//! while let Some(event) = events.next().await {
//!     if let Event::Signal(signal) = event {
//!         println!("{:?}: {:?}", signal.name_str(), signal.text());
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is different in a browser
//!
//! * A page cannot send pings, and does not see pongs. A server that vanishes without a word is noticed when the
//!   browser notices it, or when two requests in a row have run out of time and nothing was heard for 90 s. One is
//!   enough after somebody has looked at the page again or the network has come back; and a client that could send nothing
//!   for twice the server's read timeout connects at once then.
//! * Pages that are hidden stay connected as long as the browser lets them run: no timer here is one of those that Chrome
//!   lets ring once a minute.
//! * `wwr.1` (protocol §10) is offered first. If the server does not select it, the browser fails the
//!   handshake and shows that in its console; the client then goes on without it.
//! * Why a WebSocket could not be opened is not told to pages, only shown in the console.
//! * When a page is left, the connection is closed. It is opened again if the browser has kept the page and
//!   shows it again.
//! * A page that came by HTTPS cannot connect without TLS: [`StartError::MixedContent`].
//!
//! # Features
//!
//! * `js`: what the JavaScript module of the repository is made of.

mod address;
mod browser;
mod builder;
mod client;
mod clock;
mod environment;
mod error;
mod event;
mod handlers;
mod host;
#[cfg(feature = "js")]
mod js;
mod json;
mod probe;
mod socket;
mod store;

pub use builder::Builder;
pub use client::{Client, Pending};
pub use error::{ConnectError, Error, StartError};
pub use event::{Event, Events};
#[cfg(feature = "js")]
#[doc(hidden)]
pub use js::Core;
pub use store::{KeyStore, WebStorage};
pub use wwr::client::{
    AnswerError, Config, DisconnectReason, Discovered, Misuse, Protocol, RequestError, SessionLoss,
    Status,
};
pub use wwr::{Content, Dialect, Encoding, Name, Payload, Session, SessionInfo, SessionKey};
