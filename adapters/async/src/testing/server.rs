//! Servers of any application.

use std::net::SocketAddr;

use super::link::VirtualStream;
use super::runtime::VirtualRuntime;
use crate::server::{Handler, Service};

/// A server of any application.
pub(super) trait Serve: Send + Sync {
    fn serve(&self, stream: VirtualStream, remote: SocketAddr);
}

impl<H: Handler> Serve for Service<H, VirtualRuntime> {
    fn serve(&self, stream: VirtualStream, remote: SocketAddr) {
        self.serve_native(stream, remote);
    }
}
