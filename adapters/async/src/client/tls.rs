//! TLS of a client: which servers it trusts, and how it proves what it is.

mod error;
#[cfg(test)]
mod tests;
mod unverified;

use std::fmt;
use std::sync::{Arc, OnceLock};

use futures_rustls::TlsConnector;
use futures_rustls::rustls::crypto::{CryptoProvider, ring};
use futures_rustls::rustls::pki_types::pem::PemObject;
use futures_rustls::rustls::pki_types::{self, CertificateDer, PrivateKeyDer, ServerName};
use futures_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use futures_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore};
use url::Host;

pub(super) use error::TlsFailure;

use super::url::ServerUrl;
use crate::runtime::{Runtime, Stream};
use crate::socket::{Socket, Transport};

/// The protocol inside TLS (RFC 7301): both requests of a client are HTTP/1.1.
const ALPN: &[u8] = b"http/1.1";

/// How a client speaks TLS with servers at `wss://` (feature `rustls`). Default:
/// [`system_roots`](Self::system_roots).
///
/// Whatever it is made of, all connections of a client share one configuration. So a server can
/// [resume](https://www.rfc-editor.org/rfc/rfc8446#section-2.2) the TLS session of the connection before,
/// which saves both sides the certificates; tickets are kept in memory, as many as rustls keeps by
/// default. Clones share them too. The client names the server (SNI), speaks TLS 1.2 and 1.3, and offers
/// `http/1.1` (ALPN).
///
/// ```
/// use wwr_async::client::{Config, Tls};
///
/// # fn settings(pem: &[u8], chain: &[u8], key: &[u8]) -> Result<Config, wwr_async::client::InvalidTls> {
/// let mut config = Config::default();
/// config.tls = Tls::roots_pem(pem)?.with_identity_pem(chain, key)?;
/// # Ok(config)
/// # }
/// ```
#[derive(Clone)]
pub struct Tls {
    trust: Trust,
    /// The certificate of the client, for servers that want one.
    identity: Option<Arc<CertifiedKey>>,
    /// What it comes to, once it was needed.
    ready: Arc<OnceLock<Arc<ClientConfig>>>,
}

/// Which servers are trusted.
#[derive(Clone)]
enum Trust {
    System,
    Mozilla,
    Own(Arc<RootCertStore>),
    Unverified,
    /// A configuration of the application decides.
    Given(Arc<ClientConfig>),
}

/// Why something is not usable for TLS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTls {
    /// The text is not PEM. Says why.
    #[error("{what}: this is not PEM: {reason}")]
    Pem {
        /// What the text was to be.
        what: &'static str,
        /// The reason.
        reason: String,
    },
    /// The text has none of what is needed.
    #[error("{what}: the PEM text has no such entry")]
    Missing {
        /// What is missing.
        what: &'static str,
    },
    /// A root certificate is invalid. Says why.
    #[error("root certificate {number}: {reason}")]
    Root {
        /// Its number in the text, from 1.
        number: usize,
        /// The reason.
        reason: String,
    },
    /// The certificate of the client and its key are invalid, or do not belong together. Says why.
    #[error("client certificate: {0}")]
    Identity(String),
}

impl Tls {
    /// Trusts the root certificates of the operating system, or those in the file or the directory that
    /// the environment variables `SSL_CERT_FILE` and `SSL_CERT_DIR` name. They are read when the client
    /// first connects.
    pub fn system_roots() -> Self {
        Self::trusting(Trust::System)
    }

    /// Trusts the roots of Mozilla that were compiled in, whatever the system has.
    pub fn webpki_roots() -> Self {
        Self::trusting(Trust::Mozilla)
    }

    /// Trusts these root certificates and no others: one or more in PEM, such as that of your own
    /// authority, or the certificate of a server that has signed it itself.
    ///
    /// # Errors
    ///
    /// [`InvalidTls`], if there is no certificate, or an invalid one.
    pub fn roots_pem(pem: &[u8]) -> Result<Self, InvalidTls> {
        let mut roots = RootCertStore::empty();
        for (index, certificate) in certificates(pem, "root certificate")?.into_iter().enumerate() {
            roots.add(certificate).map_err(|error| InvalidTls::Root {
                number: index + 1,
                reason: error.to_string(),
            })?;
        }
        Ok(Self::trusting(Trust::Own(Arc::new(roots))))
    }

    /// Trusts every server, whatever certificate it shows, if any key fits it. For tests
    /// only: everybody on the way can read and change what is sent.
    pub fn without_verification() -> Self {
        Self::trusting(Trust::Unverified)
    }

