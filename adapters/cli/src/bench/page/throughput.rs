//! The throughput over time.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::super::report::{grouped, rate};
use super::super::timeline::Timeline;
use super::axis::{Axis, BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, ticks};

/// The most points of a curve: more would only show noise.
const POINTS: usize = 150;

pub(super) fn write(out: &mut impl Write, timeline: &Timeline, seconds: f64) -> io::Result<()> {
    let mut timeline = timeline.clone();
    while timeline.steps().len() > POINTS {
        timeline.widen_to(timeline.step().saturating_mul(2));
    }
    let step = timeline.step().as_secs_f64();
    let mut rates: Vec<(f64, f64)> = timeline.rates().collect();
    // The last step may have been cut short.
    if let Some(last) = rates.len().checked_sub(1).filter(|last| *last > 0) {
        let part = (seconds - last as f64 * step) / step;
        if part < 0.5 {
            rates.truncate(last);
        } else if let Some((done, failed)) = rates.get_mut(last) {
            (*done, *failed) = (*done / part.min(1.0), *failed / part.min(1.0));
        }
    }
    let highest = rates.iter().map(|(done, failed)| done.max(*failed)).fold(0.0, f64::max);
    let scale = ticks(highest);
    let up = Axis {
        values: (0.0, scale.last().copied().unwrap_or(1.0)),
        positions: (BOTTOM, TOP / 4.0),
    };
    let time = ticks(seconds);
    let end = seconds.max(step);
    let across = Axis { values: (0.0, end), positions: (LEFT, RIGHT) };
    writeln!(
        out,
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Throughput over time\">"
    )?;
    for value in scale {
        let y = up.position(value);
        let name = if highest < 10.0 { rate(value) } else { grouped(value.round() as u64) };
        writeln!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
            LEFT - 8.0,
            y + 4.0,
        )?;
    }
    for second in time.into_iter().filter(|second| *second <= end * 1.001) {
        let x = across.position(second);
        let anchor = if x > RIGHT - 20.0 { "end" } else { "middle" };
        writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{} s</text>",
            HEIGHT - 8.0,
            (second * 1000.0).round() / 1000.0,
        )?;
    }
    let points = |value: fn(&(f64, f64)) -> f64| {
        let mut points = String::new();
        for (number, rates) in rates.iter().enumerate() {
            let (x, y) = (across.position((number as f64 + 0.5) * step), up.position(value(rates)));
            // Writing to a string never fails.
            let _ = write!(points, "{x:.1},{y:.1} ");
        }
        points
    };
    let done = points(|(done, _)| *done);
    let (first, last) =
        (across.position(0.5 * step), across.position((rates.len() as f64 - 0.5) * step));
    writeln!(
        out,
        "<polygon class=\"area\" points=\"{first:.1},{BOTTOM} {done}{last:.1},{BOTTOM}\"/>\n\
         <polyline class=\"curve\" points=\"{done}\"/>"
    )?;
    if rates.iter().any(|(_, failed)| *failed > 0.0) {
        let failed = points(|(_, failed)| *failed);
        writeln!(out, "<polyline class=\"failed\" points=\"{failed}\"/>")?;
    }
    writeln!(out, "</svg>")
}
