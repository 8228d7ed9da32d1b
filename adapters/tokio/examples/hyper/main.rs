//! A WebWire server in an HTTP server that is made with hyper. `cargo run -p wwr-tokio --example hyper`,
//! then `wwr request ws://localhost:7777/ greet ada`.

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::time::sleep;
use wwr_tokio::server::{Connection, Handler, RequestError, Response, Server};
use wwr_tokio::{Content, Payload};

struct Greeter;

impl Handler for Greeter {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        let name = request.text().map_err(|_| RequestError::failed("TEXT", "no text"))?;
        Ok(Payload::utf8(format!("hello {name}")))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    serve(TcpListener::bind("127.0.0.1:7777").await?).await
}

async fn serve(listener: TcpListener) -> Result<(), Box<dyn Error>> {
    let server = Server::builder(Greeter).headless()?;
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
        let server = server.clone();
        let answer = service_fn(move |request: Request<Incoming>| {
            let server = server.clone();
            async move {
                match request.uri().path() {
                    "/health" => Ok(Response::new("fine".into())),
                    _ => Ok::<_, Infallible>(server.answer(request, remote).await),
                }
            }
        });
        let http = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), answer)
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
