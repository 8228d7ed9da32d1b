//! What was measured, for people and for programs.

use std::time::Duration;

use serde_json::json;

use super::args::Args;
use super::run::CASES;
use super::runtime::Runtime;
use crate::support::load::Sample;

/// What was measured on one executor.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) runtime: Runtime,
    /// How long each request of all runs took.
    times: Vec<Duration>,
    /// The 99th percentile of each run.
    run_p99: Vec<Duration>,
    /// The throughput of each run under each load.
    pub(crate) loads: [Vec<Sample>; CASES.len()],
}

/// All of it; the first is smol.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
}

impl Row {
    pub(crate) fn new(runtime: Runtime) -> Self {
        let loads = std::array::from_fn(|_| Vec::new());
        Self { runtime, times: Vec::new(), run_p99: Vec::new(), loads }
    }

    /// Adds the times of one run.
    pub(crate) fn add_times(&mut self, mut times: Vec<Duration>) {
        times.sort_unstable();
        self.run_p99.push(percentile(&times, 99));
        self.times.extend(times);
    }

    fn sorted(&self) -> Vec<Duration> {
        let mut times = self.times.clone();
        times.sort_unstable();
        times
    }

    /// Requests per second and processor time per request, both the median of all runs.
    fn load(&self, case: usize) -> [f64; 2] {
        let samples = &self.loads[case];
        [median(samples.iter().map(Sample::throughput)), median(samples.iter().map(Sample::cost))]
    }

    /// The part of the time in which the load generator was busy.
    fn generator_busy(&self, case: usize) -> f64 {
        median(self.loads[case].iter().map(Sample::generator_busy))
    }
}

impl Report {
    /// How many times the 99th percentile of smol that of the slowest executor is.
    pub(crate) fn worst_ratio(&self) -> f64 {
        self.ratios().into_iter().fold(0.0, f64::max)
    }

    /// The 99th percentile of each executor, divided by that of smol.
    fn ratios(&self) -> Vec<f64> {
        let p99 = |row: &Row| percentile(&row.sorted(), 99).as_secs_f64();
        let smol = self.rows.first().map_or(f64::NAN, p99);
        self.rows.iter().map(|row| p99(row) / smol).collect()
    }

    /// A table on standard output.
    pub(crate) fn print(&self, args: &Args) {
        println!(
            "Client and server on one executor, processors {}, {} runs. Latency of {} requests one after another, in\n\
             microseconds, with the requests that took longer than {:?}; then the throughput of the\n\
             server with 16 connections that have 1 or 16 requests on the way, median of {:?} each.\n",
            args.place.name(),
            args.runs,
            args.requests,
            args.stall,
            args.load,
        );
        println!(
            "{:14}{:>7}{:>7}{:>10}{:>9}{:>8}{:>9}{:>22}{:>22}",
            "",
            "p50",
            "p99",
            "worst run",
            "max",
            "stalls",
            "p99/smol",
            "16x1 req/s (us CPU)",
            "16x16 req/s (us CPU)",
        );
        for (row, ratio) in self.rows.iter().zip(self.ratios()) {
            let times = row.sorted();
            let [[few, few_cost], [many, many_cost]] = [row.load(0), row.load(1)];
            println!(
                "{:14}{:>7}{:>7}{:>10}{:>9}{:>8}{ratio:>9.2}{:>22}{:>22}",
                row.runtime.name(),
                percentile(&times, 50).as_micros(),
                percentile(&times, 99).as_micros(),
                row.run_p99.iter().max().map_or(0, Duration::as_micros),
                percentile(&times, 100).as_micros(),
                stalls(&times, args),
                format!("{few:.0} ({few_cost:.1})"),
                format!("{many:.0} ({many_cost:.1})"),
            );
        }
    }

    /// One JSON object on standard output.
    pub(crate) fn print_json(&self, args: &Args) {
        let rows = self.rows.iter().zip(self.ratios()).map(|(row, ratio)| {
            let times = row.sorted();
            let loads = CASES.iter().enumerate().map(|(index, case)| {
                let [throughput, cost] = row.load(index);
                json!({
                    "case": case.name,
                    "requests_per_second": throughput,
                    "server_microseconds_per_request": cost,
                    "generator_busy": row.generator_busy(index),
                })
            });
            json!({
                "executor": row.runtime.name(),
                "p50_microseconds": percentile(&times, 50).as_secs_f64() * 1e6,
                "p99_microseconds": percentile(&times, 99).as_secs_f64() * 1e6,
                "worst_run_p99_microseconds":
                    row.run_p99.iter().max().map_or(0.0, Duration::as_secs_f64) * 1e6,
                "max_microseconds": percentile(&times, 100).as_secs_f64() * 1e6,
                "stalls": stalls(&times, args),
                "p99_ratio_to_smol": ratio,
                "loads": loads.collect::<Vec<_>>(),
            })
        });
        let report = json!({
            "runs": args.runs,
            "requests": args.requests,
            "place": args.place.name(),
            "stall_milliseconds": args.stall.as_secs_f64() * 1e3,
            "executors": rows.collect::<Vec<_>>(),
        });
        println!("{report}");
    }
}

fn stalls(sorted: &[Duration], args: &Args) -> usize {
    sorted.len() - sorted.partition_point(|time| *time <= args.stall)
}

/// The least that this many per cent of the sorted times do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = numbers.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
