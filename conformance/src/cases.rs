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

use crate::{
    case::Case,
    failure::{Failure, Verdict},
    part::Stage,
};

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

/// Plays a part of a case, in a second process.
pub(crate) async fn play(part: &str, stage: Stage) -> Verdict {
    match durability::part(part) {
        Some(play) => play(stage).await,
        None => Err(Failure::failed(format!("no part is named {part}"))),
    }
}
