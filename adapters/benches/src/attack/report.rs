//! What was measured, for people and for programs.

use serde_json::{Value, json};

use super::good::{Latencies, percentile};
use super::measure::Cost;

const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// The percentiles that are shown.
const PERCENTILES: [usize; 3] = [50, 99, 100];

/// A table on standard output.
pub(crate) fn print(costs: &[Cost]) {
    println!(
        "{:12}{:>21}  {:>6}  {:^30}  {:^16}  {:^29}  {:^29}",
        "",
        "",
        "CPU",
        "memory, MiB",
        "files",
        "reply, ms: 50 99 100 %",
        "newcomer, ms: 50 99 100 %"
    );
    println!(
        "{:12}{:>21}  {:>6}  {:>6}{:>7}{:>7}{:>10}  {:>4}{:>6}{:>6}  {:^14}>{:^14}  {:^14}>{:^14}",
        "attack",
        "done",
        "of one",
        "before",
        "peak",
        "after",
        "mapped",
        "",
        "peak",
        "after",
        "before",
        "during",
        "before",
        "during"
    );
    for cost in costs {
        let mebibytes = |bytes: u64| bytes as f64 / MEBIBYTE;
        println!(
            "{:12}{:>10} {:10}  {:>6.2}  {:>6.1}{:>7.1}{:>7.1}{:>10.0}  {:>4}{:>6}{:>6}  {}>{}  {}>{}",
            cost.name,
            cost.done,
            cost.unit,
            share(cost),
            mebibytes(cost.memory[0]),
            mebibytes(cost.memory[1]),
            mebibytes(cost.memory[2]),
            mebibytes(cost.mapped),
            cost.files[0],
            cost.files[1],
            cost.files[2],
            three(&cost.before, |latencies| &latencies.requests),
            three(&cost.during, |latencies| &latencies.requests),
            three(&cost.before, |latencies| &latencies.newcomers),
            three(&cost.during, |latencies| &latencies.newcomers),
        );
        if cost.during.turned_away > 0 {
            println!("  newcomers turned away: {}", cost.during.turned_away);
        }
        for broken in &cost.broken {
            println!("  NOT AS EXPECTED: {broken}");
        }
    }
}

/// Processor time of the server as a part of the time that the attack took.
fn share(cost: &Cost) -> f64 {
    cost.cpu.as_secs_f64() / cost.elapsed.as_secs_f64()
}

fn three(latencies: &Latencies, which: fn(&Latencies) -> &[std::time::Duration]) -> String {
    let shown = PERCENTILES.map(|percent| format!("{:5.1}", percentile(which(latencies), percent)));
    shown.concat()
}

/// One JSON object on standard output; times in seconds or, of latencies, milliseconds; memory in
/// bytes.
pub(crate) fn print_json(costs: &[Cost]) {
    let attacks: Vec<Value> = costs.iter().map(attack).collect();
    println!("{}", json!({ "attacks": attacks }));
}

fn attack(cost: &Cost) -> Value {
    json!({
        "name": cost.name,
        "done": cost.done,
        "unit": cost.unit,
        "seconds": cost.elapsed.as_secs_f64(),
        "server_cpu_seconds": cost.cpu.as_secs_f64(),
        "memory_before": cost.memory[0],
        "memory_peak": cost.memory[1],
        "memory_after": cost.memory[2],
        "mapped_peak": cost.mapped,
        "files_before": cost.files[0],
        "files_peak": cost.files[1],
        "files_after": cost.files[2],
        "before": good(&cost.before),
        "during": good(&cost.during),
        "broken": cost.broken,
    })
}

fn good(latencies: &Latencies) -> Value {
    let three =
        |which: &[std::time::Duration]| PERCENTILES.map(|percent| percentile(which, percent));
    json!({
        "requests": latencies.requests.len(),
        "request_ms_50_99_100": three(&latencies.requests),
        "newcomers": latencies.newcomers.len(),
        "newcomer_ms_50_99_100": three(&latencies.newcomers),
        "turned_away": latencies.turned_away,
    })
}
