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

/// How long a server that has ended waits for a standard error, and then for a standard output,
/// that does not accept anything.
const STALLED_FOR: Duration = Duration::from_secs(1);

/// Starts the log. `default` holds if neither option nor environment set a level. Called once, by a
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
        // They would bypass the queue, and panic if they could not be written.
        .log_internal_errors(false)
        .init();
    Ok(())
}

/// Ends the log of a server. If standard error cannot say that lines were lost, standard output
/// does.
pub(crate) fn end() {
    let lost = stderr::end(STALLED_FOR);
    if lost == 0 {
        return;
    }
    let line = format!("{lost} log lines were dropped: standard error does not take them\n");
    let told = async {
        // Without both, it cannot be reported at all.
        let _ = output::print(line.into_bytes()).await;
    };
    let stalled = async {
        Timer::after(STALLED_FOR).await;
    };
    smol::block_on(or(told, stalled));
}
