//! Standard streams in non-blocking mode, which other programs may have set.

use core::time::Duration;
use std::io::{self, ErrorKind, Read, Write};
use std::thread::sleep;

/// How long to wait before trying a stream again that is not ready.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits where a stream in non-blocking mode would fail. A standard stream shares that mode with
/// all programs on the same terminal or pipe, and some of them set it.
#[derive(Debug)]
pub(crate) struct Blocking<S>(pub(crate) S);

fn patiently<T>(mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match work() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(PAUSE),
            result => return result,
        }
    }
}

impl<W: Write> Write for Blocking<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        patiently(|| self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        patiently(|| self.0.flush())
    }
}

impl<R: Read> Read for Blocking<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        patiently(|| self.0.read(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Is not ready, every other time.
    struct Busy(bool);

    impl Read for Busy {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            self.0 = !self.0;
            if self.0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(bytes.len()) }
        }
    }

    impl Write for Busy {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = !self.0;
            if self.0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(bytes.len().min(2)) }
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0 = !self.0;
            if self.0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
        }
    }

    #[test]
    fn a_stream_that_is_not_ready_is_waited_for() {
        let mut stream = Blocking(Busy(false));
        stream.write_all(b"hello").unwrap();
        stream.flush().unwrap();
        stream.read_exact(&mut [0; 3]).unwrap();
    }
}
