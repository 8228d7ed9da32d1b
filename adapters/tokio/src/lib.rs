//! WebWire on [tokio]: a [server](server::Server) and a [client](client::Client).
//!
//! Both are those of [`wwr_async`], thin tasks around the state machines of the core, on the runtime
//! [`Tokio`], with one thread or many. They are built inside of a runtime, or get its handle by
//! [`executor`](server::Builder::executor). It needs its drivers for I/O and time (`enable_all`).
//!
//! * [`server`]: implement [`Handler`](server::Handler), build a [`Server`](server::Server), run it;
//!   or mount a [`Service`](server::Service) in axum or another HTTP server.
//! * [`client`]: [`Client::connect_to`](client::Client::connect_to) a server, make requests, listen
//!   to [`Events`](client::Events).
//! * [`SessionStore`]: where sessions are stored while no client is connected; [`MemoryStore`] and
//!   [`FileStore`] are here.
//! * [`KeyGenerator`]: where session keys come from; [`RandomKeys`] is the default.
//!
//! Examples of what comes from `wwr_async` name that crate. In an application it is `wwr_tokio`.

pub mod runtime;
mod stream;

pub use runtime::Tokio;
pub use wwr_async::*;

/// Stores each session in a file. Threads of tokio for blocking work read and write it.
pub type FileStore = wwr_async::FileStore<Tokio>;

/// A WebWire server: implement [`Handler`](server::Handler), build a [`Server`](server::Server), run it.
pub mod server {
    pub use wwr_async::server::*;

    use crate::Tokio;

    /// A WebWire server that listens on TCP addresses.
    pub type Server<H> = wwr_async::server::Server<H, Tokio>;

    /// What a [`Server`] is made of, on the way to one.
    pub type Builder<H> = wwr_async::server::Builder<H, Tokio>;

    /// A WebWire server without a listener, for axum or another HTTP server.
    pub type Service<H> = wwr_async::server::Service<H, Tokio>;
}

/// A WebWire client: [`connect_to`](client::Client::connect_to) a server, make requests, listen to
/// [`Events`](client::Events).
pub mod client {
    pub use wwr_async::client::*;

    use crate::Tokio;

    /// A client of one WebWire server.
    pub type Client = wwr_async::client::Client<Tokio>;

    /// What a [`Client`] is made of, on the way to one.
    pub type Builder = wwr_async::client::Builder<Tokio>;
}

/// Runs the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
