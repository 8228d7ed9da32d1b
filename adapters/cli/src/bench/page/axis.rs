//! Positions in a chart, and the numbers beside its axes.

/// The size of a chart.
pub(super) const WIDTH: f64 = 920.0;
pub(super) const HEIGHT: f64 = 314.0;

/// The part of it that shows the data; the numbers are around it.
pub(super) const LEFT: f64 = 64.0;
pub(super) const RIGHT: f64 = WIDTH - 12.0;
pub(super) const TOP: f64 = 54.0;
pub(super) const BOTTOM: f64 = HEIGHT - 28.0;

/// Converts values into positions along an axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    /// The values at both ends, which differ.
    pub(super) values: (f64, f64),
    pub(super) positions: (f64, f64),
}

impl Axis {
    pub(super) fn position(&self, value: f64) -> f64 {
        let part = (value - self.values.0) / (self.values.1 - self.values.0);
        self.positions.0 + part.clamp(0.0, 1.0) * (self.positions.1 - self.positions.0)
    }
}

/// Returns round numbers from zero to at least `most`, four to seven of them.
pub(super) fn ticks(most: f64) -> Vec<f64> {
    if most <= 0.0 || !most.is_finite() {
        return vec![0.0, 1.0];
    }
    let rough = most / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(rough);
    let count = (most / step).ceil() as usize;
    (0..=count).map(|number| number as f64 * step).collect()
}

/// Returns round numbers on a logarithmic scale, from below the least to above the most: 1, 2 and 5
/// times each power of ten, or only the powers if there are many.
pub(super) fn logarithmic_ticks(least: f64, most: f64) -> Vec<f64> {
    let least = least.max(1.0);
    let (first, last) = (least.log10().floor(), most.max(10.0).log10().ceil());
    let factors: &[f64] = if last - first > 4.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let powers = (first as i32..=last as i32).map(|power| 10_f64.powi(power));
    let all: Vec<f64> =
        powers.flat_map(|power| factors.iter().map(move |factor| factor * power)).collect();
    // One on each side of the data, no more.
    let start = all.iter().rposition(|tick| *tick <= least).unwrap_or(0);
    let is_end = |tick: &f64| *tick >= most && *tick > least;
    let end = all.iter().position(is_end).unwrap_or(all.len().saturating_sub(1));
    all.get(start..=end.max(start)).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_far_enough() {
        assert_eq!(ticks(0.0), [0.0, 1.0]);
        assert_eq!(ticks(5.0), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(ticks(317_376.0), [0.0, 100_000.0, 200_000.0, 300_000.0, 400_000.0]);
        for exponent in -10..60 {
            let most = 1.37_f64.powi(exponent);
            let ticks = ticks(most);
            assert!((4..=7).contains(&ticks.len()) && *ticks.last().unwrap() >= most, "{ticks:?}");
        }
    }

    #[test]
    fn logarithmic_ticks_enclose_the_data() {
        assert_eq!(logarithmic_ticks(250.0, 900.0), [200.0, 500.0, 1000.0]);
        assert_eq!(logarithmic_ticks(7.0, 7.0), [5.0, 10.0]);
        for (least, most) in [(1.0, 1.0), (1.0, 3.6e12), (999.0, 1001.0), (0.0, 0.0)] {
            let ticks = logarithmic_ticks(least, most);
            assert!(ticks.len() >= 2, "{least} {most}: {ticks:?}");
            assert!(ticks[0] <= least.max(1.0) && *ticks.last().unwrap() >= most, "{ticks:?}");
        }
    }

    #[test]
    fn positions_stay_inside_the_chart() {
        let axis = Axis { values: (0.0, 10.0), positions: (100.0, 0.0) };
        assert_eq!(
            [-1.0, 0.0, 5.0, 11.0].map(|value| axis.position(value)),
            [100.0, 100.0, 50.0, 0.0]
        );
    }
}
