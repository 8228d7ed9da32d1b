//! WebWire on [smol]: a [server](server::Server) and a [client](client::Client).
//!
//! Both are those of [`wwr_async`], thin tasks around the state machines of [`wwr`], on the runtime
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
//! What happens is logged through [`tracing`].
//!
//! [`tracing`]: https://docs.rs/tracing

mod executor;
pub mod runtime;
mod stream;

pub use executor::{GlobalExecutor, Spawn, Task};
pub use runtime::Smol;
pub use wwr_async::{
    Addresses, Clock, KeyError, KeyGenerator, MemoryStore, RandomKeys, Removed, SessionStore,
    SharedStore, ShortKey, StoreError, StoreErrorKind, http,
};

// Types of the core in signatures, so that applications need no other crate of this project.
pub use wwr_async::{
    CloseFrame, Content, Dialect, Encoding, ErrorCode, InvalidCloseFrame, InvalidConfig,
    InvalidInfo, InvalidName, InvalidSignal, KeyFormat, Name, Payload, PreparedSignal, Session,
    SessionInfo, SessionKey, UnixTime, UnreadableSignal,
};

/// Keeps each session in a file, read and written on smol's threads for what blocks.
pub type FileStore = wwr_async::FileStore<Smol>;

/// A WebWire server: implement [`Handler`], build a [`Server`], run it.
pub mod server {
    pub use wwr_async::server::*;

    use crate::Smol;

    /// A WebWire server that listens on TCP addresses.
    ///
    /// ```
    /// use wwr::server::RequestError;
    /// use wwr::{Content, Payload};
    /// use wwr_smol::server::{Connection, Handler, Server};
    ///
    /// struct Echo;
    ///
    /// impl Handler for Echo {
    ///     async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
    ///         Ok(request.into_payload())
    ///     }
    /// }
    ///
    /// # smol::block_on(async {
    /// let server = Server::builder(Echo).listen("127.0.0.1:0").await?;
    /// println!("listening on http://{}", server.local_addr());
    /// let handle = server.handle();
    /// smol::spawn(async move { handle.shut_down(std::time::Duration::from_secs(10)).await }).detach();
    /// server.run().await;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap();
    /// ```
    pub type Server<H> = wwr_async::server::Server<H, Smol>;

    /// The settings of a [`Server`], on the way to one.
    pub type Builder<H> = wwr_async::server::Builder<H, Smol>;

    /// A WebWire server without a listener, for an HTTP server of your own on smol.
    ///
    /// ```no_run
    /// # use wwr_smol::server::{Handler, Service};
    /// # async fn serve<H: Handler>(service: Service<H>, stream: smol::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
    /// use hyper::service::service_fn;
    /// use smol_hyper::rt::FuturesIo;
    ///
    /// let remote = stream.peer_addr()?;
    /// let answer = service_fn(|request: hyper::Request<hyper::body::Incoming>| async {
    ///     if request.uri().path() == "/health" {
    ///         return Ok(hyper::Response::new("fine".into()));
    ///     }
    ///     Ok::<_, std::convert::Infallible>(service.answer(request, remote).await)
    /// });
    /// hyper::server::conn::http1::Builder::new()
    ///     .serve_connection(FuturesIo::new(stream), answer)
    ///     .with_upgrades()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub type Service<H> = wwr_async::server::Service<H, Smol>;
}

/// A WebWire client: [`Client::connect_to`] a server, make requests, listen to [`Events`].
pub mod client {
    pub use wwr_async::client::*;

    use crate::Smol;

    /// A client of one WebWire server.
    ///
    /// ```no_run
    /// use wwr_smol::client::{Client, Event};
    ///
    /// # smol::block_on(async {
    /// let client = Client::connect_to("ws://localhost:7777/").await?;
    /// let mut events = client.events();
    /// let reply = client.request("echo", "hello").await?;
    /// println!("{}", reply.text()?);
    /// while let Some(event) = events.next().await {
    ///     if let Event::Signal(signal) = event {
    ///         println!("{:?}: {}", signal.name_str(), signal.text()?);
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub type Client = wwr_async::client::Client<Smol>;

    /// The settings of a [`Client`], on the way to one.
    pub type Builder = wwr_async::client::Builder<Smol>;
}

/// Runs the example of the crate's README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct CrateReadme;

/// Compiles the examples of the project's README.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
