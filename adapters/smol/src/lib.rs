//! WebWire on [smol]: a [server](server::Server) and a [client](client::Client).
//!
//! Both are those of [`wwr_async`], thin tasks around the state machines of the core. The runtime is
//! [`Smol`]: its reactor has the sockets and timers, and tasks run on any executor, with one thread
//! or many; see [`Spawn`].
//!
//! * [`server`]: implement [`Handler`](server::Handler), build a [`Server`](server::Server), run it;
//!   or mount a [`Service`](server::Service) in an HTTP server of your own.
//! * [`client`]: [`Client::connect_to`](client::Client::connect_to) a server, make requests, listen
//!   to [`Events`](client::Events).
//! * [`SessionStore`]: where sessions are stored while no client is connected; [`MemoryStore`] and
//!   [`FileStore`] are here.
//! * [`KeyGenerator`]: where session keys come from; [`RandomKeys`] is the default.
//!
//! Examples of what comes from `wwr_async` name that crate. In an application it is `wwr_smol`.

mod executor;
pub mod runtime;
mod stream;

pub use executor::{GlobalExecutor, Spawn, Task};
pub use runtime::Smol;
pub use wwr_async::*;

/// Stores each session in a file. Threads of smol read and write it.
pub type FileStore = wwr_async::FileStore<Smol>;

/// A WebWire server: implement [`Handler`](server::Handler), build a [`Server`](server::Server), run it.
pub mod server {
    pub use wwr_async::server::*;

    use crate::Smol;

    /// A WebWire server that listens on TCP addresses.
    pub type Server<H> = wwr_async::server::Server<H, Smol>;

    /// What a [`Server`] is made of, on the way to one.
    pub type Builder<H> = wwr_async::server::Builder<H, Smol>;

    /// A WebWire server without a listener, for an HTTP server of your own.
    pub type Service<H> = wwr_async::server::Service<H, Smol>;
}

/// A WebWire client: [`connect_to`](client::Client::connect_to) a server, make requests, listen to
/// [`Events`](client::Events).
pub mod client {
    pub use wwr_async::client::*;

    use crate::Smol;

    /// A client of one WebWire server.
    pub type Client = wwr_async::client::Client<Smol>;

    /// What a [`Client`] is made of, on the way to one.
    pub type Builder = wwr_async::client::Builder<Smol>;
}

/// Compiles the examples of the READMEs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../../../README.md")]
struct Readmes;
