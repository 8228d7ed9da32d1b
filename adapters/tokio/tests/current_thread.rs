//! The suite on tokio, with runtimes of the kind `current_thread`.

mod adapter;
#[path = "../../suite/mod.rs"]
mod suite;

use tokio::runtime::Builder;

/// Returns a builder of a runtime under test.
fn builder() -> Builder {
    Builder::new_current_thread()
}
