//! The page that Prometheus reads.

use core::convert::Infallible;
use core::time::Duration;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use smol::future::or;
use smol::net::{TcpListener, TcpStream};
use smol::{Task, Timer};
use smol_hyper::rt::FuturesIo;
use wwr_smol::server::{Metrics, ServerHandle};

use crate::args::PageOn;
use crate::runtime::Tasks;

/// How long a reader may take for a page.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How many readers there may be. The oldest makes room for another.
const MOST: usize = 32;

/// How often what was recorded is added up, if nobody reads the page.
const UPKEEP: Duration = Duration::from_secs(5);

/// How long to wait after an error of accepting.
const PAUSE: Duration = Duration::from_millis(100);

/// The bounds of the histogram of the store's latency, in seconds.
const LATENCIES: [f64; 9] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 10.0];

/// The format of the page.
const FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// A page that is not served yet.
pub(super) struct Page {
    listener: TcpListener,
    address: SocketAddr,
}

struct Shown {
    recorder: PrometheusHandle,
    metrics: Metrics,
}

impl Page {
    pub(super) async fn listen(on: &PageOn) -> io::Result<Self> {
        let listen = async {
            let listener = TcpListener::bind(on.address()).await?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        };
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("--metrics {}: {error}", on.address()))
        };
        listen.await.map_err(named)
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves the page of a server from now on, in tasks.
    pub(super) fn serve(self, server: &ServerHandle, tasks: Tasks) -> io::Result<()> {
        let duration = Matcher::Full("wwr_store_operation_duration_seconds".into());
        let recorder = PrometheusBuilder::new().set_buckets_for_metric(duration, &LATENCIES);
        let recorder = recorder.and_then(PrometheusBuilder::install_recorder).map_err(unusable)?;
        let shown = Arc::new(Shown { recorder, metrics: server.metrics() });
        tasks.clone().spawn(or(self.accept(shown.clone(), tasks), upkeep(shown))).detach();
        Ok(())
    }

    async fn accept(self, shown: Arc<Shown>, tasks: Tasks) {
        let mut readers: VecDeque<Task<()>> = VecDeque::new();
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    readers.retain(|reader| !reader.is_finished());
                    if readers.len() >= MOST {
                        // Dropping its task ends it.
                        readers.pop_front();
                    }
                    let shown = shown.clone();
                    readers.push_back(tasks.spawn(or(read(stream, shown), deadline())));
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot accept readers of metrics");
                    Timer::after(PAUSE).await;
                }
            }
        }
    }
}

fn unusable(error: BuildError) -> io::Error {
    io::Error::other(format!("metrics cannot be recorded: {error}"))
}

async fn deadline() {
    Timer::after(TIMEOUT).await;
}

/// Keeps what is recorded from growing while nobody reads.
async fn upkeep(shown: Arc<Shown>) {
    loop {
        Timer::after(UPKEEP).await;
        shown.recorder.run_upkeep();
    }
}

/// Serves one request.
async fn read(stream: TcpStream, shown: Arc<Shown>) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let shown = shown.clone();
        async move { Ok::<_, Infallible>(shown.answer(&request)) }
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(8 * 1024)
        .serve_connection(FuturesIo::new(stream), answer);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a reader of metrics did not get them");
    }
}

impl Shown {
    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let is_page = request.uri().path() == "/metrics";
        if !is_page {
            return status(StatusCode::NOT_FOUND, "The metrics are at /metrics.\n");
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = status(StatusCode::METHOD_NOT_ALLOWED, "Metrics are read with GET.\n");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        self.metrics.publish();
        let mut answer = Response::new(Full::from(self.recorder.render()));
        answer.headers_mut().insert(CONTENT_TYPE, FORMAT);
        answer
    }
}

fn status(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, plain);
    answer
}
