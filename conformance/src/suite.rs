//! The suite of one World: every case, as tests that `cargo test` and nextest know how to run.

use std::{
    error::Error as StdError,
    fmt::Write as _,
    future::Future,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use world_core::World;

use crate::{
    case::Case,
    cases,
    factory::Factory,
    report::{Entry, Report},
    run::run,
    settings::Settings,
    site::Site,
};

/// Every case of the suite, for one World.
#[derive(Clone, Debug)]
pub struct Suite {
    name: String,
    factory: Factory,
}

impl Suite {
    /// The suite of the World that a factory opens at a site: the same site is the same data.
    pub fn new<F, Fut, W, E>(name: impl Into<String>, open: F) -> Self
    where
        F: Fn(Site) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<W, E>> + Send + 'static,
        W: World,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        Self { name: name.into(), factory: Factory::new(open) }
    }

    /// Gives the suite all bytes that the store holds of a site, so that it can look for payloads
    /// in them. Without it, it looks into the files of [`Site::dir`].
    #[must_use]
    pub fn dump<F, Fut, E>(mut self, dump: F) -> Self
    where
        F: Fn(Site) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<u8>, E>> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.factory = self.factory.dumped_by(dump);
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs the cases that pass a filter, one after the other, and prints nothing.
    pub fn run(&self, settings: Settings, filter: impl Fn(&Case) -> bool) -> Report {
        let settings = Arc::new(settings);
        let mut report = Report::default();
        for case in cases().into_iter().filter(filter).map(Arc::new) {
            let outcome = run(&case, &self.factory, &settings);
            report.entries.push(Entry::new(&case, outcome));
        }
        report
    }

    /// The `main` of a test target without a harness.
    #[must_use]
    #[allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]
    pub fn main(self) -> ExitCode {
        let arguments = Arguments::from_args();
        let settings = match Settings::from_env() {
            Ok(settings) => Arc::new(settings),
            Err(wrong) => {
                eprintln!("{wrong}");
                return ExitCode::FAILURE;
            }
        };
        let report = Arc::new(Mutex::new(Report::default()));
        let trial = |case: Case| {
            let (case, factory) = (Arc::new(case), self.factory.clone());
            let (settings, report) = (Arc::clone(&settings), Arc::clone(&report));
            Trial::ignorable_test(case.name().to_owned(), move || {
                let outcome = run(&case, &factory, &settings);
                let entry = Entry::new(&case, outcome);
                let completion = completion(&entry);
                report.lock().unwrap_or_else(PoisonError::into_inner).entries.push(entry);
                completion
            })
        };
        let conclusion = libtest_mimic::run(&arguments, cases().into_iter().map(trial).collect());
        if !arguments.list {
            let report = report.lock().unwrap_or_else(PoisonError::into_inner);
            println!("{}\n{report}\n", self.name);
        }
        conclusion.exit_code()
    }
}

fn completion(entry: &Entry) -> Result<Completion, Failed> {
    let Some(failure) = entry.failure() else { return Ok(Completion::Completed) };
    if entry.is_unproven() {
        return Ok(Completion::ignored_with(&failure.what));
    }
    let mut text = failure.to_string();
    if failure.rule().is_none() && !entry.rules.is_empty() {
        let ids: Vec<_> = entry.rules.iter().map(|rule| rule.id()).collect();
        let _ = write!(text, "\nthe case rests on: {}", ids.join(", "));
    }
    if let Some(seed) = failure.seed {
        let _ = write!(text, "\nrepeat with {}={seed} and the case's name", Settings::SEED);
    }
    if !entry.outcome.last_calls.is_empty() {
        let _ =
            write!(text, "\nthe last store calls:\n  {}", entry.outcome.last_calls.join("\n  "));
    }
    Err(Failed::from(text))
}
