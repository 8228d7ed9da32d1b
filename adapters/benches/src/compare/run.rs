//! What the program does.

use std::process::ExitCode;

use super::args::Args;
use super::measure::{self, CASES};
use super::memory::{self, IDLE};
use super::report::Report;
use crate::support::host::Failure;
use crate::support::start::start;

/// Compares WebWire with bare WebSockets and JSON-RPC.
pub fn main() -> ExitCode {
    start(|| {
        let args = Args::read();
        match args.serve {
            Some(system) => system.serve(&args)?,
            None => compare(&args)?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn compare(args: &Args) -> Result<(), Failure> {
    let systems = args.systems();
    let mut comparisons = Vec::new();
    for case in CASES.iter().filter(|case| args.include(case.name)) {
        comparisons.push(measure::compare(case, &systems, args)?);
    }
    let mut memory = Vec::new();
    if args.include(IDLE) {
        for system in &systems {
            eprintln!("memory of idle connections: {}", system.name());
            memory.push(memory::measure(*system, args)?);
        }
    }
    let report = Report { systems, comparisons, memory };
    if args.common.json {
        report.print_json(args);
    } else {
        report.print(args);
    }
    Ok(())
}
