//! What a run of the suite has shown.

mod entry;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
};

use crate::{case::Group, cases, failure::Failure, needs::Needs, rule::Rule, settings::Settings};

pub use entry::Entry;

/// What a run of the suite has shown: an entry a case.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The cases that were run, in the order in which they ended.
    pub entries: Vec<Entry>,
}

#[derive(Default)]
struct Line {
    passed: u64,
    failed: u64,
    unproven: u64,
    seeds: u64,
    calls: u64,
    faults: u64,
}

impl Line {
    fn add(&mut self, entry: &Entry) {
        match entry.failure() {
            None => self.passed += 1,
            Some(_) if entry.is_unproven() => self.unproven += 1,
            Some(_) => self.failed += 1,
        }
        self.seeds += entry.outcome.seeds;
        self.calls += entry.outcome.store_calls;
        self.faults += entry.outcome.faults;
    }
}

impl Report {
    /// The rules that were proven: every case that rests on one and that the World allows was run,
    /// none failed, and one of the contract group passed.
    #[must_use]
    pub fn proven(&self) -> Vec<Rule> {
        let missing: BTreeSet<Rule> =
            self.not_run().into_iter().flat_map(|(_, rules)| rules.iter().copied()).collect();
        let failed: BTreeSet<Rule> =
            self.failed().flat_map(|(entry, _)| entry.rules.iter().copied()).collect();
        let passed: BTreeSet<Rule> = self
            .entries
            .iter()
            .filter(|entry| entry.group == Group::Contract && entry.failure().is_none())
            .flat_map(|entry| entry.rules.iter().copied())
            .collect();
        let is_proven = |rule: &&Rule| {
            passed.contains(rule) && !failed.contains(rule) && !missing.contains(rule)
        };
        Rule::ALL.iter().filter(is_proven).copied().collect()
    }

    /// The cases that failed.
    pub fn failed(&self) -> impl Iterator<Item = (&Entry, &Failure)> {
        let failed = |entry: &&Entry| !entry.is_unproven();
        self.entries.iter().filter(failed).filter_map(|entry| Some((entry, entry.failure()?)))
    }

    /// The cases that were not run, with the rules they rest on.
    fn not_run(&self) -> Vec<(String, &'static [Rule])> {
        let run: HashSet<&str> = self.entries.iter().map(|entry| entry.case.as_str()).collect();
        let missing = cases().into_iter().filter(|case| !run.contains(case.name()));
        missing.map(|case| (case.name().to_owned(), case.rules())).collect()
    }

    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: BTreeMap<Group, Line> = BTreeMap::new();
        let mut all = Line::default();
        for entry in &self.entries {
            lines.entry(entry.group).or_default().add(entry);
            all.add(entry);
        }
        writeln!(
            f,
            "{:<12} {:>7} {:>7} {:>11} {:>7} {:>12} {:>8}",
            "cases", "passed", "failed", "not proven", "seeds", "store calls", "faults"
        )?;
        let lines = lines.iter().map(|(group, line)| (group.name(), line));
        for (name, line) in lines.chain([("all", &all)]) {
            let Line { passed, failed, unproven, seeds, calls, faults } = line;
            writeln!(
                f,
                "{name:<12} {passed:>7} {failed:>7} {unproven:>11} {seeds:>7} {calls:>12} {faults:>8}"
            )?;
        }
        Ok(())
    }

    /// Why cases were not proven, a group and reason a line.
    fn reasons(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut reasons: BTreeMap<(Group, &str), u64> = BTreeMap::new();
        let mut is_ignored = false;
        for entry in self.entries.iter().filter(|entry| entry.is_unproven()) {
            let Some(failure) = entry.failure() else { continue };
            is_ignored |= Needs::is_ignored(failure);
            *reasons.entry((entry.group, &failure.what)).or_default() += 1;
        }
        for ((group, why), count) in reasons {
            let cases = if count == 1 { "1 case".to_owned() } else { format!("{count} cases") };
            writeln!(f, "not proven: {cases} of {group}, since {why}")?;
        }
        if is_ignored {
            let variable = Settings::IGNORE_MISSING;
            writeln!(f, "NOTHING IS PROVEN of the cases that {variable}=1 has ignored")?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.table(f)?;
        for (entry, failure) in self.failed() {
            let what = failure.to_string();
            writeln!(f, "failed: {}: {}", entry.case, what.lines().next().unwrap_or_default())?;
        }
        self.reasons(f)?;
        let not_run = self.not_run().len();
        if not_run > 0 {
            writeln!(f, "not run: {not_run} cases; a rule is proven when all its cases were run")?;
        }
        let proven = self.proven();
        let open: Vec<_> =
            Rule::ALL.iter().filter(|rule| !proven.contains(rule)).map(|rule| rule.id()).collect();
        write!(f, "rules proven: {} of {}", proven.len(), Rule::ALL.len())?;
        if !open.is_empty() {
            write!(f, "; not: {}", open.join(" "))?;
        }
        Ok(())
    }
}
