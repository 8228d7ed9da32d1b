//! What TLS needs.

use data_encoding::BASE64;
use redis::{ClientTlsConfig, TlsCertificates};
use rustls::crypto::{CryptoProvider, ring};
use wwr_async::{Runtime, StoreError, StoreErrorKind};

use crate::config::RedisConfig;

/// Returns the certificates that connections trust and show. Reads those of the system now, and on a thread for that:
/// each connection would read them itself otherwise.
pub(crate) async fn certificates(
    runtime: &impl Runtime,
    config: &RedisConfig,
) -> Result<TlsCertificates, StoreError> {
    if CryptoProvider::get_default().is_none() {
        // The library takes that of the process, and panics if several were compiled in and none was chosen.
        // If another thread was faster, that is the same.
        let _ = ring::default_provider().install_default();
    }
    let roots = match &config.roots {
        Some(roots) => roots.clone(),
        None => runtime.unblock(of_the_system).await.map_err(|error| {
            failed("the certificates of the system cannot be read").with_source(error)
        })?,
    };
    if roots.is_empty() {
        return Err(failed("the system trusts no certificates; set RedisConfig::roots"));
    }
    let client_tls = config.client_certificate.as_ref().map(|(certificate, key)| ClientTlsConfig {
        client_cert: certificate.clone(),
        client_key: key.clone(),
    });
    Ok(TlsCertificates { client_tls, root_cert: Some(roots) })
}

/// Returns the roots of the system as PEM. Those that cannot be read are left out.
fn of_the_system() -> Vec<u8> {
    let mut pem = String::new();
    for certificate in rustls_native_certs::load_native_certs().certs {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        BASE64.encode_append(&certificate, &mut pem);
        pem.push_str("\n-----END CERTIFICATE-----\n");
    }
    pem.into_bytes()
}

fn failed(message: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Failed, message)
}
