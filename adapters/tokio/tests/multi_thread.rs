//! The suite on tokio, with runtimes of the kind `multi_thread`.

mod adapter;
#[path = "../../suite/mod.rs"]
mod suite;

use tokio::runtime::Builder;

/// Returns a builder of a runtime under test.
fn builder() -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(4);
    builder
}
