//! A WebWire server in an axum application, beside a JSON route. `cargo run -p wwr-tokio --example axum`,
//! then `wwr request --header "authorization: Bearer secret" ws://localhost:7777/chat greet ada`.

use std::error::Error;
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, StatusCode, header::AUTHORIZATION};
use axum::middleware::{Next, from_fn};
use axum::{Json, Router, response::Response, routing::get};
use tokio::net::TcpListener;
use wwr_tokio::server::{Connection, Handler, RequestError, Server};
use wwr_tokio::{Content, Payload};

struct Greeter;

impl Handler for Greeter {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        let name = request.text().map_err(|_| RequestError::failed("TEXT", "no text"))?;
        Ok(Payload::utf8(format!("hello {name}")))
    }
}

/// Comes before the upgrade, with extractors as in any handler.
async fn members(headers: HeaderMap, request: Request, next: Next) -> Result<Response, StatusCode> {
    match headers.get(AUTHORIZATION) {
        Some(token) if token == "Bearer secret" => Ok(next.run(request).await),
        _ => Err(StatusCode::UNAUTHORIZED),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    serve(TcpListener::bind("127.0.0.1:7777").await?).await
}

async fn serve(listener: TcpListener) -> Result<(), Box<dyn Error>> {
    let server = Server::builder(Greeter).headless()?;
    let chat = server.tower(|request| request.get::<ConnectInfo<SocketAddr>>().map(|info| info.0));
    let app = Router::new()
        .route_service("/chat", chat)
        .route_layer(from_fn(members))
        .route("/connections", get(async move || Json(server.handle().connection_count())));
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
