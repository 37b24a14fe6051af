//! Rules A1 to A6.

mod again;
mod again_late;
mod closed;
mod heads;
mod staged;
mod together;
mod whole;

use crate::case::Case;

pub(super) fn cases() -> Vec<Case> {
    [
        whole::cases(),
        heads::cases(),
        together::cases(),
        closed::cases(),
        again::cases(),
        again_late::cases(),
        staged::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
