//! Server and client on both kinds of tokio's runtime, against those of smol.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use wwr_tokio::server::{Connection, Handler, RequestError};
use wwr_tokio::{Content, FileStore, Payload, SessionInfo};

/// Ends a test that hangs.
const SAFETY: Duration = Duration::from_secs(60);

/// Echoes, also to all others, and creates sessions.
struct App;

impl Handler for App {
    async fn request(&self, from: &Connection, request: Content) -> Result<Payload, RequestError> {
        match request.name() {
            b"login" => {
                let session = from.create_session(SessionInfo::new().public("user", "ada")).await?;
                Ok(Payload::utf8(session.key.as_str().to_owned()))
            }
            b"tell" => {
                let signal = wwr_tokio::PreparedSignal::new("told", request.into_payload());
                let signal = signal.map_err(|_| RequestError::Internal)?;
                Ok(Payload::utf8(from.server().signal_all(&signal).sent.to_string()))
            }
            b"panic" => panic!("on purpose"),
            _ => Ok(request.into_payload()),
        }
    }
}

fn runtimes() -> [Runtime; 2] {
    let mut one = Builder::new_current_thread();
    let mut several = Builder::new_multi_thread();
    [one.enable_all().build().unwrap(), several.worker_threads(2).enable_all().build().unwrap()]
}

/// A conversation of a client of either crate.
macro_rules! converse {
    ($client:ident, $address:expr) => {{
        let url = format!("ws://{}/", $address);
        let client = $client::client::Client::connect_to(&url).await.unwrap();
        let mut events = client.events();
        for length in [0, 1, 100, 8_000, 200_000] {
            let sent = "x".repeat(length);
            let reply = client.request("echo", sent.as_str()).await.unwrap();
            assert_eq!(reply.text().unwrap(), sent);
        }
        assert!(client.request("panic", "").await.is_err());
        assert_eq!(client.request("tell", "news").await.unwrap().text().unwrap(), "1");
        let told = loop {
            if let Some($client::client::Event::Signal(told)) = events.next().await {
                break told;
            }
        };
        assert_eq!(told.text().unwrap(), "news");
        client.request("login", "").await.unwrap();
        let key = client.session().unwrap().key;
        client.close().await;
        let again = $client::client::Client::connect_to(&url).await.unwrap();
        again.restore_session(key).await.unwrap();
        again.close_session().await.unwrap();
        again.close().await;
    }};
}

async fn within_safety<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(SAFETY, work).await.expect("it hangs")
}

#[test]
fn a_server_on_tokio_serves_clients_on_smol_and_on_tokio() {
    for runtime in runtimes() {
        let directory = tempfile::tempdir().unwrap();
        runtime.block_on(within_safety(async {
            let store = FileStore::open(directory.path()).await.unwrap();
            let server = wwr_tokio::server::Server::builder(App).store(store);
            let server = server.listen("localhost:0").await.unwrap();
            let (address, handle) = (server.local_addr(), server.handle());
            let running = tokio::spawn(server.run());
            let on_smol = move || smol::block_on(async { converse!(wwr_smol, address) });
            tokio::task::spawn_blocking(on_smol).await.unwrap();
            converse!(wwr_tokio, address);
            handle.shut_down(SAFETY).await;
            running.await.unwrap();
        }));
    }
}

#[test]
fn a_client_on_tokio_talks_to_a_server_on_smol() {
    let server = wwr_smol::server::Server::builder(App).listen("127.0.0.1:0");
    let server = smol::block_on(server).unwrap();
    let (address, handle) = (server.local_addr(), server.handle());
    let running = smol::spawn(server.run());
    for runtime in runtimes() {
        runtime.block_on(within_safety(async { converse!(wwr_tokio, address) }));
    }
    smol::block_on(async {
        handle.shut_down(SAFETY).await;
        running.await;
    });
}

#[test]
fn a_client_that_connects_in_vain_is_told_and_a_runtime_that_ends_ends_its_client() {
    let [runtime, _] = runtimes();
    let client = runtime.block_on(within_safety(async {
        // Nothing listens there any more.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = format!("ws://{free}/");
        assert!(wwr_tokio::client::Client::connect_to(&url).await.is_err());
        wwr_tokio::client::Client::builder(&url).unwrap().start().unwrap()
    }));
    drop(runtime);
    assert_eq!(client.status(), wwr_tokio::client::Status::Closed);
    assert!(smol::block_on(client.request("echo", "")).is_err());
}

/// Needs nothing of the runtime that calls it.
fn converse_blocking(url: &str) {
    let client = wwr_tokio::client::blocking::Client::connect_to(url).unwrap();
    let mut events = client.events();
    assert_eq!(client.request("echo", "hello").unwrap().text().unwrap(), "hello");
    client.request("tell", "news").unwrap();
    let told = events.recv_timeout(SAFETY).unwrap();
    assert!(matches!(told, wwr_tokio::client::Event::Signal(_)), "{told:?}");
    drop(client);
    assert_eq!(events.count(), 1, "the end");
}

#[test]
fn a_blocking_client_has_a_runtime_of_its_own() {
    let server = wwr_smol::server::Server::builder(App).listen("127.0.0.1:0");
    let server = smol::block_on(server).unwrap();
    // By its name, which the system looks up.
    let url = format!("ws://localhost:{}/", server.local_addr().port());
    let handle = server.handle();
    let running = smol::spawn(server.run());
    converse_blocking(&url);
    for runtime in runtimes() {
        runtime.block_on(async { converse_blocking(&url) });
        let url = url.clone();
        runtime.block_on(runtime.spawn(async move { converse_blocking(&url) })).unwrap();
    }
    smol::block_on(async {
        handle.shut_down(SAFETY).await;
        running.await;
    });
}

#[test]
fn a_server_is_built_outside_of_a_runtime_with_its_handle() {
    let [runtime, _] = runtimes();
    let handle = runtime.handle().clone();
    let server = wwr_tokio::server::Server::builder_on(handle.into(), App);
    let addresses: [SocketAddr; 1] = [([127, 0, 0, 1], 0).into()];
    let server = smol::block_on(server.listen(&addresses)).unwrap();
    let (address, stop) = (server.local_addr(), server.handle());
    let running = runtime.spawn(server.run());
    runtime.block_on(within_safety(async {
        converse!(wwr_tokio, address);
        stop.shut_down(SAFETY).await;
        running.await.unwrap();
    }));
}
