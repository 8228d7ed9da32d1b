//! A WebWire server whose handler echoes its input.

use wwr::server::RequestError;
use wwr::{Content, Payload};
use wwr_async::Runtime;
use wwr_async::server::{Builder, Config, Connection, Handler, Server};

use crate::support::host::{App, Failure, Host};

/// Longer than any reply, so that none is refused.
const MESSAGE_BUFFER: u32 = 8 << 20;

struct Echo;

impl Handler for Echo {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }
}

impl App for Echo {
    type Handler = Self;

    async fn build<R: Runtime>(self, runtime: R) -> Result<Builder<Self, R>, Failure> {
        let mut config = Config::default();
        config.connection.advertised.message_buffer = MESSAGE_BUFFER;
        config.connection.max_message_size = MESSAGE_BUFFER;
        Ok(Server::builder_on(runtime, self).config(config))
    }
}

/// Serves until the process ends.
pub(crate) fn serve(host: Host, workers: usize) -> Result<(), Failure> {
    host.serve(Echo, 0, workers)
}
