//! What the program does.

use std::process::ExitCode;

use super::args::Args;
use super::attacks::ATTACKS;
use super::measure::measure;
use super::{app, report};
use crate::support::host::Failure;
use crate::support::sockets::limit_files;
use crate::support::start::start;

/// Files that are open besides the connections of crowds.
const OTHER_FILES: u64 = 500;

/// Measures what attacks cost.
pub fn main() -> ExitCode {
    start(|| {
        let args = Args::read();
        match args.serve {
            Some(files) => app::serve(files, &args).map(|()| ExitCode::SUCCESS),
            None => attack(args),
        }
    })
}

fn attack(mut args: Args) -> Result<ExitCode, Failure> {
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
    if args.common.json {
        report::print_json(&costs);
    } else {
        report::print(&costs);
    }
    let well = costs.iter().all(|cost| cost.broken.is_empty());
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
