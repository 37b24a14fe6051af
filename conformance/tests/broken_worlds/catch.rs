//! Runs the suite against a broken World, and says which case caught it.

use std::{sync::OnceLock, time::Duration};

use conformance::{Case, Entry, Failure, Group, Settings, cases};
use libtest_mimic::{Failed, Trial};

use crate::{
    base::{Pieces, RIGHT, suite},
    flaw::Flaw,
};

/// The first seeds of the runs; in each of them a broken World must be caught.
const SEEDS: [u64; 3] = [1, 1_000_003, 0xDEAD_BEEF];

/// Whether a case fails for certain on a World that breaks its rule, if it ever does: the edges of
/// the rules, two calls that are interleaved in a chosen order, and reopenings. What is caught by
/// chance, by a crowd or a random history, does not count.
fn is_certain(case: &Case) -> bool {
    match case.group() {
        Group::Contract | Group::Limits => true,
        Group::Contention => case.name().contains("::of_two_"),
        Group::Durability => case.name().ends_with("after_a_reopening"),
        _ => false,
    }
}

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
        let rule = self.flaw.rule;
        let (named, others): (Vec<_>, Vec<_>) =
            cases().into_iter().filter(is_certain).partition(|case| case.rules().contains(&rule));
        let all = named.iter().chain(&others);
        let caught = all.map(Case::name).find_map(|case| {
            let said: Option<Vec<_>> = SEEDS.iter().map(|seed| self.said(case, *seed)).collect();
            let said = said?.swap_remove(0);
            Some(Caught { case: case.to_owned(), said })
        });
        caught.ok_or_else(|| format!("it is not caught by rule {rule}{}", self.complaints()))
    }

    /// What a case says that fails by the flaw's own rule.
    fn said(&self, case: &str, seed: u64) -> Option<String> {
        let suite = suite(self.flaw.name, self.flaw.pieces);
        let report = suite.run(settings(seed), |other| other.name() == case);
        let (_, failure) = report.failed().next()?;
        (failure.rule() == Some(self.flaw.rule)).then(|| failure.what.clone())
    }

    /// What the suite complains of instead.
    fn complaints(&self) -> String {
        let suite = suite(self.flaw.name, self.flaw.pieces);
        let report = suite.run(settings(SEEDS[0]), is_certain);
        let line = |(entry, failure): (&Entry, &Failure)| format!("\n  {}: {failure}", entry.case);
        let lines: String = report.failed().map(line).collect();
        if lines.is_empty() { "; every case passes".to_owned() } else { format!(", but:{lines}") }
    }
}

/// The World with no flaw passes every case: else a flaw would prove nothing.
pub(crate) fn control() -> Vec<Trial> {
    let groups =
        [Group::Contract, Group::Limits, Group::Model, Group::Contention, Group::Durability];
    let trial = |group: Group| {
        Trial::test(format!("control::{group}"), move || {
            let right = Pieces { durable: group == Group::Durability, ..RIGHT };
            let is_run = |case: &Case| {
                case.group() == group && (group != Group::Durability || is_certain(case))
            };
            let report = suite("control", right).run(settings(1), is_run);
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
