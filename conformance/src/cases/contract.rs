//! Every rule of the contract, and its edge.

mod appends;
mod deletes;
mod edges;
mod leases;
mod lists;
mod reads;
mod sites;
mod tokens;
mod waits;

use crate::case::Case;

pub(super) fn cases() -> Vec<Case> {
    [
        sites::cases(),
        appends::cases(),
        reads::cases(),
        lists::cases(),
        leases::cases(),
        tokens::cases(),
        deletes::cases(),
        edges::cases(),
        waits::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
