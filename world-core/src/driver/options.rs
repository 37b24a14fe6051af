//! What an engine may be told, and what it does when it is not.

use std::{num::NonZeroU32, time::Duration};

use crate::layer::RetryBounds;

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
