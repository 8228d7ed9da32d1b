//! The page that shows what the server does.

use std::io;

use wwr_smol::Runtime;
use wwr_smol::inspect::{Inspector, Page, Token};
use wwr_smol::server::ServerHandle;

use crate::runtime::Tasks;

/// Serves the page of a server from now on, in a task. Returns the lines that say where it is, with the
/// token.
pub(super) fn serve(
    page: Page<impl Runtime>,
    server: &ServerHandle,
    tasks: &Tasks,
    hosts: &[String],
) -> io::Result<Vec<String>> {
    let token = Token::random().map_err(io::Error::other)?;
    let urls = page.urls(&token);
    let inspector = Inspector::new(server.clone(), token);
    let inspector = hosts.iter().fold(inspector, |inspector, host| inspector.allow_host(host));
    tasks.spawn(page.serve(inspector)).detach();
    Ok(urls.into_iter().map(|url| format!("inspect on {url}\n")).collect())
}
