//! `docs/compatibility.md`: which recorded conversations ours goes through as the reference did.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::difference::Difference;

const DOCUMENT: &str = include_str!("../../docs/compatibility.md");

/// The recorded conversations of one version, and what ours does differently in them.
pub(crate) struct Version {
    pub(crate) scenarios: Vec<String>,
    pub(crate) differences: &'static [Difference],
}

impl Version {
    fn cell(&self, scenario: &str) -> String {
        if !self.scenarios.iter().any(|recorded| recorded == scenario) {
            return String::new();
        }
        let rows = self.differences.iter().filter(|row| row.scenario() == scenario);
        let reasons: BTreeSet<_> = rows.map(Difference::why).collect();
        match reasons.is_empty() {
            true => "same".into(),
            false => reasons.into_iter().collect::<Vec<_>>().join("; "),
        }
    }

    fn same(&self) -> usize {
        self.scenarios.iter().filter(|scenario| self.cell(scenario) == "same").count()
    }
}

/// Checks that a section of the document says what the tables of the tests say. The section stands
/// between a comment with its name and the next comment.
pub(crate) fn check(section: &str, old: &Version, new: &Version) {
    let scenarios: BTreeSet<_> = old.scenarios.iter().chain(&new.scenarios).collect();
    let mut expected = format!(
        "\n\nOf 1.4, {} of {} conversations are the same; of 2.0, {} of {}.\n\n\
         | conversation | 1.4 | 2.0 |\n|---|---|---|\n",
        old.same(),
        old.scenarios.len(),
        new.same(),
        new.scenarios.len()
    );
    for scenario in scenarios {
        let (old, new) = (old.cell(scenario), new.cell(scenario));
        writeln!(expected, "| {scenario} | {old} | {new} |").expect("a text takes all");
    }
    expected.push('\n');
    let (_, rest) = DOCUMENT.split_once(&format!("<!-- {section} -->")).expect("a section");
    let (written, _) = rest.split_once("<!--").expect("an end of the section");
    assert!(written == expected, "docs/compatibility.md, {section}, has to say:\n{expected}");
}
