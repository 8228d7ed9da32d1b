//! What was measured, for people and for programs.

use std::fs;

use serde_json::{Value, json};

use super::args::Args;
use super::load::Sample;
use super::measure::Comparison;
use super::memory::{self, Memory};

/// A server that is busy less than this was not what limited the throughput.
const BUSY: f64 = 0.9;

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) comparisons: Vec<Comparison>,
    /// Of the bare echo, then of the WebWire server.
    pub(crate) memory: Option<[Memory; 2]>,
}

impl Report {
    /// Tables on standard output.
    pub(crate) fn print(&self, args: &Args) {
        if !self.comparisons.is_empty() {
            self.print_comparisons(args);
        }
        if let Some(memory) = &self.memory {
            print_memory(memory, args.connections);
        }
    }

    fn print_comparisons(&self, args: &Args) {
        println!(
            "WebWire against a bare WebSocket echo that reads {} bytes at a time, one thread each, on\n\
             loopback. Median of {} runs of {:?} each, ratios within each run; {}.\n",
            args.read_buffer,
            args.runs,
            args.seconds,
            load_average(),
        );
        let head = ["bare", "webwire", "ratio", "(range)"];
        println!("{:15}{:^41}   {:^35}   server busy", "", "requests/s", "server CPU, us/request");
        println!(
            "{:15}{:>10}{:>11}{:>8}{:>12}   {:>7}{:>9}{:>7}{:>12}   {:>5}{:>8}",
            "load",
            head[0],
            head[1],
            head[2],
            head[3],
            head[0],
            head[1],
            head[2],
            head[3],
            head[0],
            head[1],
        );
        for comparison in &self.comparisons {
            let [least, ratio, most] = comparison.ratios(Sample::throughput);
            let [least_cost, cost_ratio, most_cost] = comparison.ratios(Sample::cost);
            let busy =
                [comparison.bare(Sample::server_busy), comparison.webwire(Sample::server_busy)];
            println!(
                "{:6} {:>7} {:>10.0} {:>10.0} {ratio:>7.2} {:>11}   {:>7.2} {:>8.2} \
                 {cost_ratio:>6.2} {:>11}   {:>4.0}% {:>6.0}%{}",
                comparison.case.name,
                comparison.case.size,
                comparison.bare(Sample::throughput),
                comparison.webwire(Sample::throughput),
                format!("{least:.2}-{most:.2}"),
                comparison.bare(Sample::cost),
                comparison.webwire(Sample::cost),
                format!("{least_cost:.2}-{most_cost:.2}"),
                busy[0] * 100.0,
                busy[1] * 100.0,
                if busy.iter().any(|busy| *busy < BUSY) { " *" } else { "" },
            );
        }
        if self.comparisons.iter().any(|comparison| {
            comparison.bare(Sample::server_busy).min(comparison.webwire(Sample::server_busy)) < BUSY
        }) {
            println!(
                "\n* A server had to wait, for requests or for another process: its CPU time says \
                 more than the throughput."
            );
        }
        println!();
    }

    /// One JSON object on standard output.
    pub(crate) fn print_json(&self, args: &Args) {
        let cases: Vec<Value> = self.comparisons.iter().map(comparison_json).collect();
        let memory = self.memory.as_ref().map(|[bare, webwire]| {
            json!({
                "connections": args.connections,
                "bare_read_buffer": memory::READ_BUFFER,
                "bare": bare.small,
                "webwire": webwire.small,
                "ratio": webwire.small / bare.small,
                "after_64_kib": { "bare": bare.large, "webwire": webwire.large },
            })
        });
        let report = json!({
            "runs": args.runs,
            "seconds": args.seconds.as_secs_f64(),
            "machine": load_average(),
            "bare_read_buffer": args.read_buffer,
            "cases": cases,
            "bytes_per_idle_connection": memory,
        });
        println!("{report}");
    }
}

fn comparison_json(comparison: &Comparison) -> Value {
    let side = |number: &dyn Fn(fn(&Sample) -> f64) -> f64| {
        json!({
            "requests_per_second": number(Sample::throughput),
            "server_microseconds_per_request": number(Sample::cost),
            "server_busy": number(Sample::server_busy),
            "generator_busy": number(Sample::generator_busy),
        })
    };
    let ratio = |number: fn(&Sample) -> f64| {
        let [least, median, most] = comparison.ratios(number);
        json!({ "least": least, "median": median, "most": most })
    };
    let case = comparison.case;
    json!({
        "case": case.name,
        "connections": case.connections,
        "in_flight": case.depth,
        "payload_bytes": case.payload,
        "bare": side(&|number| comparison.bare(number)),
        "webwire": side(&|number| comparison.webwire(number)),
        "throughput_ratio": ratio(Sample::throughput),
        "cost_ratio": ratio(Sample::cost),
    })
}

fn print_memory([bare, webwire]: &[Memory; 2], connections: u32) {
    println!(
        "Resident bytes of the server per idle connection, of {connections}. The bare echo reads {} \
         bytes\nat a time here.\n",
        memory::READ_BUFFER,
    );
    println!("{:24}{:>10}{:>10}{:>8}", "", "bare", "webwire", "ratio");
    for (name, bare, webwire) in [
        ("after a small message", bare.small, webwire.small),
        ("after one of 64 KiB", bare.large, webwire.large),
    ] {
        println!("{name:24}{bare:>10.0}{webwire:>10.0}{:>8.2}", webwire / bare);
    }
}

/// What else the machine does.
fn load_average() -> String {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let averages = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let average = averages.split_whitespace().next().unwrap_or("unknown");
    format!("{processors} processors, load average at the end {average}")
}
