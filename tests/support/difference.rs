//! Where ours does not do what the reference was recorded to do.

use std::cell::Cell;

/// Something the reference did and ours does differently.
#[derive(Debug)]
pub(crate) struct Difference {
    scenario: &'static str,
    /// What was recorded, in the words of the replay; or how it begins, if it ends in `..`; on any
    /// connection, if it begins with `*`.
    recorded: &'static str,
    /// What ours does instead; `*` stands for the connection.
    ours: &'static [&'static str],
    /// How often, in the scenario.
    times: usize,
    why: &'static str,
}

pub(crate) const fn differs(
    scenario: &'static str,
    recorded: &'static str,
    ours: &'static [&'static str],
    why: &'static str,
) -> Difference {
    Difference { scenario, recorded, ours, times: 1, why }
}

impl Difference {
    pub(crate) const fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    pub(crate) const fn scenario(&self) -> &'static str {
        self.scenario
    }

    pub(crate) const fn why(&self) -> &'static str {
        self.why
    }

    fn same_place(&self, other: &Self) -> bool {
        (self.scenario, self.recorded) == (other.scenario, other.recorded)
    }

    /// If this is about what was recorded: what ours does instead.
    fn apply(&self, scenario: &str, recorded: &str) -> Option<Vec<String>> {
        let (connection, event) = recorded.split_once([':', ' ']).unwrap_or(("", recorded));
        let (recorded, expected) = match self.recorded.strip_prefix('*') {
            Some(expected) => (event, &expected[1..]),
            None => (recorded, self.recorded),
        };
        let fits = match expected.strip_suffix("..") {
            Some(begin) => recorded.starts_with(begin),
            None => recorded == expected,
        };
        let ours = self.ours.iter().map(|line| line.replacen('*', connection, 1));
        (fits && self.scenario == scenario).then(|| ours.collect())
    }
}

/// The differences of one replay. Of two rows about the same, the first one counts: a table may
/// override the ones behind it.
pub(crate) struct Differences {
    rows: Vec<(&'static Difference, Cell<usize>)>,
}

impl Differences {
    pub(crate) fn new(tables: &[&'static [Difference]]) -> Self {
        let mut rows: Vec<(&Difference, _)> = Vec::new();
        for row in tables.iter().copied().flatten() {
            if !rows.iter().any(|(earlier, _)| earlier.same_place(row)) {
                rows.push((row, Cell::new(0)));
            }
        }
        Self { rows }
    }

    /// What ours does instead of what was recorded, if not the same.
    pub(crate) fn instead_of(&self, scenario: &str, recorded: &str) -> Option<Vec<String>> {
        self.rows.iter().find_map(|(row, met)| {
            let ours = row.apply(scenario, recorded)?;
            met.set(met.get() + 1);
            println!("  {recorded} => {ours:?}: {}", row.why);
            Some(ours)
        })
    }

    /// Fails if a row was met less or more often than it says.
    pub(crate) fn check(&self) {
        for (row, met) in &self.rows {
            assert_eq!(met.get(), row.times, "met so many times: {row:?}");
        }
    }
}
