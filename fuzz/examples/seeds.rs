//! Writes the messages of the vectors to the corpus of the target `decode`.
//!
//! `cargo run --example seeds`, in this folder.

use std::error::Error;
use std::fs;
use std::path::Path;

use data_encoding::HEXLOWER;
use serde_json::Value;

/// Longer messages are the same as shorter ones and only slow the fuzzer down.
const LONGEST: usize = 512;

/// The files, each with the byte that makes the target read them in their dialect.
const FILES: [(&str, u8); 2] = [("parse-1.4", 0), ("parse-2.0", 2)];

fn main() -> Result<(), Box<dyn Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = here.join("corpus/decode");
    fs::create_dir_all(&corpus)?;
    let mut seeds = 0;
    for (file, dialect) in FILES {
        let rows = fs::read_to_string(here.join(format!("../tests/vectors/{file}.jsonl")))?;
        for (number, line) in rows.lines().enumerate() {
            let row: Value = serde_json::from_str(line)?;
            let message = HEXLOWER.decode(row["hex"].as_str().unwrap_or_default().as_bytes())?;
            if message.len() <= LONGEST {
                let seed = [&[dialect][..], &message].concat();
                fs::write(corpus.join(format!("{file}-{number:04}")), seed)?;
                seeds += 1;
            }
        }
    }
    println!("{seeds} seeds in {}", corpus.display());
    Ok(())
}
