//! The options of the program.

use std::time::Duration;

use clap::Parser;

use super::case::{self, Case};
use super::child::Side;

/// Compares a WebWire echo with a bare WebSocket echo.
#[derive(Debug, Parser)]
#[command(name = "compare")]
pub(crate) struct Args {
    /// How long each server is measured in each run
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// How many times each server is measured; the median counts
    #[arg(long, value_name = "NUMBER", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,
    /// Only this case, such as 16x16; may be repeated
    #[arg(long = "case", value_name = "NAME", value_parser = case::named)]
    pub(crate) cases: Vec<&'static Case>,
    /// How many idle connections the memory is measured with
    #[arg(long, value_name = "NUMBER", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: u32,
    /// Leaves the memory of idle connections out
    #[arg(long)]
    pub(crate) no_memory: bool,
    /// Prints one JSON object instead of tables
    #[arg(long)]
    pub(crate) json: bool,
    /// Only serves, until standard input ends; prints the port first
    #[arg(long, value_name = "SIDE")]
    pub(crate) serve: Option<Side>,
    /// Comes from `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number")?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("not a time that can be measured for".to_owned()),
    }
}
