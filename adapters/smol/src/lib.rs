//! WebWire on smol.

mod clock;
mod key;
mod store;

pub use clock::Clock;
pub use key::{KeyError, KeyGenerator, RandomKeys};
pub use store::{
    Collected, FileStore, MemoryStore, SessionStore, SharedStore, ShortKey, StoreError,
    StoreErrorKind,
};
