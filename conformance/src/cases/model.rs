//! Random operations of many writers, compared with the contract.

use crate::case::Case;

pub(super) const fn cases() -> Vec<Case> {
    Vec::new()
}
