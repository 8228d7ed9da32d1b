//! Signals that end a command.

use std::io;

use async_signal::{Signal, Signals};
use smol::stream::StreamExt as _;

/// The signals that ask a program to end.
#[cfg(unix)]
const SIGNALS: &[Signal] = &[Signal::Int, Signal::Term];
#[cfg(not(unix))]
const SIGNALS: &[Signal] = &[Signal::Int];

/// Catches SIGINT and SIGTERM, from its creation until it is dropped.
#[derive(Debug)]
pub(crate) struct Stop {
    signals: Signals,
}

impl Stop {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { signals: Signals::new(SIGNALS)? })
    }

    /// Waits for the next signal, and returns the exit code of a process that it ends.
    pub(crate) async fn next(&mut self) -> io::Result<u8> {
        match self.signals.next().await {
            Some(signal) => signal.map(exit_code),
            // The stream of signals has no end.
            None => std::future::pending().await,
        }
    }
}

/// What shells report for a program that a signal ended: 128 plus its number.
const fn exit_code(signal: Signal) -> u8 {
    match signal {
        Signal::Int => 130,
        _ => 143,
    }
}
