//! WebWire on smol.

mod clock;
mod executor;
mod inbox;
mod key;
pub mod server;
mod socket;
mod store;
mod websocket;

pub use clock::Clock;
pub use executor::{GlobalExecutor, Spawn, Task};
