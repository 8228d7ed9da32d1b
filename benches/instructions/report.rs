//! The counts, as a table and as a file.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

/// Instructions per message by the name of the operation.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// In the order in which they were counted.
    counts: Vec<(String, f64)>,
}

impl Counts {
    pub(super) fn add(&mut self, name: &str, count: f64) {
        self.counts.push((name.to_owned(), count));
    }

    pub(super) fn read(file: &Path) -> Result<Self, Box<dyn Error>> {
        let counts: BTreeMap<String, f64> = serde_json::from_slice(&fs::read(file)?)?;
        Ok(Self { counts: counts.into_iter().collect() })
    }

    pub(super) fn write(&self, file: &Path) -> Result<(), Box<dyn Error>> {
        let counts: BTreeMap<&str, f64> =
            self.counts.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        Ok(fs::write(file, serde_json::to_vec_pretty(&counts)?)?)
    }

    /// A table on standard output, with the change against earlier counts.
    pub(super) fn print(&self, baseline: Option<&Self>) {
        println!("Instructions per message, counted by callgrind.\n");
        for (name, count) in &self.counts {
            let before = baseline.and_then(|baseline| baseline.get(name));
            let change = before.map_or(String::new(), |before| {
                format!("{before:>10.1}{:>+9.1} %", (count / before - 1.0) * 100.0)
            });
            println!("{name:40}{count:>10.1}{change}");
        }
    }

    fn get(&self, name: &str) -> Option<f64> {
        self.counts.iter().find(|(other, _)| other == name).map(|(_, count)| *count)
    }
}
