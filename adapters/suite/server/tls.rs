//! TLS: certificates made here, and clients that have nothing of the server's but rustls.

mod conversations;
mod handshakes;
mod openssl;
mod renewal;

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::adapter::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use crate::adapter::rustls::server::WebPkiClientVerifier;
use crate::adapter::rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore};
use crate::adapter::rustls::{ServerConfig, StreamOwned};
use crate::adapter::server::{Config, Tls};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};

use crate::suite::support::peer::Peer;
use crate::suite::support::{Fixture, SAFETY, configured};

/// A certificate for `localhost`, which is its own authority, and its key.
struct Identity(CertifiedKey<KeyPair>);

impl Identity {
    fn new() -> Self {
        Self(generate_simple_self_signed(["localhost".to_owned()]).unwrap())
    }

    fn certificate(&self) -> CertificateDer<'static> {
        self.0.cert.der().clone()
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.0.signing_key.serialize_der()).into()
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate()).unwrap();
        roots
    }

    /// The settings of a server with it.
    fn server(&self) -> ServerConfig {
        let builder = ServerConfig::builder().with_no_client_auth();
        builder.with_single_cert(vec![self.certificate()], self.key()).unwrap()
    }

    /// The settings of a server with it that asks for the certificate of a client.
    fn server_for(&self, client: &Self) -> ServerConfig {
        let verifier = WebPkiClientVerifier::builder(client.roots().into()).build().unwrap();
        let builder = ServerConfig::builder().with_client_cert_verifier(verifier);
        builder.with_single_cert(vec![self.certificate()], self.key()).unwrap()
    }

    /// A client that trusts it. Its clones know the same tickets.
    fn client(&self) -> Client {
        let builder = ClientConfig::builder().with_root_certificates(self.roots());
        Client(Arc::new(builder.with_no_client_auth()))
    }

    /// The names of files with the certificate and the key.
    fn write(&self, directory: &Path) -> [PathBuf; 2] {
        let files = ["chain.pem", "key.pem"].map(|name| directory.join(name));
        std::fs::write(&files[0], self.0.cert.pem()).unwrap();
        std::fs::write(&files[1], self.0.signing_key.serialize_pem()).unwrap();
        files
    }
}

/// A server with TLS.
fn fixture(tls: impl Into<Tls>) -> Fixture {
    with(tls, |_| {})
}

/// The same with settings that differ from the default ones in this.
fn with(tls: impl Into<Tls>, change: impl FnOnce(&mut Config)) -> Fixture {
    Fixture::built(|builder| builder.config(configured(change)).tls(tls))
}

type Encrypted = StreamOwned<ClientConnection, TcpStream>;

/// A client with TLS.
#[derive(Clone)]
struct Client(Arc<ClientConfig>);

impl Client {
    /// A client with settings that differ in this.
    fn with(&self, change: impl FnOnce(&mut ClientConfig)) -> Self {
        let mut config = ClientConfig::clone(&self.0);
        change(&mut config);
        Self(Arc::new(config))
    }

    /// Does the handshake.
    fn encrypt(&self, mut stream: TcpStream) -> std::io::Result<Encrypted> {
        stream.set_read_timeout(Some(SAFETY))?;
        stream.set_write_timeout(Some(SAFETY))?;
        stream.set_nodelay(true)?;
        let name = "localhost".try_into().unwrap();
        let mut session = ClientConnection::new(self.0.clone(), name).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(session, stream))
    }

    /// A connection on which nothing was said yet, and how it began.
    fn begin(&self, address: SocketAddr) -> (Peer, HandshakeKind) {
        let stream = self.encrypt(TcpStream::connect(address).unwrap()).unwrap();
        let kind = stream.conn.handshake_kind().unwrap();
        (Peer::on(stream), kind)
    }

    fn dial(&self, address: SocketAddr) -> Peer {
        self.begin(address).0
    }

    /// An open WebSocket of a 1.4 client at a server of all versions: it asks first.
    fn connect(&self, address: SocketAddr) -> Peer {
        self.dial(address).preflight("/");
        let mut peer = self.dial(address);
        peer.upgrade("/", "");
        peer
    }

    /// Tries to do the handshake. Returns why it fails, once the server has closed the socket. With TLS
    /// 1.3, a client may learn it only after its own part.
    fn refused(&self, address: SocketAddr) -> String {
        let mut socket = TcpStream::connect(address).unwrap();
        let error = match self.encrypt(socket.try_clone().unwrap()) {
            Ok(mut stream) => stream.read_exact(&mut [0]).unwrap_err(),
            Err(error) => error,
        };
        // It may be reset.
        let _ = socket.read_to_end(&mut Vec::new());
        error.to_string()
    }
}
