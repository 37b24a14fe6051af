//! Workflows whose store answers late, twice or not at all, or whose clocks are wrong.

mod calls;
mod clocks;
mod workers;

use crate::case::Case;

pub(super) fn cases() -> Vec<Case> {
    [calls::cases(), clocks::cases(), workers::cases()].into_iter().flatten().collect()
}
