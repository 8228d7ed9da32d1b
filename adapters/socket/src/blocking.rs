//! A server and a client on sockets of the system, without a runtime: for programs that just want it to
//! work. Needs std.

mod client;
mod reserve;
mod server;

pub use client::{CallError, Client};
pub use server::{EventLoop, Stop, serve};

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use wwr::UnixTime;

/// The monotonic clock, from a start on.
#[derive(Clone, Copy, Debug)]
struct Clock(std::time::Instant);

impl Clock {
    fn start() -> Self {
        Self(std::time::Instant::now())
    }

    fn now(&self) -> wwr::Instant {
        wwr::Instant::EPOCH + self.0.elapsed()
    }
}

/// Returns what the wall clock shows.
fn unix_now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    UnixTime::from_seconds(i64::try_from(since).unwrap_or(i64::MAX))
}

/// Returns random bytes.
fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}
