//! What the environment says of how a suite is run.

use std::{env, ops::RangeInclusive, time::Duration};

use crate::site::Site;

/// How a suite is run, from variables of the environment.
///
/// | variable | meaning | default |
/// |---|---|---|
/// | `CONFORMANCE_SEED` | the first seed of cases that draw | 1 |
/// | `CONFORMANCE_EFFORT` | how many times the usual number of seeds | 1 |
/// | `CONFORMANCE_BOUND` | the most seconds a case may take | 120 |
/// | `CONFORMANCE_CALL_BOUND` | the most seconds a store call may take | 30 |
/// | `CONFORMANCE_IGNORE_MISSING` | `1`: what needs a server that is missing is ignored, not failed | |
/// | `CONFORMANCE_KEEP` | anything: the directories of sites are kept | |
///
/// The bounds are those of an idle machine. Once one has passed, the suite measures how much slower
/// other programs make this one, and stretches the bound by as much, at most 64 times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The first seed.
    pub seed: u64,
    /// How many times the usual number of seeds is tried.
    pub effort: u64,
    /// The most time a case may take.
    pub bound: Duration,
    /// The most time a store call may take; a `wait` so much beyond its deadline.
    pub call_bound: Duration,
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
            call_bound: Duration::from_secs(30),
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
    /// The variable with the most seconds a store call may take.
    pub const CALL_BOUND: &'static str = "CONFORMANCE_CALL_BOUND";
    /// The variable that lets missing servers be ignored.
    pub const IGNORE_MISSING: &'static str = "CONFORMANCE_IGNORE_MISSING";

    /// What the environment says.
    ///
    /// # Errors
    /// The variable whose value is not a number within its bounds, in words.
    pub fn from_env() -> Result<Self, String> {
        let default = Self::default();
        let seconds = |name, default| -> Result<Duration, String> {
            Ok(number(name, 1..=SECONDS_MAX)?.map_or(default, Duration::from_secs))
        };
        Ok(Self {
            seed: number(Self::SEED, 0..=SEED_MAX)?.unwrap_or(default.seed),
            effort: number(Self::EFFORT, 1..=EFFORT_MAX)?.unwrap_or(default.effort),
            bound: seconds(Self::BOUND, default.bound)?,
            call_bound: seconds(Self::CALL_BOUND, default.call_bound)?,
            ignore_missing: env::var(Self::IGNORE_MISSING).is_ok_and(|value| value == "1"),
            keep: env::var_os(Site::KEEP).is_some(),
        })
    }
}

/// The greatest first seed: behind it there is room for all that may be asked for.
const SEED_MAX: u64 = 1 << 62;
const EFFORT_MAX: u64 = 1_000_000;
const SECONDS_MAX: u64 = 1_000_000;

fn number(name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, String> {
    let text = match env::var(name) {
        Err(env::VarError::NotPresent) => return Ok(None),
        Err(env::VarError::NotUnicode(text)) => text.to_string_lossy().into_owned(),
        Ok(text) => text,
    };
    within(name, &text, &range).map(Some)
}

fn within(name: &str, text: &str, range: &RangeInclusive<u64>) -> Result<u64, String> {
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => {
            let (least, most) = (range.start(), range.end());
            Err(format!("{name} is {text:?}, which is not a number from {least} to {most}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_beyond_its_bounds_is_refused_in_words() {
        assert_eq!(within("EFFORT", "1", &(1..=9)), Ok(1));
        assert_eq!(within("EFFORT", "9", &(1..=9)), Ok(9));
        for text in ["0", "10", "-1", "abc", "", "18446744073709551616"] {
            let wrong = within("EFFORT", text, &(1..=9)).unwrap_err();
            assert_eq!(wrong, format!("EFFORT is {text:?}, which is not a number from 1 to 9"));
        }
    }
}
