//! The options of the program.

use std::time::Duration;

use clap::Parser;
use clap::builder::PossibleValuesParser;

use super::attacks::ATTACKS;

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
    /// Prints one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// Only shows that it works: briefly, with few connections
    #[arg(long)]
    test: bool,
    /// Only serves, with this many files open at most (0: as many as may be), until standard input
    /// ends; prints the port first
    #[arg(long, value_name = "FILES")]
    pub(crate) serve: Option<u64>,
    /// Comes from `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    /// The options given.
    pub(crate) fn read() -> Self {
        let mut args = Self::parse();
        if args.test {
            (args.seconds, args.connections) = (Duration::from_millis(100), 100);
        }
        args
    }

    /// Whether to run the attack of that name.
    pub(crate) fn include(&self, name: &str) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|case| case == name)
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    ATTACKS.iter().map(|attack| attack.name)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number")?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("not a time that can be measured for".to_owned()),
    }
}
