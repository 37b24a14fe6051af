//! Rule R4.

use crate::case::Case;

pub(super) const fn cases() -> Vec<Case> {
    Vec::new()
}
