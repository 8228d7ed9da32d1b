//! Handlers by name.

mod argument;
mod call;
mod error;
mod respond;
mod routes;
#[cfg(test)]
mod tests;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use wwr::Payload;
use wwr::server::RequestError;

use super::change::SessionChange;
use super::connection::Connection;
use super::handler::Handler;
use call::{Endpoint, Layer, layered};
use respond::Function;

pub use argument::{FromCall, SessionOf, State};
pub use call::{Call, CallKind, Next};
pub use error::InvalidRouter;
pub use respond::{IntoReply, NoReply, RouteFn};
pub use routes::{Routes, Unrouted};

/// Handlers of requests and signals, by name.
///
/// A handler is an async function whose arguments are taken out of the message: see [`FromCall`] for what
/// they may be, and [`IntoReply`] for what it may return. [`build`](Self::build) makes [`Routes`] of it,
/// which are the handler of a server.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wwr_async::Json;
/// use wwr_async::server::{Connection, RequestError, Router};
///
/// #[derive(Deserialize)]
/// struct Order {
///     item: String,
///     count: u32,
/// }
///
/// #[derive(Serialize)]
/// struct Receipt {
///     number: u64,
/// }
///
/// async fn order(from: Connection, Json(order): Json<Order>) -> Result<Json<Receipt>, RequestError> {
///     if order.count == 0 {
///         return Err(RequestError::failed("COUNT", format!("how many of {}?", order.item)));
///     }
///     Ok(Json(Receipt { number: from.id() }))
/// }
///
/// async fn typing(from: Connection) {
///     println!("{} is typing", from.id());
/// }
///
/// let routes = Router::new().request("order", order).signal("typing", typing).build()?;
/// // Server::builder(routes).listen(..)
/// # Ok::<(), wwr_async::server::InvalidRouter>(())
/// ```
///
/// # What it costs
///
/// A message is looked up in a hash map by the bytes of its name. The future of the handler is boxed: one
/// allocation for a message, and one more for each layer on its way, beside what arguments and reply
/// allocate. An application that cannot afford this implements [`Handler`].
pub struct Router<S = ()> {
    state: Arc<S>,
    table: Table,
}

/// What a router consists of. The state of each handler is in the handler.
#[derive(Default)]
struct Table {
    requests: Vec<(String, Arc<dyn Endpoint>)>,
    signals: Vec<(String, Arc<dyn Endpoint>)>,
    fallback: Option<Arc<dyn Endpoint>>,
    layers: Vec<Arc<dyn Layer>>,
    connected: Vec<Hook>,
    session_changed: Vec<ChangeHook>,
    disconnected: Vec<Hook>,
    lists_names: bool,
    /// The first error.
    invalid: Option<InvalidRouter>,
}

/// What is called when a connection comes or goes.
type Hook = Box<dyn Fn(Connection) -> BoxFuture<'static, ()> + Send + Sync>;

/// What is called when the session of a connection has changed.
type ChangeHook = Box<dyn Fn(Connection, SessionChange) -> BoxFuture<'static, ()> + Send + Sync>;

impl Router {
    /// Creates a router without state.
    pub fn new() -> Self {
        Self::with_state(())
    }
}

impl Default for Router {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Send + Sync + 'static> Router<S> {
    /// Creates a router whose handlers share this state: they take it as [`State<S>`](State).
    pub fn with_state(state: S) -> Self {
        Self { state: Arc::new(state), table: Table::default() }
    }

