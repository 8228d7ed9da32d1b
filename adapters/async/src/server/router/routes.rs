//! A router as the handler of a server.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use hyper::header::HeaderMap;
use hyper::http::request::Parts;
use wwr::names::{self, Names};
use wwr::server::RequestError;
use wwr::{Content, ErrorCode, Name, Payload};

use super::super::change::SessionChange;
use super::super::connection::Connection;
use super::super::context::ConnectionOptions;
use super::super::handler::{Handler, Response};
use super::call::{Call, CallKind, Endpoint, Layer, layered};
use super::{ChangeHook, Hook, InvalidRouter, Table};
use crate::panics::ShortName;

/// The handlers of a [`Router`](super::Router), checked: the handler of a server. What has no route goes
/// to the handler `H`, and so do all hooks. A hook that panics just ends, and the next one runs.
pub struct Routes<H = Unrouted> {
    requests: HashMap<Box<[u8]>, Arc<dyn Endpoint>>,
    signals: HashMap<Box<[u8]>, Arc<dyn Endpoint>>,
    fallback: Option<Arc<dyn Endpoint>>,
    connected: Vec<Hook>,
    session_changed: Vec<ChangeHook>,
    disconnected: Vec<Hook>,
    /// Sorted.
    names: Vec<(CallKind, String)>,
    lists_names: bool,
    handler: H,
}

/// Answers every request with the error code `UNKNOWN_NAME`: what is under a
/// [`Router`](super::Router) that is [built](super::Router::build) over nothing else.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unrouted;

impl Handler for Unrouted {
    async fn request(&self, _: &Connection, _: Content) -> Result<Payload, RequestError> {
        match ErrorCode::from_static("UNKNOWN_NAME") {
            Ok(code) => Err(RequestError::Failed {
                code,
                message: Cow::Borrowed("there is no such request"),
            }),
            Err(_) => Err(RequestError::Internal),
        }
    }
}

impl<H: Handler> Routes<H> {
    pub(super) fn new(table: Table, handler: H) -> Result<Self, InvalidRouter> {
        let Table {
            requests,
            signals,
            fallback,
            layers,
            connected,
            session_changed,
            disconnected,
            lists_names,
            invalid,
        } = table;
        if let Some(invalid) = invalid {
            return Err(invalid);
        }
        let layers: Arc<[Arc<dyn Layer>]> = layers.into();
        let mut names = Vec::with_capacity(requests.len() + signals.len());
        let mut index = |kind, routes: Vec<(String, Arc<dyn Endpoint>)>| {
            let mut by_name = HashMap::with_capacity(routes.len());
            for (name, endpoint) in routes {
                if let Err(reason) = Name::try_from(name.as_str()) {
                    return Err(InvalidRouter::Name { kind, name, reason });
                }
                if by_name.insert(name.as_bytes().into(), layered(&layers, endpoint)).is_some() {
                    return Err(InvalidRouter::Duplicate { kind, name });
                }
                names.push((kind, name));
            }
            Ok(by_name)
        };
        let requests = index(CallKind::Request, requests)?;
        let signals = index(CallKind::Signal, signals)?;
        let fallback = fallback.map(|fallback| layered(&layers, fallback));
        names.sort();
        let routes = Self {
            requests,
            signals,
            fallback,
            connected,
            session_changed,
            disconnected,
            names,
            lists_names,
            handler,
        };
        let length = routes.listed_names().map_or(0, |names| names.to_body().len());
        if length > names::MAX_BODY {
            return Err(InvalidRouter::ListTooLong { length });
        }
        Ok(routes)
    }

    /// Returns the names of all handlers, sorted: requests, then signals.
    pub fn names(&self) -> impl Iterator<Item = (CallKind, &str)> {
        self.names.iter().map(|(kind, name)| (*kind, name.as_str()))
    }
}

impl<H: Handler> Handler for Routes<H> {
    async fn request(
        &self,
        connection: &Connection,
        request: Content,
    ) -> Result<Payload, RequestError> {
        match self.requests.get(request.name()).or(self.fallback.as_ref()) {
            Some(route) => route.call(Call::new(CallKind::Request, connection, request)).await,
            None => self.handler.request(connection, request).await,
        }
    }

    async fn signal(&self, connection: &Connection, signal: Content) {
        let Some(route) = self.signals.get(signal.name()) else {
            return self.handler.signal(connection, signal).await;
        };
        let name = ShortName::new(signal.name());
        let handled = route.call(Call::new(CallKind::Signal, connection, signal)).await;
        if let Err(error) = handled {
            tracing::debug!(%name, %error, "the handler of a signal failed");
        }
    }

    async fn connected(&self, connection: &Connection) {
        for hook in &self.connected {
            connection.call_hook("connected", || hook(connection.clone())).await;
        }
        self.handler.connected(connection).await;
    }

    async fn session_changed(&self, connection: &Connection, change: SessionChange) {
        for hook in &self.session_changed {
            connection
                .call_hook("session_changed", || hook(connection.clone(), change.clone()))
                .await;
        }
        self.handler.session_changed(connection, change).await;
    }

    async fn disconnected(&self, connection: &Connection) {
        for hook in &self.disconnected {
            connection.call_hook("disconnected", || hook(connection.clone())).await;
        }
        self.handler.disconnected(connection).await;
    }

    async fn before_upgrade(&self, request: &Parts) -> Result<ConnectionOptions, Box<Response>> {
        self.handler.before_upgrade(request).await
    }

    /// The names of the handlers, and those that the handler below lists.
    fn listed_names(&self) -> Option<Names> {
        if !self.lists_names {
            return self.handler.listed_names();
        }
        let mut listed = self.handler.listed_names().unwrap_or_default();
        for (kind, name) in self.names() {
            let names = match kind {
                CallKind::Request => &mut listed.requests,
                CallKind::Signal => &mut listed.signals,
            };
            names.push(name.to_owned());
        }
        for names in [&mut listed.requests, &mut listed.signals] {
            names.sort();
            names.dedup();
        }
        Some(listed)
    }

    async fn options(&self, request: &Parts, headers: &mut HeaderMap) {
        self.handler.options(request, headers).await;
    }
}

impl<H> fmt::Debug for Routes<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").field("names", &self.names).finish_non_exhaustive()
    }
}
