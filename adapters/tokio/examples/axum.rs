//! A WebWire server in an axum application, beside a JSON route. `cargo run --example axum`, then
//! `wwr request ws://localhost:7777/chat greet ada`.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request, State};
use axum::routing::{any, get};
use axum::{Json, Router};
use tokio::net::TcpListener;
use wwr_tokio::server::{Connection, Handler, RequestError, Response, Server, Service};
use wwr_tokio::{Content, Payload};

struct Greeter;

impl Handler for Greeter {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        let name = request.text().map_err(|_| RequestError::failed("TEXT", "no text"))?;
        Ok(Payload::utf8(format!("hello {name}")))
    }
}

/// Answers what WebWire clients ask. Extractors work as in any other handler.
async fn chat(
    State(service): State<Service<Greeter>>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    service.answer(request, remote).await
}

async fn connections(State(service): State<Service<Greeter>>) -> Json<usize> {
    Json(service.handle().connection_count())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let service = Server::builder(Greeter).headless()?;
    let listener = TcpListener::bind("127.0.0.1:7777").await?;
    serve(listener, service).await?;
    Ok(())
}

async fn serve(listener: TcpListener, service: Service<Greeter>) -> std::io::Result<()> {
    let app = Router::new()
        .route("/chat", any(chat))
        .route("/connections", get(connections))
        .with_state(service);
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    /// Returns what the JSON route says.
    fn connections(address: SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /connections HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.rsplit("\r\n\r\n").next().unwrap().to_owned()
    }

    #[tokio::test]
    async fn clients_of_every_version_talk_beside_a_json_route() {
        use wwr_smol::client::{Client, Config, Protocol};

        let service = Server::builder(Greeter).headless().unwrap();
        let handle = service.handle();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, service));
        let clients = tokio::task::spawn_blocking(move || {
            smol::block_on(async {
                for protocol in [Protocol::Auto, Protocol::V2_0, Protocol::V1_4] {
                    let mut config = Config::default();
                    config.machine.protocol = protocol;
                    let url = format!("ws://{address}/chat");
                    let builder = Client::builder(&url).unwrap().config(config);
                    let client = builder.connect().await.unwrap();
                    let reply = client.request("greet", "ada").await.unwrap();
                    assert_eq!(reply.text().unwrap(), "hello ada", "{protocol}");
                    assert_ne!(connections(address), "0");
                    client.close().await;
                }
            });
        });
        clients.await.unwrap();
        handle.shut_down(Duration::from_secs(60)).await;
        serving.abort();
    }
}
