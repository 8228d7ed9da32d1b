//! The options of the program.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::support::args::{Common, is_chosen, milliseconds};
use crate::support::host::Host;

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Case {
    /// Connections that are open and do nothing, and a shutdown with all of them.
    Idle,
    /// Clients that come and go without end.
    Storm,
    /// One session shared by a tenth of the connections.
    Session,
    /// One signal to all connections.
    Broadcast,
    /// Clients that all come back with their sessions after the server was killed.
    Restore,
}

/// Thousands of connections at one WebWire server.
#[derive(Debug, Parser)]
#[command(name = "scale", bin_name = "scale")]
pub(crate) struct Args {
    /// Only this; may be repeated
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<Case>,
    /// How many connections are open at once
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(10..))]
    pub(crate) connections: u32,
    /// How often clients come and go in the storm
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000_000,
          value_parser = clap::value_parser!(u32).range(100..))]
    pub(crate) cycles: u32,
    /// How many signals are broadcast
    #[arg(long, value_name = "NUMBER", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// How many threads the clients of the storm run on
    #[arg(long, value_name = "NUMBER", default_value_t = 4,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) threads: u32,
    /// For how long the server is gone before clients can restore their sessions
    #[arg(long, value_name = "MILLISECONDS", default_value = "1000", value_parser = milliseconds)]
    pub(crate) downtime: Duration,
    /// By how many KiB the resident memory of the server may have grown when a storm is over
    #[arg(long, value_name = "KIB", default_value_t = 4096)]
    pub(crate) growth: u32,
    /// The runtime of the server; `multi_thread` of tokio has one thread
    #[arg(long, value_name = "NAME", default_value = "smol")]
    pub(crate) runtime: Host,
    /// Only serves on this port, until standard input ends; prints the port first
    #[arg(long, value_name = "PORT")]
    pub(crate) serve: Option<u16>,
    /// Where the server keeps its sessions; in memory if this is not given
    #[arg(long, value_name = "DIRECTORY", requires = "serve")]
    pub(crate) store: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) common: Common,
}

impl Args {
    /// The options given.
    pub(crate) fn read() -> Self {
        let mut args = Self::parse();
        if args.common.test {
            (args.connections, args.cycles, args.rounds) = (200, 1000, 3);
        }
        args
    }

    /// Whether to run this.
    pub(crate) fn include(&self, case: Case) -> bool {
        is_chosen(&self.cases, &case)
    }
}
