//! WebWire on [tokio]: a [server](server::Server) and a [client](client::Client).
//!
//! Both are those of [`wwr_async`], thin tasks around the state machines of the core, on the runtime
//! [`Tokio`], with one thread or many. They are built inside of a runtime, or get its handle by
//! [`executor`](server::Builder::executor). It needs its drivers for I/O and time (`enable_all`).
//!
//! * [`server`]: implement [`Handler`](server::Handler), build a [`Server`](server::Server), run it;
//!   or mount a [`Service`](server::Service) in axum (feature `axum`) or another HTTP server (`tower`).
//! * [`client`]: [`Client::connect_to`](client::Client::connect_to) a server, make requests, listen
//!   to [`Events`](client::Events). Programs without async have [`client::blocking`].
//! * [`SessionStore`]: where sessions are stored while no client is connected; [`MemoryStore`] and
//!   [`FileStore`] are here.
//! * [`KeyGenerator`]: where session keys come from; the default is like [`RandomKeys`].
//! * `testing`, with the feature of that name: servers and clients in one test, with virtual time.
//!
//! Examples of what comes from `wwr_async` name that crate. In an application it is `wwr_tokio`.

pub mod runtime;
mod stream;

pub use runtime::Tokio;
pub use wwr_async::*;

wwr_async::re_export_for!(Tokio);

/// Runs the examples of the README, of the guide, and of the chapter about the inspection page.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../../../docs/inspect.md")]
#[doc = include_str!("../../../docs/guide.md")]
struct Readme;
