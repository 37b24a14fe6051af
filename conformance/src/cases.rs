//! All cases, a group a file or folder.

mod budget;
mod contention;
mod contract;
mod crash;
mod determinism;
mod durability;
mod faults;
mod limits;
mod model;
mod secrecy;

use crate::case::Case;

/// Every case of the suite, in the order of the groups.
#[must_use]
pub fn cases() -> Vec<Case> {
    [
        contract::cases(),
        limits::cases(),
        model::cases(),
        contention::cases(),
        crash::cases(),
        faults::cases(),
        determinism::cases(),
        budget::cases(),
        secrecy::cases(),
        durability::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
