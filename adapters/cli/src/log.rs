//! Logs on standard error.

use core::time::Duration;
use std::io::{self, stderr};

use anstream::{AutoStream, ColorChoice};
use smol::Timer;
use smol::future::or;
use tracing::level_filters::LevelFilter;

use crate::args::{LogArguments, LogLevel};
use crate::stderr::{self, Log};
use crate::{environment, output};

/// How long a server that is done waits for a standard error, and then for a standard output, that
/// takes nothing.
const STALLED_FOR: Duration = Duration::from_secs(1);

/// Begins to log; `default` holds if neither option nor environment say how much. Called once, by a
/// command.
pub(crate) fn start(arguments: &LogArguments, default: LogLevel) -> io::Result<()> {
    let level = match arguments.log {
        Some(level) => level,
        None => environment::log_level()?.unwrap_or(default),
    };
    let coloured = AutoStream::choice(&stderr()) != ColorChoice::Never;
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from(level))
        .with_writer(Log)
        .with_ansi(coloured)
        // They would be written past the queue, and a failure to do so is a panic.
        .log_internal_errors(false)
        .init();
    Ok(())
}

/// Ends the log of a server. Lines that were lost are told of on standard output, if they cannot be
/// told of on standard error.
pub(crate) fn end() {
    let lost = stderr::end(STALLED_FOR);
    if lost == 0 {
        return;
    }
    let line = format!("{lost} log lines were dropped: standard error does not take them\n");
    let told = async {
        // Then it cannot be told at all.
        let _ = output::print(line.into_bytes()).await;
    };
    let stalled = async {
        Timer::after(STALLED_FOR).await;
    };
    smol::block_on(or(told, stalled));
}
