//! A server of jsonrpsee with a method that returns its only parameter.

use std::net::Ipv4Addr;

use jsonrpsee_server::{RpcModule, ServerBuilder, ServerConfig};
use tokio::runtime::Runtime;

use crate::support::host::Failure;
use crate::support::process;

/// More than are ever opened.
const CONNECTIONS: u32 = 100_000;

/// Serves until the process ends.
pub(crate) fn serve(runtime: &Runtime) -> Result<(), Failure> {
    let mut module = RpcModule::new(());
    module.register_method("e", |parameters, _, _| parameters.one::<String>())?;
    let serve = async move {
        let config = ServerConfig::builder().ws_only().max_connections(CONNECTIONS).build();
        let server = ServerBuilder::with_config(config).build((Ipv4Addr::LOCALHOST, 0)).await?;
        process::listens_on(server.local_addr()?)?;
        server.start(module).stopped().await;
        Ok(())
    };
    runtime.block_on(runtime.spawn(serve))?
}
