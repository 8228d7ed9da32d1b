use std::io::{Error as IoError, ErrorKind};

use futures_rustls::rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use super::*;
use crate::test_runtime::TestRuntime;

fn explained(error: impl Into<Error>) -> String {
    TlsFailure::of_handshake(IoError::new(ErrorKind::InvalidData, error.into())).to_string()
}

#[test]
fn every_reason_says_what_to_do() {
    for (error, said) in [
        (CertificateError::UnknownIssuer, "name its root certificate"),
        (CertificateError::BadSignature, "do not trust the server before you know which"),
        (CertificateError::NotValidForName, "use a name of the certificate"),
        (CertificateError::Expired, "the server needs a new one"),
        (CertificateError::NotValidYet, "clock"),
        (CertificateError::Revoked, "has revoked it"),
        (CertificateError::InvalidPurpose, "the server needs one that is"),
        (CertificateError::BadEncoding, "refused: "),
    ] {
        let text = explained(error);
        assert!(text.starts_with("the certificate of the server is refused: "), "{text}");
        assert!(text.contains(said), "{text}");
    }
    for (alert, said) in [
        (AlertDescription::CertificateRequired, "wants a certificate"),
        (AlertDescription::UnknownCA, "refuses the certificate of the client"),
        (AlertDescription::HandshakeFailure, "no algorithms in common"),
        (AlertDescription::ProtocolVersion, "neither TLS 1.2 nor TLS 1.3"),
        (AlertDescription::NoApplicationProtocol, "does not speak HTTP/1.1"),
        (AlertDescription::UnrecognisedName, "the name of the URL"),
        (AlertDescription::InternalError, "alert InternalError"),
    ] {
        let text = explained(Error::AlertReceived(alert));
        assert!(text.starts_with("the server ends TLS: ") && text.contains(said), "{text}");
    }
    assert!(explained(InvalidMessage::InvalidContentType).ends_with("the port where it does"));
    let ended = TlsFailure::of_handshake(ErrorKind::UnexpectedEof.into());
    assert!(matches!(ended, TlsFailure::Ended));
    let reset = TlsFailure::of_handshake(ErrorKind::ConnectionReset.into());
    assert!(matches!(reset, TlsFailure::Io(_)));
}

#[test]
fn names_of_a_certificate_are_shown_in_a_form_for_logs() {
    let name = ServerName::try_from("localhost").unwrap();
    let refused = |presented: &[&str]| {
        let presented = presented.iter().map(|name| String::from(*name)).collect();
        let expected = name.clone();
        explained(CertificateError::NotValidForNameContext { expected, presented })
    };
    assert!(
        refused(&["DnsName(\"a.example\")", "IpAddress(10.0.0.1)"])
            .ends_with(": a.example, 10.0.0.1")
    );
    assert!(refused(&["\u{1b}[2J"]).ends_with("\\u{1b}[2J"));
    assert!(refused(&[]).ends_with("it has no names; the server needs one that has its name"));
    assert!(refused(&[&"x".repeat(10_000)]).len() < 400);
}

#[test]
fn texts_without_what_is_needed_are_refused() {
    let text = |error: InvalidTls| error.to_string();
    let broken = b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    let empty = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let missing = "root certificate: the PEM text has no such entry";
    assert_eq!(Tls::roots_pem(b"").map_err(text).unwrap_err(), missing);
    assert_eq!(Tls::roots_pem(b"localhost").map_err(text).unwrap_err(), missing);
    let error = text(Tls::roots_pem(broken).unwrap_err());
    assert!(error.starts_with("root certificate: this is not PEM: "), "{error}");
    let error = text(Tls::roots_pem(empty).unwrap_err());
    assert!(error.starts_with("root certificate 1: "), "{error}");
    let identity = |chain: &[u8]| text(Tls::default().with_identity_pem(chain, b"").unwrap_err());
    assert_eq!(identity(b""), "client certificate: the PEM text has no such entry");
    assert_eq!(identity(empty), "key of the client certificate: the PEM text has no such entry");
}

#[test]
fn clones_share_one_configuration_and_so_their_tickets() {
    for tls in [Tls::webpki_roots(), Tls::without_verification()] {
        let first = smol::block_on(tls.clone().config(&TestRuntime)).unwrap();
        let second = smol::block_on(tls.config(&TestRuntime)).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
    }
    assert_eq!(
        format!("{:?}", Tls::default()),
        "Tls { trust: \"system roots\", identity: false, .. }"
    );
}

#[test]
fn the_name_of_the_server_is_that_of_the_url() {
    for (url, name) in [
        ("wss://Example.com./", Some("example.com")),
        ("wss://[::1]:7777/", Some("::1")),
        ("wss://127.0.0.1/", Some("127.0.0.1")),
        ("wss://a_b.example/", Some("a_b.example")),
    ] {
        let found = server_name(&url.parse().unwrap());
        assert_eq!(found.as_ref().map(ServerName::to_str).as_deref(), name, "{url}");
    }
}
