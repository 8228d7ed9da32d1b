//! The server on real sockets, seen by a client made by hand.

mod attacks;
mod broadcast;
mod close_frames;
mod closing;
mod cluster;
#[cfg(unix)]
mod coalescing;
pub(crate) mod concurrency;
mod context;
mod crowds;
mod failures;
mod fairness;
mod frames;
mod groups;
#[cfg(unix)]
mod headless;
mod heads;
mod http;
#[cfg(feature = "inspect")]
mod inspect;
mod limits;
mod listeners;
mod liveness;
mod local;
mod memory;
mod messages;
#[cfg(feature = "metrics")]
mod metrics;
mod mixed;
mod order;
mod panics;
mod proxies;
mod refused;
mod room;
mod session_edits;
mod session_hook;
mod sessions;
mod settings;
mod shutdown;
mod signals;
mod slow_reader;
mod slow_sessions;
mod stats;
mod stores;
mod streams;
#[cfg(feature = "rustls")]
mod tls;
mod traces;
mod upgrade;
mod versions;
mod wwr1;
