//! Rules R1 to R3.

mod fresh;
mod pages;
mod unchanged;

use crate::case::Case;

pub(super) fn cases() -> Vec<Case> {
    [fresh::cases(), unchanged::cases(), pages::cases()].into_iter().flatten().collect()
}
