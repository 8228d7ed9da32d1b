//! The result, for people and for programs.

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::Chosen;
use super::facts::Spoken;
use super::host::Host;
use super::outcome::{Check, Level, Outcome};
use crate::text::one_line;

/// Everything that was found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    url: String,
    /// The versions that the host names.
    speaks: Vec<String>,
    /// Which rules a client falls under that does not say what it speaks.
    rules: Spoken,
    pub(super) counts: Counts,
    checks: Vec<Made>,
}

/// How many checks ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    pub(super) pass: usize,
    pub(super) fail: usize,
    pub(super) warn: usize,
    pub(super) quirk: usize,
    pub(super) skip: usize,
    pub(super) not_run: usize,
}

/// One check that was made.
#[derive(Debug, Serialize)]
pub(super) struct Made {
    name: &'static str,
    topic: &'static str,
    level: Level,
    section: &'static str,
    outcome: Outcome,
    expected: &'static str,
    seen: String,
}

impl Made {
    pub(super) fn new(
        topic: &'static str,
        check: &'static Check,
        outcome: Outcome,
        seen: String,
    ) -> Self {
        let Check { name, section, level, expected, .. } = *check;
        Self { name, topic, level, section, outcome, expected, seen }
    }
}

impl Report {
    pub(super) fn new(host: &Host, checks: Vec<Made>) -> Self {
        let mut counts = Counts::default();
        for made in &checks {
            match made.outcome {
                Outcome::Pass => counts.pass += 1,
                Outcome::Fail => counts.fail += 1,
                Outcome::Warn => counts.warn += 1,
                Outcome::Quirk => counts.quirk += 1,
                Outcome::Skip => counts.skip += 1,
                Outcome::NotRun => counts.not_run += 1,
            }
        }
        let (speaks, rules) = (host.facts.speaks(), host.spoken());
        Self { url: host.url.to_string(), speaks, rules, counts, checks }
    }

    /// Returns the report as a table.
    pub(super) fn for_people(&self) -> Vec<u8> {
        let speaks = if self.speaks.is_empty() {
            "nothing that is known".into()
        } else {
            self.speaks.join(", ")
        };
        let mut text = format!("{} speaks {}\n", one_line(&self.url), one_line(&speaks));
        let mut topic = "";
        for made in &self.checks {
            if made.topic != topic {
                topic = made.topic;
                text.push_str(&format!("\n{}\n", styled(Style::new().bold(), topic)));
            }
            made.write(&mut text);
        }
        let Counts { pass, fail, warn, quirk, skip, not_run } = self.counts;
        text.push_str(&format!("\n{pass} passed, {fail} failed"));
        for (count, what) in
            [(warn, "warned about"), (quirk, "quirks"), (skip, "skipped"), (not_run, "not run")]
        {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        text.push('\n');
        text.into_bytes()
    }
}

impl Made {
    fn write(&self, text: &mut String) {
        let Self { name, level, section, outcome, expected, .. } = self;
        let word = styled(style(*outcome), &format!("{outcome:<8}"));
        let seen = one_line(&self.seen);
        text.push_str(&format!("  {word}{name:<24}{level:<8}{section:<7}"));
        match outcome {
            Outcome::Pass | Outcome::Skip | Outcome::NotRun => text.push_str(&format!("{seen}\n")),
            Outcome::Fail | Outcome::Warn | Outcome::Quirk => {
                text.push_str(&format!(
                    "\n          expected: {expected}\n          seen: {seen}\n"
                ));
            }
        }
    }
}

/// Returns what there is to check.
pub(super) fn list(checks: &[Chosen]) -> Vec<u8> {
    let mut text = String::new();
    let mut last = "";
    for (topic, check) in checks {
        if *topic != last {
            let gap = if last.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{gap}{}\n", styled(Style::new().bold(), topic)));
            last = topic;
        }
        let Check { name, section, level, expected, .. } = check;
        text.push_str(&format!("  {name:<24}{level:<8}{section:<7}{expected}\n"));
    }
    text.into_bytes()
}

fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

fn style(outcome: Outcome) -> Style {
    match outcome {
        Outcome::Pass => AnsiColor::Green.on_default(),
        Outcome::Fail => AnsiColor::Red.on_default().bold(),
        Outcome::Warn | Outcome::Quirk => AnsiColor::Yellow.on_default(),
        Outcome::Skip | Outcome::NotRun => Style::new().dimmed(),
    }
}
