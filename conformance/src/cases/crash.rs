//! Workflows whose client dies at any store call.

use crate::case::Case;

pub(super) const fn cases() -> Vec<Case> {
    Vec::new()
}
