//! Reaching a server: the preflight and the WebSocket handshake.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_tungstenite::tungstenite;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderMap};
use hyper::{Method, Request, Response, Uri};
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::TcpStream;
use smol_hyper::rt::FuturesIo;
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::{Role, WebSocketConfig};
use wwr::preflight::{self, Answer};

use super::url::ServerUrl;
use crate::keep_alive::KeepAlive;
use crate::socket::Socket;
use crate::websocket::WebSocket;

/// The most that is shown of what a server says when it refuses the handshake, in characters.
const MAX_SAID: usize = 120;

/// What reaching a server needs to know.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) url: ServerUrl,
    /// Sent with both requests.
    pub(super) headers: HeaderMap,
    pub(super) max_message_size: usize,
    pub(super) stall_timeout: Duration,
    /// How the system looks after the connections.
    pub(super) keep_alive: KeepAlive,
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
    /// The handshake was answered with another status than 101.
    #[error("the server answers with status {status}{}", Said(.said))]
    Refused {
        status: u16,
        /// What it has to say, for people to read.
        said: String,
    },
    #[error("the request cannot be written: {0}")]
    Request(#[from] hyper::http::Error),
    #[error("the server ended the connection before it answered")]
    Ended,
}

/// What came of a preflight.
#[derive(Debug)]
pub(super) struct Probed {
    pub(super) answer: Result<Answer, Failure>,
    /// Whether the server says that each connection begins with accept-conf.
    pub(super) announces: bool,
    /// Where the server is, if it was reached.
    pub(super) address: Option<SocketAddr>,
}

impl Target {
    /// Connects to an address that is known, or else to the first of the host's that answers.
    async fn connect(&self, known: Option<SocketAddr>) -> io::Result<TcpStream> {
        let stream = match known {
            Some(address) => TcpStream::connect(address).await?,
            None => TcpStream::connect(self.url.address()).await?,
        };
        // Small messages are the rule; should it fail, they are merely slower.
        let _ = stream.set_nodelay(true);
        if let Err(error) = self.keep_alive.look_after(&stream) {
            tracing::debug!(url = %self.url, %error, "the system does not look after the connection");
        }
        Ok(stream)
    }

    /// Asks for the server's metadata (protocol §4.1).
    pub(super) async fn probe(self) -> Probed {
        match self.connect(None).await {
            Ok(stream) => {
                let address = stream.peer_addr().ok();
                match self.ask(stream).await {
                    Ok((answer, announces)) => Probed { answer: Ok(answer), announces, address },
                    Err(error) => Probed { answer: Err(error), announces: false, address },
                }
            }
            Err(error) => Probed { answer: Err(error.into()), announces: false, address: None },
        }
    }

    async fn ask(self, stream: TcpStream) -> Result<(Answer, bool), Failure> {
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
            let announces = response.headers().contains_key(preflight::ACCEPT_CONF);
            let status = response.status().as_u16();
            Ok((Answer { status, body: read_body(response).await? }, announces))
        };
        let connection = async {
            connection.await?;
            // The exchange has what it needs by now, or will never get it.
            smol::future::yield_now().await;
            Err(Failure::Ended)
        };
        smol::future::or(exchange, connection).await
    }

    /// Opens the WebSocket (protocol §4.3), at the address that the preflight reached if there was
    /// one: a server may know a client by its own address, which depends on that.
    pub(super) async fn dial(self, known: Option<SocketAddr>) -> Result<Box<WebSocket>, Failure> {
        let uri: Uri = self.url.to_string().parse().map_err(hyper::http::Error::from)?;
        let mut request = uri.into_client_request()?;
        request.headers_mut().extend(self.headers.clone());
        let mut socket = Socket::tcp(self.connect(known).await?);
        let recorded = Recorded { socket: &mut socket, read: Vec::new() };
        let config = Some(WebSocketConfig::default().read_buffer_size(0));
        let opened = async_tungstenite::client_async_with_config(request, recorded, config);
        let (stream, _response) = opened.await.map_err(refusal)?;
        let beyond = beyond_head(&stream.into_inner().read).to_vec();
        let (size, stall) = (self.max_message_size, self.stall_timeout);
        Ok(Box::new(WebSocket::new(socket, beyond, Role::Client, size, stall)))
    }
}

/// A socket during the handshake, with all that was read from it.
struct Recorded<'a> {
    socket: &'a mut Socket,
    read: Vec<u8>,
}

impl AsyncRead for Recorded<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut *self.socket).poll_read(cx, buffer))?;
        self.read.extend_from_slice(buffer.get(..read).unwrap_or_default());
        Poll::Ready(Ok(read))
    }
}

impl AsyncWrite for Recorded<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.socket).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.socket).poll_close(cx)
    }
}

/// What follows the head of a response: the first messages may come with it. The head ends with an
/// empty line; the parser allows some before it, and line feeds alone.
fn beyond_head(read: &[u8]) -> &[u8] {
    let (mut rest, mut begun) = (read, false);
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, after) = rest.split_at(end + 1);
        rest = after;
        match line {
            b"\n" | b"\r\n" if begun => return rest,
            b"\n" | b"\r\n" => {}
            _ => begun = true,
        }
    }
    &[]
}

/// Tells a server that answers, but not with 101, from other failures.
fn refusal(error: tungstenite::Error) -> Failure {
    match error {
        tungstenite::Error::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            Failure::Refused { status: response.status().as_u16(), said: first_line(body) }
        }
        other => Failure::WebSocket(other),
    }
}

/// The first line of a text of the server's, not too long, and fit for a log.
fn first_line(body: &[u8]) -> String {
    let line = body.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let line = String::from_utf8_lossy(line.get(..4 * MAX_SAID).unwrap_or(line));
    let mut said = String::new();
    for character in line.trim().chars().take(MAX_SAID) {
        match character {
            '"' | '\'' | '\\' => said.push(character),
            _ => said.extend(character.escape_debug()),
        }
    }
    said
}

/// What somebody said, if anything, behind a colon.
struct Said<'a>(&'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_head_is_found_however_its_lines_end() {
        for (read, beyond) in [
            (&b"HTTP/1.1 101 Fine\r\nA: b\r\n\r\n\x82\0\n\n"[..], &b"\x82\0\n\n"[..]),
            (b"\r\n\nHTTP/1.1 101\nA: b\n\r\n\r\n", b"\r\n"),
            (b"HTTP/1.1 101\n\n", b""),
            (b"HTTP/1.1 101\r\nA", b""),
        ] {
            assert_eq!(beyond_head(read), beyond);
        }
    }

    #[test]
    fn what_a_server_says_is_one_line_of_bounded_length() {
        for (body, line) in [
            (&b""[..], ""),
            (b"\r\nsecond", ""),
            (b" no entry \nsecond", "no entry"),
            (b"\x1b[2J\xff", "\\u{1b}[2J\u{fffd}"),
            (b"{\"error\":\"it's \\\\\"}", "{\"error\":\"it's \\\\\"}"),
        ] {
            assert_eq!(first_line(body), line);
        }
        assert_eq!(first_line("ä".repeat(100_000).as_bytes()), "ä".repeat(MAX_SAID));
        let refused = |said: &str| Failure::Refused { status: 403, said: said.into() }.to_string();
        assert_eq!(refused(""), "the server answers with status 403");
        assert_eq!(refused("no"), "the server answers with status 403: no");
    }
}
