//! What went wrong in TLS, and what to do about it.

use std::fmt;
use std::io;

use futures_rustls::rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use super::super::text::shown;

/// The most characters that are shown of a text of the server.
const MAX_SHOWN: usize = 200;

/// Why TLS with a server failed.
#[derive(Debug, thiserror::Error)]
pub(in crate::client) enum TlsFailure {
    #[error("TLS could not be established: {0}")]
    Io(io::Error),
    #[error(
        "the server ended the connection in the TLS handshake; if it does not speak TLS on this port, \
         use ws://"
    )]
    Ended,
    #[error("the server does not speak TLS on this port: use ws://, or the port where it does")]
    NotTls,
    #[error("no certificate can have the host of the URL as a name")]
    Name,
    #[error(
        "the system has no root certificates, so no server can be trusted; install them (often the \
         package ca-certificates), or name others with Tls::roots_pem"
    )]
    NoRoots,
    #[error("the certificate of the server is refused: {0}")]
    Certificate(Certificate),
    #[error("the server ends TLS: {}", of_alert(*.0))]
    Alert(AlertDescription),
    #[error("TLS failed: {0}")]
    Other(Error),
}

/// What is wrong with a certificate.
#[derive(Debug)]
pub(in crate::client) struct Certificate(CertificateError);

impl TlsFailure {
    /// Explains an error of the handshake.
    pub(in crate::client) fn of_handshake(error: io::Error) -> Self {
        match Self::of(&error) {
            Some(failure) => failure,
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::Ended,
            None => Self::Io(error),
        }
    }

    /// Explains an error of reading or writing, if it is one of TLS.
    pub(in crate::client) fn of(error: &io::Error) -> Option<Self> {
        let error = error.get_ref()?.downcast_ref::<Error>()?;
        Some(match error {
            Error::InvalidCertificate(error) => Self::Certificate(Certificate(error.clone())),
            // The first bytes are not a record of TLS.
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            ) => Self::NotTls,
            Error::AlertReceived(alert) => Self::Alert(*alert),
            error => Self::Other(error.clone()),
        })
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            CertificateError::UnknownIssuer => f.write_str(
                "no root that this client trusts has issued it; if you trust the server, name its root \
                 certificate with Tls::roots_pem",
            ),
            CertificateError::BadSignature => f.write_str(
                "a signature does not fit: the server may not have the key of this certificate, or a \
                 trusted root has the name of its issuer and another key; do not trust the server \
                 before you know which",
            ),
            CertificateError::NotValidForName => {
                f.write_str("it is for another name; use a name of the certificate in the URL")
            }
            CertificateError::NotValidForNameContext { presented, .. } => {
                let names: Vec<_> = presented.iter().map(|name| bare(name)).collect();
                if names.is_empty() {
                    return f.write_str("it has no names; the server needs one that has its name");
                }
                let names = shown(&names.join(", "), MAX_SHOWN);
                write!(f, "it is for another name; use one that it has in the URL: {names}")
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => f.write_str(
                "it has expired; the server needs a new one, or the clock of this machine is wrong",
            ),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => f.write_str(
                "it is not valid yet; perhaps the clock of this machine or that of its issuer is wrong",
            ),
            CertificateError::Revoked => f.write_str("its issuer has revoked it"),
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                f.write_str("it is not one for servers; the server needs one that is")
            }
            other => f.write_str(&shown(&other.to_string(), MAX_SHOWN)),
        }
    }
}

/// Returns a name as it stands in a URL. The library writes `DnsName("localhost")`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inner.trim_matches('"')
}

/// Says what an alert of the server means for the client (RFC 8446 §6.2).
fn of_alert(alert: AlertDescription) -> String {
    let wants = match alert {
        AlertDescription::CertificateRequired => {
            "it wants a certificate of the client; set one with Tls::with_identity_pem"
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => {
            "it refuses the certificate of the client, which Tls::with_identity_pem has set"
        }
        AlertDescription::UnrecognisedName => "it does not know the name of the URL",
        AlertDescription::ProtocolVersion => "it speaks neither TLS 1.2 nor TLS 1.3",
        AlertDescription::NoApplicationProtocol => "it does not speak HTTP/1.1 on this port",
        AlertDescription::HandshakeFailure => {
            "it has no algorithms in common with this client, or wants a certificate of the client"
        }
        alert => return format!("alert {alert:?}"),
    };
    wants.into()
}
