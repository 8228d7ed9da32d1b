//! When each of many connections sends which message. Knows no clock.

use core::ops::Range;
use core::time::Duration;

/// The messages of a whole run, spread evenly over its connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Schedule {
    /// The number of connections.
    pub(super) connections: u64,
    /// Messages per second over all connections. Without it, each is due when there is room for it.
    pub(super) rate: Option<u32>,
    /// The most messages that are measured, over all connections.
    pub(super) total: u64,
    /// How long messages are sent before they are measured.
    pub(super) warmup: Duration,
    /// The number of signals in 100 messages.
    pub(super) signals: u8,
}

/// One message to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// When it is due, counted from the beginning of the run; `None`: now.
    pub(super) due: Option<Duration>,
    pub(super) kind: Kind,
    pub(super) is_measured: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Signal,
}

/// The share of one connection.
#[derive(Clone, Debug)]
pub(super) struct Share {
    schedule: Schedule,
    /// The number of this connection.
    connection: u64,
    /// How many turns were taken.
    taken: u64,
    /// How many of these are measured.
    measured: u64,
}

impl Schedule {
    /// Returns how many messages are due in this time, with a rate.
    pub(super) fn due_in(&self, time: Duration) -> Option<u64> {
        let due = u128::from(self.rate?) * time.as_nanos() / 1_000_000_000;
        Some(u64::try_from(due).unwrap_or(u64::MAX))
    }

    /// Returns when the message with this number is due.
    fn due(&self, rate: u32, number: u64) -> Duration {
        let nanos = u128::from(number) * 1_000_000_000 / u128::from(rate);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl Share {
    pub(super) const fn new(schedule: Schedule, connection: u64) -> Self {
        Self { schedule, connection, taken: 0, measured: 0 }
    }

    /// Returns the next message, at this time from the beginning of the run. `None` when all were
    /// taken.
    pub(super) fn take(&mut self, now: Duration) -> Option<Turn> {
        let Schedule { rate, total, warmup, .. } = self.schedule;
        let (due, is_measured) = match rate {
            Some(rate) => {
                let number = self.number(self.taken);
                let first = self.schedule.due_in(warmup)?;
                if number >= first.saturating_add(total) {
                    return None;
                }
                (Some(self.schedule.due(rate, number)), number >= first)
            }
            None if now < warmup => (None, false),
            None if self.number(self.measured) >= total => return None,
            None => (None, true),
        };
        let kind = self.kind(self.taken);
        self.taken += 1;
        self.measured += u64::from(is_measured);
        Some(Turn { due, kind, is_measured })
    }

    /// Returns what a turn of this connection is for. Signals are spread evenly over the turns and
    /// over the connections.
    fn kind(&self, turn: u64) -> Kind {
        let signals = u64::from(self.schedule.signals);
        let before = (turn % 100 + self.connection % 100) * signals;
        if (before + signals) / 100 > before / 100 { Kind::Signal } else { Kind::Request }
    }

    /// Returns the measured messages that were due before `end`, without the `sent` ones that were
    /// sent. Needs a rate.
    pub(super) fn unsent(&self, sent: u64, end: Duration) -> Unsent<'_> {
        let Schedule { rate, total, warmup, connections, .. } = self.schedule;
        let first = self.schedule.due_in(warmup).unwrap_or(0);
        // The first message that is due at the end or later, or comes after all.
        let due = rate.map_or(0, |rate| {
            let due = (u128::from(rate) * end.as_nanos()).div_ceil(1_000_000_000);
            u64::try_from(due).unwrap_or(u64::MAX)
        });
        let turns_below =
            |number: u64| number.saturating_sub(self.connection).div_ceil(connections);
        let from = turns_below(first).saturating_add(sent);
        let to = turns_below(due.min(first.saturating_add(total)));
        Unsent { share: self, turns: from..to.max(from), end }
    }

    /// Returns the number of a turn of this connection among those of all.
    fn number(&self, turn: u64) -> u64 {
        turn.saturating_mul(self.schedule.connections).saturating_add(self.connection)
    }
}

/// Messages that were due but not sent.
#[derive(Clone, Debug)]
pub(super) struct Unsent<'a> {
    share: &'a Share,
    turns: Range<u64>,
    end: Duration,
}

