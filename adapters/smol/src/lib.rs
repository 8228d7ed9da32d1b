//! WebWire on smol.

pub mod client;
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
pub use key::{KeyError, KeyGenerator, RandomKeys};
pub use store::{
    Collected, FileStore, MemoryStore, SessionStore, SharedStore, ShortKey, StoreError,
    StoreErrorKind,
};
