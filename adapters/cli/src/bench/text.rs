//! The result for people, as lines.

use core::fmt::Display;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::report::{Distribution, Outcome, bytes, grouped, rate, time};
use super::tally::Errors;

/// Characters of a line, beside its name.
const WIDTH: usize = 80;

const TITLE: Style = Style::new().bold();
const BAD: Style = AnsiColor::Red.on_default();
const NOTE: Style = AnsiColor::Yellow.on_default();

/// Writes all lines.
pub(super) fn write(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    let mut line =
        |name: &str, value: &dyn Display| writeln!(out, "{TITLE}{name:<13}{TITLE:#}{value}");
    line("server", &format_args!("{}, protocol {}", outcome.url, outcome.protocol))?;
    let mut name = "load";
    for part in wrapped(&describe_load(outcome)) {
        line(name, &part)?;
        name = "";
    }
    let requests = &outcome.requests;
    if outcome.settings.signals_percent < 100 {
        let (replied, every_second) = (grouped(requests.replied), rate(requests.per_second));
        line("requests", &format_args!("{every_second} per second; {replied} replied"))?;
    }
    let signals = &outcome.signals;
    if outcome.settings.signals_percent > 0 {
        let (sent, received) = (grouped(signals.sent), grouped(signals.received));
        let every_second = rate(signals.per_second);
        line(
            "signals",
            &format_args!("{every_second} per second; {sent} sent, {received} received"),
        )?;
    }
    let size = &outcome.bytes;
    let (up, down) = (bytes(size.sent_per_second), bytes(size.received_per_second));
    line("payloads", &format_args!("{up} per second sent, {down} per second received"))?;
    if let Some(latency) = &outcome.latency_ns {
        line("latency", &percentiles(latency))?;
        let (mean, deviation) = (latency.mean as u64, latency.standard_deviation as u64);
        line("", &format_args!("mean {}, standard deviation {}", time(mean), time(deviation)))?;
    }
    let links = &outcome.connections;
    let (made, again, lost) =
        (grouped(links.connected), grouped(links.reconnected), grouped(links.lost));
    line("connections", &format_args!("{made} made, {again} made again, {lost} lost"))?;
    if let Some(connecting) = &links.connect_ns {
        line("connecting", &percentiles(connecting))?;
    }
    if let Some(churn) = &outcome.churn {
        let (logins, restored) = (grouped(churn.logins), grouped(churn.restored));
        let lost = grouped(churn.sessions_lost);
        line("sessions", &format_args!("{logins} created, {restored} restored, {lost} lost"))?;
    }
    let errors = &outcome.errors;
    let kinds = [
        ("requests", &errors.requests),
        ("signals", &errors.signals),
        ("connecting", &errors.connections),
    ];
    if kinds.iter().all(|(_, errors)| errors.is_empty()) {
        line("errors", &"none")?;
    }
    for (what, errors) in kinds {
        if !errors.is_empty() {
            line("errors", &format_args!("{BAD}{what}: {}{BAD:#}", listed(errors)))?;
        }
    }
    if !outcome.generator.cpu_percent.is_empty() {
        let threads: Vec<_> =
            outcome.generator.cpu_percent.iter().map(|part| format!("{part:.0} %")).collect();
        line("generator", &format_args!("processor time {}", threads.join(", ")))?;
    }
    for note in outcome.notes() {
        let mut name = "note";
        for part in wrapped(&note) {
            line(name, &format_args!("{NOTE}{part}{NOTE:#}"))?;
            name = "";
        }
    }
    Ok(())
}

/// Breaks a text into lines, between words.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.into()),
        }
    }
    lines
}

/// Describes the load in one sentence.
pub(super) fn describe_load(outcome: &Outcome) -> String {
    let settings = &outcome.settings;
    let mut parts = vec![
        format!("{} connections", grouped(settings.connections)),
        format!("{} in flight on each", settings.depth),
        format!("payloads of {} bytes", settings.size),
    ];
    if settings.signals_percent > 0 {
        parts.push(format!("{} % signals", settings.signals_percent));
    }
    if let Some(messages) = settings.churn {
        parts.push(format!("cut after every {messages} messages"));
    }
    parts.push(match settings.rate {
        Some(rate) => format!("{} per second, open loop", grouped(rate.into())),
        None => "closed loop".into(),
    });
    parts.push(format!("{:.1} s", outcome.seconds));
    parts.join(", ")
}

fn percentiles(distribution: &Distribution) -> String {
    let parts: Vec<_> = distribution
        .percentiles()
        .into_iter()
        .map(|(name, nanos)| format!("{name} {}", time(nanos)))
        .collect();
    parts.join("   ")
}

/// Returns the errors by kind, the most frequent first.
pub(super) fn listed(errors: &Errors) -> String {
    let mut errors: Vec<_> = errors.iter().collect();
    errors.sort_by_key(|(_, number)| core::cmp::Reverse(**number));
    let parts: Vec<_> =
        errors.into_iter().map(|(kind, number)| format!("{} {kind}", grouped(*number))).collect();
    parts.join(", ")
}
