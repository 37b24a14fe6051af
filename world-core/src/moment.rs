//! A reading of both clocks of a machine.

use std::time::Duration;

use crate::ids::Timestamp;

/// A reading of both clocks of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// The time, which somebody may set.
    pub(crate) wall: Timestamp,
    /// The time since some fixed moment, which nobody sets; it may stop while the machine sleeps.
    pub(crate) monotonic: Duration,
}

impl Moment {
    /// Returns the reading after `time`, if nobody sets a clock meanwhile.
    pub(crate) fn plus(self, time: Duration) -> Self {
        Self { wall: self.wall.plus(time), monotonic: self.monotonic.saturating_add(time) }
    }

    /// Whether either clock is there.
    pub(crate) fn reaches(self, other: Self) -> bool {
        self.wall >= other.wall || self.monotonic >= other.monotonic
    }
}
