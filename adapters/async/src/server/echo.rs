//! A server that sends back each WebSocket message: the HTTP and the WebSocket of a server of WebWire,
//! without the protocol on top.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use async_tungstenite::tungstenite::protocol::Role;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use smol_hyper::rt::FuturesIo;
use wwr::server::gate::{self, Answer, Decision, Origins, Refusal, Terms};

use super::handler::Response;
use super::http;
use super::service::unwrap;
use crate::runtime::{Runtime, Stream as _};
use crate::socket::{Socket, Transport};
use crate::websocket::WebSocket;

/// How long the peer may accept nothing.
const STALL_LIMIT: Duration = Duration::from_secs(60);

/// Serves all connections of a listener. Returns when it fails.
pub(crate) async fn serve<R: Runtime>(
    runtime: &R,
    listener: &R::Listener,
    max_message_size: usize,
) -> io::Error {
    loop {
        let stream = match runtime.accept(listener).await {
            Ok((stream, _)) => stream,
            Err(error) => return error,
        };
        let of_connection = runtime.clone();
        runtime.spawn(async move {
            if let Err(error) = serve_http(of_connection, stream, max_message_size).await {
                println!("HTTP failed: {error}");
            }
        });
    }
}

async fn serve_http<R: Runtime>(
    runtime: R,
    stream: R::Stream,
    max_message_size: usize,
) -> hyper::Result<()> {
    let _ = stream.set_nodelay(true);
    let runtime = &runtime;
    let answer = service_fn(move |request| async move {
        Ok::<_, Infallible>(answer(runtime, request, max_message_size))
    });
    http1::Builder::new()
        .serve_connection(FuturesIo::new(Socket::new(Transport::native(stream))), answer)
        .with_upgrades()
        .await
}

fn answer<R: Runtime>(
    runtime: &R,
    mut request: Request<Incoming>,
    max_message_size: usize,
) -> Response {
    let upgrade = hyper::upgrade::on(&mut request);
    let parts = request.into_parts().0;
    let target = http::target(&parts.uri);
    let head = http::head(&parts, &target);
    let terms =
        Terms { metadata: None, origins: &Origins::Any, selects_wwr1: false, shutting_down: false };
    let refuse = |refusal: Refusal| http::response(Answer::refusal(refusal, &head, &terms));
    match gate::decide(&head, &terms) {
        Decision::Ask { upgrade: Ok(accept) } => {
            let of_socket = runtime.clone();
            runtime.spawn(async move {
                match upgrade.await {
                    Ok(upgraded) => {
                        let (socket, read) = unwrap::<R>(upgraded);
                        let (role, size) = (Role::Server, max_message_size);
                        WebSocket::new(&of_socket, socket, read, role, size, STALL_LIMIT)
                            .echo()
                            .await;
                    }
                    Err(error) => println!("the handshake was not finished: {error}"),
                }
            });
            http::response(Answer::switching(&accept))
        }
        Decision::Ask { upgrade: Err(refusal) } | Decision::Refuse(refusal) => refuse(refusal),
        Decision::Options { .. } => http::response(Answer::options()),
        Decision::Preflight { .. } => unreachable!("there is no metadata"),
    }
}
