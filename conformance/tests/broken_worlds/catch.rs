//! Runs the suite against a broken World, and says which case caught it.

use std::{sync::OnceLock, time::Duration};

use conformance::{Case, Entry, Failure, Group, Report, Settings, cases};
use libtest_mimic::{Failed, Trial};

use crate::{
    base::{Pieces, RIGHT},
    flaw::{Flaw, Made},
    on_file::CAREFUL,
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

/// The case that closes a World, and does not kill it.
const REOPENING: &str = "everything_is_there_after_a_reopening";

impl Made {
    /// Whether a case is tried on such a World.
    fn is_tried(self, case: &Case) -> bool {
        match self {
            Self::InMemory(_) => is_certain(case),
            Self::OnFile(_) => case.group() == Group::Durability,
        }
    }

    fn run(
        self,
        name: &str,
        seed: u64,
        is_tried: impl Fn(&Case) -> bool,
    ) -> Result<Report, String> {
        let suite = self.suite(name).map_err(|_| "it has played a part".to_owned())?;
        Ok(suite.run(settings(seed), is_tried))
    }
}

/// The name of the World on a file that has no flaw.
const CONTROL: &str = "control on a file";

/// The exit code, if this process was started to play the part of a second one.
pub(crate) fn played(flaws: &[Flaw]) -> Option<i32> {
    let flawed = flaws.iter().map(|flaw| (flaw.name, flaw.world));
    let mut worlds = flawed.chain([(CONTROL, Made::OnFile(CAREFUL))]);
    worlds.find_map(|(name, world)| world.suite(name).err())
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
        if let Made::OnFile(_) = self.flaw.world {
            let closed = |case: &Case| case.name().ends_with(REOPENING);
            let report = self.flaw.world.run(self.flaw.name, SEEDS[0], closed)?;
            if report.failed().next().is_some() {
                return Err("it takes no kill to show it".to_owned());
            }
        }
        let (named, others): (Vec<_>, Vec<_>) = cases()
            .into_iter()
            .filter(|case| self.flaw.world.is_tried(case))
            .partition(|case| case.rules().contains(&rule));
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
        let is_this = |other: &Case| other.name() == case;
        let report = self.flaw.world.run(self.flaw.name, seed, is_this).ok()?;
        let (_, failure) = report.failed().next()?;
        (failure.rule() == Some(self.flaw.rule)).then(|| failure.what.clone())
    }

    /// What the suite complains of instead.
    fn complaints(&self) -> String {
        let world = self.flaw.world;
        let report = match world.run(self.flaw.name, SEEDS[0], |case| world.is_tried(case)) {
            Ok(report) => report,
            Err(why) => return format!("; {why}"),
        };
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
            passes(&Made::InMemory(right).run("control", 1, is_run)?)
        })
    };
    let on_file = |group: Group| {
        Trial::test(format!("control::on_a_file::{group}"), move || {
            let is_run = |case: &Case| case.group() == group;
            passes(&Made::OnFile(CAREFUL).run(CONTROL, 1, is_run)?)
        })
    };
    let files = [Group::Contract, Group::Model, Group::Durability];
    groups.into_iter().map(trial).chain(files.into_iter().map(on_file)).collect()
}

fn passes(report: &Report) -> Result<(), Failed> {
    let failed = |(entry, failure): (&Entry, &Failure)| format!("{}: {failure}\n", entry.case);
    let failures: String = report.failed().map(failed).collect();
    if failures.is_empty() { Ok(()) } else { Err(Failed::from(failures)) }
}

/// Prints how each World that was tried was caught.
#[allow(clippy::print_stdout, reason = "it is a program")]
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
