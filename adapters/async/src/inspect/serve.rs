//! A small HTTP server for pages of operators.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_channel::oneshot;
use futures_lite::future::or;
use futures_util::future::join_all;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use smol_hyper::rt::FuturesIo;

use super::{Inspector, Token};
use crate::clock::sleep;
use crate::listen::Listen;
use crate::runtime::{Runtime, SocketAddress};
use crate::server::{Bound, bind};
use crate::socket::{Socket, Transport};

/// How long a request may take, from accepting its connection to the last byte of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How many requests there may be at once. The oldest makes room for another.
const MOST: usize = 32;

/// The longest head of a request.
const LONGEST_HEAD: usize = 8 * 1024;

/// How long to wait after an error of accepting.
const REST: Duration = Duration::from_millis(100);

/// Sockets on which an inspection page will be served.
///
/// It speaks HTTP/1.1, without TLS. Each connection has one request, which may take 10 s. There are
/// 32 at once, of which the oldest makes room for another, so readers that are slow or silent hold up
/// nothing. Bodies of requests are not read.
pub struct Page<R: Runtime> {
    runtime: R,
    bound: Vec<Bound>,
}

impl<R: Runtime> Page<R> {
    /// Listens, most often on a loopback address such as `"127.0.0.1:9200"`. Port 0 lets the system choose
    /// one.
    ///
    /// # Errors
    ///
    /// If one of them cannot be listened on. The error names it.
    pub async fn bind(runtime: R, listen: impl Into<Listen>) -> io::Result<Self> {
        let bound = bind(&runtime, listen.into()).await?;
        Ok(Self { runtime, bound })
    }

    /// Returns where it listens.
    pub fn addresses(&self) -> impl Iterator<Item = &SocketAddress> {
        self.bound.iter().map(|bound| &bound.address)
    }

    /// Returns where a browser finds it, for each address of TCP. The token is in the fragment, which
    /// browsers do not send; the page keeps it for the tab, and removes it from the address.
    pub fn urls(&self, token: &Token) -> Vec<String> {
        let addresses = self.addresses().filter_map(SocketAddress::tcp);
        addresses.map(|address| format!("http://{address}/#token={}", token.as_str())).collect()
    }

    /// Serves the page until the server of the inspector has stopped. Requests are answered in tasks of
    /// their own.
    pub async fn serve(self, inspector: Inspector) {
        let server = inspector.shared.server.clone();
        let answer = move |request: Request<Incoming>| {
            let inspector = inspector.clone();
            async move {
                let (head, _) = request.into_parts();
                let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
                inspector.respond(&head, target).await
            }
        };
        or(self.serve_with(answer), server.stopped()).await;
    }

    async fn serve_with<F, A>(self, answer: F)
    where
        F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<Bytes>> + Send + 'static,
    {
        let Self { runtime, bound } = self;
        let readers = Readers::default();
        // Dropped at the end: they remove the files of unix sockets.
        #[cfg(unix)]
        let mut files = Vec::new();
        let mut accepting = Vec::new();
        for bound in bound {
            #[cfg(unix)]
            files.push(bound.file);
            match runtime.listen(bound.socket) {
                Ok(listener) => {
                    accepting.push(accept(&runtime, listener, &readers, answer.clone()));
                }
                Err(error) => {
                    tracing::error!(address = %bound.address, %error, "cannot serve a page there");
                }
            }
        }
        join_all(accepting).await;
    }
}

/// Serves pages of your own as [`Page`] serves the inspection page, with the same bounds: metrics, health.
/// Never returns; dropping it ends it, and requests that are being answered end within 10 s.
pub async fn serve_pages<R, F, A>(page: Page<R>, answer: F)
where
    R: Runtime,
    F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Bytes>> + Send + 'static,
{
    page.serve_with(answer).await;
    // Without a listener, nothing is served.
    pending().await
}

/// The requests that are being answered. Dropping its sender ends one of them.
#[derive(Clone, Default)]
struct Readers(Arc<Mutex<VecDeque<oneshot::Sender<Infallible>>>>);

impl Readers {
    /// Makes room for another one. The result becomes ready when it has to make room itself.
    fn enter(&self) -> oneshot::Receiver<Infallible> {
        let mut readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        readers.retain(|reader| !reader.is_canceled());
        if readers.len() >= MOST {
            readers.pop_front();
        }
        let (here, evicted) = oneshot::channel();
        readers.push_back(here);
        evicted
    }
}

async fn accept<R, F, A>(runtime: &R, listener: R::Listener, readers: &Readers, answer: F)
where
    R: Runtime,
    F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Bytes>> + Send + 'static,
{
    loop {
        match runtime.accept(&listener).await {
            Ok((stream, remote)) => {
                let evicted = readers.enter();
                let served = serve(Transport::native(stream), remote, answer.clone());
                let timeout = sleep(runtime, TIMEOUT);
                runtime.spawn(async move {
                    let evicted = async {
                        let _ = evicted.await;
                    };
                    or(evicted, or(served, timeout)).await;
                });
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept readers of a page");
                sleep(runtime, REST).await;
            }
        }
    }
}

/// Answers one request.
async fn serve<S, F, A>(transport: Transport<S>, remote: Option<SocketAddr>, answer: F)
where
    S: crate::runtime::Stream,
    F: Fn(Request<Incoming>) -> A + Send + Sync + 'static,
    A: Future<Output = Response<Bytes>> + Send + 'static,
{
    let answer = service_fn(|request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await.map(Full::new)) }
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(FuturesIo::new(Socket::new(transport)), answer);
    if let Err(error) = served.await {
        tracing::debug!(?remote, %error, "a reader of a page did not get it");
    }
}

impl<R: Runtime> fmt::Debug for Page<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("bound", &self.bound).finish_non_exhaustive()
    }
}
