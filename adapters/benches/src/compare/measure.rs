//! Measuring servers under the same load.

use std::io;
use std::time::Duration;

use super::args::Args;
use super::system::System;
use crate::support::case::Case;
use crate::support::load::{Load, Sample};

/// How long a server is under load before it is measured.
const WARM_UP: Duration = Duration::from_millis(300);

/// The loads.
pub(crate) const CASES: [Case; 7] = [
    Case::new("1x1", 1, 1, 32),
    Case::new("1x64", 1, 64, 32),
    Case::new("16x16", 16, 16, 32),
    Case::new("64x16-small", 64, 16, 32),
    Case::new("64x16", 64, 16, 1 << 10),
    Case::new("4x4", 4, 4, 64 << 10),
    Case::new("1MiB", 1, 1, 1 << 20),
];

/// What was measured under one load.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) case: &'static Case,
    /// In each run all servers were measured, one right after the other. For each run, a sample of each.
    pub(crate) runs: Vec<Vec<Sample>>,
}

/// Compares the servers under one load.
pub(crate) fn compare(
    case: &'static Case,
    systems: &[System],
    args: &Args,
) -> io::Result<Comparison> {
    let mut runs = Vec::new();
    for number in 0..args.runs as usize {
        eprintln!("{}: run {} of {}", case.name, number + 1, args.runs);
        // The order changes, so that slow changes of the machine favour none.
        let mut order: Vec<usize> = (0..systems.len()).collect();
        if number % 2 == 1 {
            order.reverse();
        }
        let mut samples = Vec::new();
        for index in order {
            samples.push((index, sample(case, systems[index], args)?));
        }
        samples.sort_by_key(|(index, _)| *index);
        runs.push(samples.into_iter().map(|(_, sample)| sample).collect());
    }
    Ok(Comparison { case, runs })
}

/// Measures one server in a new process.
fn sample(case: &Case, system: System, args: &Args) -> io::Result<Sample> {
    let server = system.start(args, args.read_buffer)?;
    let mut load = Load::connect(case, &server, system.protocol())?;
    load.warm_up(if args.common.test { Duration::ZERO } else { WARM_UP })?;
    let sample = load.measure(&server, args.seconds)?;
    load.finish()?;
    Ok(sample)
}

impl Comparison {
    /// The median over all runs of a number of one server.
    pub(crate) fn median(&self, server: usize, number: impl Fn(&Sample) -> f64) -> f64 {
        middle(&self.sorted(|run| number(&run[server])))
    }

    /// The least, the median and the largest of the ratios of a number of two servers, each within one
    /// run.
    pub(crate) fn ratios(
        &self,
        [server, yardstick]: [usize; 2],
        number: impl Fn(&Sample) -> f64,
    ) -> [f64; 3] {
        let ratios = self.sorted(|run| number(&run[server]) / number(&run[yardstick]));
        let [least, most] = [ratios.first(), ratios.last()].map(|ratio| ratio.copied());
        [least.unwrap_or(f64::NAN), middle(&ratios), most.unwrap_or(f64::NAN)]
    }

    fn sorted(&self, number: impl Fn(&[Sample]) -> f64) -> Vec<f64> {
        let mut numbers: Vec<f64> = self.runs.iter().map(|run| number(run)).collect();
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
