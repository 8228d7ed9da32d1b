//! Keeps the last messages of a connection while somebody looks at them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use wwr::{Dialect, Instant, SessionKey};

/// How many messages are kept.
pub(crate) const MOST: usize = 100;

/// How many bytes of a message are kept.
pub(crate) const MOST_OF_MESSAGE: usize = 16 * 1024;

/// How many bytes of all messages are kept.
pub(crate) const MOST_BYTES: usize = 256 * 1024;

/// The recorder of a connection. As long as it is off, a message costs the check of a flag.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    on: AtomicBool,
    kept: Mutex<Option<Box<Kept>>>,
}

#[derive(Debug)]
struct Kept {
    /// When it ends, unless somebody looks again.
    until: Instant,
    /// The number of the next message.
    next: u64,
    bytes: usize,
    messages: VecDeque<Recorded>,
}

/// A message that was recorded.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    /// Counts from 0 since the recording began.
    pub(crate) number: u64,
    pub(crate) at: SystemTime,
    pub(crate) direction: Direction,
    /// What the client was known to speak.
    pub(crate) dialect: Dialect,
    /// The length of the message in bytes.
    pub(crate) length: usize,
    /// Its beginning. What is missing has an even length, so that UTF-16 stays UTF-16.
    pub(crate) start: Bytes,
}

/// Where a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the client.
    Received,
    /// To the client.
    Sent,
}

/// What a recorder has to know of its connection.
#[derive(Debug)]
pub(super) struct About {
    pub(super) dialect: Dialect,
    /// What is not recorded.
    pub(super) secret: Option<SessionKey>,
}

impl About {
    /// Returns so many bytes of a frame, with asterisks for those of the key, be it in UTF-8 or UTF-16. A
    /// frame may be a small part of a large buffer, so this is a copy.
    fn without_secret(&self, frame: &[u8], length: usize) -> Bytes {
        let secret = self.secret.as_ref().map_or("", SessionKey::as_str);
        let wide: Vec<u8> = secret.encode_utf16().flat_map(u16::to_le_bytes).collect();
        // What begins before the cut may end behind it.
        let mut start = frame.get(..length + wide.len()).unwrap_or(frame).to_vec();
        for (secret, mask) in [(secret.as_bytes(), &b"*"[..]), (&wide, b"*\0")] {
            let mut from = 0;
            while let Some(at) = find(start.get(from..).unwrap_or_default(), secret) {
                let end = from + at + secret.len();
                let masked = start.get_mut(from + at..end).unwrap_or_default();
                masked.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte = *mask);
                from = end;
            }
        }
        start.truncate(length);
        start.into()
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    if wanted.is_empty() {
        return None;
    }
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// What was recorded after a message.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) messages: Vec<Recorded>,
    /// The number of the next message.
    pub(crate) next: u64,
}

impl Recorder {
    /// Begins to record, or goes on, until this moment. Returns whether it was off: then the caller has to
    /// [end](Self::end_by) it.
    pub(crate) fn record_until(&self, until: Instant) -> bool {
        let mut kept = self.lock();
        if go_on(&mut kept, until) {
            return false;
        }
        let messages = VecDeque::new();
        *kept = Some(Box::new(Kept { until, next: 0, bytes: 0, messages }));
        self.on.store(true, Ordering::Relaxed);
        true
    }

    /// Goes on until this moment, if it is on. Returns whether it is. It may be overdue: as long as nobody has
    /// ended it, the one that will do so is still there.
    pub(crate) fn go_on_until(&self, until: Instant) -> bool {
        go_on(&mut self.lock(), until)
    }

    /// Returns when the recording ends. If that is not later than `now`, it ends with this call.
    pub(crate) fn end_by(&self, now: Instant) -> Option<Instant> {
        let mut kept = self.lock();
        let until = kept.as_ref()?.until;
        if until > now {
            return Some(until);
        }
        self.on.store(false, Ordering::Relaxed);
        *kept = None;
        None
    }

    /// Returns the messages with this number and later ones. `None` if it is off.
    pub(crate) fn recorded(&self, from: u64) -> Option<Recording> {
        let kept = self.lock();
        let kept = kept.as_ref()?;
        let messages = kept.messages.iter().filter(|message| message.number >= from);
        Some(Recording { messages: messages.cloned().collect(), next: kept.next })
    }

    /// Keeps a message, if it is on.
    #[inline]
    pub(super) fn record(&self, direction: Direction, frame: &[u8], about: impl FnOnce() -> About) {
        if self.on.load(Ordering::Relaxed) {
            self.keep(direction, frame, about());
        }
    }

