//! The result as an object for programs. The text and the page are made from it.

use core::time::Duration;

use serde::Serialize;

use super::plan::{Plan, Spoken};
use super::tally::{Errors, Messages, Tally, Times};

/// A thread that was busy for at least this part of the time could not send more.
const BOTTLENECK: f64 = 0.9;

/// The result of a run.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) url: String,
    pub(super) command: String,
    pub(super) protocol: String,
    pub(super) settings: Settings,
    /// How long the measurement took.
    pub(super) seconds: f64,
    pub(super) interrupted: bool,
    pub(super) requests: Exchanged,
    pub(super) signals: Signals,
    pub(super) bytes: Bytes,
    /// Latencies of requests; null if no request was answered or waited to the end.
    pub(super) latency_ns: Option<Distribution>,
    pub(super) errors: ByWhat,
    pub(super) connections: Connections,
    /// Null without churn.
    pub(super) churn: Option<Churn>,
    pub(super) generator: Generator,
    pub(super) timeline: Steps,
}

#[derive(Debug, Serialize)]
pub(super) struct Settings {
    pub(super) connections: u64,
    pub(super) depth: usize,
    pub(super) threads: u64,
    pub(super) name: String,
    pub(super) size: usize,
    pub(super) signals_percent: u8,
    /// Null: the loop is closed.
    pub(super) rate: Option<u32>,
    /// Null: a duration was given.
    pub(super) count: Option<u64>,
    pub(super) churn: Option<u64>,
    pub(super) warmup_seconds: f64,
    pub(super) timeout_seconds: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Exchanged {
    pub(super) sent: u64,
    pub(super) replied: u64,
    pub(super) failed: u64,
    /// Requests without an answer at the end.
    pub(super) unanswered: u64,
    /// Requests and signals that were due but never sent.
    pub(super) unsent: u64,
    /// Replies that came before the end.
    pub(super) per_second: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Signals {
    pub(super) sent: u64,
    pub(super) failed: u64,
    /// Signals that the socket had not accepted at the end.
    pub(super) unwritten: u64,
    pub(super) per_second: f64,
    /// Signals of the server, whenever they came.
    pub(super) received: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Bytes {
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) sent_per_second: f64,
    pub(super) received_per_second: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Distribution {
    pub(super) count: u64,
    pub(super) min: u64,
    pub(super) mean: f64,
    pub(super) standard_deviation: f64,
    pub(super) p50: u64,
    pub(super) p90: u64,
    pub(super) p99: u64,
    pub(super) p99_9: u64,
    pub(super) max: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct ByWhat {
    pub(super) requests: Errors,
    pub(super) signals: Errors,
    /// Errors of connecting and logging in.
    pub(super) connections: Errors,
}

#[derive(Debug, Serialize)]
pub(super) struct Connections {
    pub(super) connected: u64,
    pub(super) reconnected: u64,
    /// Connections that the other side closed.
    pub(super) lost: u64,
    pub(super) connect_ns: Option<Distribution>,
}

#[derive(Debug, Serialize)]
pub(super) struct Churn {
    pub(super) logins: u64,
    pub(super) restored: u64,
    pub(super) sessions_lost: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Generator {
    /// Processor time of each thread, in percent of the time it ran.
    pub(super) cpu_percent: Vec<f64>,
    /// Whether a thread could not send more.
    pub(super) bottleneck: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Steps {
    pub(super) step_ms: u128,
    pub(super) done: Vec<u64>,
    pub(super) failed: Vec<u64>,
}

impl Outcome {
    /// `end` is when the measurement ended, if it did not end earlier by itself.
    pub(super) fn new(
        plan: &Plan,
        spoken: Spoken,
        tally: &Tally,
        end: Duration,
        interrupted: bool,
        command: String,
    ) -> Self {
        let measured = if interrupted || plan.duration.is_some() { end } else { tally.last };
        let seconds = measured.as_secs_f64();
        let rate = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        Self {
            url: plan.servers(),
            command,
            protocol: spoken.dialect.to_string(),
            settings: Settings::new(plan),
            seconds,
            interrupted,
            requests: Exchanged {
                sent: tally.requests.sent,
                replied: tally.requests.done,
                failed: tally.requests.failed,
                unanswered: tally.unanswered,
                unsent: tally.unsent,
                per_second: rate(tally.requests.done_in_time),
            },
            signals: Signals {
                sent: tally.signals.done,
                failed: tally.signals.failed,
                unwritten: tally.unwritten,
                per_second: rate(tally.signals.done_in_time),
                received: tally.signals_received,
            },
            bytes: Bytes {
                sent: tally.bytes_sent,
                received: tally.bytes_received,
                sent_per_second: rate(tally.bytes_sent),
                received_per_second: rate(tally.bytes_received),
            },
            latency_ns: Distribution::new(&tally.latency),
            errors: ByWhat {
                requests: errors(&tally.requests),
                signals: errors(&tally.signals),
                connections: tally.links.errors.clone(),
            },
            connections: Connections {
                connected: tally.links.connected,
                reconnected: tally.links.reconnected,
                lost: tally.links.lost,
                connect_ns: Distribution::new(&tally.links.connecting),
            },
            churn: plan.churn.map(|_| Churn {
                logins: tally.links.logins,
                restored: tally.links.restored,
                sessions_lost: tally.links.sessions_lost,
            }),
            generator: Generator {
                cpu_percent: tally.busy.iter().map(|busy| (busy * 1000.0).round() / 10.0).collect(),
                bottleneck: tally.busy.iter().any(|busy| *busy >= BOTTLENECK),
            },
            timeline: Steps {
                step_ms: tally.timeline.step().as_millis(),
                done: tally.timeline.steps().iter().map(|step| step.done).collect(),
                failed: tally.timeline.steps().iter().map(|step| step.failed).collect(),
            },
        }
    }

    /// Warnings for the reader of the numbers.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.settings.rate.is_none() && self.latency_ns.is_some() {
            notes.push(
                "closed loop: each message waits for the one before it, so a slow server is asked \
                 less and its pauses hardly show in the latencies; --rate measures those"
                    .into(),
            );
        }
        if self.requests.unsent > 0 {
            notes.push(format!(
                "the rate was not reached: {} messages were due but not sent; they count in the \
                 latencies with the time they had waited",
                grouped(self.requests.unsent)
            ));
        }
        if self.requests.unanswered > 0 {
            notes.push(format!(
                "{} requests in flight had no answer at the end; they count in the latencies with \
                 the time they had waited",
                grouped(self.requests.unanswered)
            ));
        }
        if self.signals.unwritten > 0 {
            notes.push(format!(
                "{} signals were not written at the end: the server did not read",
                grouped(self.signals.unwritten)
            ));
        }
        if self.generator.bottleneck {
            notes.push(
                "the generator was the bottleneck: it had no processor time left; the server may \
                 be able to do more, see --threads"
                    .into(),
            );
        }
        if self.connections.connected < self.settings.connections {
            notes.push(format!(
                "only {} of {} connections were made",
                grouped(self.connections.connected),
                grouped(self.settings.connections)
            ));
        }
        if self.interrupted {
            notes.push("ended early".into());
        }
        notes
    }
}

impl Settings {
    fn new(plan: &Plan) -> Self {
        let schedule = &plan.schedule;
        Self {
            connections: schedule.connections,
            depth: plan.depth,
            threads: plan.threads,
            name: plan.name.as_str().into(),
            size: plan.payload.len(),
            signals_percent: schedule.signals,
            rate: schedule.rate,
            count: plan.duration.is_none().then_some(schedule.total),
            churn: plan.churn,
            warmup_seconds: schedule.warmup.as_secs_f64(),
            timeout_seconds: plan.timeout.as_secs_f64(),
        }
    }
}

impl Distribution {
    fn new(times: &Times) -> Option<Self> {
        let histogram = &times.histogram;
        (!histogram.is_empty()).then(|| Self {
            count: histogram.len(),
            min: histogram.min(),
            mean: histogram.mean(),
            standard_deviation: histogram.stdev(),
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            p99_9: histogram.value_at_quantile(0.999),
            max: histogram.max(),
        })
    }

    /// Returns the percentiles by name.
    pub(super) const fn percentiles(&self) -> [(&'static str, u64); 5] {
        [
            ("p50", self.p50),
            ("p90", self.p90),
            ("p99", self.p99),
            ("p99.9", self.p99_9),
            ("max", self.max),
        ]
    }
}

fn errors(messages: &Messages) -> Errors {
    messages.errors.clone()
}

/// Formats a number with commas between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a number per second: with decimals only if it is small.
pub(super) fn rate(number: f64) -> String {
    if number < 100.0 { format!("{number:.1}") } else { grouped(number.round() as u64) }
}

/// Formats a number of bytes in the largest unit that it fills, with at least three digits.
pub(super) fn bytes(number: f64) -> String {
    scaled(number, 1000.0, &["B", "kB", "MB", "GB", "TB"])
}

/// Formats a time in nanoseconds in the largest unit that it fills, with at least three digits.
pub(super) fn time(nanos: u64) -> String {
    scaled(nanos as f64, 1000.0, &["ns", "µs", "ms", "s"])
}

fn scaled(number: f64, factor: f64, units: &[&str]) -> String {
    let (mut number, mut unit) = (number, 0);
    // 1000 of a unit is shown as 1.00 of the next unit.
    while number >= 0.9995 * factor && unit + 1 < units.len() {
        number /= factor;
        unit += 1;
    }
    let digits = match number {
        _ if unit == 0 => 0,
        _ if number < 9.995 => 2,
        _ if number < 99.95 => 1,
        _ => 0,
    };
    format!("{number:.digits$} {}", units.get(unit).unwrap_or(&""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        for (nanos, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1000, "1.00 µs"),
            (12_345, "12.3 µs"),
            (999_400, "999 µs"),
            (999_600, "1.00 ms"),
            (1_500_000_000, "1.50 s"),
            (3_600_000_000_000, "3600 s"),
        ] {
            assert_eq!(time(nanos), text);
        }
        assert_eq!(
            (rate(0.25), rate(99.94), rate(123_456.7)),
            ("0.2".into(), "99.9".into(), "123,457".into())
        );
        assert_eq!((bytes(12.0), bytes(65_536.0)), ("12 B".into(), "65.5 kB".into()));
    }
}
