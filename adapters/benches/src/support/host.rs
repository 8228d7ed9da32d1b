//! WebWire servers on the runtimes.

use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::Arc;

use smol::Executor;
use tokio::runtime::{self, Builder as TokioBuilder};
use wwr_async::Runtime;
use wwr_async::server::{Builder, Handler};
use wwr_smol::Smol;
use wwr_tokio::Tokio;

use super::process;

/// What goes wrong, on any thread.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// The runtime of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Host {
    /// smol, one thread.
    Smol,
    /// tokio's `current_thread`.
    Tokio,
    /// tokio's `multi_thread`.
    TokioMulti,
}

/// A server that can be built on any runtime.
pub(crate) trait App: Send + 'static {
    type Handler: Handler;

    fn build<R: Runtime>(
        self,
        runtime: R,
    ) -> impl Future<Output = Result<Builder<Self::Handler, R>, Failure>> + Send;
}

impl Host {
    /// Returns what `--runtime` calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Smol => "smol",
            Self::Tokio => "tokio",
            Self::TokioMulti => "tokio-multi",
        }
    }

    /// Runs a server on this port until it ends, and prints the port. `workers` is the number of threads
    /// of `multi_thread`.
    pub(crate) fn serve(self, app: impl App, port: u16, workers: usize) -> Result<(), Failure> {
        if self == Self::Smol {
            let executor = Arc::new(Executor::new());
            return smol::block_on(executor.run(serve(Smol::from(executor.clone()), app, port)));
        }
        let runtime = self.tokio(workers)?;
        let serve = serve(Tokio::from(runtime.handle().clone()), app, port);
        // What `block_on` is given does not run on the threads of `multi_thread`.
        runtime.block_on(runtime.spawn(serve))?
    }

    /// Returns the runtime of tokio: `current_thread`, or `multi_thread` with so many threads.
    pub(crate) fn tokio(self, workers: usize) -> std::io::Result<runtime::Runtime> {
        match self {
            Self::Smol | Self::Tokio => TokioBuilder::new_current_thread().enable_all().build(),
            Self::TokioMulti => {
                TokioBuilder::new_multi_thread().worker_threads(workers).enable_all().build()
            }
        }
    }
}

async fn serve<R: Runtime>(runtime: R, app: impl App, port: u16) -> Result<(), Failure> {
    let server = app.build(runtime).await?.listen((Ipv4Addr::LOCALHOST, port)).await?;
    process::listens_on(server.local_addr())?;
    server.run().await;
    Ok(())
}
