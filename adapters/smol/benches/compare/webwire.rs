//! What is measured: a WebWire server whose handler echoes its input.

use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::Arc;

use smol::Executor;
use wwr::server::RequestError;
use wwr::{Content, Payload};
use wwr_smol::server::{Config, Connection, Handler, Server};

use super::process;

/// Longer than any reply, so that none is refused.
const MESSAGE_BUFFER: u32 = 8 << 20;

struct Echo;

impl Handler for Echo {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }
}

/// Serves on this thread until the process ends.
pub(crate) fn serve() -> Result<(), Box<dyn Error>> {
    let mut config = Config::default();
    config.connection.advertised.message_buffer = MESSAGE_BUFFER;
    config.connection.max_message_size = MESSAGE_BUFFER;
    let executor = Arc::new(Executor::new());
    smol::block_on(executor.run(async {
        let server = Server::builder(Echo)
            .config(config)
            .executor(executor.clone())
            .listen((Ipv4Addr::LOCALHOST, 0))
            .await?;
        process::listens_on(server.local_addr())?;
        server.run().await;
        Ok(())
    }))
}
