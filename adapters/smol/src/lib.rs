//! WebWire on smol.

mod clock;
mod key;

pub use clock::Clock;
pub use key::{KeyError, KeyGenerator, RandomKeys};
