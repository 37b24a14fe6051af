//! Rule R4: a listing shows each run once, as it is.

mod change;
mod cursors;
mod filters;
mod metas;
mod pages;

use crate::case::Case;

pub(super) fn cases() -> Vec<Case> {
    [pages::cases(), metas::cases(), filters::cases(), change::cases(), cursors::cases()]
        .into_iter()
        .flatten()
        .collect()
}
