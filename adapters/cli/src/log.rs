//! Logs on standard error.

use std::io::stderr;

use anstream::{AutoStream, ColorChoice};
use tracing::level_filters::LevelFilter;

use crate::args::{LogArguments, LogLevel};

/// Begins to log; `default` holds if the user does not say how much. Called once, by a command.
pub(crate) fn start(arguments: &LogArguments, default: LogLevel) {
    let level = LevelFilter::from(arguments.log.unwrap_or(default));
    let coloured = AutoStream::choice(&stderr()) != ColorChoice::Never;
    tracing_subscriber::fmt().with_max_level(level).with_writer(stderr).with_ansi(coloured).init();
}
