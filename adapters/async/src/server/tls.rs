//! Certificates of a server, which can be replaced while it runs.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::pki_types::pem::{self, PemObject as _};
use futures_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use futures_rustls::rustls::{self, ServerConfig};

/// The only protocol that is spoken over TLS (RFC 7301).
const ALPN: &[u8] = b"http/1.1";

/// Certificate, key and settings of TLS. They can be replaced while servers run, by
/// [`reload`](Self::reload) or [`set`](Self::set): new connections get the new ones, open connections
/// stay as they are. Clones are the same certificates.
///
/// Made of PEM files, or of a [`ServerConfig`], for example one that asks for client certificates.
/// Either way the only protocol of ALPN is `http/1.1`, because WebSockets begin with it.
///
/// **Session resumption** is on, by tickets: a client that comes back proves with its ticket that it
/// was here, which saves the signature and the certificates. A ticket is kept by the client, so any
/// number of clients costs this server nothing. Tickets are encrypted with a random key of this process,
/// which is replaced every 6 hours; a ticket is valid for 12 hours at most. New certificates have a new
/// key, so that each client sees them, and client certificates are checked again. A [`ServerConfig`]
/// with a ticketer of its own keeps that, and one whose `session_storage` caches nothing has no
/// resumption.
///
/// ```no_run
/// use wwr_async::Runtime;
/// use wwr_async::server::{Builder, Handler, Tls};
///
/// async fn serve<H: Handler, R: Runtime>(builder: Builder<H, R>) -> std::io::Result<()> {
///     let tls = Tls::from_pem_files("/etc/wwr/chain.pem", "/etc/wwr/key.pem")?;
///     let server = builder.tls(tls.clone()).listen("0.0.0.0:443").await?;
///     // Whenever there may be new certificates, from any thread: tls.reload()
///     server.run().await;
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Tls {
    shared: Arc<Shared>,
}

struct Shared {
    current: RwLock<Current>,
    /// Held by what replaces `current`, from beginning to end.
    changing: Mutex<()>,
    files: Option<Files>,
}

struct Current {
    config: Arc<ServerConfig>,
    /// The certificates, if they came from files.
    chain: Vec<CertificateDer<'static>>,
}

#[derive(Clone, Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// Why certificates cannot be used. As an [`io::Error`], it has the kind of the error of the file, or is
/// [`InvalidInput`](ErrorKind::InvalidInput).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// A file is not PEM, or what was looked for is not in it.
    #[error("no {what} in {}: {error}", path.display())]
    Pem {
        /// What was looked for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: pem::Error,
    },
    /// Certificate and key cannot be used, for example because they do not belong together.
    #[error("cannot use {} with {}: {error}", certificate.display(), key.display())]
    Rejected {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What is wrong with them.
        error: rustls::Error,
    },
    /// [`Tls::reload`] of certificates that did not come from files.
    #[error("the certificates did not come from files; replace them with Tls::set")]
    NoFiles,
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        let kind = match &error {
            TlsError::Read { error, .. } => error.kind(),
            _ => ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}

impl Tls {
    /// Reads a certificate and its private key from PEM files, which may be the same file. The first
    /// certificate is that of the server; those that a client needs in order to trust it follow, the
    /// root may be missing. The key is PKCS #8, PKCS #1 or SEC 1, without a password. Clients need TLS
    /// 1.2 or 1.3 and no certificate. Blocks the thread while it reads.
    ///
    /// # Errors
    ///
    /// [`TlsError`].
    pub fn from_pem_files(
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, TlsError> {
        let files = Files { certificate: certificate.into(), key: key.into() };
        let current = files.read(&[])?.ok_or(TlsError::NoFiles)?;
        Ok(Self::new(current, Some(files)))
    }

    /// Reads the files again, and replaces the certificates if they have changed. Returns whether they
    /// have. Blocks the thread while it reads. Two small files are read, so it may be called now and
    /// then without a reason.
    ///
    /// # Errors
    ///
    /// [`TlsError`]. Then the certificates stay as they were. That is so for a moment while a program
    /// has replaced one file and not yet the other, so try again later.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let files = self.shared.files.as_ref().ok_or(TlsError::NoFiles)?;
        let _changing = self.shared.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let chain = self.read(|current| current.chain.clone());
        let Some(read) = files.read(&chain)? else { return Ok(false) };
        *self.shared.current.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(true)
    }

    /// Replaces certificate, key and settings. They count until the next [`reload`](Self::reload) that
    /// finds other certificates in the files, if there are files.
    pub fn set(&self, config: impl Into<Arc<ServerConfig>>) {
        let _changing = self.shared.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let config = prepared(config.into());
        self.shared.current.write().unwrap_or_else(PoisonError::into_inner).config = config;
    }

    /// Returns what a new connection gets.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.read(|current| current.config.clone())
    }

    fn new(current: Current, files: Option<Files>) -> Self {
        let (current, changing) = (RwLock::new(current), Mutex::new(()));
        Self { shared: Arc::new(Shared { current, changing, files }) }
    }

    fn read<T>(&self, read: impl FnOnce(&Current) -> T) -> T {
        read(&self.shared.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl From<Arc<ServerConfig>> for Tls {
    fn from(config: Arc<ServerConfig>) -> Self {
        Self::new(Current { config: prepared(config), chain: Vec::new() }, None)
    }
}

impl From<ServerConfig> for Tls {
    fn from(config: ServerConfig) -> Self {
        Arc::new(config).into()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.shared.files).finish_non_exhaustive()
    }
}

impl Files {
    /// Returns what is in the files. `None` if the certificates are still these.
    fn read(&self, known: &[CertificateDer<'_>]) -> Result<Option<Current>, TlsError> {
        let (path, pem) = (&self.certificate, read(&self.certificate)?);
        let no_certificate =
            |error| TlsError::Pem { what: "certificate", path: path.clone(), error };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .map_err(no_certificate)?;
        if chain.is_empty() {
            return Err(no_certificate(pem::Error::NoItemsFound));
        }
        if chain == known {
            return Ok(None);
        }
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?).map_err(|error| {
            TlsError::Pem { what: "private key", path: self.key.clone(), error }
        })?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain.clone(), key));
        let config = config.map_err(|error| TlsError::Rejected {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            error,
        })?;
        Ok(Some(Current { config: prepared(Arc::new(config)), chain }))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::Read { path: path.to_owned(), error })
}

/// Sets what every server of WebWire needs.
fn prepared(config: Arc<ServerConfig>) -> Arc<ServerConfig> {
    let mut config = Arc::unwrap_or_clone(config);
    config.alpn_protocols = vec![ALPN.to_vec()];
    if !config.ticketer.enabled() && config.session_storage.can_cache() {
        match ring::Ticketer::new() {
            Ok(ticketer) => config.ticketer = ticketer,
            // The cache of rustls is left, which holds 256 sessions.
            Err(error) => tracing::warn!(%error, "no TLS tickets: few sessions can be resumed"),
        }
    }
    Arc::new(config)
}
