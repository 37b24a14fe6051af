//! What a run of the suite has shown.

use std::{collections::BTreeMap, fmt};

use crate::{
    case::{Case, Group},
    failure::{Cause, Failure},
    rule::Rule,
    run::Outcome,
};

/// What came of one case.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The case's name.
    pub case: String,
    /// Its group.
    pub group: Group,
    /// The rules it rests on.
    pub rules: Vec<Rule>,
    /// What came of it.
    pub outcome: Outcome,
}

impl Entry {
    pub(crate) fn new(case: &Case, outcome: Outcome) -> Self {
        let (name, rules) = (case.name().to_owned(), case.rules().to_vec());
        Self { case: name, group: case.group(), rules, outcome }
    }

    /// Why it did not pass, if it did not.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.outcome.verdict.as_ref().err()
    }

    /// Whether it was neither passed nor failed.
    #[must_use]
    pub fn is_unproven(&self) -> bool {
        self.failure().is_some_and(|failure| failure.cause == Cause::NotProven)
    }
}

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
    unproven: BTreeMap<String, u64>,
    seeds: u64,
    calls: u64,
    faults: u64,
}

impl Line {
    fn add(&mut self, entry: &Entry) {
        match entry.failure() {
            None => self.passed += 1,
            Some(failure) if entry.is_unproven() => {
                *self.unproven.entry(failure.what.clone()).or_default() += 1;
            }
            Some(_) => self.failed += 1,
        }
        self.seeds += entry.outcome.seeds;
        self.calls += entry.outcome.store_calls;
        self.faults += entry.outcome.faults;
    }
}

impl Report {
    /// The rules of which every case that was run has passed, and at least one was.
    #[must_use]
    pub fn proven(&self) -> Vec<Rule> {
        let of = |rule: Rule| self.entries.iter().filter(move |entry| entry.rules.contains(&rule));
        let is_proven = |rule: &Rule| {
            of(*rule).any(|entry| entry.group == Group::Contract)
                && of(*rule).all(|entry| entry.failure().is_none() || entry.is_unproven())
        };
        Rule::ALL.iter().copied().filter(is_proven).collect()
    }

    /// The cases that failed.
    pub fn failed(&self) -> impl Iterator<Item = (&Entry, &Failure)> {
        let failed = |entry: &&Entry| !entry.is_unproven();
        self.entries.iter().filter(failed).filter_map(|entry| Some((entry, entry.failure()?)))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        let mut row = |name: &str, line: &Line| {
            let Line { passed, failed, seeds, calls, faults, .. } = line;
            let unproven: u64 = line.unproven.values().sum();
            writeln!(
                f,
                "{name:<12} {passed:>7} {failed:>7} {unproven:>11} {seeds:>7} {calls:>12} {faults:>8}"
            )
        };
        for (group, line) in &lines {
            row(group.name(), line)?;
        }
        row("all", &all)?;
        for (why, cases) in &all.unproven {
            writeln!(f, "not proven: {cases} cases, since {why}")?;
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
