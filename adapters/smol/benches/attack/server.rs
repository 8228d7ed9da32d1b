//! The server that is attacked: with the limits that servers have by default.

use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::Arc;

use smol::Executor;
use wwr::server::RequestError;
use wwr::{Content, Payload};
use wwr_smol::FileStore;
use wwr_smol::server::{Connection, Handler, Server};

use super::process;
use super::sockets::limit_files;

struct Echo;

impl Handler for Echo {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }
}

/// Serves on this thread until the process ends. Sessions are in files: those can be attacked.
pub(crate) fn serve(files: u64) -> Result<(), Box<dyn Error>> {
    process::end_with_parent();
    limit_files((files > 0).then_some(files));
    let directory = tempfile::tempdir()?;
    let executor = Arc::new(Executor::new());
    smol::block_on(executor.run(async {
        let store = FileStore::open(directory.path().join("sessions")).await?;
        let builder = Server::builder(Echo).store(store).executor(executor.clone());
        let server = builder.listen((Ipv4Addr::LOCALHOST, 0)).await?;
        process::listens_on(server.local_addr())?;
        server.run().await;
        Ok(())
    }))
}
