//! Standard error: logs and messages. A slow or missing reader does not hold up the command.

use core::time::Duration;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::OnceLock;
use std::thread;

use tracing_subscriber::fmt::MakeWriter;

use crate::blocking::Blocking;
use crate::lines::Lines;
use crate::settings::with_options;
use crate::text::visible;

/// How many bytes of lines may wait to be written, in addition to what a pipe holds.
const MOST: usize = 128 * 1024;

static LINES: Lines = Lines::new(MOST);

/// Prints a message about the command, for example why it fails. Does not wait for the reader.
pub(crate) fn say(line: &str) {
    add(format!("{line}\n").into_bytes(), Lines::add_for_sure);
}

fn add(text: Vec<u8>, by: impl Fn(&Lines, Vec<u8>)) {
    if has_writer() {
        by(&LINES, text);
    } else {
        // The system has no thread to spare. Then writing may have to wait.
        let _ = Blocking(io::stderr()).write_all(&text);
    }
}

/// Returns whether there is a thread that writes. Starts it the first time.
fn has_writer() -> bool {
    static WRITER: OnceLock<bool> = OnceLock::new();
    *WRITER.get_or_init(|| {
        let writer = thread::Builder::new().name("stderr".into());
        writer.spawn(|| LINES.write_to(&mut Blocking(io::stderr()))).is_ok()
    })
}

/// The writer for log lines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = match core::str::from_utf8(bytes) {
            Ok(text) => visible(&with_options(text)).into_owned().into_bytes(),
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

/// Waits until everything was read, at most for `stalled_for` once nothing is read any more.
/// Returns how many lines were lost without a notice.
pub(crate) fn end(stalled_for: Duration) -> u64 {
    LINES.end(stalled_for, stalled_for.saturating_mul(10))
}

/// While it lives, panics are reported like all other messages: Rust's own report would wait for a
/// standard error that is not read. Dropping it writes the waiting messages.
#[derive(Debug)]
pub(crate) struct Guard(());

/// How long a command that has ended waits for a standard error that does not accept anything.
const STALLED_FOR: Duration = Duration::from_millis(300);

impl Guard {
    pub(crate) fn new() -> Self {
        panic::set_hook(Box::new(tell_of_panic));
        Self(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // The number of lost lines was reported if that was possible.
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
