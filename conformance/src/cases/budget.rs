//! Store calls a step.

mod runs;
mod workers;

use crate::case::Case;

pub(super) fn cases() -> Vec<Case> {
    [runs::cases(), workers::cases()].into_iter().flatten().collect()
}
