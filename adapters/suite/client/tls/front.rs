//! TLS in front of a server made by hand, and the certificates for it.

use std::net::{self, Shutdown, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use futures_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use futures_rustls::rustls::{HandshakeKind, ProtocolVersion, ServerConfig, crypto};
use futures_rustls::{TlsAcceptor, server::TlsStream};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use smol::Async;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::TcpStream;

use crate::suite::client::raw::{RawServer, TIMEOUT};

/// A socket that writes several records at once, as an alert may stand behind others.
type Accepted = Async<net::TcpStream>;

/// Decrypts what comes for a server, and encrypts what it says.
pub(super) struct Front {
    pub(super) raw: RawServer,
    port: u16,
    seen: Receiver<Seen>,
    _task: smol::Task<()>,
}

/// What a front sees of a client.
#[derive(Debug, PartialEq)]
enum Seen {
    Opened(Opened),
    CloseNotify,
}

#[derive(Debug, PartialEq)]
pub(super) struct Opened {
    pub(super) kind: HandshakeKind,
    pub(super) version: Option<ProtocolVersion>,
    pub(super) name: Option<String>,
    pub(super) alpn: Option<Vec<u8>>,
    pub(super) has_certificate: bool,
}

impl Front {
    pub(super) fn new(mut config: ServerConfig) -> Self {
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let raw = RawServer::bind();
        let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).unwrap();
        let port = listener.get_ref().local_addr().unwrap().port();
        let (tell, seen) = channel();
        let behind = raw.address();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let task = smol::spawn(async move {
            // Bounded by the clients of one test.
            let mut relays = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, tell) = (acceptor.clone(), tell.clone());
                relays.push(smol::spawn(async move {
                    match acceptor.accept(stream).into_fallible().await {
                        Ok(stream) => relay(stream, behind, &tell).await,
                        // The client reads the alert before the system may reset the connection.
                        Err((_, mut stream)) => {
                            let _ = stream.get_ref().shutdown(Shutdown::Write);
                            while let Ok(1..) = stream.read(&mut [0; 1024]).await {}
                        }
                    }
                }));
            }
        });
        Self { raw, port, seen, _task: task }
    }

    pub(super) fn url(&self, host: &str) -> String {
        format!("wss://{host}:{}/", self.port)
    }

    /// The next connection with TLS.
    pub(super) fn opened(&self) -> Opened {
        loop {
            if let Seen::Opened(opened) = self.next() {
                return opened;
            }
        }
    }

    /// Waits until a connection ends with a `close_notify` of the client. A preflight's connection does
    /// not: the client drops it.
    pub(super) fn close_notify(&self) {
        while self.next() != Seen::CloseNotify {}
    }

    fn next(&self) -> Seen {
        self.seen.recv_timeout(TIMEOUT).unwrap()
    }
}

/// Passes everything on until one side ends. Ends the other without a `close_notify`.
async fn relay(stream: TlsStream<Accepted>, behind: SocketAddr, tell: &Sender<Seen>) {
    let session = stream.get_ref().1;
    let opened = Opened {
        kind: session.handshake_kind().unwrap(),
        version: session.protocol_version(),
        name: session.server_name().map(str::to_owned),
        alpn: session.alpn_protocol().map(<[u8]>::to_owned),
        has_certificate: session.peer_certificates().is_some(),
    };
    let _ = tell.send(Seen::Opened(opened));
    let server = TcpStream::connect(behind).await.unwrap();
    let (mut from_client, mut to_client) = smol::io::split(stream);
    let (mut from_server, mut to_server) = (server.clone(), server);
    let up = async {
        let mut buffer = [0; 16 * 1024];
        loop {
            match from_client.read(&mut buffer).await {
                Ok(0) => return drop(tell.send(Seen::CloseNotify)),
                Ok(length) if to_server.write_all(&buffer[..length]).await.is_ok() => {}
                _ => return,
            }
        }
    };
    let down = async {
        let mut buffer = [0; 16 * 1024];
        while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
            if to_client.write_all(&buffer[..length]).await.is_err() {
                break;
            }
            let _ = to_client.flush().await;
        }
    };
    smol::future::or(up, down).await;
}

/// An authority that issues certificates.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

/// A certificate that is wanted.
pub(super) struct Certificate {
    pub(super) params: CertificateParams,
}

/// A certificate with its key.
pub(super) struct Issued {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Default for Certificate {
    fn default() -> Self {
        Self::for_names(&["localhost", "127.0.0.1"])
    }
}

impl Certificate {
    pub(super) fn for_names(names: &[&str]) -> Self {
        let names: Vec<_> = names.iter().map(|name| String::from(*name)).collect();
        Self { params: CertificateParams::new(names).unwrap() }
    }
}

impl Authority {
    pub(super) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let name = format!("authority {}", NUMBER.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    pub(super) fn issue(&self, certificate: Certificate) -> Issued {
        let key = KeyPair::generate().unwrap();
        let certificate = certificate.params.signed_by(&key, &self.issuer).unwrap();
        Issued { certificate, key }
    }

    pub(super) fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub(super) fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }
}

impl Issued {
    pub(super) fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub(super) fn key(&self) -> String {
        self.key.serialize_pem()
    }

    pub(super) fn der(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        (vec![self.certificate.der().clone()], key)
    }
}

/// A server that shows this certificate, and wants none of the client.
pub(super) fn server_config(issued: &Issued) -> ServerConfig {
    let provider = Arc::new(crypto::ring::default_provider());
    let (chain, key) = issued.der();
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap()
}