impl Unsent<'_> {
    /// The most messages that are visited one by one. With more of them, samples stand for the
    /// others.
    const MOST_LOOKS: u64 = 100_000;

    pub(super) const fn count(&self) -> u64 {
        self.turns.end - self.turns.start
    }

    /// Returns how long requests have waited by the end, and how many for about that long.
    pub(super) fn waits(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let stride = self.count().div_ceil(Self::MOST_LOOKS).max(1);
        let looks = self.count().div_ceil(stride);
        (0..looks).filter_map(move |look| {
            let turn = self.turns.start + look * stride;
            let due = self.share.schedule.due(self.share.schedule.rate?, self.share.number(turn));
            let wait = self.end.saturating_sub(due);
            let is_request = self.share.kind(turn) == Kind::Request;
            is_request.then(|| (wait, stride.min(self.turns.end - turn)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSED: Schedule = Schedule {
        connections: 3,
        rate: None,
        total: 10,
        warmup: Duration::from_millis(5),
        signals: 0,
    };

    const OPEN: Schedule = Schedule { rate: Some(1000), ..CLOSED };

    fn all(schedule: Schedule, now: Duration) -> Vec<Turn> {
        let shares = (0..schedule.connections).map(|number| Share::new(schedule, number));
        shares
            .flat_map(|mut share| core::iter::from_fn(move || share.take(now)).collect::<Vec<_>>())
            .collect()
    }

    #[test]
    fn every_message_is_sent_once() {
        let turns = all(CLOSED, CLOSED.warmup);
        let measured = Turn { due: None, kind: Kind::Request, is_measured: true };
        assert_eq!(turns, [measured; 10]);
    }

    #[test]
    fn the_warm_up_does_not_count() {
        let mut share = Share::new(CLOSED, 0);
        for _ in 0..100 {
            assert!(!share.take(Duration::ZERO).unwrap().is_measured);
        }
        let measured = core::iter::from_fn(|| share.take(CLOSED.warmup)).count();
        assert_eq!(measured, 4);
    }

    #[test]
    fn with_a_rate_messages_are_due_at_fixed_times() {
        // 5 of the warm-up, then 10, one a millisecond.
        let mut turns = all(OPEN, Duration::ZERO);
        turns.sort_by_key(|turn| turn.due);
        let expected: Vec<_> = (0..15).map(|n| (Some(Duration::from_millis(n)), n >= 5)).collect();
        let found: Vec<_> = turns.iter().map(|turn| (turn.due, turn.is_measured)).collect();
        assert_eq!(found, expected);
        assert_eq!(OPEN.due_in(Duration::from_millis(1500)), Some(1500));
        assert_eq!(CLOSED.due_in(Duration::from_secs(1)), None);
    }

    #[test]
    fn unsent_messages_count_as_waiting() {
        // Connection 0 has the messages 6, 9 and 12 to measure, 2 has 5, 8, 11 and 14.
        let millis = Duration::from_millis;
        let waits = |connection, sent, end| -> Vec<_> {
            let share = Share::new(OPEN, connection);
            let unsent = share.unsent(sent, millis(end));
            let waits: Vec<_> = unsent.waits().collect();
            assert_eq!(waits.len() as u64, unsent.count());
            waits.into_iter().map(|(wait, _)| wait).collect()
        };
        assert_eq!(waits(0, 1, 20), [millis(11), millis(8)]);
        assert_eq!(waits(0, 3, 20), []);
        assert_eq!(waits(2, 0, 12), [millis(7), millis(4), millis(1)]);
        assert_eq!(waits(2, 0, 11), [millis(6), millis(3)]);
        assert_eq!(Share::new(CLOSED, 0).unsent(0, millis(20)).count(), 0);
    }

    #[test]
    fn many_unsent_messages_are_counted_without_looking_at_each() {
        let schedule = Schedule { rate: Some(u32::MAX), total: u64::MAX / 2, ..OPEN };
        let share = Share::new(schedule, 1);
        let unsent = share.unsent(5, Duration::from_secs(3600));
        assert!(unsent.waits().count() as u64 <= Unsent::MOST_LOOKS);
        assert_eq!(unsent.waits().map(|(_, weight)| weight).sum::<u64>(), unsent.count());
    }

    #[test]
    fn signals_are_mixed_in_evenly() {
        for (signals, connections) in [(0, 1), (25, 4), (50, 100), (33, 7), (100, 3)] {
            let schedule = Schedule { signals, connections, total: 100 * connections, ..CLOSED };
            let turns = all(schedule, schedule.warmup);
            let found = turns.iter().filter(|turn| turn.kind == Kind::Signal).count();
            assert_eq!(found as u64, u64::from(signals) * connections, "{signals} %");
            let firsts: Vec<_> = (0..connections)
                .filter_map(|number| Share::new(schedule, number).take(schedule.warmup))
                .collect();
            let found = firsts.iter().filter(|turn| turn.kind == Kind::Signal).count() as u64;
            assert!(found.abs_diff(u64::from(signals) * connections / 100) <= 1, "{signals} %");
        }
    }
}
