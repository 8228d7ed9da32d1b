//! `wwr encode`: objects to bytes.

use std::io::{self, BufWriter, Write, stdout};
use std::process::ExitCode;

use data_encoding::HEXLOWER;
use wwr::Dialect;
use wwr::wire::Encoder;

use crate::args::EncodeArguments;
use crate::blocking::Blocking;
use crate::input::for_each_line;
use crate::row::{Refusal, Row};
use crate::text::one_line;

/// A line could not be composed.
const REFUSED: u8 = 1;

pub(crate) fn run(arguments: &EncodeArguments) -> io::Result<ExitCode> {
    let dialect = Dialect::from(arguments.protocol);
    let mut encoder = Encoder::new();
    let mut all_composed = true;
    let mut out = BufWriter::with_capacity(64 * 1024, Blocking(stdout().lock()));
    for_each_line(&mut out, |out, _, line| {
        let composed = serde_json::from_slice::<Row>(line)
            .map_err(Refusal::from)
            .and_then(|row| row.encode(dialect, &mut encoder));
        match composed {
            Ok(frame) => writeln!(out, "{}", HEXLOWER.encode(&frame)),
            Err(refusal) => {
                all_composed = false;
                writeln!(out, "refused: {}", one_line(&refusal.to_string()))
            }
        }
    })?;
    Ok(if all_composed { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}
