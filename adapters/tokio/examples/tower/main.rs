//! A WebWire server behind layers of tower, in hyper. `cargo run -p wwr-tokio --example tower`, then
//! `wwr request --header "authorization: Bearer secret" ws://localhost:7777/ greet ada`.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::AUTHORIZATION;
use hyper::server::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tower::ServiceBuilder;
use tower_http::add_extension::AddExtension;
use tower_http::cors::CorsLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::validate_request::{ValidateRequest, ValidateRequestHeaderLayer};
use wwr_tokio::server::{Connection, Handler, RequestError, Response, Server};
use wwr_tokio::{Content, Payload};

struct Greeter;

impl Handler for Greeter {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        let name = request.text().map_err(|_| RequestError::failed("TEXT", "no text"))?;
        Ok(Payload::utf8(format!("hello {name}")))
    }
}

#[derive(Clone, Copy)]
struct Members;

impl<B> ValidateRequest<B> for Members {
    type ResponseBody = Full<Bytes>;

    fn validate(&mut self, request: &mut Request<B>) -> Result<(), Response> {
        match request.headers().get(AUTHORIZATION) {
            Some(token) if token == "Bearer secret" => Ok(()),
            _ => {
                let mut answer = Response::default();
                *answer.status_mut() = StatusCode::UNAUTHORIZED;
                Err(answer)
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    serve(TcpListener::bind("127.0.0.1:7777").await?).await
}

async fn serve(listener: TcpListener) -> Result<(), Box<dyn Error>> {
    let server = Server::builder(Greeter).headless()?;
    let timeout =
        TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_secs(9));
    let layered = ServiceBuilder::new()
        .layer(CorsLayer::permissive())
        .layer(timeout)
        .layer(ValidateRequestHeaderLayer::custom(Members))
        .service(server.tower(|request| request.get().copied()));
    loop {
        let (stream, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // For example without free file descriptors: later there may be some.
                eprintln!("cannot accept: {error}");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(AddExtension::new(layered.clone(), remote));
        let http = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        tokio::spawn(async move {
            if let Err(error) = http.await {
                eprintln!("{remote}: {error}");
            }
        });
    }
}

#[cfg(test)]
mod tests;
