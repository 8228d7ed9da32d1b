//! What is measured: an echo server.

use std::net::Ipv4Addr;

use wwr::server::RequestError;
use wwr::{Content, Payload};
use wwr_smol::server::{Connection, Handler, Server};

use super::runtime::Runtime;
use crate::support::host::Failure;
use crate::support::process;

struct Echo;

impl Handler for Echo {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }
}

/// Serves until the process ends.
pub(crate) fn serve(runtime: Runtime) -> Result<(), Failure> {
    process::end_with_parent();
    runtime.run(|spawner| async move {
        let server =
            Server::builder(Echo).executor(spawner).listen((Ipv4Addr::LOCALHOST, 0)).await?;
        process::listens_on(server.local_addr())?;
        server.run().await;
        Ok(())
    })
}
