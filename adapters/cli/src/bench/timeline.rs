//! Counts over time, in a bounded number of steps.

use core::time::Duration;

/// The shortest step; each longer one is twice as long as the one before.
const SHORTEST: Duration = Duration::from_millis(10);

/// The most steps: with more, each two become one.
const MOST: usize = 400;

/// Counts of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// Messages that were done.
    pub(super) done: u64,
    /// Messages that failed.
    pub(super) failed: u64,
}

/// Counts of all steps, from the beginning of the measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Timeline {
    step: Duration,
    steps: Vec<Step>,
}

impl Timeline {
    pub(super) const fn new() -> Self {
        Self { step: SHORTEST, steps: Vec::new() }
    }

    /// The length of a step.
    pub(super) const fn step(&self) -> Duration {
        self.step
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Returns the step of a moment.
    pub(super) fn at(&mut self, moment: Duration) -> &mut Step {
        let mut place = self.place(moment);
        while place >= MOST {
            self.widen();
            place = self.place(moment);
        }
        if place >= self.steps.len() {
            self.steps.resize(place + 1, Step::default());
        }
        &mut self.steps[place]
    }

    fn place(&self, moment: Duration) -> usize {
        usize::try_from(moment.as_nanos() / self.step.as_nanos()).unwrap_or(usize::MAX)
    }

    fn widen(&mut self) {
        self.step = self.step.saturating_mul(2);
        self.steps = self
            .steps
            .chunks(2)
            .map(|pair| {
                pair.iter().fold(Step::default(), |sum, step| Step {
                    done: sum.done + step.done,
                    failed: sum.failed + step.failed,
                })
            })
            .collect();
    }

    /// Makes steps at least this long.
    pub(super) fn widen_to(&mut self, step: Duration) {
        while self.step < step {
            self.widen();
        }
    }

    /// Adds the counts of another timeline.
    pub(super) fn add(&mut self, mut other: Self) {
        self.widen_to(other.step);
        other.widen_to(self.step);
        if self.steps.len() < other.steps.len() {
            self.steps.resize(other.steps.len(), Step::default());
        }
        for (step, added) in self.steps.iter_mut().zip(&other.steps) {
            step.done += added.done;
            step.failed += added.failed;
        }
    }

    /// Returns the counts per second, step by step.
    pub(super) fn rates(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let seconds = self.step.as_secs_f64();
        self.steps
            .iter()
            .map(move |step| (step.done as f64 / seconds, step.failed as f64 / seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_when_steps_become_longer() {
        let mut timeline = Timeline::new();
        for second in 0..100 {
            timeline.at(Duration::from_secs(second)).done += 2;
            timeline.at(Duration::from_secs(second)).failed += 1;
        }
        assert!(timeline.steps().len() <= MOST);
        assert_eq!(timeline.step(), SHORTEST * 32);
        let mut other = Timeline::new();
        other.at(Duration::ZERO).done += 7;
        other.add(timeline.clone());
        assert_eq!(other.steps()[0], Step { done: 9, failed: 1 });
        let sum = |timeline: &Timeline| timeline.steps().iter().map(|step| step.done).sum::<u64>();
        assert_eq!((sum(&timeline), sum(&other)), (200, 207));
        timeline.add(Timeline::new());
        assert_eq!(sum(&timeline), 200);
    }

    #[test]
    fn the_longest_run_fits_into_the_steps() {
        let mut timeline = Timeline::new();
        timeline.at(Duration::from_secs(u64::from(u32::MAX))).done += 1;
        assert!(timeline.steps().len() <= MOST);
    }
}
