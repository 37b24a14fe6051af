//! The `main` of a test target: filters and lists as `cargo test` and nextest want them.

use std::{
    env,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use libtest_mimic::{Arguments, Completion, Failed, FormatSetting, Trial};

use super::Suite;
use crate::{
    case::Case,
    cases,
    journal::Journal,
    part::{self, Parts},
    report::{Entry, Report},
    run::run,
    settings::Settings,
};

impl Suite {
    /// The `main` of a test target without a harness. `--report` as its only argument shows the
    /// report of the latest run again, whether that was of one process or of one a case.
    #[must_use]
    #[allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]
    pub fn main(mut self) -> ExitCode {
        if let Some(played) = part::play(&self.name, &self.factory) {
            return if played == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
        if env::args_os().skip(1).eq(["--report"]) {
            return self.show_latest_report();
        }
        self.factory = self.factory.clone().played_by(Parts::new(&self.name, Vec::new()));
        let arguments = Arguments::from_args();
        let settings = match Settings::from_env() {
            Ok(settings) => Arc::new(settings),
            Err(wrong) => {
                eprintln!("{wrong}");
                return ExitCode::FAILURE;
            }
        };
        if arguments.list {
            return libtest_mimic::run(&arguments, self.trials(&settings, None)).exit_code();
        }
        let shown = Arc::new(Shown {
            report: Mutex::default(),
            journal: Journal::of_this_run(&self.reports_dir(), &self.name),
        });
        let conclusion = libtest_mimic::run(&arguments, self.trials(&settings, Some(&shown)));
        let report = shown.report.lock().unwrap_or_else(PoisonError::into_inner);
        if env::var_os("NEXTEST_RUN_ID").is_some() {
            return conclusion.exit_code(); // one of many processes: `--report` shows them all
        }
        let text = format!("{}\n{report}", self.name);
        if arguments.format == Some(FormatSetting::Json) {
            eprintln!("{text}"); // its standard output is for programs
        } else {
            println!("{text}\n");
        }
        conclusion.exit_code()
    }

    fn trials(&self, settings: &Arc<Settings>, shown: Option<&Arc<Shown>>) -> Vec<Trial> {
        let trial = |case: Case| {
            let (case, factory) = (Arc::new(case), self.factory.clone());
            let (settings, shown) = (Arc::clone(settings), shown.cloned());
            Trial::ignorable_test(case.name().to_owned(), move || {
                let entry = Entry::new(&case, run(&case, &factory, &settings));
                let completion = completion(&entry);
                if let Some(shown) = shown {
                    shown.add(entry);
                }
                completion
            })
        };
        cases().into_iter().map(trial).collect()
    }

    fn reports_dir(&self) -> PathBuf {
        self.reports.clone().unwrap_or_else(env::temp_dir).join("conformance")
    }

    #[allow(clippy::print_stderr, reason = "it is a program")]
    fn show_latest_report(&self) -> ExitCode {
        let dir: &Path = &self.reports_dir();
        match Journal::latest(dir, &self.name) {
            Ok(report) => {
                // Whoever reads it may have seen enough.
                let _ = writeln!(io::stdout(), "{}\n{report}", self.name);
                ExitCode::SUCCESS
            }
            Err(why) => {
                eprintln!("no report of {}: {why}", self.name);
                ExitCode::FAILURE
            }
        }
    }
}

/// What is shown at the end of this run, and kept for later.
struct Shown {
    report: Mutex<Report>,
    journal: Journal,
}

impl Shown {
    #[allow(clippy::print_stderr, reason = "it is a program")]
    fn add(&self, entry: Entry) {
        if let Err(error) = self.journal.add(&entry) {
            eprintln!("{} is missing from the report that is kept: {error}", entry.case);
        }
        self.report.lock().unwrap_or_else(PoisonError::into_inner).entries.push(entry);
    }
}

fn completion(entry: &Entry) -> Result<Completion, Failed> {
    match entry.failure() {
        None => Ok(Completion::Completed),
        Some(failure) if entry.is_unproven() => Ok(Completion::ignored_with(&failure.what)),
        Some(_) => Err(Failed::from(entry.to_string())),
    }
}
