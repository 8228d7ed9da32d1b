//! Certificates, made when a server starts.

use std::io;
use std::sync::Arc;

use futures_rustls::rustls::client::Resumption;
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::pki_types::CertificateDer;
use futures_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use rcgen::{CertifiedKey, generate_simple_self_signed};

use super::host::Failure;
use super::process;

/// The name in the certificates: the servers are on loopback.
const NAME: &str = "127.0.0.1";

/// Makes a certificate for this server, and tells the parent which.
pub(crate) fn server_config() -> Result<Arc<ServerConfig>, Failure> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([NAME.to_owned()])?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], signing_key.into())?;
    // As a server of WebWire has them: otherwise rustls keeps sessions in memory.
    config.ticketer = ring::Ticketer::new()?;
    process::has_certificate(cert.der())?;
    Ok(Arc::new(config))
}

/// Returns what a client needs that trusts only this certificate. Each handshake is a full one.
pub(crate) fn client_config(certificate: Vec<u8>) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certificate)).map_err(io::Error::other)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
