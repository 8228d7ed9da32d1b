//! The options of the program.

use std::time::Duration;

use clap::Parser;

use super::place::Place;
use super::runtime::Runtime;
use crate::support::args::{Common, is_chosen, milliseconds};

/// Compares a WebWire client and server on foreign executors with those on smol.
#[derive(Debug, Parser)]
#[command(name = "foreign", bin_name = "foreign")]
pub(crate) struct Args {
    /// How many times each executor is measured
    #[arg(long, value_name = "NUMBER", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,
    /// How many requests a client makes one after another in each run
    #[arg(long, value_name = "NUMBER", default_value_t = 20_000,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) requests: u32,
    /// For how many milliseconds the throughput is measured in each run
    #[arg(long, value_name = "MILLISECONDS", default_value = "200", value_parser = milliseconds)]
    pub(crate) load: Duration,
    /// A request that takes longer than this many milliseconds is a stall
    #[arg(long, value_name = "MILLISECONDS", default_value = "20", value_parser = milliseconds)]
    pub(crate) stall: Duration,
    /// How many times the 99th percentile of smol that of another executor may be
    #[arg(long, value_name = "RATIO", default_value_t = 3.0)]
    pub(crate) most: f64,
    /// Only this executor, and smol to compare it with; may be repeated
    #[arg(long = "executor", value_name = "NAME")]
    executors: Vec<Runtime>,
    /// Which processors client and server may use
    #[arg(long, value_name = "PLACE", default_value = "together")]
    pub(crate) place: Place,
    /// Only serves on this executor, until standard input ends; prints the port first
    #[arg(long, value_name = "NAME")]
    pub(crate) serve: Option<Runtime>,
    /// The processor on which it serves; the system chooses if this is not given
    #[arg(long, value_name = "NUMBER", requires = "serve")]
    pub(crate) processor: Option<usize>,
    #[command(flatten)]
    pub(crate) common: Common,
}

impl Args {
    /// The options given.
    pub(crate) fn read() -> Self {
        let mut args = Self::parse();
        if args.common.test {
            (args.runs, args.requests, args.load) = (1, 100, Duration::from_millis(1));
        }
        args
    }

    /// Whether to measure this executor.
    pub(crate) fn include(&self, runtime: Runtime) -> bool {
        runtime == Runtime::Smol || is_chosen(&self.executors, &runtime)
    }
}
