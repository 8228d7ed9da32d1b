//! A queue of lines for a reader that may be slow. Adding a line never waits.
//!
//! Own code, because the non-blocking writer of `tracing-appender` bounds lines and not bytes, does
//! not count what cannot be written, and prints to standard output when it cannot end: that blocks
//! or panics if standard output is not read either.

use core::time::Duration;
use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Lines that wait to be written by one thread. Bounded: lines that do not fit are dropped, and a
/// notice in their place counts them.
#[derive(Debug)]
pub(crate) struct Lines {
    /// How many bytes may wait.
    most: usize,
    state: Mutex<State>,
    /// Notified when there is something to write, or something was written.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Line>,
    bytes: usize,
    /// Whether a line is being written, which is no longer in the queue.
    is_writing: bool,
    /// Whether new lines are dropped until half of the room is free. So one notice covers many
    /// dropped lines.
    is_full: bool,
    /// Dropped lines since the last notice.
    untold: u64,
    dropped: u64,
    /// How many lines the reader accepted or refused.
    written: u64,
    failed: u64,
    /// How many dropped lines a notice at the end counted.
    told_in_all: u64,
    /// Whether the reader accepts nothing any more.
    is_given_up: bool,
}

#[derive(Debug)]
struct Line {
    text: Vec<u8>,
    /// Whether the line is a notice.
    is_notice: bool,
}

