//! The two servers, each in a process of its own.

use std::io;
use std::ops::Deref;

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

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    side: Side,
    process: Process,
}

impl Server {
    /// Starts it. The read buffer, in bytes, is that of the bare echo; the other has its own.
    pub(crate) fn start(side: Side, read_buffer: u32) -> io::Result<Self> {
        let read_buffer = read_buffer.to_string();
        let arguments = ["--serve", side.name(), "--read-buffer", &read_buffer];
        Ok(Self { side, process: Process::start(&arguments)? })
    }

    pub(crate) const fn side(&self) -> Side {
        self.side
    }
}

impl Deref for Server {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}
