//! One HTTP request on a connection of its own, and its answer. Used for the preflight and for the
//! WebSocket handshake.

use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_lite::future::or;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::http::response::Parts;
use hyper::{Request, StatusCode};
use smol_hyper::rt::FuturesIo;
use wwr::handshake::InvalidAnswer;
use wwr::preflight;

use super::dialer::LoginRefused;
use super::refusal::Refusal;
use super::text::shown;
#[cfg(feature = "rustls")]
use super::tls::TlsFailure;
use crate::clock::sleep;
use crate::runtime::Runtime;
use crate::socket::Socket;

/// The longest head of an answer, and the most that is read ahead, in bytes.
const MAX_HEAD: usize = 32 * 1024;

/// The most that is read of the text of a refusal, in bytes.
const MAX_TEXT: usize = 4 * 1024;

/// How long the client waits for the text of a refusal. It knows the status by then.
const TEXT_TIMEOUT: Duration = Duration::from_millis(500);

/// How many bytes errors show of an answer that is not HTTP.
const MAX_SHOWN: usize = 24;

/// Why a server was not reached.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The server answered the handshake with a status other than 101.
    #[error("{refusal}")]
    Refused { status: u16, refusal: Refusal, retry_after: Option<Duration> },
    #[error(transparent)]
    Handshake(#[from] InvalidAnswer),
    #[cfg(feature = "rustls")]
    #[error(transparent)]
    Tls(#[from] TlsFailure),
    #[error("the server speaks TLS on this port: use wss://, or a port where it does not")]
    SpeaksTls,
    /// The answer does not begin like HTTP/1. Shows its first bytes.
    #[error("the server's answer is not HTTP/1.1; it begins with \"{0}\"")]
    NotHttp(String),
    #[error("the head of the server's answer has more than {MAX_HEAD} bytes or 100 headers")]
    HeadTooLarge,
    #[error("the server's answer cannot be read: {0}")]
    Http(hyper::Error),
    #[error("the request cannot be written: {0}")]
    Request(#[from] hyper::http::Error),
    #[error("the system has no random bytes for the handshake: {0}")]
    Randomness(io::Error),
    #[error("the server ended the connection before it answered")]
    Ended,
}

impl Failure {
    /// Returns whether a proxy on the way has refused the login.
    pub(super) fn is_of_proxy(&self) -> bool {
        matches!(self, Self::Io(error) if LoginRefused::is(error))
    }
}

/// An answer.
pub(super) struct Answered<S> {
    pub(super) head: Parts,
    /// The whole body if it was wanted and is not too long; otherwise its beginning.
    pub(super) body: Vec<u8>,
    /// The connection after the answer, with the bytes that were already read.
    pub(super) socket: Socket<S>,
    pub(super) beyond: Bytes,
}

/// How much of the body of an answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// As much as the answer to a preflight may have. A body that breaks off is an error.
    Metadata,
    /// As much as people read, if it comes soon.
    Text,
}

/// Sends a request and waits for the answer. Skips interim answers (status 100 and 102 to 199).
/// What the server sends is bounded in memory, not in time.
pub(super) async fn ask<R: Runtime>(
    runtime: &R,
    socket: Socket<R::Stream>,
    request: Request<Empty<Bytes>>,
    wanted: impl Fn(StatusCode) -> Wanted,
) -> Result<Answered<R::Stream>, Failure> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD).title_case_headers(true);
    let handshake = builder.handshake(FuturesIo::new(socket)).await;
    let (mut sender, mut connection) = handshake.map_err(Failure::Http)?;
    let exchange = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = match wanted(head.status) {
            Wanted::Metadata => read_metadata(body).await?,
            Wanted::Text => read_text(runtime, body).await,
        };
        Ok((head, body))
    };
    let mut exchange = pin!(exchange);
    let mut has_ended = None;
    let answer = poll_fn(|cx| {
        if has_ended.is_none()
            && let Poll::Ready(end) = connection.poll_without_shutdown(cx)
        {
            has_ended = Some(end);
        }
        match exchange.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            // The exchange has everything it needs by now, or will never get it.
            Poll::Pending if has_ended.is_some() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    });
    let answer = match answer.await {
        Some(Ok(answer)) => Ok(answer),
        // The exchange may know no more than that the connection has ended; the connection knows why.
        failed => match (has_ended.take(), failed) {
            (Some(Err(error)), _) | (_, Some(Err(error))) => Err(error),
            _ => return Err(Failure::Ended),
        },
    };
    match answer {
        Ok((head, body)) => {
            if head.status == StatusCode::SWITCHING_PROTOCOLS && has_ended.is_none() {
                // Only then does it release the socket.
                let switched = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
                switched.map_err(|error| explain(error, &[]))?;
            }
            let parts = connection.into_parts();
            let (socket, beyond) = (parts.io.into_inner(), parts.read_buf);
            Ok(Answered { head, body, socket, beyond })
        }
        Err(error) => Err(explain(error, &connection.into_parts().read_buf)),
    }
}

/// Reads a body, but not much more than a preflight answer may have.
async fn read_metadata(mut body: Incoming) -> Result<Vec<u8>, hyper::Error> {
    let mut read = Vec::new();
    while read.len() <= preflight::MAX_BODY
        && let Some(frame) = body.frame().await
    {
        take(&mut read, frame?, preflight::MAX_BODY + 1);
    }
    Ok(read)
}

/// Reads the beginning of a body, or as much as comes soon.
async fn read_text(runtime: &impl Runtime, mut body: Incoming) -> Vec<u8> {
    let mut read = Vec::new();
    let reading = async {
        while read.len() < MAX_TEXT
            && let Some(Ok(frame)) = body.frame().await
        {
            take(&mut read, frame, MAX_TEXT);
        }
    };
    or(reading, sleep(runtime, TEXT_TIMEOUT)).await;
    read
}

/// Appends the data of a frame to a body, up to a length.
fn take(read: &mut Vec<u8>, frame: hyper::body::Frame<Bytes>, most: usize) {
    if let Ok(data) = frame.into_data() {
        let room = most.saturating_sub(read.len());
        read.extend_from_slice(data.get(..room).unwrap_or(&data));
    }
}

/// Explains an error to people. `read` is what came instead of an answer.
fn explain(error: hyper::Error, read: &[u8]) -> Failure {
    #[cfg(feature = "rustls")]
    if let Some(failure) = causes(&error).find_map(TlsFailure::of) {
        return Failure::Tls(failure);
    }
    if error.is_parse_too_large() {
        return Failure::HeadTooLarge;
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return Failure::Ended;
    }
    if error.is_parse() {
        return match read {
            // A record of TLS: an alert, or a handshake. It may come in pieces.
            [0x15 | 0x16] | [0x15 | 0x16, 0x03, ..] => Failure::SpeaksTls,
            [] => Failure::Http(error),
            _ if read.starts_with(b"HTTP/1.") => Failure::Http(error),
            _ => Failure::NotHttp(shown(&String::from_utf8_lossy(read), MAX_SHOWN)),
        };
    }
    let source = causes(&error).next();
    match source {
        Some(source) => Failure::Io(io::Error::new(source.kind(), source.to_string())),
        None => Failure::Http(error),
    }
}

/// Returns the errors of the socket that an error has as its causes.
fn causes(error: &hyper::Error) -> impl Iterator<Item = &io::Error> {
    std::iter::successors(error.source(), |cause| (*cause).source())
        .filter_map(|cause| cause.downcast_ref())
}
