//! What only tokio has: runtimes that end, and code outside of them.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use wwr_tokio::client::{Client, Event, Status, blocking};
use wwr_tokio::server::{Connection, Handler, RequestError, Server};
use wwr_tokio::{Content, Payload};

/// Ends a test that hangs.
const SAFETY: Duration = Duration::from_secs(60);

struct Echo;

impl Handler for Echo {
    async fn request(&self, from: &Connection, request: Content) -> Result<Payload, RequestError> {
        if request.name() == b"back" {
            from.signal("back", request.payload().to_vec()).map_err(|_| RequestError::Internal)?;
        }
        Ok(request.into_payload())
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

async fn within_safety<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(SAFETY, work).await.expect("it hangs")
}

#[test]
fn a_client_that_connects_in_vain_is_told_and_a_runtime_that_ends_ends_its_client() {
    let runtime = runtime();
    let client = runtime.block_on(within_safety(async {
        // Nothing listens there any more.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = format!("ws://{free}/");
        assert!(Client::connect_to(&url).await.is_err());
        Client::builder(&url).unwrap().start().unwrap()
    }));
    drop(runtime);
    assert_eq!(client.status(), Status::Closed);
    assert!(smol::block_on(client.request("echo", "")).is_err());
}

/// Needs nothing of the runtime that calls it.
fn converse_blocking(url: &str) {
    let client = blocking::Client::connect_to(url).unwrap();
    let mut events = client.events();
    assert_eq!(client.request("echo", "hello").unwrap().text().unwrap(), "hello");
    client.request("back", "news").unwrap();
    let told = events.recv_timeout(SAFETY).unwrap();
    assert!(matches!(told, Event::Signal(_)), "{told:?}");
    drop(client);
    assert_eq!(events.count(), 1, "the end");
}

#[test]
fn a_blocking_client_has_a_runtime_of_its_own() {
    let served = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = Server::builder(Echo).executor(served.handle().clone()).listen("127.0.0.1:0");
    let server = served.block_on(server).unwrap();
    // By its name, which the system looks up.
    let url = format!("ws://localhost:{}/", server.local_addr().port());
    let handle = server.handle();
    let running = served.spawn(server.run());
    converse_blocking(&url);
    let runtime = runtime();
    runtime.block_on(async { converse_blocking(&url) });
    runtime.block_on(runtime.spawn(async move { converse_blocking(&url) })).unwrap();
    served.block_on(async {
        handle.shut_down(SAFETY).await;
        running.await.unwrap();
    });
}

#[test]
fn a_server_is_built_outside_of_a_runtime_with_its_handle() {
    let runtime = runtime();
    let handle = runtime.handle().clone();
    let server = Server::builder_on(handle.into(), Echo);
    let addresses: [SocketAddr; 1] = [([127, 0, 0, 1], 0).into()];
    let server = smol::block_on(server.listen(&addresses)).unwrap();
    let (address, stop) = (server.local_addr(), server.handle());
    let running = runtime.spawn(server.run());
    runtime.block_on(within_safety(async {
        let client = Client::connect_to(&format!("ws://{address}/")).await.unwrap();
        assert_eq!(client.request("echo", "x").await, Ok("x".into()));
        client.close().await;
        stop.shut_down(SAFETY).await;
        running.await.unwrap();
    }));
}
