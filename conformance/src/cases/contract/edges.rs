//! Edges that only a nasty World trips over: each was missing until a broken World passed.

mod appends;

use crate::case::Case;

pub(super) fn cases() -> Vec<Case> {
    [appends::cases()].into_iter().flatten().collect()
}
