//! Standard error: logs and messages, which hold nothing up and end nothing, whoever reads them.

use core::time::Duration;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::OnceLock;
use std::thread;

use tracing_subscriber::fmt::MakeWriter;

use crate::lines::Lines;
use crate::patient::Patient;
use crate::text::visible;

/// How many bytes of lines may wait to be written, beside what a pipe holds.
const MOST: usize = 128 * 1024;

static LINES: Lines = Lines::new(MOST);

/// Says something about a command, such as why it fails. Does not wait for it to be read.
pub(crate) fn say(line: &str) {
    add(format!("{line}\n").into_bytes(), Lines::add_for_sure);
}

fn add(text: Vec<u8>, by: impl Fn(&Lines, Vec<u8>)) {
    if has_writer() {
        by(&LINES, text);
    } else {
        // The system has no thread to spare. It may have to be waited for, then.
        let _ = Patient(io::stderr()).write_all(&text);
    }
}

/// Whether there is a thread that writes; starts it the first time.
fn has_writer() -> bool {
    static WRITER: OnceLock<bool> = OnceLock::new();
    *WRITER.get_or_init(|| {
        let writer = thread::Builder::new().name("stderr".into());
        writer.spawn(|| LINES.write_to(&mut Patient(io::stderr()))).is_ok()
    })
}

/// Where log lines go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = match core::str::from_utf8(bytes) {
            Ok(text) => visible(text).into_owned().into_bytes(),
            Err(_) => bytes.to_vec(),
        };
        add(line, Lines::add);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

/// Waits until all was read, but no longer than `stalled_for` once nothing is read any more. Gives
/// the number of lines that were lost without a word about them.
pub(crate) fn end(stalled_for: Duration) -> u64 {
    LINES.end(stalled_for, stalled_for.saturating_mul(10))
}

/// While it lives, panics are told as everything else is: what Rust does by itself waits for a
/// standard error that nobody reads. When it goes, what was said is written.
#[derive(Debug)]
pub(crate) struct Guard(());

/// How long a command that is done waits for a standard error that takes nothing.
const STALLED_FOR: Duration = Duration::from_millis(300);

impl Guard {
    pub(crate) fn new() -> Self {
        panic::set_hook(Box::new(tell_of_panic));
        Self(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Where it could be told how many lines were lost, it was.
        let _ = end(STALLED_FOR);
    }
}

fn tell_of_panic(info: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let mut text = format!("wwr: thread '{}' {info}\n", thread.name().unwrap_or("<unnamed>"));
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        text.push_str(&format!("{backtrace}\n"));
    }
    // There may be many of them.
    add(text.into_bytes(), Lines::add);
}
