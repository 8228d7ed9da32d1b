//! `wwr encode`: objects to bytes.

use std::io::{self, BufWriter, Write, stdout};
use std::process::ExitCode;

use data_encoding::HEXLOWER;
use wwr::Dialect;
use wwr::wire::Encoder;

use crate::args::EncodeArguments;
use crate::input::for_each_line;
use crate::row::{Refusal, Row};

/// Some line could not be composed.
const REFUSED: u8 = 1;

pub(crate) fn run(arguments: &EncodeArguments) -> io::Result<ExitCode> {
    let dialect = Dialect::from(arguments.protocol);
    let mut encoder = Encoder::new();
    let mut all_composed = true;
    let mut out = BufWriter::with_capacity(64 * 1024, stdout().lock());
    for_each_line(&mut out, |out, _, line| {
        let composed = serde_json::from_slice::<Row>(line)
            .map_err(Refusal::from)
            .and_then(|row| row.encode(dialect, &mut encoder));
        match composed {
            Ok(frame) => writeln!(out, "{}", HEXLOWER.encode(&frame)),
            Err(refusal) => {
                all_composed = false;
                writeln!(out, "refused: {}", one_line(&refusal))
            }
        }
    })?;
    Ok(if all_composed { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

/// A reason may repeat parts of the input: what could break the line or move a terminal's cursor is
/// escaped.
fn one_line(refusal: &Refusal) -> String {
    let mut line = String::new();
    for character in refusal.to_string().chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}
