//! The page that Prometheus reads.

use core::time::Duration;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use smol::Timer;
use smol::future::or;
use wwr_smol::Runtime;
use wwr_smol::http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use wwr_smol::http::request::Parts;
use wwr_smol::http::{Method, Response, StatusCode};
use wwr_smol::inspect::{Hosts, Page, serve_pages};
use wwr_smol::server::{Metrics, ServerHandle};

use crate::runtime::Tasks;

/// How often what was recorded is added up, if nobody reads the page.
const UPKEEP: Duration = Duration::from_secs(5);

/// The bounds of the histogram of the store's latency, in seconds.
const LATENCIES: [f64; 9] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 10.0];

/// The format of the page.
const FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

struct Shown {
    recorder: PrometheusHandle,
    metrics: Metrics,
    hosts: Hosts,
}

/// Serves the page of a server from now on, in a task.
pub(super) fn serve(
    page: Page<impl Runtime>,
    server: &ServerHandle,
    tasks: &Tasks,
    hosts: &[String],
) -> io::Result<()> {
    let duration = Matcher::Full("wwr_store_operation_duration_seconds".into());
    let recorder = PrometheusBuilder::new().set_buckets_for_metric(duration, &LATENCIES);
    let recorder = recorder.and_then(PrometheusBuilder::install_recorder).map_err(unusable)?;
    let hosts = hosts.iter().fold(Hosts::new(), |hosts, host| hosts.allow(host));
    let shown = Arc::new(Shown { recorder, metrics: server.metrics(), hosts });
    let answers = shown.clone();
    let served = serve_pages(page, move |request| {
        let shown = answers.clone();
        async move { shown.answer(&request.into_parts().0) }
    });
    tasks.spawn(or(served, upkeep(shown))).detach();
    Ok(())
}

fn unusable(error: BuildError) -> io::Error {
    io::Error::other(format!("metrics cannot be recorded: {error}"))
}

/// Keeps what is recorded from growing while nobody reads.
async fn upkeep(shown: Arc<Shown>) {
    loop {
        Timer::after(UPKEEP).await;
        shown.recorder.run_upkeep();
    }
}

impl Shown {
    fn answer(&self, request: &Parts) -> Response<Bytes> {
        if !self.hosts.allow_request(request) {
            let text = "This host is not allowed here; --metrics-host allows it.\n";
            return status(StatusCode::MISDIRECTED_REQUEST, text);
        }
        if request.uri.path() != "/metrics" {
            return status(StatusCode::NOT_FOUND, "The metrics are at /metrics.\n");
        }
        if !matches!(request.method, Method::GET | Method::HEAD) {
            let mut answer = status(StatusCode::METHOD_NOT_ALLOWED, "Metrics are read with GET.\n");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        self.metrics.publish();
        let mut answer = Response::new(Bytes::from(self.recorder.render()));
        answer.headers_mut().insert(CONTENT_TYPE, FORMAT);
        answer
    }
}

fn status(status: StatusCode, text: &'static str) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from(text));
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, plain);
    answer
}
