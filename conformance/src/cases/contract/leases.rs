//! Rules L1 to L6: who has a run, and who gets it next.

mod among;
mod attempts;
mod claims;
mod due;
mod excepted;
mod fairness;
mod outsiders;
mod renewals;
mod skew;
mod tickets;
mod undriven;
mod waiting;

use crate::case::Case;

pub(super) fn cases() -> Vec<Case> {
    [
        claims::cases(),
        skew::cases(),
        due::cases(),
        fairness::cases(),
        among::cases(),
        tickets::cases(),
        renewals::cases(),
        outsiders::cases(),
        attempts::cases(),
        undriven::cases(),
        excepted::cases(),
        waiting::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
