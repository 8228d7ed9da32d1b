//! WebWire on [smol]: a [server](server::Server) and a [client](client::Client).
//!
//! Both are those of [`wwr_async`], thin tasks around the state machines of the core. The runtime is
//! [`Smol`]: its reactor has the sockets and timers, and tasks run on any executor, with one thread
//! or many; see [`Spawn`].
//!
//! * [`server`]: implement [`Handler`](server::Handler), build a [`Server`](server::Server), run it;
//!   or mount a [`Service`](server::Service) in an HTTP server of your own.
//! * [`client`]: [`Client::connect_to`](client::Client::connect_to) a server, make requests, listen
//!   to [`Events`](client::Events). Programs without async have [`client::blocking`].
//! * [`SessionStore`]: where sessions are stored while no client is connected; [`MemoryStore`] and
//!   [`FileStore`] are here.
//! * [`KeyGenerator`]: where session keys come from; the default is like [`RandomKeys`].
//! * `testing`, with the feature of that name: servers and clients in one test, with virtual time.
//!
//! Examples of what comes from `wwr_async` name that crate. In an application it is `wwr_smol`.

mod executor;
pub mod runtime;
mod stream;

pub use executor::{GlobalExecutor, Spawn, Task};
pub use runtime::Smol;
pub use wwr_async::*;

wwr_async::re_export_for!(Smol);

/// Compiles the examples of the READMEs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../../../README.md")]
struct Readmes;
