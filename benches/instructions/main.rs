//! How many instructions the machines take for one message, counted by callgrind.
//!
//! Unlike times, these numbers are the same again on a busy machine, so that a change of a few
//! percent can be told. They say nothing about caches and the kernel.
//!
//! ```text
//! cargo bench --bench instructions
//! cargo bench --bench instructions -- --save before.json
//! cargo bench --bench instructions -- --baseline before.json
//! ```

mod callgrind;
mod operations;
mod report;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use operations::OPERATIONS;
use report::Counts;

/// Counts the instructions that the machines take for one message.
#[derive(Debug, Parser)]
#[command(name = "instructions", bin_name = "instructions")]
struct Args {
    /// Only operations with this in their names
    filter: Option<String>,
    /// Writes the counts to a file
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Compares with the counts in a file
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Does one operation again and again, to be run under callgrind
    #[arg(long, value_name = "NAME")]
    run: Option<String>,
    /// Only shows that it works: does each operation once, without counting
    #[arg(long)]
    test: bool,
    /// Comes from `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    // `cargo test --benches` starts this too, without the flag that `cargo bench` passes.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("skipped: this measures, which is for cargo bench");
        return ExitCode::SUCCESS;
    }
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    if let Some(name) = &args.run {
        let operation = OPERATIONS.iter().find(|operation| operation.name == name);
        callgrind::repeat(operation.ok_or("there is no such operation")?);
        return Ok(());
    }
    let filter = args.filter.as_deref().unwrap_or_default();
    let chosen = OPERATIONS.iter().filter(|operation| operation.name.contains(filter));
    if args.test {
        chosen.for_each(|operation| (operation.prepare)()());
        return Ok(());
    }
    if !callgrind::is_there() {
        println!("skipped: valgrind is not installed");
        return Ok(());
    }
    let baseline = args.baseline.as_deref().map(Counts::read).transpose()?;
    let mut counts = Counts::default();
    for operation in chosen {
        eprintln!("{}", operation.name);
        counts.add(operation.name, callgrind::count(operation)?);
    }
    counts.print(baseline.as_ref());
    if let Some(file) = &args.save {
        counts.write(file)?;
    }
    Ok(())
}
