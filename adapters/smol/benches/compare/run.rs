//! What the program does.

use std::error::Error;
use std::process::ExitCode;

use super::args::Args;
use super::case::{CASES, IDLE};
use super::child::Side;
use super::report::Report;
use super::start::start;
use super::{bare, measure, memory, process, webwire};

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    start(|| {
        let args = Args::read();
        match args.serve {
            Some(side) => serve(side, &args)?,
            None => compare(&args)?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn serve(side: Side, args: &Args) -> Result<(), Box<dyn Error>> {
    process::end_with_parent();
    match side {
        Side::Bare => Ok(bare::serve(args.read_buffer as usize)?),
        Side::Webwire => webwire::serve(),
    }
}

fn compare(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut comparisons = Vec::new();
    for case in CASES.iter().filter(|case| args.include(case.name)) {
        comparisons.push(measure::compare(case, args)?);
    }
    let memory = match args.include(IDLE) {
        false => None,
        true => {
            eprintln!("memory of idle connections");
            let bare = memory::measure(Side::Bare, args.connections)?;
            Some([bare, memory::measure(Side::Webwire, args.connections)?])
        }
    };
    let report = Report { comparisons, memory };
    if args.json {
        report.print_json(args);
    } else {
        report.print(args);
    }
    Ok(())
}
