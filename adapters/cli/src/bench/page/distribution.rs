//! The distribution of latencies: bars on a logarithmic scale, with the percentiles.

use std::io::{self, Write};

use hdrhistogram::Histogram;

use super::super::report::{Distribution, grouped, time};
use super::axis::{Axis, BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, logarithmic_ticks, ticks};

/// The most bars.
const BARS: usize = 110;

/// The names of percentiles closer to each other than this share a row.
const SAME: f64 = 12.0;

/// The greatest width of a character of a name, and the height of a row.
const CHARACTER: f64 = 8.5;
const ROW: f64 = 15.0;

/// The number of rows of names.
const ROWS: usize = 3;

pub(super) fn write(
    out: &mut impl Write,
    histogram: &Histogram<u64>,
    latency: &Distribution,
) -> io::Result<()> {
    let scale = logarithmic_ticks(latency.min as f64, latency.max as f64);
    let (least, most) =
        (scale.first().copied().unwrap_or(1.0), scale.last().copied().unwrap_or(10.0));
    let across = Axis { values: (least.ln(), most.ln()), positions: (LEFT, RIGHT) };
    let bars = bars(histogram, least, most);
    let total = latency.count as f64;
    let highest = bars.iter().map(|bar| bar.count).max().unwrap_or(0) as f64 / total * 100.0;
    let shares = ticks(highest);
    let up =
        Axis { values: (0.0, shares.last().copied().unwrap_or(1.0)), positions: (BOTTOM, TOP) };
    writeln!(
        out,
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"Distribution of the latency\">"
    )?;
    for share in shares {
        let y = up.position(share);
        writeln!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{} %</text>",
            LEFT - 8.0,
            y + 4.0,
            (share * 1000.0).round() / 1000.0,
        )?;
    }
    for tick in scale {
        let x = across.position(tick.ln());
        // The name of the last one would be cut off in the middle.
        let anchor = if x > RIGHT - 20.0 { "end" } else { "middle" };
        writeln!(
            out,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{BOTTOM}\" y2=\"{:.1}\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
            BOTTOM + 5.0,
            HEIGHT - 8.0,
            round_time(tick),
        )?;
    }
    for bar in bars.iter().filter(|bar| bar.count > 0) {
        let (x, end) = (across.position(bar.from.ln()), across.position(bar.to.ln()));
        let share = bar.count as f64 / total * 100.0;
        // Even the smallest share is visible.
        let y = up.position(share).min(BOTTOM - 1.5);
        writeln!(
            out,
            "<rect class=\"bar\" x=\"{x:.2}\" y=\"{y:.2}\" width=\"{:.2}\" height=\"{:.2}\">\
             <title>{} to {}: {} requests, {share:.2} %</title></rect>",
            (end - x - 1.0).max(1.0),
            BOTTOM - y,
            time(bar.from as u64),
            time(bar.to as u64),
            grouped(bar.count),
        )?;
    }
    percentiles(out, &across, latency)?;
    writeln!(out, "</svg>")
}

/// Lines at the percentiles, with their names.
fn percentiles(out: &mut impl Write, across: &Axis, latency: &Distribution) -> io::Result<()> {
    let mut names: Vec<(f64, String)> = Vec::new();
    for (name, nanos) in latency.percentiles() {
        let x = across.position((nanos.max(1) as f64).ln());
        writeln!(
            out,
            "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{BOTTOM}\">\
             <title>{name}: {}</title></line>",
            TOP - 4.0,
            time(nanos),
        )?;
        match names.last_mut() {
            Some((last, names)) if x - *last < SAME => names.extend([", ", name]),
            Some(_) | None => names.push((x, name.into())),
        }
    }
    // Names that would overlap go to different rows.
    let mut rows = [f64::NEG_INFINITY; ROWS];
    for (x, name) in names {
        let half = name.len() as f64 * CHARACTER / 2.0;
        let x = x.min(RIGHT - half);
        let free = rows.iter().position(|end| x - half > *end).unwrap_or(ROWS - 1);
        if let Some(end) = rows.get_mut(free) {
            *end = x + half;
        }
        writeln!(
            out,
            "<text class=\"mark-name\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">\
             {name}</text>",
            TOP - 9.0 - ROW * free as f64,
        )?;
    }
    Ok(())
}

/// How many requests took from `from` to below `to`, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bar {
    from: f64,
    to: f64,
    count: u64,
}

/// Bars of the same width on the scale from the least to the most.
fn bars(histogram: &Histogram<u64>, least: f64, most: f64) -> Vec<Bar> {
    let width = (most / least).ln() / BARS as f64;
    let edge = |number: usize| least * (width * number as f64).exp();
    let mut bars: Vec<Bar> = (0..BARS)
        .map(|number| Bar { from: edge(number), to: edge(number + 1), count: 0 })
        .collect();
    for value in histogram.iter_recorded() {
        let index = ((value.value_iterated_to().max(1) as f64 / least).ln() / width).max(0.0);
        if let Some(bar) = bars.get_mut((index as usize).min(BARS - 1)) {
            bar.count += value.count_at_value();
        }
    }
    bars
}

/// Returns a round time in nanoseconds, without trailing zeros.
fn round_time(nanos: f64) -> String {
    let units = [(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")];
    let (size, unit) =
        units.into_iter().find(|(size, _)| nanos >= *size * 0.999).unwrap_or((1.0, "ns"));
    format!("{} {unit}", (nanos / size).round())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_counts_in_one_bar() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 1_000_000, 3).unwrap();
        for value in [1, 10, 11, 12, 999, 1000, 1_000_000] {
            histogram.record(value).unwrap();
        }
        let bars = bars(&histogram, 1.0, 1_000_000.0);
        assert_eq!(bars.iter().map(|bar| bar.count).sum::<u64>(), 7);
        assert_eq!((bars[0].count, bars[BARS - 1].count), (1, 1));
        assert!(bars.iter().all(|bar| bar.from < bar.to));
    }

    #[test]
    fn times_at_the_axis_are_short() {
        let texts = [1.0, 500.0, 1e3, 2e5, 1e6, 5e9].map(round_time);
        assert_eq!(texts, ["1 ns", "500 ns", "1 µs", "200 µs", "1 ms", "5 s"]);
    }
}
