//! Which test run this process belongs to.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
    process::{self, Command},
};

/// The variable with the run, for processes that this one starts.
pub(crate) const RUN: &str = "CONFORMANCE_RUN";

/// The run, and the process with whose end it is over: `name/process id`.
pub(crate) fn run_id() -> String {
    if let Ok(run) = env::var(RUN) {
        return run;
    }
    let process = watched();
    match env::var("NEXTEST_RUN_ID") {
        Ok(run) => format!("{run}/{process}"),
        Err(_) => format!("{process} {}/{process}", began(process)),
    }
}

/// The process with whose end this run is over.
pub(super) fn process() -> u32 {
    let process = run_id().rsplit_once('/').and_then(|(_, process)| process.parse().ok());
    process.unwrap_or_else(process::id)
}

/// The directory of a server in this run. Its path is short: a socket's has 104 bytes at most.
pub(super) fn dir(name: &str) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    (run_id(), name).hash(&mut hasher);
    env::temp_dir().join(format!("conformance-{:016x}", hasher.finish()))
}

/// Cargo or nextest, if one of them has started this process; otherwise this process.
fn watched() -> u32 {
    let is_started = env::var_os("NEXTEST_RUN_ID").is_some() || env::var_os("CARGO").is_some();
    match is_started {
        #[cfg(unix)]
        true => std::os::unix::process::parent_id(),
        _ => process::id(),
    }
}

/// When a process was started, in words of the system's own: ids are used again.
fn began(process: u32) -> String {
    if let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat"))
        && let Some((_, fields)) = stat.rsplit_once(')')
        && let Some(ticks) = fields.split_whitespace().nth(19)
    {
        return ticks.to_owned();
    }
    let asked = Command::new("ps").args(["-o", "lstart=", "-p", &process.to_string()]).output();
    asked.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned()).unwrap_or_default()
}
