//! Edges that only a nasty World trips over: each was missing until a broken World passed.

mod appends;
mod attacked;
mod deletes;
mod leases;
mod many;

use crate::case::Case;

pub(super) fn cases() -> Vec<Case> {
    [appends::cases(), leases::cases(), deletes::cases(), many::cases(), attacked::cases()]
        .into_iter()
        .flatten()
        .collect()
}
