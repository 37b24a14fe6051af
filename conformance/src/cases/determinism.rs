//! The same logs on every World, and the same decisions from every prefix of them.

mod histories;
mod same;
mod takeovers;

use crate::case::Case;

pub(super) fn cases() -> Vec<Case> {
    [same::cases(), histories::cases(), takeovers::cases()].into_iter().flatten().collect()
}
