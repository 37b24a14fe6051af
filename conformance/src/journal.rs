//! What a run has shown, a line a case, so that the processes of one run have one report.
//!
//! Under nextest each case is a process. All of a run write into one file, known by
//! `NEXTEST_RUN_ID`; any other run is one process with a file of its own.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::{
    case::Case,
    cases,
    failure::{Cause, Failure},
    report::{Entry, Report},
    rule::Rule,
    run::Outcome,
};

/// The file of one run.
#[derive(Debug)]
pub(crate) struct Journal(PathBuf);

/// How many runs of a suite are kept.
const KEPT: usize = 8;

#[derive(Serialize, Deserialize)]
struct Line {
    case: String,
    failure: Option<Seen>,
    store_calls: u64,
    seeds: u64,
    faults: u64,
    millis: u64,
}

#[derive(Serialize, Deserialize)]
struct Seen {
    cause: String,
    what: String,
    seed: Option<u64>,
    last_calls: Vec<String>,
}

impl Journal {
    /// The file of this run of a suite.
    pub(crate) fn of_this_run(dir: &Path, suite: &str) -> Self {
        let dir = dir.join(as_file_name(suite));
        let run = env::var("NEXTEST_RUN_ID").unwrap_or_else(|_| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            format!("{}-{}", since.as_millis(), std::process::id())
        });
        Self(dir.join(format!("{}.jsonl", as_file_name(&run))))
    }

    /// Adds a line, whole, whoever else writes.
    pub(crate) fn add(&self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Line::of(entry))?;
        line.push(b'\n');
        let mut file = match OpenOptions::new().append(true).open(&self.0) {
            Ok(file) => file,
            Err(_) => self.create()?,
        };
        file.lock()?;
        file.write_all(&line)
    }

    fn create(&self) -> io::Result<File> {
        if let Some(dir) = self.0.parent() {
            fs::create_dir_all(dir)?;
            let runs = runs(dir).unwrap_or_default();
            for (_, old) in runs.iter().rev().skip(KEPT - 1) {
                let _ = fs::remove_file(old); // another process may have done it
            }
        }
        OpenOptions::new().append(true).create(true).open(&self.0)
    }

    /// What the latest run of a suite has shown.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub(crate) fn latest(dir: &Path, suite: &str) -> Result<Report, String> {
        let dir = dir.join(as_file_name(suite));
        let runs = runs(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let (_, file) =
            runs.last().ok_or_else(|| format!("nothing was run yet ({})", dir.display()))?;
        let shown = file.display();
        let text = fs::read_to_string(file).map_err(|error| format!("{shown}: {error}"))?;
        let mut report = Report::default();
        let cases = cases();
        for line in text.lines() {
            let line: Line =
                serde_json::from_str(line).map_err(|error| format!("{shown}: {error}"))?;
            // A case that is gone since then has nothing to say about the suite of today.
            if let Some(case) = cases.iter().find(|case| case.name() == line.case) {
                report.entries.push(line.entry(case));
            }
        }
        Ok(report)
    }
}

/// The files of a directory, the latest last.
fn runs(dir: &Path) -> io::Result<Vec<(SystemTime, PathBuf)>> {
    let mut runs = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            runs.push((fs::metadata(&path)?.modified()?, path));
        }
    }
    runs.sort();
    Ok(runs)
}

fn as_file_name(text: &str) -> String {
    let safe = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    text.chars().map(safe).collect()
}

impl Line {
    fn of(entry: &Entry) -> Self {
        let Outcome { last_calls, store_calls, seeds, faults, took, .. } = &entry.outcome;
        let seen = |failure: &Failure| Seen {
            cause: name(failure.cause).to_owned(),
            what: failure.what.clone(),
            seed: failure.seed,
            last_calls: last_calls.clone(),
        };
        Self {
            case: entry.case.clone(),
            failure: entry.failure().map(seen),
            store_calls: *store_calls,
            seeds: *seeds,
            faults: *faults,
            millis: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn entry(self, case: &Case) -> Entry {
        let (verdict, last_calls) = match self.failure {
            None => (Ok(()), Vec::new()),
            Some(Seen { cause, what, seed, last_calls }) => {
                (Err(Failure { cause: cause_of(&cause), what, seed }), last_calls)
            }
        };
        let (store_calls, seeds, faults) = (self.store_calls, self.seeds, self.faults);
        let took = Duration::from_millis(self.millis);
        Entry::new(case, Outcome { verdict, last_calls, store_calls, seeds, faults, took })
    }
}

const fn name(cause: Cause) -> &'static str {
    match cause {
        Cause::Broken(rule) => rule.id(),
        Cause::Failed => "failed",
        Cause::Panicked => "panicked",
        Cause::Hung => "hung",
        Cause::NotProven => "not proven",
    }
}

fn cause_of(name: &str) -> Cause {
    match name {
        "panicked" => Cause::Panicked,
        "hung" => Cause::Hung,
        "not proven" => Cause::NotProven,
        _ => match Rule::ALL.iter().find(|rule| rule.id() == name) {
            Some(rule) => Cause::Broken(*rule),
            None => Cause::Failed,
        },
    }
}
