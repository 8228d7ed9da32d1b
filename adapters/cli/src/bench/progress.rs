//! The progress line of a run.

use core::cell::Cell;
use core::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::plan::Plan;
use super::report::{grouped, rate};

/// The length of the bar.
const LENGTH: u64 = 1000;

/// How often the rate is updated.
const EVERY: Duration = Duration::from_millis(500);

/// A line on standard error, if that is a terminal.
pub(super) struct Progress {
    bar: ProgressBar,
    warmup: Duration,
    duration: Option<Duration>,
    total: u64,
    /// When the rate was shown last, and how much was done by then.
    shown: Cell<(Duration, u64)>,
}

impl Progress {
    pub(super) fn new(plan: &Plan) -> Self {
        let bar = ProgressBar::with_draw_target(Some(LENGTH), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("[{bar:40.cyan}] {percent:>3} %  {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        let (warmup, total) = (plan.schedule.warmup, plan.schedule.total);
        let shown = Cell::new((Duration::ZERO, 0));
        Self { bar, warmup, duration: plan.duration, total, shown }
    }

    /// Shows how much was done and failed after this much time.
    pub(super) fn show(&self, elapsed: Duration, (done, failed): (u64, u64)) {
        let measured = elapsed.saturating_sub(self.warmup);
        let part = match self.duration {
            Some(duration) => measured.as_secs_f64() / duration.as_secs_f64(),
            None => (done + failed) as f64 / self.total as f64,
        };
        self.bar.set_position((part.min(1.0) * LENGTH as f64) as u64);
        let (last, before) = self.shown.get();
        let time = elapsed.saturating_sub(last);
        if time < EVERY {
            return;
        }
        self.shown.set((elapsed, done));
        let now = rate(done.saturating_sub(before) as f64 / time.as_secs_f64());
        self.bar.set_message(if measured.is_zero() {
            "warming up".into()
        } else if failed > 0 {
            format!("{now} per second, {} errors", grouped(failed))
        } else {
            format!("{now} per second")
        });
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