    #[cold]
    fn keep(&self, direction: Direction, frame: &[u8], about: About) {
        let mut kept = self.lock();
        let Some(kept) = kept.as_mut() else { return };
        let length = frame.len();
        let cut = length.saturating_sub(MOST_OF_MESSAGE).next_multiple_of(2);
        let start = about.without_secret(frame, length.saturating_sub(cut));
        let dialect = about.dialect;
        kept.bytes += start.len();
        let (number, at) = (kept.next, SystemTime::now());
        kept.next += 1;
        kept.messages.push_back(Recorded { number, at, direction, dialect, length, start });
        while kept.messages.len() > MOST || kept.bytes > MOST_BYTES {
            let Some(oldest) = kept.messages.pop_front() else { break };
            kept.bytes -= oldest.start.len();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<Kept>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn go_on(kept: &mut Option<Box<Kept>>, until: Instant) -> bool {
    let Some(kept) = kept else { return false };
    kept.until = kept.until.max(until);
    true
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::EPOCH + Duration::from_secs(seconds)
    }

    fn on() -> Recorder {
        let recorder = Recorder::default();
        assert!(recorder.record_until(at(10)));
        recorder
    }

    fn sent(recorder: &Recorder, frame: &[u8]) {
        with_secret(recorder, frame, None);
    }

    fn with_secret(recorder: &Recorder, frame: &[u8], secret: Option<SessionKey>) {
        recorder.record(Direction::Sent, frame, || About { dialect: Dialect::V1_5, secret });
    }

    #[test]
    fn keys_are_not_kept_in_any_encoding_also_not_at_the_cut() {
        let key = SessionKey::from_entropy([7; 48]);
        let text = format!("{{\"key\":\"{}\"}} {0}", key.as_str());
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (frame, mask) in [(text.into_bytes(), vec![b'*'; 64]), (wide, b"*\0".repeat(64))] {
            for before in [0, 1, MOST_OF_MESSAGE - 100, MOST_OF_MESSAGE - 30, MOST_OF_MESSAGE - 9] {
                let recorder = on();
                let frame = [vec![b' '; before], frame.clone()].concat();
                with_secret(&recorder, &frame, Some(key.clone()));
                let recording = recorder.recorded(0).unwrap();
                let start = &recording.messages[0].start;
                let secret: Vec<u8> =
                    key.as_str().encode_utf16().flat_map(u16::to_le_bytes).collect();
                assert_eq!(find(start, &key.as_str().as_bytes()[..4]), None, "{before}");
                assert_eq!(find(start, &secret[..8]), None, "{before}");
                if before == 0 {
                    assert!(find(start, &mask).is_some());
                }
            }
        }
    }

    #[test]
    fn nothing_is_kept_before_the_beginning_and_after_the_end() {
        let recorder = Recorder::default();
        sent(&recorder, b"early");
        assert!(recorder.recorded(0).is_none());
        assert!(recorder.record_until(at(10)));
        sent(&recorder, b"now");
        assert!(!recorder.record_until(at(12)), "it goes on");
        assert!(!recorder.record_until(at(11)), "and no shorter than before");
        assert_eq!(recorder.end_by(at(11)), Some(at(12)));
        let recording = recorder.recorded(0).unwrap();
        assert_eq!((recording.messages.len(), recording.next), (1, 1));
        assert_eq!(recording.messages[0].start, "now");
        assert_eq!(recorder.end_by(at(12)), None);
        sent(&recorder, b"late");
        assert!(recorder.recorded(0).is_none());
        assert!(recorder.record_until(at(20)));
        assert_eq!(recorder.recorded(0).unwrap().next, 0, "another recording is empty");
    }

    /// Otherwise it would begin again with nobody to end it.
    #[test]
    fn one_that_is_overdue_goes_on_or_has_to_be_begun_by_somebody_that_ends_it() {
        let recorder = on();
        sent(&recorder, b"kept");
        assert!(recorder.go_on_until(at(30)), "it was due at 10");
        assert_eq!(recorder.end_by(at(20)), Some(at(30)));
        assert_eq!(recorder.recorded(0).unwrap().next, 1);
        assert_eq!(recorder.end_by(at(30)), None);
        assert!(!recorder.go_on_until(at(40)), "it does not begin");
        assert!(recorder.recorded(0).is_none());
        assert!(recorder.record_until(at(40)));
    }

    #[test]
    fn the_last_messages_are_kept_and_numbered() {
        let recorder = on();
        for number in 0..250_u8 {
            sent(&recorder, &[number]);
        }
        let recording = recorder.recorded(0).unwrap();
        let numbers: Vec<_> = recording.messages.iter().map(|message| message.number).collect();
        assert_eq!(numbers, (150..250).collect::<Vec<_>>());
        assert_eq!(recording.messages[0].start[..], [150]);
        let later = recorder.recorded(248).unwrap();
        assert_eq!((later.messages.len(), later.next), (2, 250));
    }

    #[test]
    fn memory_is_bounded_and_what_is_cut_off_is_even() {
        let recorder = on();
        for length in [MOST_OF_MESSAGE - 1, MOST_OF_MESSAGE, MOST_OF_MESSAGE + 1, 1 << 20] {
            sent(&recorder, &vec![0; length]);
            let recording = recorder.recorded(0).unwrap();
            let message = recording.messages.last().unwrap();
            assert_eq!(message.length, length);
            assert!(message.start.len() <= MOST_OF_MESSAGE);
            assert_eq!((length - message.start.len()) % 2, 0);
        }
        for _ in 0..50 {
            sent(&recorder, &vec![0; 1 << 20]);
        }
        let kept: usize =
            recorder.recorded(0).unwrap().messages.iter().map(|m| m.start.len()).sum();
        assert!(kept <= MOST_BYTES && kept > MOST_BYTES - MOST_OF_MESSAGE, "{kept}");
    }
}
