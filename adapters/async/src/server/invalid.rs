//! Settings with which a server could not work.

use std::io;

use wwr::server::gate::InvalidPath;

/// Why a server cannot be built with its settings. As an [`io::Error`], it is of the kind
/// [`InvalidInput`](io::ErrorKind::InvalidInput).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSettings {
    /// A path with a protocol of its own that no client can ask for.
    #[error("the path {path:?} cannot have a protocol of its own: {error}")]
    Path {
        /// The path, as it was set.
        path: String,
        /// What is wrong with it.
        error: InvalidPath,
    },
    /// A setting that must not be zero.
    #[error("{setting} is zero, so {consequence}; set a positive value")]
    Zero {
        /// The setting.
        setting: &'static str,
        /// What would come of it.
        consequence: &'static str,
    },
    /// `Limits::max_header_size` is too small for HTTP.
    #[error("Limits::max_header_size is {0} bytes; it has to be 8192 or more")]
    HeaderSize(usize),
    /// Clients may send longer messages than the server reads.
    #[error(
        "Limits::max_message_size is {max_message_size} bytes, but the advertised message buffer lets \
         clients send {advertised}; raise the limit, or lower Advertised::message_buffer"
    )]
    MessageSize {
        /// The limit.
        max_message_size: usize,
        /// The advertised message buffer.
        advertised: usize,
    },
    /// The PROXY protocol is to be spoken with nobody.
    #[error(
        "proxy_protocol is set, but there are no trusted proxies to speak it; name their addresses \
         with trusted_proxies"
    )]
    NoTrustedProxies,
}

impl From<InvalidSettings> for io::Error {
    fn from(error: InvalidSettings) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}
