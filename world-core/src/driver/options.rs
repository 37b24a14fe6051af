//! What an engine may be told, and what it does when it is not.

use std::{fmt::Debug, num::NonZeroU32, time::Duration};

use crate::{
    error::{Error, ErrorKind, Result},
    layer::RetryBounds,
};

const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The shortest and longest lease. A shorter one runs out while a store is merely slow; a longer one
/// keeps the runs of a dead worker from the others for longer than anyone would wait.
const LEASE: (Duration, Duration) = (Duration::from_secs(1), DAY);
const LINGER: (Duration, Duration) = (Duration::ZERO, DAY);
const POLL: (Duration, Duration) = (MILLISECOND, HOUR);
const RETENTION: (Duration, Duration) =
    (Duration::ZERO, Duration::from_secs(100 * 365 * 24 * 3600));
const RETRY_DELAY_MS: (u64, u64) = (0, 3_600_000);
const TRIES: (u32, u32) = (1, 10_000);

/// The fewest and most runs, or bodies, at once.
const AT_ONCE: (usize, usize) = (1, 1_000_000);

/// Whether a run's program stays in memory between turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Residency {
    /// It stays: a step costs one append, no read and no replay.
    #[default]
    Resident,
    /// It is executed anew for every turn, from the log the session has read once.
    Replay,
}

/// What an engine may be told; see [`EngineBuilder`] for each.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) lease: Duration,
    pub(super) linger: Duration,
    pub(super) poll: Duration,
    pub(super) residency: Residency,
    pub(super) hydration_bytes_max: usize,
    pub(super) residents_max: usize,
    pub(super) runs_max: usize,
    pub(super) bodies_max: usize,
    pub(super) poison_after: Option<NonZeroU32>,
    pub(super) retention: Option<Duration>,
    pub(super) retries: RetryBounds,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            linger: Duration::from_secs(1),
            poll: Duration::from_secs(1),
            residency: Residency::Resident,
            hydration_bytes_max: 16 << 20,
            residents_max: 1024,
            runs_max: 4096,
            bodies_max: 4096,
            poison_after: None,
            retention: None,
            retries: RetryBounds::default(),
        }
    }
}

impl Options {
    /// Checks that each option is within its range.
    pub(super) fn check(&self) -> Result<()> {
        within("lease", self.lease, LEASE)?;
        within("linger", self.linger, LINGER)?;
        within("poll", self.poll, POLL)?;
        within("runs_max", self.runs_max, AT_ONCE)?;
        within("bodies_max", self.bodies_max, AT_ONCE)?;
        within("retention", self.retention.unwrap_or_default(), RETENTION)?;
        let RetryBounds { tries_max, delay_first_ms, delay_max_ms } = self.retries;
        within("retries.tries_max", tries_max.get(), TRIES)?;
        within("retries.delay_first_ms", delay_first_ms, RETRY_DELAY_MS)?;
        within("retries.delay_max_ms", delay_max_ms, RETRY_DELAY_MS)
    }
}

fn within<T: PartialOrd + Debug>(name: &str, value: T, (least, most): (T, T)) -> Result<()> {
    if least <= value && value <= most {
        return Ok(());
    }
    let what = format!("an engine with {name} = {value:?}");
    Err(Error::new(ErrorKind::Invalid, what).help(format!("choose from {least:?} to {most:?}")))
}
