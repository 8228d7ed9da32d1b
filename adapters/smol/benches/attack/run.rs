//! What the program does.

use std::error::Error;
use std::process::ExitCode;

use super::args::Args;
use super::attacks::ATTACKS;
use super::measure::measure;
use super::sockets::limit_files;
use super::start::start;
use super::{report, server};

/// Files that are open besides the connections of crowds.
const OTHER_FILES: u64 = 500;

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    start(|| {
        let args = Args::read();
        match args.serve {
            Some(files) => server::serve(files).map(|()| ExitCode::SUCCESS),
            None => attack(args),
        }
    })
}

fn attack(mut args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let possible = limit_files(None).saturating_sub(OTHER_FILES);
    if u64::from(args.connections) > possible {
        eprintln!("crowds of {possible}: the limit of open files allows no more");
        args.connections = u32::try_from(possible)?;
    }
    let mut costs = Vec::new();
    for attack in ATTACKS.iter().filter(|attack| args.include(attack.name)) {
        eprintln!("{}", attack.name);
        costs.push(measure(attack, &args)?);
    }
    if args.json {
        report::print_json(&costs);
    } else {
        report::print(&costs);
    }
    let well = costs.iter().all(|cost| cost.broken.is_empty());
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
