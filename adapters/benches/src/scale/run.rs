//! What the program does.

use std::process::ExitCode;

use super::args::{Args, Case};
use super::{app, broadcast, idle, report, restore, session, storm};
use crate::support::host::Failure;
use crate::support::process;
use crate::support::sockets::limit_files;
use crate::support::start::start;

/// Files that are open besides the connections.
const OTHER_FILES: u64 = 200;

/// Measures a server with very many connections.
pub fn main() -> ExitCode {
    start(|| {
        let args = Args::read();
        match args.serve {
            Some(port) => serve(port, &args),
            None => measure(args),
        }
    })
}

fn serve(port: u16, args: &Args) -> Result<ExitCode, Failure> {
    process::end_with_parent();
    limit_files(None);
    app::serve(port, args)?;
    Ok(ExitCode::SUCCESS)
}

fn measure(mut args: Args) -> Result<ExitCode, Failure> {
    let possible = limit_files(None).saturating_sub(OTHER_FILES);
    if u64::from(args.connections) > possible {
        eprintln!("{possible} connections instead: the limit of open files allows no more");
        args.connections = u32::try_from(possible)?;
    }
    let mut outcomes = Vec::new();
    for case in [Case::Idle, Case::Storm, Case::Session, Case::Broadcast, Case::Restore] {
        if !args.include(case) {
            continue;
        }
        eprintln!("{case:?}");
        outcomes.push(match case {
            Case::Idle => idle::run(&args)?,
            Case::Storm => storm::run(&args)?,
            Case::Session => session::run(&args)?,
            Case::Broadcast => broadcast::run(&args)?,
            Case::Restore => restore::run(&args)?,
        });
    }
    if args.common.json {
        report::print_json(&outcomes);
    } else {
        report::print(&outcomes);
    }
    let well = outcomes.iter().all(|outcome| outcome.broken.is_empty());
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
