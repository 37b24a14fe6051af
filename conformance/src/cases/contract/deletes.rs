//! Rules D1 and D2.

mod over;
mod spent;

use crate::case::Case;

pub(super) fn cases() -> Vec<Case> {
    [over::cases(), spent::cases()].into_iter().flatten().collect()
}