    /// Handles the requests of this name: at most 255 bytes of printable ASCII, possibly empty (protocol
    /// §1.5).
    #[must_use]
    pub fn request<Args: 'static>(mut self, name: &str, handler: impl RouteFn<S, Args>) -> Self {
        let handler = self.endpoint(handler);
        self.table.requests.push((name.to_owned(), handler));
        self
    }

    /// Handles the signals of this name. Other signals are ignored.
    #[must_use]
    pub fn signal<Args: 'static>(
        mut self,
        name: &str,
        handler: impl RouteFn<S, Args, Reply: NoReply>,
    ) -> Self {
        let handler = self.endpoint(handler);
        self.table.signals.push((name.to_owned(), handler));
        self
    }

    /// Handles the requests of all other names. Without it, they get the error code `UNKNOWN_NAME`. Only
    /// the outermost router can have one.
    #[must_use]
    pub fn fallback<Args: 'static>(mut self, handler: impl RouteFn<S, Args>) -> Self {
        let handler = self.endpoint(handler);
        if self.table.fallback.replace(handler).is_some() {
            self.table.invalid.get_or_insert(InvalidRouter::TwoFallbacks);
        }
        self
    }

    /// Adds all handlers and hooks of another router, which may have a state of its own. Its names get
    /// this prefix, as they stand: for names like `admin.restart` it is `admin.`, with the dot. Its layers
    /// remain around its handlers only.
    ///
    /// ```
    /// use wwr_async::server::{CallKind, Router};
    ///
    /// async fn restart() {}
    ///
    /// let admin = Router::new().request("restart", restart);
    /// let routes = Router::new().nest("admin.", admin).build()?;
    /// assert!(routes.names().eq([(CallKind::Request, "admin.restart")]));
    /// # Ok::<(), wwr_async::server::InvalidRouter>(())
    /// ```
    #[must_use]
    pub fn nest<T>(mut self, prefix: &str, router: Router<T>) -> Self {
        let Table {
            requests,
            signals,
            fallback,
            layers,
            connected,
            session_changed,
            disconnected,
            lists_names: _,
            invalid,
        } = router.table;
        let layers: Arc<[_]> = layers.into();
        let moved = |(name, endpoint)| (format!("{prefix}{name}"), layered(&layers, endpoint));
        self.table.requests.extend(requests.into_iter().map(moved));
        self.table.signals.extend(signals.into_iter().map(moved));
        self.table.connected.extend(connected);
        self.table.session_changed.extend(session_changed);
        self.table.disconnected.extend(disconnected);
        let nested = InvalidRouter::NestedFallback { prefix: prefix.to_owned() };
        if let Some(invalid) = invalid.or(fallback.map(|_| nested)) {
            self.table.invalid.get_or_insert(invalid);
        }
        self
    }

    /// Runs a function before and after all handlers of this router: those that are added before this
    /// call, those that are added after it, those of nested routers, and the fallback. The layer that was
    /// added first is the outermost. For authorisation, or for measuring:
    ///
    /// ```
    /// use std::time::Instant;
    ///
    /// use wwr_async::Payload;
    /// use wwr_async::server::{Call, CallKind, Next, RequestError, Router};
    ///
    /// async fn timed(call: Call, next: Next) -> Result<Payload, RequestError> {
    ///     let (name, began) = (call.content().clone(), Instant::now());
    ///     let reply = next.run(call).await;
    ///     println!("{:?}: {:?}, {}", name.name_str(), began.elapsed(), reply.is_ok());
    ///     reply
    /// }
    ///
    /// async fn logged_in(call: Call, next: Next) -> Result<Payload, RequestError> {
    ///     if call.connection().session_key().is_none() && call.name() != b"login" {
    ///         return Err(RequestError::failed("NO_SESSION", "log in first"));
    ///     }
    ///     next.run(call).await
    /// }
    ///
    /// async fn ping() {}
    ///
    /// let routes = Router::new().layer(timed).layer(logged_in).request("ping", ping).build()?;
    /// # Ok::<(), wwr_async::server::InvalidRouter>(())
    /// ```
    ///
    /// The result of a signal is an empty payload, or an error for the log.
    #[must_use]
    pub fn layer<F, Fut>(mut self, layer: F) -> Self
    where
        F: Fn(Call, Next) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Payload, RequestError>> + Send + 'static,
    {
        self.table.layers.push(Arc::new(layer));
        self
    }

    /// Calls this when a client has connected; see [`Handler::connected`]. Several hooks, also those of
    /// nested routers, run one after the other. One that panics just ends.
    #[must_use]
    pub fn connected<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Connection, State<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let hook = self.hook(hook);
        self.table.connected.push(hook);
        self
    }

    /// Calls this when the session of a connection has changed; see [`Handler::session_changed`]. Several
    /// hooks, also those of nested routers, run one after the other. One that panics just ends.
    ///
    /// ```
    /// use wwr_async::server::{Connection, Router, SessionChange, State};
    ///
    /// async fn rooms(of: Connection, change: SessionChange, _: State<()>) {
    ///     if change.after().is_none() {
    ///         // What the session gave to the connection.
    ///         of.leave("members");
    ///     }
    /// }
    ///
    /// let routes = Router::new().session_changed(rooms).build()?;
    /// # Ok::<(), wwr_async::server::InvalidRouter>(())
    /// ```
    #[must_use]
    pub fn session_changed<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Connection, SessionChange, State<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let state = State(self.state.clone());
        let hook: ChangeHook =
            Box::new(move |of, change| Box::pin(hook(of, change, state.clone())));
        self.table.session_changed.push(hook);
        self
    }

    /// Calls this when a connection has ended; see [`Handler::disconnected`]. Several hooks, also those of
    /// nested routers, run one after the other. One that panics just ends.
    #[must_use]
    pub fn disconnected<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Connection, State<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let hook = self.hook(hook);
        self.table.disconnected.push(hook);
        self
    }

    /// Lets clients learn the names of all handlers, those of nested routers among them: `wwr probe` shows
    /// them (protocol §4.7). Everybody that can reach the server may ask, without a login. Only the outermost
    /// router decides. Default: nobody is told.
    ///
    /// ```
    /// use wwr_async::server::{Handler, Router};
    ///
    /// async fn ping() {}
    ///
    /// let routes = Router::new().request("ping", ping).list_names().build()?;
    /// assert_eq!(routes.listed_names().unwrap().requests, ["ping"]);
    /// # Ok::<(), wwr_async::server::InvalidRouter>(())
    /// ```
    #[must_use]
    pub fn list_names(mut self) -> Self {
        self.table.lists_names = true;
        self
    }

    /// Checks the names, and makes the handler of a server.
    ///
    /// # Errors
    ///
    /// [`InvalidRouter`] if two handlers have the same name, a name cannot be sent, or the list of names is
    /// too long to be [read](Self::list_names). It converts into an [`io::Error`](std::io::Error).
    pub fn build(self) -> Result<Routes, InvalidRouter> {
        self.build_over(Unrouted)
    }

    /// Like [`build`](Self::build), on top of another handler. That gets the requests and signals that
    /// have no handler in the router, and all hooks, such as
    /// [`before_upgrade`](Handler::before_upgrade). Layers are not around it.
    ///
    /// # Errors
    ///
    /// As for [`build`](Self::build).
    pub fn build_over<H: Handler>(self, handler: H) -> Result<Routes<H>, InvalidRouter> {
        Routes::new(self.table, handler)
    }

    fn endpoint<Args: 'static>(&self, function: impl RouteFn<S, Args>) -> Arc<dyn Endpoint> {
        Arc::new(Function { function, state: self.state.clone(), arguments: PhantomData })
    }

    fn hook<F, Fut>(&self, hook: F) -> Hook
    where
        F: Fn(Connection, State<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let state = State(self.state.clone());
        Box::new(move |connection| Box::pin(hook(connection, state.clone())))
    }
}

impl<S> fmt::Debug for Router<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |routes: &[(String, _)]| -> Vec<_> {
            routes.iter().map(|(name, _): &(String, Arc<dyn Endpoint>)| name.clone()).collect()
        };
        let (requests, signals) = (names(&self.table.requests), names(&self.table.signals));
        f.debug_struct("Router")
            .field("requests", &requests)
            .field("signals", &signals)
            .finish_non_exhaustive()
    }
}
