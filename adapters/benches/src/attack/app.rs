//! The server that is attacked: with the limits that servers have by default.

use std::path::PathBuf;

use wwr::server::RequestError;
use wwr::{Content, Payload};
use wwr_async::server::{Builder, Connection, Handler, Server};
use wwr_async::{FileStore, Runtime};

use super::args::Args;
use crate::support::host::{App, Failure};
use crate::support::process;
use crate::support::sockets::limit_files;

struct Echo;

impl Handler for Echo {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }
}

/// Echoes, with sessions in this directory.
struct Sessions(PathBuf);

impl App for Sessions {
    type Handler = Echo;

    async fn build<R: Runtime>(self, runtime: R) -> Result<Builder<Echo, R>, Failure> {
        let store = FileStore::open_on(runtime.clone(), self.0).await?;
        Ok(Server::builder_on(runtime, Echo).store(store))
    }
}

/// Serves on one thread until the process ends. Sessions are in files: those can be attacked.
pub(crate) fn serve(files: u64, args: &Args) -> Result<(), Failure> {
    process::end_with_parent();
    limit_files((files > 0).then_some(files));
    let directory = tempfile::tempdir()?;
    args.runtime.serve(Sessions(directory.path().join("sessions")), 0, 1)
}
