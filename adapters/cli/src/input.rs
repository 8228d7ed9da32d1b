//! Standard input, line by line.

use std::io::{self, BufRead, BufReader, Read, Write, stdin};

use crate::blocking::Blocking;
use crate::content::MOST_PAYLOAD;

/// The longest line, in bytes: the longest payload in hexadecimal digits, and everything around it.
const MOST_LINE: u64 = 2 * MOST_PAYLOAD + 1024 * 1024;

/// Passes every line of standard input to `handle`, with its number, counted from 1.
///
/// `out` is flushed whenever no more input has been read yet: output keeps up with a live source,
/// and a whole file is still written in large pieces. Lines may hold any bytes.
pub(crate) fn for_each_line<W: Write>(
    out: &mut W,
    handle: impl FnMut(&mut W, u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    for_each_line_of(Blocking(stdin().lock()), MOST_LINE, out, handle)
}

fn for_each_line_of<W: Write>(
    input: impl Read,
    most: u64,
    out: &mut W,
    mut handle: impl FnMut(&mut W, u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut input = BufReader::with_capacity(64 * 1024, input);
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        if input.buffer().is_empty() {
            out.flush()?;
        }
        line.clear();
        // One more byte for the line feed, which may be missing.
        if (&mut input).take(most.saturating_add(1)).read_until(b'\n', &mut line)? == 0 {
            return out.flush();
        }
        number += 1;
        if line.len() as u64 > most && !line.ends_with(b"\n") {
            out.flush()?;
            let what = format!("line {number} of standard input is longer than {most} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        handle(out, number, line.strip_suffix(b"\n").unwrap_or(&line))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let mut lines = Vec::new();
        for_each_line_of(input, 10, &mut io::sink(), |_, number, line| {
            lines.push((number, line.to_vec()));
            Ok(())
        })
        .unwrap();
        lines
    }

    #[test]
    fn a_line_ends_with_a_newline_or_with_the_input() {
        assert_eq!(lines(b""), []);
        assert_eq!(lines(b"\n"), [(1, b"".to_vec())]);
        assert_eq!(lines(b"a\n\nb\xff"), [(1, b"a".into()), (2, b"".into()), (3, b"b\xff".into())]);
    }

    #[test]
    fn a_line_without_end_is_not_waited_for() {
        let check = |input: &[u8]| {
            let mut seen = 0;
            let read = for_each_line_of(input, 3, &mut io::sink(), |_, _, _| {
                seen += 1;
                Ok(())
            });
            (seen, read.map_err(|error| error.to_string()))
        };
        assert_eq!(check(b"abc\nabc"), (2, Ok(())));
        let error = "line 2 of standard input is longer than 3 bytes".to_owned();
        assert_eq!(check(b"abc\nabcd\n"), (1, Err(error.clone())));
        assert_eq!(check(b"abc\nabcde"), (1, Err(error)));
    }

    /// Returns one line a read, as a terminal does.
    struct Slow(Vec<&'static [u8]>);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(piece) = self.0.pop() else { return Ok(0) };
            buffer[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    /// Counts the lines seen before each flush.
    #[derive(Default)]
    struct Flushes(Vec<u64>, u64);

    impl Write for Flushes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 += 1;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.push(self.1);
            Ok(())
        }
    }

    #[test]
    fn output_keeps_up_with_a_live_source() {
        let mut out = Flushes::default();
        for_each_line_of(Slow(vec![b"d\n", b"b\nc\n", b"a\n"]), 10, &mut out, |out, _, line| {
            out.write_all(line)
        })
        .unwrap();
        assert_eq!(out.0, [0, 1, 3, 4, 4]);
    }
}
