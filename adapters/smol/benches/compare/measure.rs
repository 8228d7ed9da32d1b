//! Measuring both servers in turn.

use std::io;
use std::time::Duration;

use super::args::Args;
use super::case::Case;
use super::child::{self, Side};
use super::load::{Load, Sample};

const WARM_UP: Duration = Duration::from_millis(300);

/// What one case gave: in each run both servers were measured, one right after the other.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) case: &'static Case,
    pub(crate) runs: Vec<Run>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) bare: Sample,
    pub(crate) webwire: Sample,
}

/// Compares the servers under one load.
pub(crate) fn compare(case: &'static Case, args: &Args) -> io::Result<Comparison> {
    let mut runs = Vec::new();
    for number in 1..=args.runs {
        eprintln!("{}: run {number} of {}", case.name, args.runs);
        // The order alternates, so that slow changes of the machine favour neither.
        let (bare, webwire) = if number % 2 == 1 {
            let bare = sample(case, Side::Bare, args)?;
            (bare, sample(case, Side::Webwire, args)?)
        } else {
            let webwire = sample(case, Side::Webwire, args)?;
            (sample(case, Side::Bare, args)?, webwire)
        };
        runs.push(Run { bare, webwire });
    }
    Ok(Comparison { case, runs })
}

/// Measures one server in a new process.
fn sample(case: &Case, side: Side, args: &Args) -> io::Result<Sample> {
    let server = child::start(side, args.read_buffer)?;
    let mut load = Load::connect(case, &server, side == Side::Webwire)?;
    load.warm_up(WARM_UP)?;
    let sample = load.measure(&server, args.seconds)?;
    load.finish()?;
    Ok(sample)
}

impl Sample {
    /// Requests per second.
    pub(crate) fn throughput(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// Processor time of the server per request, in microseconds.
    pub(crate) fn cost(&self) -> f64 {
        self.server.as_secs_f64() * 1e6 / self.requests as f64
    }

    /// The part of the time in which the server was busy.
    pub(crate) fn server_busy(&self) -> f64 {
        self.server.as_secs_f64() / self.elapsed.as_secs_f64()
    }

    /// The part of the time in which the load generator was busy.
    pub(crate) fn generator_busy(&self) -> f64 {
        self.generator.as_secs_f64() / self.elapsed.as_secs_f64()
    }
}

impl Comparison {
    /// The median over all runs of a number of the bare echo.
    pub(crate) fn bare(&self, number: impl Fn(&Sample) -> f64) -> f64 {
        self.median(|run| number(&run.bare))
    }

    /// The median over all runs of a number of the WebWire server.
    pub(crate) fn webwire(&self, number: impl Fn(&Sample) -> f64) -> f64 {
        self.median(|run| number(&run.webwire))
    }

    /// The least, the median and the largest of the ratios of a number, each within one run.
    pub(crate) fn ratios(&self, number: impl Fn(&Sample) -> f64) -> [f64; 3] {
        let ratios = self.sorted(|run| number(&run.webwire) / number(&run.bare));
        let [least, most] = [ratios.first(), ratios.last()].map(|ratio| ratio.copied());
        [least.unwrap_or(f64::NAN), middle(&ratios), most.unwrap_or(f64::NAN)]
    }

    fn median(&self, number: impl Fn(&Run) -> f64) -> f64 {
        middle(&self.sorted(number))
    }

    fn sorted(&self, number: impl Fn(&Run) -> f64) -> Vec<f64> {
        let mut numbers: Vec<f64> = self.runs.iter().map(number).collect();
        numbers.sort_by(f64::total_cmp);
        numbers
    }
}

/// The median of sorted numbers.
fn middle(sorted: &[f64]) -> f64 {
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(at(half.wrapping_sub(1)), at(half))
    } else {
        at(half)
    }
}