    /// Shows servers that ask for it this certificate, with those of the authorities between it and a
    /// root, and proves that the client has its key; all in PEM.
    ///
    /// # Errors
    ///
    /// [`InvalidTls`], if one of them is missing or invalid, or the key is not that of the certificate.
    pub fn with_identity_pem(self, chain: &[u8], key: &[u8]) -> Result<Self, InvalidTls> {
        let chain = certificates(chain, "client certificate")?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| unreadable(&error, "key of the client certificate"))?;
        let identity = CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|error| InvalidTls::Identity(error.to_string()))?;
        Ok(Self { identity: Some(Arc::new(identity)), ..Self::trusting(self.trust) })
    }

    /// Returns the same trust, with no certificate of the client but one that a configuration of the
    /// application has.
    pub(super) fn without_identity(&self) -> Self {
        match self.identity {
            Some(_) => Self::trusting(self.trust.clone()),
            None => self.clone(),
        }
    }

    fn trusting(trust: Trust) -> Self {
        Self { trust, identity: None, ready: Arc::default() }
    }

    /// Returns the configuration of all connections. The first call may read files.
    async fn config(&self, runtime: &impl Runtime) -> Result<Arc<ClientConfig>, TlsFailure> {
        if let Some(ready) = self.ready.get() {
            return Ok(ready.clone());
        }
        let roots = match &self.trust {
            Trust::System => Some(runtime.unblock(system_roots).await.map_err(TlsFailure::Io)??),
            Trust::Mozilla => {
                Some(Arc::new(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()))
            }
            Trust::Own(roots) => Some(roots.clone()),
            Trust::Unverified | Trust::Given(_) => None,
        };
        let mut config = match (&self.trust, roots) {
            (Trust::Given(config), _) => ClientConfig::clone(config),
            (_, Some(roots)) => builder()?.with_root_certificates(roots).with_no_client_auth(),
            (_, None) => {
                let verifier = unverified::verifier(provider());
                builder()?
                    .dangerous()
                    .with_custom_certificate_verifier(verifier)
                    .with_no_client_auth()
            }
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        if let Some(identity) = &self.identity {
            config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(identity.clone()));
        }
        // Another connection may have been faster; then its configuration has the tickets.
        Ok(self.ready.get_or_init(|| Arc::new(config)).clone())
    }

    /// Speaks TLS over a connection to a server. Its time is limited by the caller.
    pub(super) async fn connect<R: Runtime>(
        &self,
        runtime: &R,
        url: &ServerUrl,
        transport: Transport<R::Stream>,
    ) -> Result<Socket<R::Stream>, TlsFailure>
    where
        R::Stream: Stream,
    {
        let name = server_name(url).ok_or(TlsFailure::Name)?;
        let connector = TlsConnector::from(self.config(runtime).await?);
        let stream = connector.connect(name, transport).await.map_err(TlsFailure::of_handshake)?;
        let session = stream.get_ref().1;
        let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        tracing::debug!(%url, version = ?session.protocol_version(), resumed, "TLS is established");
        Ok(Socket::tls(stream))
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self::system_roots()
    }
}

impl From<Arc<ClientConfig>> for Tls {
    /// Leaves everything to a configuration of the application, but for ALPN, which is set to
    /// `http/1.1`.
    fn from(config: Arc<ClientConfig>) -> Self {
        Self::trusting(Trust::Given(config))
    }
}

impl From<ClientConfig> for Tls {
    /// As for a shared configuration.
    fn from(config: ClientConfig) -> Self {
        Arc::new(config).into()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trust = match self.trust {
            Trust::System => "system roots",
            Trust::Mozilla => "webpki roots",
            Trust::Own(_) => "own roots",
            Trust::Unverified => "no verification",
            Trust::Given(_) => "configuration of the application",
        };
        let mut shown = f.debug_struct("Tls");
        shown.field("trust", &trust).field("identity", &self.identity.is_some());
        shown.finish_non_exhaustive()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn builder() -> Result<
    futures_rustls::rustls::ConfigBuilder<ClientConfig, futures_rustls::rustls::WantsVerifier>,
    TlsFailure,
> {
    let builder = ClientConfig::builder_with_provider(provider());
    builder.with_safe_default_protocol_versions().map_err(TlsFailure::Other)
}

/// Reads the roots of the system. Blocks.
fn system_roots() -> Result<Arc<RootCertStore>, TlsFailure> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "some root certificates of the system cannot be read");
    }
    let mut roots = RootCertStore::empty();
    let (_, ignored) = roots.add_parsable_certificates(found.certs);
    if ignored > 0 {
        tracing::debug!(ignored, "some root certificates of the system cannot be parsed");
    }
    if roots.is_empty() {
        return Err(TlsFailure::NoRoots);
    }
    Ok(Arc::new(roots))
}

/// Returns the name of the server, as its certificate has to have it.
fn server_name(url: &ServerUrl) -> Option<ServerName<'static>> {
    match url.host()? {
        Host::Ipv4(address) => Some(ServerName::IpAddress(address.into())),
        Host::Ipv6(address) => Some(ServerName::IpAddress(address.into())),
        Host::Domain(name) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            ServerName::try_from(name.to_owned()).ok()
        }
    }
}

fn certificates(
    pem: &[u8],
    what: &'static str,
) -> Result<Vec<CertificateDer<'static>>, InvalidTls> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| unreadable(&error, what))?;
    if found.is_empty() { Err(InvalidTls::Missing { what }) } else { Ok(found) }
}

fn unreadable(error: &pki_types::pem::Error, what: &'static str) -> InvalidTls {
    match error {
        pki_types::pem::Error::NoItemsFound => InvalidTls::Missing { what },
        error => InvalidTls::Pem { what, reason: error.to_string() },
    }
}
