//! The command `wwr`.

mod args;
mod bench;
mod content;
mod decode;
mod demo;
mod dissect;
mod encode;
mod failure;
mod files;
mod hex;
mod input;
mod listen;
mod log;
mod playground;
mod probe;
mod remote;
mod request;
mod row;
mod serve;
mod signal;
mod stop;
mod text;

use std::io::{ErrorKind, Write as _, stderr};
use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Arguments, Command};

/// Something outside of the command went wrong: it was called wrongly, a file cannot be read.
const TROUBLE: u8 = 2;

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Request(arguments) => request::run(&arguments),
        Command::Signal(arguments) => signal::run(&arguments),
        Command::Listen(arguments) => listen::run(&arguments),
        Command::Probe(arguments) => probe::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Demo(_) => demo::run(),
        Command::Decode(arguments) => decode::run(&arguments),
        Command::Encode(arguments) => encode::run(&arguments),
    };
    match outcome {
        Ok(code) => code,
        // Whoever read the output has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell it to if this fails too.
            let _ = writeln!(stderr(), "wwr: {error}");
            ExitCode::from(TROUBLE)
        }
    }
}
