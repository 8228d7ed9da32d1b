//! What was measured, for people and for programs.

use std::fs;

use serde_json::{Value, json};

use super::args::Args;
use super::measure::Comparison;
use super::memory::{self, Memory};
use super::system::System;
use crate::support::load::Sample;

/// A server that is busy less than this was not what limited the throughput.
const BUSY: f64 = 0.9;

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) systems: Vec<System>,
    pub(crate) comparisons: Vec<Comparison>,
    /// Of each server, or of none.
    pub(crate) memory: Vec<Memory>,
}

impl Report {
    /// Each server with its place in the lists, and that of its yardstick.
    fn servers(&self) -> impl Iterator<Item = (System, [usize; 2])> {
        self.systems.iter().enumerate().map(|(index, system)| {
            let yardstick = system.yardstick();
            let place = self.systems.iter().position(|other| *other == yardstick);
            (*system, [index, place.unwrap_or(index)])
        })
    }

    /// Tables on standard output.
    pub(crate) fn print(&self, args: &Args) {
        if !self.comparisons.is_empty() {
            self.print_comparisons(args);
        }
        if !self.memory.is_empty() {
            self.print_memory(args);
        }
    }

    fn print_comparisons(&self, args: &Args) {
        println!(
            "Echoes on loopback, one thread each, or {} of tokio's multi_thread. Bare echoes read {} bytes\n\
             at a time. Median of {} runs of {:?} each, ratios to the bare echo on the same runtime within\n\
             each run; {}.\n",
            args.workers,
            args.read_buffer,
            args.runs,
            args.seconds,
            load_average(),
        );
        println!("{:17}{:^31}   {:^28}", "", "requests/s", "server CPU, us/request");
        println!(
            "{:17}{:>10}{:>8}{:>13}   {:>8}{:>7}{:>13}   server busy",
            "", "", "ratio", "(range)", "", "ratio", "(range)",
        );
        let mut waited = false;
        for comparison in &self.comparisons {
            println!("{}, {}", comparison.case.name, comparison.case.size());
            for (system, [server, yardstick]) in self.servers() {
                let ratios = |number| match server == yardstick {
                    true => [String::new(), String::new()],
                    false => {
                        let [least, ratio, most] = comparison.ratios([server, yardstick], number);
                        [format!("{ratio:.2}"), format!("{least:.2}-{most:.2}")]
                    }
                };
                let [ratio, range] = ratios(Sample::throughput as fn(&Sample) -> f64);
                let [cost_ratio, cost_range] = ratios(Sample::cost);
                let busy = comparison.median(server, Sample::server_busy);
                waited |= busy < BUSY;
                println!(
                    "  {:15}{:>10.0}{ratio:>8}{range:>13}   {:>8.2}{cost_ratio:>7}{cost_range:>13}   \
                     {:>4.0}%{}",
                    system.name(),
                    comparison.median(server, Sample::throughput),
                    comparison.median(server, Sample::cost),
                    busy * 100.0,
                    if busy < BUSY { " *" } else { "" },
                );
            }
        }
        if waited {
            println!(
                "\n* The server had to wait, for requests or for another process: its CPU time says \
                 more than the throughput."
            );
        }
        println!();
    }

    fn print_memory(&self, args: &Args) {
        println!(
            "Resident bytes of the server per idle connection, of {}. Bare echoes read {} bytes at a time\n\
             here.\n",
            args.connections,
            memory::READ_BUFFER,
        );
        println!("{:17}{:>24}{:>20}", "", "after a small message", "after one of 64 KiB");
        for (system, [server, _]) in self.servers() {
            let Memory { small, large } = self.memory[server];
            println!("  {:15}{small:>24.0}{large:>20.0}", system.name());
        }
    }

    /// One JSON object on standard output.
    pub(crate) fn print_json(&self, args: &Args) {
        let cases: Vec<Value> =
            self.comparisons.iter().map(|comparison| self.comparison_json(comparison)).collect();
        let memory = self.memory.iter().zip(&self.systems).map(|(memory, system)| {
            json!({
                "system": system.name(),
                "after_a_small_message": memory.small,
                "after_64_kib": memory.large,
            })
        });
        let report = json!({
            "runs": args.runs,
            "seconds": args.seconds.as_secs_f64(),
            "machine": load_average(),
            "bare_read_buffer": args.read_buffer,
            "workers_of_multi_thread": args.workers,
            "cases": cases,
            "idle_connections": args.connections,
            "bare_read_buffer_idle": memory::READ_BUFFER,
            "bytes_per_idle_connection": memory.collect::<Vec<_>>(),
        });
        println!("{report}");
    }

    fn comparison_json(&self, comparison: &Comparison) -> Value {
        let servers = self.servers().map(|(system, [server, yardstick])| {
            let ratio = |number: fn(&Sample) -> f64| {
                let [least, median, most] = comparison.ratios([server, yardstick], number);
                json!({ "least": least, "median": median, "most": most })
            };
            json!({
                "system": system.name(),
                "yardstick": system.yardstick().name(),
                "requests_per_second": comparison.median(server, Sample::throughput),
                "server_microseconds_per_request": comparison.median(server, Sample::cost),
                "server_busy": comparison.median(server, Sample::server_busy),
                "generator_busy": comparison.median(server, Sample::generator_busy),
                "throughput_ratio": ratio(Sample::throughput),
                "cost_ratio": ratio(Sample::cost),
            })
        });
        let case = comparison.case;
        json!({
            "case": case.name,
            "connections": case.connections,
            "in_flight": case.depth,
            "payload_bytes": case.payload,
            "servers": servers.collect::<Vec<_>>(),
        })
    }
}

/// What else the machine does.
fn load_average() -> String {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let averages = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let average = averages.split_whitespace().next().unwrap_or("unknown");
    format!("{processors} processors, load average at the end {average}")
}
