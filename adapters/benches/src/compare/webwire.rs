//! A WebWire server whose handler echoes its input.

use std::sync::Arc;

use futures_rustls::rustls::ServerConfig;
use wwr::server::RequestError;
use wwr::{Content, Payload};
use wwr_async::Runtime;
use wwr_async::server::{Builder, Config, Connection, Handler, Server};

use crate::support::host::{App, Failure, Host};

/// Longer than any reply, so that none is refused.
pub(crate) const MESSAGE_BUFFER: u32 = 8 << 20;

struct Echo;

impl Handler for Echo {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }
}

/// A server of it, with TLS if there is a configuration.
struct EchoServer {
    tls: Option<Arc<ServerConfig>>,
}

impl App for EchoServer {
    type Handler = Echo;

    async fn build<R: Runtime>(self, runtime: R) -> Result<Builder<Echo, R>, Failure> {
        let mut config = Config::default();
        config.connection.advertised.message_buffer = MESSAGE_BUFFER;
        config.connection.max_message_size = MESSAGE_BUFFER;
        let builder = Server::builder_on(runtime, Echo).config(config);
        Ok(match self.tls {
            Some(tls) => builder.tls(tls),
            None => builder,
        })
    }
}

/// Serves until the process ends.
pub(crate) fn serve(
    host: Host,
    workers: usize,
    tls: Option<Arc<ServerConfig>>,
) -> Result<(), Failure> {
    host.serve(EchoServer { tls }, 0, workers)
}
