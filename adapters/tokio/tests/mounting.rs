//! Servers as services of tower, behind layers and in axum.

mod visitors;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, StatusCode};
use axum::response::IntoResponse as _;
use tower::{ServiceBuilder, ServiceExt as _};
use tower_http::timeout::TimeoutLayer;
use visitors::{HANDSHAKE, ask, bearer, greeted, listen};
use wwr_tokio::http::request::Parts;
use wwr_tokio::server::{
    Connection, ConnectionOptions, Handler, RequestError, Response, Server, Service,
};
use wwr_tokio::{Content, Payload};

/// Greets, and thinks for ever about some handshakes.
struct Greeter;

impl Handler for Greeter {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        let name = request.text().map_err(|_| RequestError::failed("TEXT", "no text"))?;
        Ok(Payload::utf8(format!("hello {name}")))
    }

    async fn before_upgrade(&self, request: &Parts) -> Result<ConnectionOptions, Box<Response>> {
        if request.headers.contains_key("x-slow") {
            std::future::pending().await
        }
        let mut options = ConnectionOptions::default();
        if let Some(tenant) = request.extensions.get::<Tenant>() {
            options.insert(tenant.clone());
            options.headers.insert("x-tenant", HeaderValue::from_static(tenant.0));
        }
        Ok(options)
    }
}

/// What a layer in front of the service found out.
#[derive(Clone)]
struct Tenant(&'static str);

/// What layers put into the extensions of a request can go on to the handlers of its connection.
#[tokio::test]
async fn what_layers_find_out_reaches_the_connection() {
    let server = headless();
    let tenant = tower_http::add_extension::AddExtensionLayer::new(Tenant("acme"));
    let service = ServiceBuilder::new().layer(tenant).service(server.tower(connect_info));
    serve(Router::new().route_service("/", service), async |address| {
        let clients = greeted(&format!("ws://{address}/"), &bearer("any")).await;
        let open = server.handle().connections();
        assert_eq!(open.len(), 3);
        let tenants = open.iter().map(|one| one.data::<Tenant>().map(|tenant| tenant.0));
        assert!(tenants.eq([Some("acme"); 3]));
        drop(clients);
        let upgraded = ask(address, &format!("{HANDSHAKE}\r\n")).await;
        assert_eq!((upgraded.status, upgraded.header("x-tenant")), (101, vec!["acme"]));
    })
    .await;
}

fn headless() -> Service<Greeter> {
    Server::builder(Greeter).headless().unwrap()
}

fn connect_info(request: &axum::http::Extensions) -> Option<SocketAddr> {
    request.get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
}

/// Runs an axum application until the clients have done their work.
async fn serve(app: Router, clients: impl AsyncFnOnce(SocketAddr)) {
    let (listener, address) = listen().await;
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::select! {
        served = axum::serve(listener, app) => panic!("it ends: {served:?}"),
        () = clients(address) => {}
    }
}

#[tokio::test]
async fn headers_that_layers_add_pass_also_with_the_handshake() {
    let server = headless();
    let tag = |mut answer: Response| {
        answer.headers_mut().insert("x-request-id", HeaderValue::from_static("7"));
        answer
    };
    let service = ServiceBuilder::new().map_response(tag).service(server.tower(connect_info));
    serve(Router::new().route_service("/", service), async |address| {
        let url = format!("ws://{address}/");
        let clients = greeted(&url, &bearer("any")).await;
        assert_eq!(server.handle().connection_count(), 3);
        let remotes = server.handle().connections();
        assert!(remotes.iter().all(|open| open.info().remote_addr.ip() == address.ip()));
        drop(clients);
        let upgraded = ask(address, &format!("{HANDSHAKE}\r\n")).await;
        assert_eq!((upgraded.status, upgraded.header("x-request-id")), (101, vec!["7"]));
        let asked =
            ask(address, "WEBWIRE / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
        assert_eq!((asked.status, asked.header("x-request-id")), (200, vec!["7"]));
        assert!(asked.body.contains("protocol-version"), "{asked:?}");
    })
    .await;
}

#[tokio::test]
async fn a_timeout_ends_a_handshake_and_not_a_connection() {
    let server = headless();
    let status = StatusCode::GATEWAY_TIMEOUT;
    // So short that it has passed as soon as something waits.
    let timeout = TimeoutLayer::with_status_code(status, Duration::ZERO);
    let service = ServiceBuilder::new().layer(timeout).service(server.tower(connect_info));
    serve(Router::new().route_service("/", service), async |address| {
        drop(greeted(&format!("ws://{address}/"), &bearer("any")).await);
        let slow = format!("{HANDSHAKE}X-Slow: 1\r\n\r\n").replace(": Upgrade", ": Upgrade, close");
        assert_eq!(ask(address, &slow).await.status, 504);
    })
    .await;
}

/// Many more than there are seconds in which they are made.
const REQUESTS: usize = 200;

/// Collects what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn without_an_address_the_answer_and_the_log_say_what_to_do() {
    let (log, server) = (Log::default(), headless());
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let service = server.tower(|_| None);
    let request = || Request::builder().method("WEBWIRE").uri("/").header("host", "h");
    for _ in 0..REQUESTS {
        // A clone for each connection, as HTTP servers make them.
        let answer = service.clone().oneshot(request().body(()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 500);
        let body = axum::body::to_bytes(answer.into_response().into_body(), 1000).await.unwrap();
        let body = String::from_utf8(body.into()).unwrap();
        assert!(body.contains("into_make_service_with_connect_info"), "{body}");
    }
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    // One a second at most. A slow machine may take some seconds.
    let lines = logged.lines().filter(|line| line.contains("ERROR")).count();
    assert!((1..REQUESTS).contains(&lines), "{logged}");
    assert!(logged.contains("Service::tower"), "{logged}");

    let address: SocketAddr = ([127, 0, 0, 1], 1).into();
    let service = server.tower(|request| request.get().copied());
    let request = request().extension(address).body("no matter which");
    assert_eq!(service.oneshot(request.unwrap()).await.unwrap().status(), 200);
}