impl Lines {
    /// Creates a queue with room for this many bytes.
    pub(crate) const fn new(most: usize) -> Self {
        Self {
            most,
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                bytes: 0,
                is_writing: false,
                is_full: false,
                untold: 0,
                dropped: 0,
                written: 0,
                failed: 0,
                told_in_all: 0,
                is_given_up: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Adds a line that may be dropped. It ends with a line feed.
    pub(crate) fn add(&self, text: Vec<u8>) {
        let mut state = self.lock();
        if state.is_full && state.bytes <= self.most / 2 {
            state.is_full = false;
        }
        if state.is_full || state.bytes.saturating_add(text.len()) > self.most {
            state.is_full = true;
            state.untold += 1;
            state.dropped += 1;
            return;
        }
        state.tell_of_dropped();
        state.push(text, false);
        self.changed.notify_all();
    }

    /// Adds a line that is not dropped, for example the reason why a command fails.
    pub(crate) fn add_for_sure(&self, text: Vec<u8>) {
        let mut state = self.lock();
        state.tell_of_dropped();
        state.push(text, false);
        self.changed.notify_all();
    }

    /// Writes lines as they come, without end. Counts lines that cannot be written.
    pub(crate) fn write_to(&self, out: &mut impl Write) -> ! {
        let mut state = self.lock();
        loop {
            let Some(line) = state.waiting.pop_front() else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.bytes -= line.text.len();
            state.is_writing = true;
            drop(state);
            let result = out.write_all(&line.text).and_then(|()| out.flush());
            state = self.lock();
            state.is_writing = false;
            match result {
                Ok(()) => state.written += 1,
                Err(_) if line.is_notice => {}
                Err(_) => state.failed += 1,
            }
            self.changed.notify_all();
        }
    }

    /// Waits until everything is written, as long as lines are still accepted in time, and at most
    /// for `most`. Then writes how many lines were dropped. Returns how many lines were lost
    /// without a notice.
    pub(crate) fn end(&self, stalled_for: Duration, most: Duration) -> u64 {
        let mut state = self.lock();
        if state.dropped > state.told_in_all {
            state.untold = 0;
            state.told_in_all = state.dropped;
            let all = state.dropped;
            let notice = format!("wwr: {all} log lines were dropped in all: {WHY}\n");
            state.push(notice.into_bytes(), true);
            self.changed.notify_all();
        }
        let begun = Instant::now();
        while !state.is_drained() && !state.is_given_up {
            let left = most.saturating_sub(begun.elapsed()).min(stalled_for);
            let before = state.written + state.failed;
            let waited = self.changed.wait_timeout(state, left);
            let (now, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = now;
            // The next call need not wait again.
            state.is_given_up = timeout.timed_out()
                && state.written + state.failed == before
                && !state.is_drained();
        }
        if state.is_drained() { state.failed } else { state.lost() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why lines are dropped.
const WHY: &str = "standard error is read too slowly";

impl State {
    fn tell_of_dropped(&mut self) {
        if self.untold > 0 {
            let notice = format!("wwr: {} log lines were dropped here: {WHY}\n", self.untold);
            self.untold = 0;
            self.push(notice.into_bytes(), true);
        }
    }

    fn push(&mut self, text: Vec<u8>, is_notice: bool) {
        self.bytes += text.len();
        self.waiting.push_back(Line { text, is_notice });
    }

    fn is_drained(&self) -> bool {
        self.waiting.is_empty() && !self.is_writing
    }

    /// Returns how many lines were not written completely.
    fn lost(&self) -> u64 {
        let waiting = self.waiting.iter().filter(|line| !line.is_notice).count();
        self.dropped + self.failed + waiting as u64 + u64::from(self.is_writing)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// Accepts a line whenever it is told to.
    struct Slow {
        turns: Receiver<io::Result<()>>,
        seen: Sender<String>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Without a sender of turns, it accepts nothing any more.
            match self.turns.recv() {
                Ok(turn) => turn?,
                Err(_) => loop {
                    thread::park();
                },
            }
            let _ = self.seen.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns lines with room for ten of ten bytes, the sender of turns, and what was written.
    fn slow() -> (Arc<Lines>, Sender<io::Result<()>>, Receiver<String>) {
        let lines = Arc::new(Lines::new(100));
        let (turn, turns) = channel();
        let (seen, sights) = channel();
        let writer = lines.clone();
        // Ends with the process.
        thread::spawn(move || writer.write_to(&mut Slow { turns, seen }));
        (lines, turn, sights)
    }

    fn add(lines: &Lines, number: usize) {
        lines.add(format!("line {number:04}\n").into_bytes());
    }

    /// Adds lines while the first of them is being written and no other can be.
    fn add_behind_a_blocked_one(lines: &Lines, count: usize) {
        add(lines, 0);
        while !lines.lock().is_writing {
            thread::yield_now();
        }
        (1..count).for_each(|number| add(lines, number));
    }

    #[test]
    fn lines_that_do_not_fit_are_dropped_and_a_notice_counts_them() {
        let (lines, turn, seen) = slow();
        add_behind_a_blocked_one(&lines, 15);
        // Ten wait, and four were dropped. Nothing more is accepted before half of the room is
        // free.
        let take = |from: usize, to: usize| {
            for number in from..to {
                turn.send(Ok(())).unwrap();
                assert_eq!(seen.recv().unwrap(), format!("line {number:04}\n"));
            }
            // One more is being written by then.
            while lines.lock().waiting.len() != 10 - to {
                thread::yield_now();
            }
        };
        take(0, 4);
        add(&lines, 15);
        take(4, 5);
        add(&lines, 16);
        (0..9).for_each(|_| turn.send(Ok(())).unwrap());
        assert_eq!(lines.end(LONG, LONG), 0);
        let rest: Vec<_> = seen.try_iter().collect();
        assert_eq!(
            rest,
            [
                "line 0005\n",
                "line 0006\n",
                "line 0007\n",
                "line 0008\n",
                "line 0009\n",
                "line 0010\n",
                "wwr: 5 log lines were dropped here: standard error is read too slowly\n",
                "line 0016\n",
                "wwr: 5 log lines were dropped in all: standard error is read too slowly\n",
            ]
        );
    }

    #[test]
    fn the_end_does_not_wait_for_a_reader_that_accepts_nothing() {
        let (lines, _turn, _) = slow();
        add_behind_a_blocked_one(&lines, 20);
        let short = Duration::from_millis(10);
        assert_eq!(lines.end(short, LONG), 20);
        // The second call does not wait either.
        assert_eq!(lines.end(LONG, LONG), 20);
    }

    #[test]
    fn important_lines_are_not_dropped() {
        let (lines, turn, seen) = slow();
        add_behind_a_blocked_one(&lines, 20);
        lines.add_for_sure(b"why\n".to_vec());
        (0..14).for_each(|_| turn.send(Ok(())).unwrap());
        assert_eq!(lines.end(LONG, LONG), 0);
        assert!(seen.try_iter().any(|line| line == "why\n"));
    }

    #[test]
    fn lost_lines_are_counted() {
        let (lines, turn, _) = slow();
        add(&lines, 1);
        add(&lines, 2);
        turn.send(Err(io::ErrorKind::BrokenPipe.into())).unwrap();
        turn.send(Ok(())).unwrap();
        assert_eq!(lines.end(LONG, LONG), 1);
    }
}
