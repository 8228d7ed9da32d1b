//! The options of the program.

use std::time::Duration;

use clap::Parser;
use clap::builder::PossibleValuesParser;

use super::case::{CASES, IDLE};
use super::child::Side;

/// Compares a WebWire echo with a bare WebSocket echo.
#[derive(Debug, Parser)]
#[command(name = "compare", bin_name = "compare")]
pub(crate) struct Args {
    /// How long each server is measured in each run
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// How many times each server is measured; the median counts
    #[arg(long, value_name = "NUMBER", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,
    /// Only this load, or only the memory of idle connections; may be repeated
    #[arg(long = "case", value_name = "NAME", value_parser = PossibleValuesParser::new(names()))]
    cases: Vec<String>,
    /// How many idle connections the memory is measured with
    #[arg(long, value_name = "NUMBER", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: u32,
    /// How many bytes the bare echo reads at a time under load; the default is what the WebWire
    /// server does
    #[arg(long, value_name = "BYTES", default_value_t = 8 * 1024,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) read_buffer: u32,
    /// Prints one JSON object instead of tables
    #[arg(long)]
    pub(crate) json: bool,
    /// Only serves, until standard input ends; prints the port first
    #[arg(long, value_name = "SIDE")]
    pub(crate) serve: Option<Side>,
    /// Only shows that it works: measures briefly and once
    #[arg(long)]
    test: bool,
    /// Comes from `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    /// The options given.
    pub(crate) fn read() -> Self {
        let mut args = Self::parse();
        if args.test {
            (args.seconds, args.runs, args.connections) = (Duration::from_millis(1), 1, 10);
        }
        args
    }

    /// Whether to measure the case of that name.
    pub(crate) fn include(&self, name: &str) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|case| case == name)
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    CASES.iter().map(|case| case.name).chain([IDLE])
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number")?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("not a time that can be measured for".to_owned()),
    }
}
