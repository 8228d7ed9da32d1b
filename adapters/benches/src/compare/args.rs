//! The options of the program.

use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Parser, ValueEnum};

use super::measure::CASES;
use super::memory::IDLE;
use super::system::System;
use crate::support::args::{Common, is_chosen, seconds};

/// Compares echoes: WebWire, bare WebSockets, JSON-RPC.
#[derive(Debug, Parser)]
#[command(name = "compare", bin_name = "compare")]
pub(crate) struct Args {
    /// How long each server is measured in each run
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// How many times each server is measured; the median counts
    #[arg(long, value_name = "NUMBER", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,
    /// Only this load, or only the memory of idle connections; may be repeated
    #[arg(long = "case", value_name = "NAME", value_parser = PossibleValuesParser::new(names()))]
    cases: Vec<String>,
    /// Only this server, and the bare echo that it is compared with; may be repeated
    #[arg(long = "system", value_name = "NAME")]
    systems: Vec<System>,
    /// How many worker threads servers on tokio's `multi_thread` have
    #[arg(long, value_name = "NUMBER", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) workers: u32,
    /// How many idle connections the memory is measured with
    #[arg(long, value_name = "NUMBER", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: u32,
    /// How many bytes a bare echo reads at a time under load; the default is what the WebWire
    /// server does
    #[arg(long, value_name = "BYTES", default_value_t = 8 * 1024,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) read_buffer: u32,
    /// Only serves, until standard input ends; prints the port first
    #[arg(long, value_name = "NAME", hide_possible_values = true)]
    pub(crate) serve: Option<System>,
    #[command(flatten)]
    pub(crate) common: Common,
}

impl Args {
    /// The options given.
    pub(crate) fn read() -> Self {
        let mut args = Self::parse();
        if args.common.test {
            (args.seconds, args.runs, args.connections) = (Duration::from_millis(1), 1, 10);
        }
        args
    }

    /// Whether to measure the case of that name.
    pub(crate) fn include(&self, name: &str) -> bool {
        is_chosen(&self.cases, &name.to_owned())
    }

    /// The servers to measure.
    pub(crate) fn systems(&self) -> Vec<System> {
        let is_needed = |system: &System| {
            is_chosen(&self.systems, system)
                || self.systems.iter().any(|chosen| chosen.yardstick() == *system)
        };
        System::value_variants().iter().copied().filter(is_needed).collect()
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    CASES.iter().map(|case| case.name).chain([IDLE])
}
