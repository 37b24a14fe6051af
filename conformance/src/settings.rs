//! What the environment says of how a suite is run.

use std::{env, time::Duration};

use crate::site::Site;

/// How a suite is run, from variables of the environment.
///
/// | variable | meaning | default |
/// |---|---|---|
/// | `CONFORMANCE_SEED` | the first seed of cases that draw | 1 |
/// | `CONFORMANCE_EFFORT` | how many times the usual number of seeds | 1 |
/// | `CONFORMANCE_BOUND` | the most seconds a case may take | 120 |
/// | `CONFORMANCE_IGNORE_MISSING` | `1`: what needs a server that is missing is ignored, not failed | |
/// | `CONFORMANCE_KEEP` | anything: the directories of sites are kept | |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The first seed.
    pub seed: u64,
    /// How many times the usual number of seeds is tried.
    pub effort: u64,
    /// The most time a case may take.
    pub bound: Duration,
    /// Whether what needs a server that is missing is ignored rather than failed.
    pub ignore_missing: bool,
    /// Whether the directories of sites are kept.
    pub keep: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 1,
            effort: 1,
            bound: Duration::from_secs(120),
            ignore_missing: false,
            keep: false,
        }
    }
}

impl Settings {
    /// The variable with the first seed.
    pub const SEED: &'static str = "CONFORMANCE_SEED";
    /// The variable with how many times the usual number of seeds.
    pub const EFFORT: &'static str = "CONFORMANCE_EFFORT";
    /// The variable with the most seconds a case may take.
    pub const BOUND: &'static str = "CONFORMANCE_BOUND";
    /// The variable that lets missing servers be ignored.
    pub const IGNORE_MISSING: &'static str = "CONFORMANCE_IGNORE_MISSING";

    /// What the environment says.
    ///
    /// # Errors
    /// The variable whose value is not a number, in words.
    pub fn from_env() -> Result<Self, String> {
        let default = Self::default();
        Ok(Self {
            seed: number(Self::SEED)?.unwrap_or(default.seed),
            effort: number(Self::EFFORT)?.unwrap_or(default.effort).max(1),
            bound: number(Self::BOUND)?.map_or(default.bound, |s| Duration::from_secs(s.max(1))),
            ignore_missing: env::var(Self::IGNORE_MISSING).is_ok_and(|value| value == "1"),
            keep: env::var_os(Site::KEEP).is_some(),
        })
    }
}

fn number(name: &str) -> Result<Option<u64>, String> {
    match env::var(name) {
        Err(_) => Ok(None),
        Ok(text) => match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(format!("{name} is {text:?}, which is not a number")),
        },
    }
}
