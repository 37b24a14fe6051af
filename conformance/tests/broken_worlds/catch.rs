//! Runs the suite against a broken World, and says which case caught it.

use std::{sync::OnceLock, time::Duration};

use conformance::{Case, Entry, Failure, Group, Settings, cases};
use libtest_mimic::{Failed, Trial};

use crate::{
    base::{RIGHT, suite},
    flaw::Flaw,
};

/// The first seeds of the runs; in each of them a broken World must be caught.
const SEEDS: [u64; 3] = [1, 1_000_003, 0xDEAD_BEEF];

/// The groups whose cases fail for certain on a World that breaks their rule, if any does.
const CERTAIN: [Group; 2] = [Group::Contract, Group::Limits];

/// A broken World, and what came of it.
pub(crate) struct Broken {
    pub(crate) flaw: Flaw,
    caught: OnceLock<Result<Caught, String>>,
}

/// How a broken World was caught.
pub(crate) struct Caught {
    /// The case, by its name.
    pub(crate) case: String,
    /// What it said.
    pub(crate) said: String,
}

fn settings(seed: u64) -> Settings {
    Settings { seed, bound: Duration::from_secs(20), ..Settings::default() }
}

impl Broken {
    pub(crate) fn new(flaw: Flaw) -> Self {
        Self { flaw, caught: OnceLock::new() }
    }

    /// The case that catches it, by its rule, whatever the seed.
    ///
    /// # Errors
    /// What the suite made of it instead.
    pub(crate) fn caught(&self) -> Result<&Caught, String> {
        self.caught.get_or_init(|| self.catch()).as_ref().map_err(Clone::clone)
    }

    /// The catch, if it was tried.
    pub(crate) fn known(&self) -> Option<&Caught> {
        self.caught.get()?.as_ref().ok()
    }

    pub(crate) fn was_tried(&self) -> bool {
        self.caught.get().is_some()
    }

    fn catch(&self) -> Result<Caught, String> {
        let [first, others @ ..] = SEEDS;
        let rule = self.flaw.rule;
        let caught = self
            .first_catch(first, |case| case.rules().contains(&rule))
            .or_else(|| self.first_catch(first, |case| !case.rules().contains(&rule)));
        let Some(caught) = caught else {
            return Err(format!("it is not caught by rule {rule}{}", self.complaints(first)));
        };
        for seed in others {
            if self.first_catch(seed, |case| case.name() == caught.case).is_none() {
                return Err(format!("it is not caught by {} at seed {seed}", caught.case));
            }
        }
        Ok(caught)
    }

    /// The first of these cases that fails by the flaw's own rule.
    fn first_catch(&self, seed: u64, filter: impl Fn(&Case) -> bool) -> Option<Caught> {
        let suite = suite(self.flaw.name, self.flaw.pieces);
        let chosen = cases().into_iter().filter(|case| CERTAIN.contains(&case.group()));
        let names: Vec<_> = chosen.filter(filter).map(|case| case.name().to_owned()).collect();
        names.into_iter().find_map(|name| {
            let report = suite.run(settings(seed), |case| case.name() == name);
            let (entry, failure) = report.failed().next()?;
            let said = failure.what.clone();
            (failure.rule() == Some(self.flaw.rule))
                .then(|| Caught { case: entry.case.clone(), said })
        })
    }

    /// What the suite complains of instead.
    fn complaints(&self, seed: u64) -> String {
        let suite = suite(self.flaw.name, self.flaw.pieces);
        let report = suite.run(settings(seed), |case| CERTAIN.contains(&case.group()));
        let line = |(entry, failure): (&Entry, &Failure)| format!("\n  {}: {failure}", entry.case);
        let lines: String = report.failed().map(line).collect();
        if lines.is_empty() { "; every case passes".to_owned() } else { format!(", but:{lines}") }
    }
}

/// The World with no flaw passes every case: else a flaw would prove nothing.
pub(crate) fn control() -> Vec<Trial> {
    let groups = [Group::Contract, Group::Limits, Group::Model, Group::Contention];
    let trial = |group: Group| {
        Trial::test(format!("control::{group}"), move || {
            let report = suite("control", RIGHT).run(settings(1), |case| case.group() == group);
            let failed =
                |(entry, failure): (&Entry, &Failure)| format!("{}: {failure}\n", entry.case);
            let failures: String = report.failed().map(failed).collect();
            if failures.is_empty() { Ok(()) } else { Err(Failed::from(failures)) }
        })
    };
    groups.into_iter().map(trial).collect()
}

/// Prints how each World that was tried was caught.
pub(crate) fn print(worlds: &[std::sync::Arc<Broken>]) {
    let tried: Vec<_> = worlds.iter().filter(|world| world.was_tried()).collect();
    for world in &tried {
        let (rule, name) = (world.flaw.rule, world.flaw.name);
        match world.known() {
            Some(caught) => println!("{rule} {name}: caught by {}: {}", caught.case, caught.said),
            None => println!("{rule} {name}: SURVIVES"),
        }
    }
    let caught = tried.iter().filter(|world| world.known().is_some()).count();
    println!("{caught} of {} broken worlds caught", tried.len());
}
