//! A server as a service of tower, for HTTP servers and layers that are made of such.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use hyper::http::Extensions;
use hyper::{Request, StatusCode};

use super::handler::{Handler, Response};
use super::service::Service;
use super::throttle::Throttle;
use crate::runtime::Runtime;

/// What a request without an address is answered. The client sees it as well as the log.
const NO_ADDRESS: &str = "the address of the client is unknown: the HTTP server has to put it into the \
     extensions of each request (axum: into_make_service_with_connect_info::<SocketAddr>()), where the \
     function given to Service::tower looks for it";

/// A [`Service`] as a [`tower_service::Service`], made by [`Service::tower`]. Clones share the server.
pub struct TowerService<H, R, F> {
    service: Service<H, R>,
    remote: F,
    no_address: Arc<Throttle>,
}

impl<H: Handler, R: Runtime> Service<H, R> {
    /// Returns the service in the form that tower has for services: `Router::route_service` of axum
    /// mounts it at a path, and `TowerToHyperService` of hyper-util in hyper. It always is ready, and
    /// never fails. Layers may stand before it.
    ///
    /// `remote` returns the address that the socket of a request came from, see
    /// [`answer`](Self::answer). It looks where the HTTP server has put it, in axum:
    ///
    /// ```text
    /// service.tower(|request| request.get::<ConnectInfo<SocketAddr>>().map(|info| info.0))
    /// ```
    ///
    /// If it returns `None`, the answer is a 500 whose text says what to do, and so does the log, once a
    /// second.
    pub fn tower<F>(&self, remote: F) -> TowerService<H, R, F>
    where
        F: Fn(&Extensions) -> Option<SocketAddr>,
    {
        TowerService { service: self.clone(), remote, no_address: Arc::default() }
    }
}

impl<H: Handler, R: Runtime, F, B> tower_service::Service<Request<B>> for TowerService<H, R, F>
where
    F: Fn(&Extensions) -> Option<SocketAddr>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Some(remote) = (self.remote)(request.extensions()) else {
            return ready(Ok(self.refuse())).boxed();
        };
        let service = self.service.clone();
        // No body is read.
        let request = request.map(drop);
        async move { Ok(service.answer(request, remote).await) }.boxed()
    }
}

impl<H: Handler, R: Runtime, F> TowerService<H, R, F> {
    fn refuse(&self) -> Response {
        if let Some(times) = self.no_address.count(self.service.hub().clock.now()) {
            tracing::error!(times, "{NO_ADDRESS}");
        }
        let mut answer = Response::new(format!("{NO_ADDRESS}\n").into());
        *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        answer
    }
}

impl<H, R, F: Clone> Clone for TowerService<H, R, F> {
    fn clone(&self) -> Self {
        Self {
            service: self.service.clone(),
            remote: self.remote.clone(),
            no_address: self.no_address.clone(),
        }
    }
}

impl<H, R, F> fmt::Debug for TowerService<H, R, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TowerService").field("service", &self.service).finish_non_exhaustive()
    }
}
