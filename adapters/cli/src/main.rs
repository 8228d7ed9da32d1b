//! The command `wwr`.

mod args;
mod bench;
mod blocking;
mod check;
mod content;
mod deadline;
mod decode;
mod demo;
mod dissect;
mod encode;
mod environment;
mod failure;
mod files;
mod hex;
mod input;
mod lines;
mod listen;
mod log;
mod output;
mod playground;
mod probe;
mod remote;
mod request;
mod row;
mod runtime;
mod serve;
mod settings;
mod signal;
mod stderr;
mod stop;
mod text;

use std::io::ErrorKind;
use std::process::ExitCode;

use anstream::{AutoStream, ColorChoice};
use clap::Parser as _;

use crate::args::{Arguments, Command};

/// The command failed: wrong arguments, or a file that cannot be read.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let _guard = stderr::Guard::new();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return not_parsed(&error),
    };
    let outcome = match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Request(arguments) => request::run(&arguments),
        Command::Signal(arguments) => signal::run(&arguments),
        Command::Listen(arguments) => listen::run(&arguments),
        Command::Probe(arguments) => probe::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Demo(_) => demo::run(),
        Command::Decode(arguments) => decode::run(&arguments),
        Command::Encode(arguments) => encode::run(&arguments),
    };
    match outcome {
        Ok(code) => code,
        // The reader of the output has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            stderr::say(&format!("wwr: {}", text::one_line(&error.to_string())));
            ExitCode::from(FAILED)
        }
    }
}

/// Prints help that was asked for. Otherwise prints what is wrong with the arguments, on standard
/// error like all messages.
fn not_parsed(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // If standard output is closed, the help was not needed.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.render();
    let text = match AutoStream::choice(&std::io::stderr()) {
        ColorChoice::Never => text.to_string(),
        _ => text.ansi().to_string(),
    };
    stderr::say(&text::visible(text.trim_end()));
    ExitCode::from(FAILED)
}
