//! Rules L1 to L5.

use crate::case::Case;

pub(super) const fn cases() -> Vec<Case> {
    Vec::new()
}
