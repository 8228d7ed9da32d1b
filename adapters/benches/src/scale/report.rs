//! What was measured, for people and for programs.

use serde_json::{Map, Value, json};

use super::stage::{Outcome, Stage};

const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// A table on standard output.
pub(crate) fn print(outcomes: &[Outcome]) {
    println!(
        "{:36}{:>9}{:>9}{:>11}   {:^18}   {:^36}",
        "", "", "", "", "server CPU", "server memory, MiB"
    );
    println!(
        "{:36}{:>9}{:>9}{:>11}   {:>8}{:>10}   {:>9}{:>9}{:>9}{:>9}",
        "", "count", "seconds", "per second", "s", "us each", "before", "peak", "after", "growth"
    );
    for outcome in outcomes {
        println!("{}", outcome.name);
        for stage in &outcome.stages {
            let mebibytes = |bytes: u64| bytes as f64 / MEBIBYTE;
            println!(
                "  {:34}{:>9}{:>9.2}{:>11.0}   {:>8.2}{:>10.1}   {:>9.1}{:>9.1}{:>9.1}{:>+9.1}",
                stage.name,
                stage.count,
                stage.elapsed.as_secs_f64(),
                stage.per_second(),
                stage.cpu.as_secs_f64(),
                stage.cost(),
                mebibytes(stage.before),
                mebibytes(stage.peak),
                mebibytes(stage.after),
                stage.growth() / MEBIBYTE,
            );
        }
        for (name, value) in &outcome.facts {
            println!("  {name}: {value}");
        }
        for broken in &outcome.broken {
            println!("  NOT AS EXPECTED: {broken}");
        }
    }
}

/// One JSON object on standard output; times in seconds, memory in bytes.
pub(crate) fn print_json(outcomes: &[Outcome]) {
    let cases: Vec<Value> = outcomes.iter().map(case).collect();
    println!("{}", json!({ "cases": cases }));
}

fn case(outcome: &Outcome) -> Value {
    let facts: Map<_, _> =
        outcome.facts.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    json!({
        "name": outcome.name,
        "stages": outcome.stages.iter().map(stage).collect::<Vec<_>>(),
        "facts": facts,
        "broken": outcome.broken,
    })
}

fn stage(stage: &Stage) -> Value {
    json!({
        "name": stage.name,
        "count": stage.count,
        "seconds": stage.elapsed.as_secs_f64(),
        "per_second": stage.per_second(),
        "server_cpu_seconds": stage.cpu.as_secs_f64(),
        "memory_before": stage.before,
        "memory_peak": stage.peak,
        "memory_after": stage.after,
    })
}
