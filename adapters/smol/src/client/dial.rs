//! Reaching a server: the preflight and the WebSocket handshake.

use std::io;
use std::time::Duration;

use async_tungstenite::tungstenite;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderMap};
use hyper::{Method, Request, Response, Uri};
use smol::net::TcpStream;
use smol_hyper::rt::FuturesIo;
use tungstenite::client::IntoClientRequest;
use wwr::preflight::{self, Answer};

use super::url::ServerUrl;
use crate::socket::Socket;
use crate::websocket::WebSocket;

/// What reaching a server needs to know.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) url: ServerUrl,
    /// Sent with both requests.
    pub(super) headers: HeaderMap,
    pub(super) max_message_size: usize,
    pub(super) stall_timeout: Duration,
    /// How long the server may take to answer a close frame.
    pub(super) close_timeout: Duration,
}

/// Why a server was not reached.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error(transparent)]
    WebSocket(#[from] tungstenite::Error),
    #[error("the request cannot be written: {0}")]
    Request(#[from] hyper::http::Error),
    #[error("the server ended the connection before it answered")]
    Ended,
}

impl Target {
    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.url.address()).await?;
        // Small messages are the rule; should it fail, they are merely slower.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    /// Asks for the server's metadata (protocol §4.1).
    pub(super) async fn probe(self) -> Result<Answer, Failure> {
        let stream = self.connect().await?;
        let (mut sender, connection) = http1::handshake(FuturesIo::new(stream)).await?;
        let mut request = Request::builder()
            .method(
                Method::from_bytes(preflight::METHOD.as_bytes())
                    .map_err(hyper::http::Error::from)?,
            )
            .uri(self.url.path())
            .header(HOST, self.url.authority())
            .body(Empty::<Bytes>::new())?;
        request.headers_mut().extend(self.headers);
        let exchange = async {
            let response = sender.send_request(request).await?;
            Ok(Answer { status: response.status().as_u16(), body: read_body(response).await? })
        };
        let connection = async {
            connection.await?;
            // The exchange has what it needs by now, or will never get it.
            smol::future::yield_now().await;
            Err(Failure::Ended)
        };
        smol::future::or(exchange, connection).await
    }

    /// Opens the WebSocket (protocol §4.3).
    pub(super) async fn dial(self) -> Result<Box<WebSocket>, Failure> {
        let uri: Uri = self.url.to_string().parse().map_err(hyper::http::Error::from)?;
        let mut request = uri.into_client_request()?;
        request.headers_mut().extend(self.headers.clone());
        let stream = self.connect().await?;
        let config = WebSocket::config(self.max_message_size);
        let socket = Socket::tcp(stream);
        let opened = async_tungstenite::client_async_with_config(request, socket, Some(config));
        let (stream, _response) = opened.await?;
        Ok(Box::new(WebSocket::opened(stream, self.stall_timeout)))
    }
}

/// Reads a body, but not much more than a preflight answer may have.
async fn read_body(mut response: Response<Incoming>) -> Result<Bytes, Failure> {
    let mut body = BytesMut::new();
    while let Some(frame) = response.body_mut().frame().await {
        if let Ok(data) = frame?.into_data() {
            body.extend_from_slice(&data);
        }
        if body.len() > preflight::MAX_BODY {
            break;
        }
    }
    Ok(body.freeze())
}
