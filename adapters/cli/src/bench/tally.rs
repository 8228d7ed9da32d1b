//! The counts of one thread, which are added to those of the others.

use core::time::Duration;
use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::schedule::Kind;
use super::timeline::Timeline;
use crate::failure::Failure;

/// The longest time that is distinguished from longer ones: an hour, in nanoseconds.
const LONGEST: u64 = 3_600_000_000_000;

/// The number of significant digits of the times.
const DIGITS: u8 = 3;

/// The most kinds of errors that are distinguished, because the server chooses their codes.
const MOST_KINDS: usize = 32;

/// The number of errors, by kind.
pub(super) type Errors = BTreeMap<String, u64>;

/// The distribution of a time.
#[derive(Debug)]
pub(super) struct Times {
    pub(super) histogram: Histogram<u64>,
}

impl Times {
    fn new() -> Self {
        // A histogram accepts these bounds.
        let histogram = Histogram::new_with_bounds(1, LONGEST, DIGITS)
            .unwrap_or_else(|_| unreachable!("a histogram of an hour in nanoseconds"));
        Self { histogram }
    }

    pub(super) fn record(&mut self, time: Duration) {
        self.record_many(time, 1);
    }

    pub(super) fn record_many(&mut self, time: Duration, count: u64) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.saturating_record_n(nanos, count);
    }

    fn add(&mut self, other: &Self) {
        if self.histogram.add(&other.histogram).is_err() {
            tracing::warn!("times of different bounds cannot be added up");
        }
    }
}

/// The messages of one kind.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// Those that were measured.
    pub(super) sent: u64,
    /// Requests with a reply, signals that were written.
    pub(super) done: u64,
    /// The part of `done` before the end of the measurement.
    pub(super) done_in_time: u64,
    pub(super) failed: u64,
    pub(super) errors: Errors,
}

impl Messages {
    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.done += other.done;
        self.done_in_time += other.done_in_time;
        self.failed += other.failed;
        add_errors(&mut self.errors, other.errors);
    }
}

/// Everything that is counted.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) requests: Messages,
    pub(super) signals: Messages,
    /// Signals of the server.
    pub(super) signals_received: u64,
    /// Messages that were due but never sent.
    pub(super) unsent: u64,
    /// Requests that had no answer when the run was over.
    pub(super) unanswered: u64,
    /// Signals that the socket had not accepted when the run was over.
    pub(super) unwritten: u64,
    /// Bytes of payloads, before the end of the measurement.
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
    pub(super) latency: Times,
    pub(super) timeline: Timeline,
    /// When the last message was done, from the beginning of the measurement.
    pub(super) last: Duration,
    pub(super) links: Links,
    /// The first failure.
    pub(super) failure: Option<Failure>,
    /// How busy the threads were, from 0 to 1, as far as the system reports it.
    pub(super) busy: Vec<f64>,
}

