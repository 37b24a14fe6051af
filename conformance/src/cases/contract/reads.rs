//! Rules R1 to R3.

use crate::case::Case;

pub(super) const fn cases() -> Vec<Case> {
    Vec::new()
}
