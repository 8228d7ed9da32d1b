//! Certificates that are replaced while the server runs, sessions of TLS that are resumed, and
//! certificates of clients.

use std::fs;
use std::sync::Arc;

use crate::adapter::rustls::HandshakeKind::{Full, Resumed};
use crate::adapter::rustls::server::NoServerSessionStorage;
use crate::adapter::rustls::version::{TLS12, TLS13};
use crate::adapter::rustls::{ClientConfig, HandshakeKind};
use crate::adapter::server::{Tls, TlsError};

use super::{Client, Identity, fixture};
use crate::suite::support::Fixture;

/// How a client begins a connection. It is then used, so that the client gets its tickets.
fn met(client: &Client, fixture: &Fixture) -> HandshakeKind {
    let (mut peer, kind) = client.begin(fixture.address());
    peer.upgrade("/", "");
    peer.is_served();
    let info = fixture.connected().info().tls.clone().unwrap();
    assert_eq!(info.resumed, kind == Resumed, "both sides agree");
    drop(peer);
    fixture.wait_for_disconnected();
    kind
}

#[test]
fn a_client_that_comes_back_resumes_its_session() {
    let identity = Identity::new();
    let fixture = fixture(identity.server());
    for version in [&TLS12, &TLS13] {
        let config = ClientConfig::builder_with_protocol_versions(&[version])
            .with_root_certificates(identity.roots())
            .with_no_client_auth();
        let client = Client(Arc::new(config));
        let kinds = [(); 4].map(|()| met(&client, &fixture));
        assert_eq!(kinds, [Full, Resumed, Resumed, Resumed], "{version:?}");
        assert_eq!(met(&identity.client(), &fixture), Full, "another client");
    }
}

#[test]
fn a_server_whose_settings_forbid_it_resumes_nothing() {
    let identity = Identity::new();
    let mut config = identity.server();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    let (fixture, client) = (fixture(config), identity.client());
    assert_eq!([(); 3].map(|()| met(&client, &fixture)), [Full; 3]);
}

#[test]
fn certificates_are_reloaded_while_connections_are_open() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (Identity::new(), Identity::new());
    let [certificate, key] = old.write(directory.path());
    let tls = Tls::from_pem_files(&certificate, &key).unwrap();
    let fixture = fixture(tls.clone());
    let (old_client, new_client) = (old.client(), new.client());
    assert_eq!([(); 2].map(|()| met(&old_client, &fixture)), [Full, Resumed]);
    let mut open = old_client.connect(fixture.address());
    drop(fixture.connected());
    assert!(!tls.reload().unwrap(), "they are the same");
    assert_eq!(met(&old_client, &fixture), Resumed, "and tickets stay valid");

    new.write(directory.path());
    assert!(tls.reload().unwrap());
    assert_eq!([(); 2].map(|()| met(&new_client, &fixture)), [Full, Resumed]);
    let refused = old_client.refused(fixture.address());
    assert!(refused.contains("UnknownIssuer") || refused.contains("BadSignature"), "{refused}");
    open.is_served();

    // The application may replace everything by itself.
    tls.set(old.server());
    old.client().connect(fixture.address()).is_served();
}

#[test]
fn a_failed_reload_changes_nothing_and_says_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (Identity::new(), Identity::new());
    let [certificate, key] = old.write(directory.path());
    let tls = Tls::from_pem_files(&certificate, &key).unwrap();
    let fixture = fixture(tls.clone());
    let client = old.client();
    let is_unchanged = || client.connect(fixture.address()).is_served();

    // Only one of the files is new.
    fs::write(&certificate, new.0.cert.pem()).unwrap();
    let error = tls.reload().unwrap_err();
    assert!(matches!(error, TlsError::Rejected { .. }), "{error}");
    is_unchanged();
    for (text, what) in [("", "no certificate in"), ("garbage", "no certificate in")] {
        fs::write(&certificate, text).unwrap();
        let error = tls.reload().unwrap_err().to_string();
        assert!(error.contains(what) && error.contains("chain.pem"), "{error}");
        is_unchanged();
    }
    fs::write(&certificate, new.0.cert.pem()).unwrap();
    fs::write(&key, "garbage").unwrap();
    let error = tls.reload().unwrap_err().to_string();
    assert!(error.contains("no private key in") && error.contains("key.pem"), "{error}");
    fs::remove_file(&certificate).unwrap();
    let error = tls.reload().unwrap_err();
    assert!(matches!(&error, TlsError::Read { path, .. } if *path == certificate), "{error}");
    assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::NotFound);
    is_unchanged();
    assert!(matches!(Tls::from(old.server()).reload(), Err(TlsError::NoFiles)));

    // And it works again as soon as the files do.
    new.write(directory.path());
    assert!(tls.reload().unwrap());
    new.client().connect(fixture.address()).is_served();
}

#[test]
fn the_certificate_of_a_client_is_verified_and_shown() {
    let (server, ours, strange) = (Identity::new(), Identity::new(), Identity::new());
    let fixture = fixture(server.server_for(&ours));
    let with = |identity: &Identity| {
        let config = ClientConfig::builder()
            .with_root_certificates(server.roots())
            .with_client_auth_cert(vec![identity.certificate()], identity.key())
            .unwrap();
        Client(Arc::new(config))
    };
    let client = with(&ours);
    // A resumed session has it as well.
    for kind in [Full, Resumed] {
        let (mut peer, met) = client.begin(fixture.address());
        assert_eq!(met, kind);
        peer.upgrade("/", "");
        peer.is_served();
        let info = fixture.connected().info().tls.clone().unwrap();
        assert_eq!(info.client_certificates, [ours.certificate().as_ref()]);
        drop(peer);
        fixture.wait_for_disconnected();
    }
    for (client, reason) in
        [(server.client(), "CertificateRequired"), (with(&strange), "UnknownCA")]
    {
        let refused = client.refused(fixture.address());
        assert!(refused.contains(reason) || refused.contains("DecryptError"), "{refused}");
    }
}
