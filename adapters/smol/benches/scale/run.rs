//! What the program does.

use std::error::Error;
use std::process::ExitCode;

use rustix::process::{Resource, getrlimit, setrlimit};

use super::args::{Args, Case};
use super::{app, broadcast, idle, process, report, restore, session, storm};

/// Files that are open besides the connections.
const OTHER_FILES: u64 = 200;

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    // `cargo test --benches` starts this too, without the flag that `cargo bench` gives.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("skipped: this measures, which is for cargo bench");
        return ExitCode::SUCCESS;
    }
    let args = Args::read();
    let result = match args.serve {
        Some(port) => serve(port, &args),
        None => measure(args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(port: u16, args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    process::end_with_parent();
    raise_file_limit();
    app::serve(port, args)?;
    Ok(ExitCode::SUCCESS)
}

fn measure(mut args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let possible = raise_file_limit().saturating_sub(OTHER_FILES);
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
    if args.json {
        report::print_json(&outcomes);
    } else {
        report::print(&outcomes);
    }
    let well = outcomes.iter().all(|outcome| outcome.broken.is_empty());
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Lets this process open as many files as it may: each connection is one. How many that are.
fn raise_file_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If it stays as it is, fewer connections are possible.
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
