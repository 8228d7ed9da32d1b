//! Unix sockets.

use std::io;
use std::path::PathBuf;

use super::{Destination, Dial, Dialed};
use crate::runtime::{Runtime, SocketAddress};

/// Connects to a unix socket. Host and port of the URL only count for the header `Host` and for TLS.
///
/// ```
/// use wwr_async::Runtime;
/// use wwr_async::client::{Builder, Client, InvalidUrl, UnixSocket};
///
/// fn client<R: Runtime + Default>() -> Result<Builder<R>, InvalidUrl> {
///     Ok(Client::builder("ws://localhost/")?.dial(UnixSocket::new("/run/app/socket")))
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixSocket(PathBuf);

impl UnixSocket {
    /// A socket at this path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
}

impl<R: Runtime> Dial<R> for UnixSocket {
    async fn dial(&self, runtime: &R, _: &Destination) -> io::Result<Dialed<R>> {
        match runtime.connect(SocketAddress::Unix(self.0.clone())).await {
            Ok(stream) => Ok(Dialed::native(stream)),
            Err(error) => {
                let text = format!("the unix socket {}: {error}", self.0.display());
                Err(io::Error::new(error.kind(), text))
            }
        }
    }
}
