//! Engines with TLS.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use smol::block_on;
use tempfile::TempDir;
use wwr_async::{SessionStore as _, StoreError, StoreErrorKind};
use wwr_redis::{RedisConfig, RedisStore};
use wwr_smol::Smol;
use wwr_tokio::Tokio;

use crate::support::{Engine, Program, configured, free_port, key, seconds, session, whole_text};

/// An authority, and a certificate of it with its key.
struct Certificates {
    authority: String,
    certificate: String,
    key: String,
}

fn certificates() -> Certificates {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["127.0.0.1".to_string()]).unwrap();
    // Not that of the authority, which would look like a certificate of its own.
    params.distinguished_name.push(DnType::CommonName, "engine");
    let certificate = params.signed_by(&key, &authority).unwrap();
    Certificates {
        authority: authority.pem(),
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    }
}

/// Starts an engine with TLS. Returns it with its URL.
fn start(certificates: &Certificates, clients: &str) -> Option<(Engine, String)> {
    let tls_port = free_port();
    let files = |directory: &TempDir| {
        [
            ("tls-ca-cert-file", &certificates.authority),
            ("tls-cert-file", &certificates.certificate),
            ("tls-key-file", &certificates.key),
        ]
        .into_iter()
        .flat_map(|(option, pem)| {
            let file = directory.path().join(option);
            fs::write(&file, pem).unwrap();
            [format!("--{option}"), file.to_str().unwrap().to_string()]
        })
        .collect::<Vec<_>>()
    };
    let engine = Engine::with(Program::Redis, |_, directory| {
        let port = tls_port.to_string();
        let own = ["--tls-port", &port, "--tls-auth-clients", clients];
        own.map(str::to_string).into_iter().chain(files(directory)).collect()
    })?;
    Some((engine, format!("rediss://127.0.0.1:{tls_port}")))
}

fn trusting(certificates: &Certificates) -> RedisConfig {
    configured(|config| config.roots = Some(certificates.authority.clone().into_bytes()))
}

#[test]
fn an_engine_with_tls_is_used_on_both_runtimes() {
    let ours = certificates();
    let Some((_engine, url)) = start(&ours, "no") else { return };
    let store = block_on(RedisStore::<Smol>::connect(url.as_str(), trusting(&ours))).unwrap();
    block_on(store.create(&session("k"))).unwrap();
    let tokio = tokio::runtime::Runtime::new().unwrap();
    let found = tokio.block_on(async {
        let store = RedisStore::<Tokio>::connect(url, trusting(&ours)).await?;
        store.look_up(&key("k"), seconds(200)).await
    });
    assert_eq!(found.unwrap(), Some(session("k")));
}

fn refused(url: &str, config: RedisConfig) -> StoreError {
    block_on(RedisStore::<Smol>::connect(url, config)).unwrap_err()
}

#[test]
fn an_engine_that_nobody_vouches_for_is_refused() {
    let ours = certificates();
    let Some((_engine, url)) = start(&ours, "no") else { return };
    // By the system, and by another authority.
    for config in [RedisConfig::default(), trusting(&certificates())] {
        let error = refused(&url, config);
        assert_eq!(error.kind(), StoreErrorKind::Failed);
        let text = whole_text(&error);
        assert!(text.contains("certificate") && text.contains("RedisConfig::roots"), "{text}");
    }
    let nonsense = configured(|config| config.roots = Some(b"nonsense".to_vec()));
    refused(&url, nonsense);
}

#[test]
fn an_engine_that_wants_a_certificate_gets_one() {
    let ours = certificates();
    let Some((_engine, url)) = start(&ours, "yes") else { return };
    refused(&url, trusting(&ours));
    let mut config = trusting(&ours);
    let pair = (ours.certificate.clone().into_bytes(), ours.key.clone().into_bytes());
    config.client_certificate = Some(pair);
    assert!(!format!("{config:?}").contains("PRIVATE"));
    let store = block_on(RedisStore::<Smol>::connect(url, config)).unwrap();
    block_on(store.create(&session("k"))).unwrap();
}
