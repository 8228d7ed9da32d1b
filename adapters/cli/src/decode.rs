//! `wwr decode`: bytes to objects, or to a description.

use std::io::{self, BufWriter, Write, stderr, stdout};
use std::process::ExitCode;

use wwr::{Dialect, wire};

use crate::FAILED;
use crate::args::{DecodeArguments, Protocol};
use crate::blocking::Blocking;
use crate::dissect::dissect;
use crate::hex::{self, NotHex};
use crate::input::for_each_line;
use crate::output::write_row;
use crate::row::Row;

pub(crate) fn run(arguments: &DecodeArguments) -> io::Result<ExitCode> {
    let form = if arguments.json { Form::Object } else { Form::Dissection };
    let plain: Box<dyn Write> = match form {
        Form::Object => Box::new(Blocking(stdout().lock())),
        Form::Dissection => Box::new(Blocking(anstream::stdout().lock())),
    };
    let mut out = BufWriter::with_capacity(64 * 1024, plain);
    let mut decoder = Decoder { protocol: arguments.protocol, form, all_hex: true };
    if arguments.messages.is_empty() {
        for_each_line(&mut out, |out, number, line| decoder.decode(out, "line", number, line))?;
    } else {
        for (number, message) in (1..).zip(&arguments.messages) {
            decoder.decode(&mut out, "argument", number, message.as_bytes())?;
        }
        out.flush()?;
    }
    Ok(if decoder.all_hex { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// The form of the output.
#[derive(Clone, Copy)]
enum Form {
    /// For programs.
    Object,
    /// For people.
    Dissection,
}

struct Decoder {
    protocol: Protocol,
    form: Form,
    /// Whether no input was hexadecimal so far.
    all_hex: bool,
}

impl Decoder {
    fn decode(
        &mut self,
        out: &mut impl Write,
        source: &str,
        number: u64,
        text: &[u8],
    ) -> io::Result<()> {
        let frame = match hex::parse(text) {
            Ok(frame) => frame,
            Err(error) => return self.not_hex(out, source, number, &error),
        };
        let decoded = wire::decode(Dialect::from(self.protocol), frame.clone());
        match self.form {
            Form::Object => write_row(out, &Row::new(frame.first().copied(), decoded)),
            Form::Dissection => dissect(out, number, &frame, &decoded),
        }
    }

    /// Reports an error on standard error, and keeps one object a line for programs.
    fn not_hex(
        &mut self,
        out: &mut impl Write,
        source: &str,
        number: u64,
        error: &NotHex,
    ) -> io::Result<()> {
        self.all_hex = false;
        // Without standard error, the exit code still shows the error.
        let _ = writeln!(stderr(), "wwr decode: {source} {number}: {error}");
        match self.form {
            Form::Object => write_row(out, &Row::not_hex(error)),
            Form::Dissection => Ok(()),
        }
    }
}