/// The connections.
#[derive(Debug)]
pub(super) struct Links {
    pub(super) connected: u64,
    pub(super) reconnected: u64,
    pub(super) lost: u64,
    pub(super) errors: Errors,
    pub(super) logins: u64,
    pub(super) restored: u64,
    pub(super) sessions_lost: u64,
    /// How long connecting takes, including the restore of a session.
    pub(super) connecting: Times,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            requests: Messages::default(),
            signals: Messages::default(),
            signals_received: 0,
            unsent: 0,
            unanswered: 0,
            unwritten: 0,
            bytes_sent: 0,
            bytes_received: 0,
            latency: Times::new(),
            timeline: Timeline::new(),
            last: Duration::ZERO,
            links: Links {
                connected: 0,
                reconnected: 0,
                lost: 0,
                errors: Errors::new(),
                logins: 0,
                restored: 0,
                sessions_lost: 0,
                connecting: Times::new(),
            },
            failure: None,
            busy: Vec::new(),
        }
    }

    pub(super) const fn messages(&mut self, kind: Kind) -> &mut Messages {
        match kind {
            Kind::Request => &mut self.requests,
            Kind::Signal => &mut self.signals,
        }
    }

    /// Counts a message that failed.
    pub(super) fn fail(&mut self, kind: Kind, failure: Failure) {
        let messages = self.messages(kind);
        messages.failed += 1;
        count(&mut messages.errors, &failure);
        self.failure.get_or_insert(failure);
    }

    /// Counts an attempt to connect, to log in or to restore a session that failed.
    pub(super) fn fail_link(&mut self, failure: Failure) {
        count(&mut self.links.errors, &failure);
        self.failure.get_or_insert(failure);
    }

    pub(super) fn add(&mut self, other: Self) {
        self.requests.add(other.requests);
        self.signals.add(other.signals);
        self.signals_received += other.signals_received;
        self.unsent += other.unsent;
        self.unanswered += other.unanswered;
        self.unwritten += other.unwritten;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.latency.add(&other.latency);
        self.timeline.add(other.timeline);
        self.last = self.last.max(other.last);
        self.links.add(other.links);
        self.failure = self.failure.take().or(other.failure);
        self.busy.extend(other.busy);
    }
}

impl Links {
    fn add(&mut self, other: Self) {
        self.connected += other.connected;
        self.reconnected += other.reconnected;
        self.lost += other.lost;
        self.logins += other.logins;
        self.restored += other.restored;
        self.sessions_lost += other.sessions_lost;
        self.connecting.add(&other.connecting);
        add_errors(&mut self.errors, other.errors);
    }
}

fn count(errors: &mut Errors, failure: &Failure) {
    let kind = failure.kind_and_code();
    add_errors(errors, Errors::from([(kind, 1)]));
}

fn add_errors(errors: &mut Errors, others: Errors) {
    for (kind, number) in others {
        let is_known = errors.contains_key(&kind);
        let kind = if is_known || errors.len() < MOST_KINDS { kind } else { "other".into() };
        *errors.entry(kind).or_default() += number;
    }
}

#[cfg(test)]
mod tests {
    use wwr::client::RequestError;
    use wwr::wire::ErrorReply;
    use wwr_smol::client::Error;

    use super::*;

    #[test]
    fn a_server_cannot_make_up_kinds_without_end() {
        let mut tally = Tally::new();
        for number in 0..1000 {
            let reply = ErrorReply::new(format!("CODE{number}").as_bytes(), b"").unwrap();
            let failure = Failure::from(Error::from(RequestError::Failed(reply)));
            tally.fail(Kind::Request, failure);
        }
        assert_eq!(tally.requests.failed, 1000);
        assert_eq!(tally.requests.errors.len(), MOST_KINDS + 1);
        assert_eq!(tally.requests.errors["failed CODE7"], 1);
        assert_eq!(tally.requests.errors["other"], 1000 - MOST_KINDS as u64);
    }

    #[test]
    fn tallies_add_up() {
        let one = |millis| {
            let mut tally = Tally::new();
            tally.requests.sent = 2;
            tally.requests.done = 1;
            (tally.unanswered, tally.unwritten) = (3, 4);
            tally.last = Duration::from_millis(millis);
            tally.latency.record(tally.last);
            tally.timeline.at(tally.last).done += 1;
            tally.fail(Kind::Request, Error::from(RequestError::Internal).into());
            tally
        };
        let mut sum = one(5);
        sum.add(one(7));
        assert_eq!((sum.requests.sent, sum.requests.done, sum.requests.failed), (4, 2, 2));
        assert_eq!(sum.requests.errors, Errors::from([("internal-error".into(), 2)]));
        assert_eq!((sum.unanswered, sum.unwritten), (6, 8));
        assert_eq!((sum.last.as_millis(), sum.latency.histogram.len()), (7, 2));
        assert!(sum.latency.histogram.max() >= 7_000_000);
    }
}
