//! The TLS handshake at the beginning of a socket.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_lite::future::or;
use futures_lite::io::{AsyncReadExt as _, AsyncWriteExt as _};
use futures_rustls::TlsAcceptor;
use futures_rustls::rustls::{CommonState, HandshakeKind, ProtocolVersion, ServerConnection};
use hyper::StatusCode;
use wwr::server::gate::{Answer, Head, HttpVersion, Origins, Refusal, Terms};

use super::HttpSocket;
use crate::runtime::{self, Runtime};
use crate::server::connection::{TlsInfo, TlsVersion};
use crate::server::handler::Handler;
use crate::server::tls::Tls;
use crate::socket::{Socket, Transport};

/// How a TLS connection begins: the content type of a handshake message (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;

/// How much of a request without TLS is read, so that the client sees the answer. Longer ones may see
/// a reset connection in its place.
const MAX_UNENCRYPTED: u64 = 64 * 1024;

/// Why there is no TLS on a socket.
enum NotEncrypted<S> {
    /// HTTP came. Its first byte was read.
    Http(Transport<S>),
    /// Neither TLS nor HTTP came.
    Other,
    /// The sides do not agree. An alert says why.
    Failed(io::Error, Transport<S>),
    /// The connection ended.
    Ended(io::Error),
    /// It took too long.
    TimedOut,
}

/// Returns whether a request of HTTP may begin with this byte: its method has capital letters.
const fn looks_like_http(first: u8) -> bool {
    first.is_ascii_uppercase()
}

impl<H: Handler, R: Runtime> HttpSocket<H, R> {
    /// Does the TLS handshake, if there has to be one.
    pub(super) async fn encrypt(
        &self,
        transport: Transport<R::Stream>,
        peer: SocketAddr,
    ) -> Option<(Socket<R::Stream>, Option<Arc<TlsInfo>>)> {
        let Some(tls) = &self.opening.tls else { return Some((Socket::new(transport), None)) };
        let timeout = async {
            self.header_timeout().await;
            Err(NotEncrypted::TimedOut)
        };
        let refusal = match or(accept(tls, transport), timeout).await {
            Ok((socket, info)) => return Some((socket, Some(info))),
            Err(NotEncrypted::Failed(error, transport)) => {
                self.service.tls_fails(&error, peer);
                self.say_last(&[], transport, peer).await;
                return None;
            }
            Err(NotEncrypted::Ended(error)) => {
                tracing::debug!(remote = %peer, %error, "ended before TLS");
                return None;
            }
            Err(NotEncrypted::Http(transport)) => {
                self.service.refuses(Refusal::NoTls, peer);
                self.say_last(&without_tls(), transport, peer).await;
                return None;
            }
            Err(NotEncrypted::Other) => Refusal::NoTls,
            Err(NotEncrypted::TimedOut) => Refusal::TlsTimeout,
        };
        self.service.refuses(refusal, peer);
        None
    }

    /// Tells a client why there is no TLS, besides what was written already.
    async fn say_last(&self, answer: &[u8], transport: Transport<R::Stream>, peer: SocketAddr) {
        let told = async {
            let mut transport = transport;
            transport.write_all(answer).await?;
            transport.close().await?;
            // Otherwise the system might reset the connection before the client has read the last bytes.
            let mut rest = transport.take(MAX_UNENCRYPTED);
            let mut dropped = [0; 1024];
            while rest.read(&mut dropped).await? > 0 {}
            Ok::<_, io::Error>(())
        };
        let late = async {
            self.header_timeout().await;
            Err(ErrorKind::TimedOut.into())
        };
        if let Err(error) = or(told, late).await {
            tracing::debug!(remote = %peer, %error, "the client did not read the answer");
        }
    }
}

/// Does the TLS handshake on a new socket.
async fn accept<S: runtime::Stream>(
    tls: &Tls,
    mut transport: Transport<S>,
) -> Result<(Socket<S>, Arc<TlsInfo>), NotEncrypted<S>> {
    let mut first = [0];
    transport.read_exact(&mut first).await.map_err(NotEncrypted::Ended)?;
    match first {
        [HANDSHAKE] => {}
        [first] if looks_like_http(first) => return Err(NotEncrypted::Http(transport)),
        _ => return Err(NotEncrypted::Other),
    }
    let begin = |session: &mut ServerConnection| {
        // One byte always fits.
        let _ = session.read_tls(&mut &first[..]);
    };
    let acceptor = TlsAcceptor::from(tls.current());
    let accepted = acceptor.accept_with(transport, begin).into_fallible().await;
    let stream = accepted.map_err(|(error, transport)| match error.kind() {
        ErrorKind::InvalidData | ErrorKind::Other => NotEncrypted::Failed(error, transport),
        _ => NotEncrypted::Ended(error),
    })?;
    let info = Arc::new(info(stream.get_ref().1));
    Ok((Socket::tls(stream), info))
}

fn info(session: &ServerConnection) -> TlsInfo {
    let state: &CommonState = session;
    let chain = state.peer_certificates().unwrap_or_default();
    TlsInfo {
        version: match state.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => TlsVersion::V1_2,
            _ => TlsVersion::V1_3,
        },
        resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
        server_name: session.server_name().map(str::to_owned),
        client_certificates: chain
            .iter()
            .map(|certificate| Bytes::copy_from_slice(certificate))
            .collect(),
    }
}

/// Returns the answer to a request without TLS, of which no more than the first byte was read.
fn without_tls() -> Vec<u8> {
    let head = Head::new("GET", "/", HttpVersion::Http11, []);
    let origins = &Origins::SameHost;
    let terms = Terms { metadata: None, origins, selects_wwr1: false, shutting_down: false };
    let answer = Answer::refusal(Refusal::NoTls, &head, &terms);
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_REQUEST);
    let mut bytes = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", answer.body.len());
    for (name, value) in &answer.headers {
        bytes.push_str(&format!("{name}: {value}\r\n"));
    }
    bytes.push_str("\r\n");
    [bytes.as_bytes(), &answer.body].concat()
}
