//! The result as a page with charts, in one file that needs nothing else.

mod axis;
mod distribution;
mod throughput;

use core::fmt::Display;
use std::io::{self, Write};

use super::report::{Outcome, bytes, grouped, rate, time};
use super::tally::{Errors, Tally};
use super::text::describe_load;

const STYLE: &str = include_str!("page/style.css");

/// Writes the page.
pub(super) fn write(out: &mut impl Write, outcome: &Outcome, tally: &Tally) -> io::Result<()> {
    let host = Escaped(&outcome.url);
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>wwr bench {host}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <header>\n<p class=\"brand\">wwr bench</p>\n<h1>{host}</h1>\n\
         <p class=\"sub\">Protocol {}. {}.</p>\n</header>",
        outcome.protocol,
        Escaped(&describe_load(outcome)),
    )?;
    figures(out, outcome)?;
    for note in outcome.notes() {
        writeln!(out, "<p class=\"note\">{}.</p>", Escaped(&capitalised(&note)))?;
    }
    if let Some(latency) = &outcome.latency_ns {
        writeln!(
            out,
            "<section>\n<h2>Latency</h2>\n<p class=\"sub\">{} requests by the time from {} to \
             reply, on a logarithmic scale.</p>",
            grouped(latency.count),
            if outcome.settings.rate.is_some() { "when they were due" } else { "sending" },
        )?;
        distribution::write(out, &tally.latency.histogram, latency)?;
        writeln!(out, "<dl class=\"row\">")?;
        let mean = [("min", latency.min), ("mean", latency.mean as u64)];
        for (name, nanos) in mean.into_iter().chain(latency.percentiles()) {
            writeln!(out, "<div><dt>{name}</dt><dd>{}</dd></div>", time(nanos))?;
        }
        writeln!(out, "</dl>\n</section>")?;
    }
    writeln!(
        out,
        "<section>\n<h2>Throughput</h2>\n<p class=\"sub\">Messages per second over the time of the \
         measurement{}.</p>",
        if tally.requests.failed + tally.signals.failed > 0 { ", failed ones in red" } else { "" },
    )?;
    throughput::write(out, &tally.timeline, outcome.seconds)?;
    writeln!(out, "</section>")?;
    details(out, outcome)?;
    writeln!(
        out,
        "<section>\n<h2>Made by</h2>\n<pre><code>{}</code></pre>\n</section>\n</main>\n</body>\n\
         </html>",
        Escaped(&outcome.command)
    )
}

/// The most important numbers.
fn figures(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    let mut figures = Vec::new();
    if outcome.settings.signals_percent < 100 {
        figures.push(("requests per second", rate(outcome.requests.per_second)));
    }
    if outcome.settings.signals_percent > 0 {
        figures.push(("signals per second", rate(outcome.signals.per_second)));
    }
    if let Some(latency) = &outcome.latency_ns {
        figures.push(("median latency", time(latency.p50)));
        figures.push(("99th percentile", time(latency.p99)));
    }
    let failed = outcome.requests.failed + outcome.signals.failed;
    figures.push(("errors", grouped(failed)));
    writeln!(out, "<dl class=\"figures\">")?;
    for (name, value) in figures {
        let class = if name == "errors" && failed > 0 { " class=\"bad\"" } else { "" };
        writeln!(out, "<div><dt>{name}</dt><dd{class}>{value}</dd></div>")?;
    }
    writeln!(out, "</dl>")
}

/// All other numbers.
fn details(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    let mut rows: Vec<(&str, String)> = Vec::new();
    let requests = &outcome.requests;
    if outcome.settings.signals_percent < 100 {
        rows.push(("Requests sent", grouped(requests.sent)));
        rows.push(("Replied", grouped(requests.replied)));
    }
    if outcome.settings.signals_percent > 0 {
        rows.push(("Signals sent", grouped(outcome.signals.sent)));
        rows.push(("Signals received", grouped(outcome.signals.received)));
    }
    for (name, count) in [
        ("Requests unanswered", requests.unanswered),
        ("Signals not written", outcome.signals.unwritten),
        ("Never sent", requests.unsent),
    ] {
        if count > 0 {
            rows.push((name, grouped(count)));
        }
    }
    let size = &outcome.bytes;
    for (name, all, every_second) in [
        ("Payloads sent", size.sent, size.sent_per_second),
        ("Payloads received", size.received, size.received_per_second),
    ] {
        rows.push((name, format!("{}, {} per second", bytes(all as f64), bytes(every_second))));
    }
    let links = &outcome.connections;
    rows.push(("Connections made", grouped(links.connected)));
    rows.push(("Made again", grouped(links.reconnected)));
    rows.push(("Lost", grouped(links.lost)));
    if let Some(connecting) = &links.connect_ns {
        let (median, slow) = (time(connecting.p50), time(connecting.p99));
        rows.push(("Connecting", format!("median {median}, 99th percentile {slow}")));
    }
    if let Some(churn) = &outcome.churn {
        rows.push(("Sessions created", grouped(churn.logins)));
        rows.push(("Sessions restored", grouped(churn.restored)));
        rows.push(("Sessions lost", grouped(churn.sessions_lost)));
    }
    let busy = &outcome.generator.cpu_percent;
    if !busy.is_empty() {
        let threads: Vec<_> = busy.iter().map(|part| format!("{part:.0} %")).collect();
        rows.push(("Generator's processor time", threads.join(", ")));
    }
    writeln!(out, "<section>\n<h2>Details</h2>\n<table>")?;
    for (name, value) in rows {
        row(out, name, &value)?;
    }
    let errors = &outcome.errors;
    for (what, errors) in [
        ("request", &errors.requests),
        ("signal", &errors.signals),
        ("connection", &errors.connections),
    ] {
        error_rows(out, what, errors)?;
    }
    writeln!(out, "</table>\n</section>")
}

fn row(out: &mut impl Write, name: &str, value: &dyn Display) -> io::Result<()> {
    writeln!(out, "<tr><th>{name}</th><td>{value}</td></tr>")
}

fn error_rows(out: &mut impl Write, what: &str, errors: &Errors) -> io::Result<()> {
    for (kind, count) in errors {
        writeln!(
            out,
            "<tr class=\"bad\"><th>Error of a {what}: {}</th><td>{}</td></tr>",
            Escaped(kind),
            grouped(*count)
        )?;
    }
    Ok(())
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(characters.clone()).collect()
}

/// Text with HTML escaped.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => write!(f, "{other}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_escaped_in_html() {
        let text = Escaped(r#"<a href="x">'&"#).to_string();
        assert_eq!(text, "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
        assert_eq!((capitalised(""), capitalised("on")), (String::new(), "On".into()));
    }
}
