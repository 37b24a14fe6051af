//! Rules D1 and D2.

use crate::case::Case;

pub(super) const fn cases() -> Vec<Case> {
    Vec::new()
}
