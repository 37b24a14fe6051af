//! Rule T1: each log takes its own writers.

mod pairings;
mod streams;
mod token_logs;

use crate::case::Case;

pub(super) fn cases() -> Vec<Case> {
    [pairings::cases(), token_logs::cases(), streams::cases()].into_iter().flatten().collect()
}
