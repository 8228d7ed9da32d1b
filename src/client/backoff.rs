//! How long to wait before trying again.

use core::time::Duration;

/// Exponential backoff with jitter: after `n` failures a pause between half and the whole of
/// `initial * 2^n`, which never exceeds `max`.
///
/// Failed attempts are counted until one succeeds. Lost connections are counted until one has
/// lasted: a server that ends each connection at once lets every attempt succeed. The two counts
/// are separate, so that one short loss after a long outage does not cause a long pause.
#[derive(Debug)]
pub(super) struct Backoff {
    initial: Duration,
    max: Duration,
    reset_after: Duration,
    /// Failed attempts since the last connection.
    failures: u32,
    /// Lost connections since one has lasted.
    losses: u32,
    random: SplitMix64,
}

impl Backoff {
    pub(super) const fn new(
        initial: Duration,
        max: Duration,
        reset_after: Duration,
        seed: u64,
    ) -> Self {
        Self { initial, max, reset_after, failures: 0, losses: 0, random: SplitMix64(seed) }
    }

    /// Returns the pause after one more failed attempt to connect.
    pub(super) fn after_failure(&mut self) -> Duration {
        let pause = self.pause(self.losses.saturating_add(self.failures));
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// Returns the pause after the loss of a connection that lasted this long.
    pub(super) fn after_loss(&mut self, lasted: Duration) -> Duration {
        if lasted >= self.reset_after {
            self.losses = 0;
        }
        let pause = self.pause(self.losses);
        self.losses = self.losses.saturating_add(1);
        pause
    }

    /// An attempt succeeded.
    pub(super) const fn connected(&mut self) {
        self.failures = 0;
    }

    /// Forgets all failures and losses.
    pub(super) const fn reset(&mut self) {
        self.failures = 0;
        self.losses = 0;
    }

    /// Returns a pause of `at_least` and up to a quarter more, so that clients that are told to
    /// come back after the same time do not all come at once.
    pub(super) fn beyond(&mut self, at_least: Duration) -> Duration {
        if at_least.is_zero() {
            return Duration::ZERO;
        }
        let quarter = u64::try_from((at_least / 4).as_nanos()).unwrap_or(u64::MAX);
        at_least.saturating_add(Duration::from_nanos(self.random.up_to(quarter)))
    }

    /// Returns a pause for something that failed `earlier` times before. Does not count as a
    /// failure to connect.
    pub(super) fn pause(&mut self, earlier: u32) -> Duration {
        let doubled = self.initial.saturating_mul(1 << earlier.min(31));
        let whole = u64::try_from(doubled.min(self.max).as_nanos()).unwrap_or(u64::MAX);
        let half = whole / 2;
        Duration::from_nanos(half + self.random.up_to(whole - half))
    }
}

/// SplitMix64, the generator of Steele, Lea and Flood (2014): one word of state, any seed is good.
/// It spreads clients over time; it is not for secrets.
#[derive(Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from 0 to `most`, evenly distributed.
    fn up_to(&mut self, most: u64) -> u64 {
        let scaled = (u128::from(self.next()) * (u128::from(most) + 1)) >> 64;
        // At most `most`, because the random factor is below 2^64.
        u64::try_from(scaled).unwrap_or(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INITIAL: Duration = Duration::from_millis(500);
    const MAX: Duration = Duration::from_secs(30);
    const RESET_AFTER: Duration = Duration::from_secs(10);

    #[test]
    fn the_generator_returns_the_published_sequence() {
        let mut random = SplitMix64(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn numbers_are_drawn_evenly_from_zero_to_the_most() {
        let mut random = SplitMix64(1);
        for (most, draws) in [(0, 1), (1, 2000), (4, 5000)] {
            let mut drawn = std::vec![0; most + 1];
            for _ in 0..draws {
                drawn[usize::try_from(random.up_to(most as u64)).unwrap()] += 1;
            }
            let share = draws / drawn.len();
            assert!(drawn.iter().all(|times| times * 10 >= share * 9), "{drawn:?}");
        }
    }

    #[test]
    fn pauses_double_up_to_the_maximum_and_restart_after_success() {
        for seed in 0..100 {
            let mut backoff = Backoff::new(INITIAL, MAX, RESET_AFTER, seed);
            for whole in
                [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000].map(Duration::from_millis)
            {
                let pause = backoff.after_failure();
                assert!((whole / 2..=whole).contains(&pause), "{pause:?} of {whole:?}");
            }
            backoff.connected();
            assert!(backoff.after_failure() <= INITIAL);
        }
    }

    #[test]
    fn pauses_after_losses_double_until_a_connection_has_lasted() {
        let mut backoff = Backoff::new(INITIAL, MAX, RESET_AFTER, 1);
        let less = RESET_AFTER - Duration::from_nanos(1);
        let halves = |pause: Duration, whole| (whole / 2..=whole).contains(&pause);
        for whole in [500, 1000, 2000].map(Duration::from_millis) {
            assert!(halves(backoff.after_loss(less), whole));
            backoff.connected();
        }
        assert!(halves(backoff.after_loss(RESET_AFTER), INITIAL), "it lasted");
        // After that, failed attempts double the pause further, and the next success forgets them.
        assert!(halves(backoff.after_failure(), 2 * INITIAL));
        for _ in 0..20 {
            backoff.after_failure();
        }
        assert!(halves(backoff.after_failure(), MAX));
        backoff.connected();
        assert!(halves(backoff.after_loss(Duration::ZERO), 2 * INITIAL), "one short loss");
        backoff.reset();
        assert!(halves(backoff.after_loss(Duration::ZERO), INITIAL));
    }

    #[test]
    fn pauses_are_spread_over_the_whole_range_and_depend_on_the_seed() {
        let pauses =
            (0..200).map(|seed| Backoff::new(INITIAL, MAX, RESET_AFTER, seed).after_failure());
        let quarters = pauses.fold([0; 4], |mut quarters, pause| {
            let over = (pause - INITIAL / 2).as_nanos() * 4
                / (INITIAL / 2 + Duration::from_nanos(1)).as_nanos();
            quarters[usize::try_from(over).unwrap()] += 1;
            quarters
        });
        assert!(quarters.iter().all(|count| *count > 25), "{quarters:?}");
    }

    #[test]
    fn a_minimum_pause_is_kept_and_spread_upwards() {
        let mut backoff = Backoff::new(INITIAL, MAX, RESET_AFTER, 7);
        for least in [Duration::ZERO, Duration::from_nanos(3), INITIAL, MAX] {
            let pauses: std::vec::Vec<_> = (0..200).map(|_| backoff.beyond(least)).collect();
            assert!(pauses.iter().all(|pause| (least..=least * 5 / 4).contains(pause)));
            let (half, middle) = (pauses.len() / 2, least + least / 8);
            let late = pauses.iter().filter(|pause| **pause > middle).count();
            assert!(least < INITIAL || late.abs_diff(half) < half / 2, "{late} late of {least:?}");
        }
    }

    #[test]
    fn extreme_settings_do_not_overflow() {
        let mut backoff = Backoff::new(Duration::MAX, Duration::MAX, RESET_AFTER, 7);
        assert_eq!(backoff.beyond(Duration::MAX), Duration::MAX);
        assert!(backoff.pause(u32::MAX) >= Duration::from_nanos(u64::MAX / 2));
        backoff.failures = u32::MAX;
        backoff.losses = u32::MAX;
        backoff.after_failure();
        backoff.after_loss(Duration::ZERO);
        assert_eq!((backoff.failures, backoff.losses), (u32::MAX, u32::MAX));
    }
}
