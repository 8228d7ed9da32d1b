//! The options of the program.

use std::time::Duration;

use clap::Parser;
use clap::builder::PossibleValuesParser;

use super::attacks::ATTACKS;
use crate::support::args::{Common, is_chosen, seconds};
use crate::support::host::Host;

/// Attacks on a WebWire server, and what they cost it.
#[derive(Debug, Parser)]
#[command(name = "attack", bin_name = "attack")]
pub(crate) struct Args {
    /// Only this attack; may be repeated
    #[arg(long = "case", value_name = "NAME", value_parser = PossibleValuesParser::new(names()))]
    cases: Vec<String>,
    /// How long each attack lasts
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// How many connections the attacks have that come in crowds
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(100..))]
    pub(crate) connections: u32,
    /// The runtime of the server; `multi_thread` of tokio has one thread
    #[arg(long, value_name = "NAME", default_value = "smol")]
    pub(crate) runtime: Host,
    /// Only serves, with this many files open at most (0: as many as may be), until standard input
    /// ends; prints the port first
    #[arg(long, value_name = "FILES")]
    pub(crate) serve: Option<u64>,
    #[command(flatten)]
    pub(crate) common: Common,
}

impl Args {
    /// The options given.
    pub(crate) fn read() -> Self {
        let mut args = Self::parse();
        if args.common.test {
            (args.seconds, args.connections) = (Duration::from_millis(100), 100);
        }
        args
    }

    /// Whether to run the attack of that name.
    pub(crate) fn include(&self, name: &str) -> bool {
        is_chosen(&self.cases, &name.to_owned())
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    ATTACKS.iter().map(|attack| attack.name)
}
