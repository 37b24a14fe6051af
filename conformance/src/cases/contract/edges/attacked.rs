//! What is far behind: old appends, long logs, many deletions, long leases, long listings.

mod appends;
mod deletes;
mod leases;
mod lists;

use crate::case::Case;

pub(super) fn cases() -> Vec<Case> {
    [appends::cases(), deletes::cases(), leases::cases(), lists::cases()]
        .into_iter()
        .flatten()
        .collect()
}
