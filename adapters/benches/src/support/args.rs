//! Options that several benches have.

use std::time::Duration;

/// Options of all benches.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// Prints one JSON object instead of tables
    #[arg(long)]
    pub(crate) json: bool,
    /// Only shows that it works: briefly, with few connections
    #[arg(long)]
    pub(crate) test: bool,
    /// Comes from `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// Returns whether something is among those that were chosen. If none were, all are.
pub(crate) fn is_chosen<T: PartialEq>(chosen: &[T], one: &T) -> bool {
    chosen.is_empty() || chosen.contains(one)
}

/// Reads a number of seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number")?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("not a time that can be measured for".to_owned()),
    }
}

/// Reads a number of milliseconds.
pub(crate) fn milliseconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_millis)
}
