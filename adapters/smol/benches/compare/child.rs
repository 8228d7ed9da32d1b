//! The two servers, each in a process of its own.

use std::io;

use super::process::Process;

/// The two servers that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Side {
    /// A WebSocket echo.
    Bare,
    /// A WebWire echo.
    Webwire,
}

impl Side {
    const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Webwire => "webwire",
        }
    }
}

/// Starts a server. The read buffer, in bytes, is that of the bare echo; the other has its own.
pub(crate) fn start(side: Side, read_buffer: u32) -> io::Result<Process> {
    let read_buffer = read_buffer.to_string();
    Process::start(&["--serve", side.name(), "--read-buffer", &read_buffer])
}
