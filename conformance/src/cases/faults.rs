//! Workflows whose store answers late, twice or not at all, or whose clocks are wrong.

use crate::case::Case;

pub(super) const fn cases() -> Vec<Case> {
    Vec::new()
}
